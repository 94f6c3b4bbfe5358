"""Power cuts: the disk of a stopped writer is copied as it is and looked at elsewhere."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import toy_collection
from stores import checks, killing, mounts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stops and kills by signal")

SEED = 20261122
# Snapshots of each of the three writers: 60 in the long tier.
SNAPSHOTS = 20 if checks.IS_TRIAL else 2
IMAGE_MB = 96
# Nothing reaches the disk by itself before a test is over, and a rename syncs no content: only
# what the program syncs is there after the cut.
CARELESS = "commit=600,noauto_da_alloc"


@pytest.fixture(scope="module")
def writers() -> Iterator[killing.Writers]:
    mounts.need_loop()
    with killing.writers() as started:
        yield started


def cut(
    tmp_path: Path, image: Path, number: int, look: Callable[[Path], None], options: str = ""
) -> None:
    """Copy the disk as it is now and let `look` see what is on it after the cut."""
    copy = mounts.snapshot(image, tmp_path / "cut.img")
    try:
        with mounts.loop(copy, tmp_path / f"after-{number}", options) as at:
            look(at)
    finally:
        copy.unlink()


def disk(tmp_path: Path) -> Path:
    return mounts.new_image(tmp_path / "disk.img", IMAGE_MB)


def test_that_a_power_cut_loses_no_favourite_and_no_verdict(
    writers: killing.Writers, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    image, lost = disk(tmp_path), []
    acknowledged = 0
    with mounts.loop(image, tmp_path / "at", CARELESS) as at:
        writers.start("shelf", folder=str(at), seed=SEED)
        writers.wait_for("done")
        for number in range(SNAPSHOTS):
            writers.stop(chance.uniform(0, 0.5))
            writers.drain()
            done, begun = writers.said.all("done"), checks.begun_only(writers.said.lines)
            acknowledged = len(done)

            def look(after: Path, done: list = done, begun: list | None = begun) -> None:
                lost.extend(checks.shelf_lost(after, done, begun))

            cut(tmp_path, image, number, look)
            writers.go_on()
        writers.kill(0)
    checks.table(
        "Power cuts while a shelf is written",
        [
            ("snapshots", "acknowledged at the last", "lost"),
            (str(SNAPSHOTS), str(acknowledged), str(len(lost))),
        ],
    )
    assert lost == []


def test_that_a_power_cut_leaves_the_generation_that_was_committed_or_the_next(
    writers: killing.Writers, tmp_path: Path
) -> None:
    chance = random.Random(SEED + 1)
    image, generations = disk(tmp_path), []
    with mounts.loop(image, tmp_path / "at", CARELESS) as at:
        toy_collection.write(at / "c", range(5))
        first = 5
        for number in range(SNAPSHOTS):
            writers.start("swap", folder=str(at / "c"), first=first, last=first + 200)
            writers.wait_for("committed")
            writers.stop(chance.uniform(0, 0.3))
            writers.drain()
            committed = writers.said.last("committed")

            def look(after: Path, committed: int = committed) -> None:
                found = checks.whole(after / "c")
                assert found in (committed, committed + 1)
                generations.append(found)
                # And the next writer goes on from there.
                toy_collection.write(after / "c", [found])
                assert checks.whole(after / "c") == found + 1

            cut(tmp_path, image, number, look)
            writers.kill(0)
            first = checks.whole(at / "c")
            if first > 60:
                toy_collection.write(at / f"c{number}", range(5))
                (at / "c").rename(at / f"full{number}")
                (at / f"c{number}").rename(at / "c")
                first = 5
    checks.table(
        "Power cuts while generations change",
        [
            ("snapshots", "generations opened", "lost or mixed"),
            (str(SNAPSHOTS), str(len(generations)), "0"),
        ],
    )


def test_that_a_power_cut_in_a_build_costs_little_work(
    writers: killing.Writers, tmp_path: Path
) -> None:
    chance = random.Random(SEED + 2)
    image, repeated = disk(tmp_path), [0]
    with mounts.loop(image, tmp_path / "at", CARELESS) as at:
        # Half of the cuts fall into the first build of a collection, half into a later one.
        toy_collection.write(at / "older", range(5))
        for number in range(SNAPSHOTS):
            folder, first = (("older", 5), (f"new-{number}", 0))[number % 2]
            path = at / folder
            first = checks.whole(path) if first else 0
            writers.start("build", folder=str(path), first=first, last=first + 200)
            writers.wait_for("added")
            writers.stop(chance.uniform(0, 0.2))
            writers.drain()
            added, is_done = writers.said.last("added"), bool(writers.said.all("committed"))
            resumed = writers.said.last("resumed")

            def look(
                after: Path,
                folder: str = folder,
                first: int = first,
                added: int = added,
                is_done: bool = is_done,
            ) -> None:
                found = checks.whole(after / folder)
                assert found == first + 200 or (found == first and not is_done)
                if found == first:
                    writer = toy_writer(after / folder)
                    with writer:
                        repeated.append(added - writer.resumed)
                        toy_collection.add(writer, range(first + writer.resumed, first + 200))
                        writer.commit()
                    assert checks.whole(after / folder) == first + 200

            assert resumed is not None
            cut(tmp_path, image, number, look)
            writers.go_on()
            assert writers.finish().status == 0
    assert max(repeated) <= 30
    checks.table(
        "Power cuts while a collection is built",
        [
            ("snapshots", "resumed", "most repeated work"),
            (str(SNAPSHOTS), str(len(repeated) - 1), f"{max(repeated)} s"),
        ],
    )


def toy_writer(path: Path):
    """Return a writer that goes on where a build stopped."""
    import toy_encoder

    from medsearch_desktop.engine import collection

    card = toy_encoder.ToyEncoder().card
    return collection.CollectionWriter(path, name="Toys", card=card, resume=True)


def test_that_a_snapshot_shows_what_was_never_synced_as_lost(
    writers: killing.Writers, tmp_path: Path
) -> None:
    """The protocol itself: a writer that syncs nothing loses what it has acknowledged."""
    image = disk(tmp_path)
    with mounts.loop(image, tmp_path / "at", CARELESS) as at:
        writers.start("unsynced", folder=str(at))
        writers.wait_for("committed")
        writers.stop(0.2)
        writers.drain()
        said = writers.said.last("committed")
        found = []
        cut(tmp_path, image, 0, lambda after: found.append((after / "naive").exists()))
        writers.kill(0)
    assert said > 0
    assert found == [False]
