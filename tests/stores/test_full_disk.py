"""Full disks of many sizes: a sentence, the old data whole, and on it goes once there is space."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import phantoms
import pytest
import toy_collection
import toy_encoder
from stores import checks, ledger, mounts, test_kills

from indexer import models
from medsearch_desktop import errors, logs
from medsearch_desktop.engine import collection
from medsearch_desktop.shelf import database

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="mounts, or limits file sizes")

SEED = 20261122
# What is left on the disk, in kB, when the deed begins.
ROOMS_KB = (0, 8, 24, 64, 128, 256, 384, 512, 768, 1024, 2048, 4096)
ROOMS_KB = ROOMS_KB if checks.IS_TRIAL else (0, 64, 512)
_MOST_DEEDS = 3000


@dataclass
class Disk:
    """A disk with a shelf and a collection on it, and little room left."""

    at: Path
    room_kb: int
    done: list[ledger.Deed] = field(default_factory=list)
    begun: ledger.Deed | None = None

    def fill(self) -> None:
        """Leave only the room."""
        if mounts.refused_tmpfs():
            import resource

            largest = max(path.stat().st_size for path in self.at.rglob("*"))
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest + (self.room_kb << 10), hard))
        else:
            # Blocks of tmpfs are pages of 4 kB.
            found = os.statvfs(self.at)
            used = (found.f_blocks - found.f_bfree) * found.f_frsize >> 10
            mounts.resize(self.at, used + self.room_kb)

    def free(self) -> None:
        """Give the disk space again."""
        if mounts.refused_tmpfs():
            import resource

            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        else:
            mounts.resize(self.at, 512 << 10)

    @property
    def shelf(self) -> database.Shelf:
        """Open the shelf; passing pictures lie on another disk."""
        return database.open_shelf(self.at / "shelf.db", scratch=self.at.parent / "scratch")

    def lost(self) -> list[str]:
        """Return what the shelf lost."""
        with contextlib.closing(self.shelf) as shelf:
            return ledger.lost(shelf, self.done, self.begun)


@contextlib.contextmanager
def disk(tmp_path: Path, room_kb: int) -> Iterator[Disk]:
    """Give a disk with old data on it, not yet full."""
    at = tmp_path / f"disk-{room_kb}"
    at.mkdir()
    mounted = (
        contextlib.nullcontext(at)
        if mounts.refused_tmpfs()
        else mounts.tmpfs(at, kilobytes=512 << 10)
    )
    with mounted:
        made = Disk(at, room_kb)
        toy_collection.write(at / "c", range(5))
        with contextlib.closing(made.shelf) as shelf:
            for deed in itertools.islice(ledger.deeds(SEED), 30):
                ledger.do(shelf, deed)
                made.done.append(deed)
        try:
            yield made
        finally:
            made.free()


def until_full(full: Disk, deeds: Iterator[ledger.Deed]) -> errors.MedsearchError | None:
    """Do deeds on a full disk's shelf until it refuses one, and return what it says."""
    try:
        with contextlib.closing(full.shelf) as shelf:
            for deed in itertools.islice(deeds, _MOST_DEEDS):
                full.begun = deed
                ledger.do(shelf, deed)
                full.done.append(deed)
                full.begun = None
            return None
    except errors.MedsearchError as error:
        return error


def told(error: errors.MedsearchError) -> str:
    """Return the sentence of an error, which has an end and no traceback."""
    sentence = str(error)
    assert sentence
    assert error.action
    assert "Traceback" not in sentence
    assert "damaged" not in sentence
    assert "\n" not in sentence
    return sentence


def stars(seed: int) -> Iterator[ledger.Deed]:
    chance = random.Random(seed)
    for number in itertools.count(1000):
        yield ["star", number, "Favourites", chance.randrange(1 << 30)]


def searches(seed: int) -> Iterator[ledger.Deed]:
    for number in itertools.count(seed):
        yield ["save", f"search {number}", "words", number]


@pytest.mark.parametrize("kind", [stars, searches])
def test_that_a_full_disk_refuses_a_favourite_or_a_search_and_keeps_the_others(
    kind: Callable[[int], Iterator[ledger.Deed]], tmp_path: Path
) -> None:
    rows = [("room", "kept before it was full", "sentence", "lost")]
    for room_kb in ROOMS_KB:
        with disk(tmp_path, room_kb) as full:
            before = len(full.done)
            full.fill()
            error = until_full(full, kind(SEED))
            assert error is not None
            sentence = told(error)
            full.free()
            lost = full.lost()
            rows.append(
                (f"{room_kb} kB", str(len(full.done) - before), said(sentence), str(len(lost)))
            )
            assert lost == []
            # And once there is space the same is kept.
            assert full.begun is not None or room_kb == 0
            with contextlib.closing(full.shelf) as shelf:
                again = full.begun or next(kind(SEED))
                ledger.do(shelf, again)
                full.done.append(again)
            full.begun = None
            assert full.lost() == []
    checks.table(f"Full disks: {kind.__name__}", rows)


def said(sentence: str) -> str:
    """Return the end of a sentence, its path left out."""
    return sentence.rpartition("cannot be ")[2] or sentence


def test_that_a_full_disk_refuses_a_build_and_keeps_the_collection(tmp_path: Path) -> None:
    rows = [("room", "cases that fitted", "sentence")]
    card = toy_encoder.ToyEncoder().card
    chance = random.Random(SEED)
    for room_kb in ROOMS_KB:
        with disk(tmp_path, room_kb) as full:
            full.fill()
            added = 0
            with (  # noqa: PT012
                pytest.raises(errors.MedsearchError) as caught,
                collection.CollectionWriter(full.at / "c", name="", card=card) as writer,
            ):
                while added * 20 < room_kb + 400:
                    case = toy_collection.case(5 + added)
                    vectors = toy_encoder.ToyEncoder().encode_texts([case.text])
                    writer.add(case, vectors, vectors, [chance.randbytes(20_000)])
                    added += 1
                    if added % 10 == 0:
                        writer.checkpoint()
                writer.commit()
            rows.append((f"{room_kb} kB", str(added), said(told(caught.value))))
            assert checks.whole(full.at / "c") == 5
            full.free()
            toy_collection.write(full.at / "c", range(5, 9))
            assert checks.whole(full.at / "c") == 9
            assert full.lost() == []
    checks.table("Full disks: build and commit", rows)


def test_that_a_full_disk_refuses_the_indexer_in_one_sentence(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for colour in toy_encoder.COLOURS:
        phantoms.write_picture(source / f"{colour}.png", toy_collection.picture(colour, 64))
    rows = [("room", "status", "sentence")]
    for room_kb in ROOMS_KB[:4] if checks.IS_TRIAL else ROOMS_KB[1:2]:
        with disk(tmp_path, room_kb) as full:
            words = ["add", full.at / "c", source, "--home", tmp_path / "home", "--quiet"]
            full.fill()
            done = subprocess.run(
                [sys.executable, "-m", "indexer", *map(str, words)],
                cwd=Path(__file__).parents[2],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 1, done.stderr
            assert "Traceback" not in done.stderr
            assert checks.whole(full.at / "c") == 5
            rows.append((f"{room_kb} kB", "1", said(done.stderr.splitlines()[0])))
            full.free()
            done = subprocess.run(
                [sys.executable, "-m", "indexer", *map(str, words)],
                cwd=Path(__file__).parents[2],
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0
            with collection.open_collection(full.at / "c") as opened:
                assert opened.manifest.counts.cases == 13
            assert collection.verify(full.at / "c") == []
    checks.table("Full disks: medsearch-index add", rows)


def test_that_a_full_disk_leaves_the_program_without_a_log_and_not_without_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("medsearch_desktop.stores")
    for room_kb in ROOMS_KB:
        with disk(tmp_path, room_kb) as full:
            full.fill()
            logs.start(full.at / "logs", "window")
            try:
                for number in range(2 * (room_kb + 40)):
                    log.info("line %d %s", number, "word " * 200)
            finally:
                logs.stop()
            printed = capfd.readouterr()
            assert "Traceback" not in printed.err + printed.out
            full.free()
            assert full.lost() == []
            logs.start(full.at / "logs", "window")
            log.info("there is space again")
            logs.stop()
            assert "there is space again" in (full.at / "logs" / "window.log").read_text("utf-8")


def test_that_a_full_disk_refuses_a_model_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    given = test_kills.model_named("copied", tmp_path)
    for room_kb in ROOMS_KB:
        with disk(tmp_path, room_kb) as full:
            full.fill()
            with pytest.raises(errors.MedsearchError) as caught:
                models.copy_in(given, full.at / "models", "cpu")
            told(caught.value)
            assert not (full.at / "models" / "copied").exists()
            if (full.at / "models").exists():
                assert list((full.at / "models").iterdir()) == []
            full.free()
            assert full.lost() == []
            if room_kb == ROOMS_KB[-1]:
                models.copy_in(given, full.at / "models", "cpu")
                assert test_kills.contents(full.at / "models" / "copied") == (
                    test_kills.contents(given)
                )


def test_that_a_full_disk_keeps_the_old_choice_of_collections(tmp_path: Path) -> None:
    from medsearch_desktop.gui import collection_list

    for room_kb in ROOMS_KB:
        with disk(tmp_path, room_kb) as full:
            choice = collection_list.Choice(("/a",), ("/a",))
            collection_list.save_choice(full.at / "choice.json", choice)
            full.fill()
            with pytest.raises(OSError, match=r"No space left|File too large"):  # noqa: PT012
                for count in itertools.count(1):
                    new = collection_list.Choice(("/path",) * count * 4000, ("/a",))
                    collection_list.save_choice(full.at / "choice.json", new)
                    choice = new
            assert collection_list.load_choice(full.at / "choice.json") == choice
            assert [path.name for path in full.at.glob(".choice*")] == []
            full.free()
            collection_list.save_choice(full.at / "choice.json", new)
            assert collection_list.load_choice(full.at / "choice.json") == new


def test_that_a_full_disk_keeps_no_half_of_a_pasted_picture(tmp_path: Path) -> None:
    from PySide6 import QtGui

    from medsearch_desktop.gui import drops

    def picture(size: int) -> QtGui.QImage:
        content = random.Random(size).randbytes(size * size * 4)
        return QtGui.QImage(content, size, size, QtGui.QImage.Format.Format_RGB32).copy()

    for room_kb in ROOMS_KB:
        with disk(tmp_path, room_kb) as full:
            scratch = full.at / "scratch"
            scratch.mkdir()
            full.fill()
            with pytest.raises(OSError, match=r"No space left|File too large"):  # noqa: PT012
                for size in itertools.count(40, 60):
                    drops.keep_picture(picture(size), scratch)
            for path in scratch.glob("[!.]*"):
                assert not QtGui.QImage(str(path)).isNull()
            assert [path.name for path in scratch.glob(".*")] == []
            full.free()
            kept = drops.keep_picture(picture(size), scratch)
            assert QtGui.QImage(str(kept)).width() == size
