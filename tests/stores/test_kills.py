"""Writers that are killed at any moment: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import phantoms
import psutil
import pytest
import toy_collection
import toy_encoder
from stores import checks, killing

from medsearch_desktop import settings
from medsearch_desktop.engine import collection
from medsearch_desktop.engine.encoders import base

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks and kills by signal")

SEED = 20261122
# Kills of each kind in the long tier (208 in all), and in the ordinary one.
BUILDS, COMMITS, SWAPS = (70, 40, 40) if checks.IS_TRIAL else (4, 4, 3)
SHELVES, IMPORTS, PROGRAMS, WINDOWS = (32, 8, 10, 8) if checks.IS_TRIAL else (3, 1, 1, 1)
# A build that was killed does this much of its work again at most.
REPEATED_S = 30
# How long children may outlive the program that was killed.
CHILDREN_S = 60.0


@pytest.fixture(scope="module")
def writers() -> Iterator[killing.Writers]:
    with killing.writers() as started:
        yield started


def duration_s(
    writers: killing.Writers, job: str, begun: str, folder: str, first: int, last: int
) -> float:
    """Return how long a job takes here and now that is not killed, from what it says first."""
    writers.start(job, folder=folder, first=first, last=last)
    writers.wait_for(begun)
    began = time.monotonic()
    assert writers.finish().status == 0
    return time.monotonic() - began


def test_that_a_killed_build_leaves_no_half_collection_and_repeats_little(
    writers: killing.Writers, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    kills = built = 0
    repeated = []
    whole_s = duration_s(writers, "build", "resumed", str(tmp_path / "timed"), 0, 300)
    while kills < BUILDS:
        path = tmp_path / f"built-{built}"
        base_cases = checks.whole(path)
        added, is_done = 0, False
        while not is_done:
            writers.start("build", folder=str(path), first=base_cases, last=base_cases + 300)
            writers.wait_for("resumed")
            said = writers.kill(chance.uniform(0, whole_s))
            kills += said.status == -9
            if said.all("resumed"):
                repeated.append(max(0, added - said.last("resumed")))
                added = said.last("added", said.last("resumed"))
            is_done = bool(said.all("committed"))
            found = checks.whole(path)
            assert found == base_cases + 300 or (found == base_cases and not is_done)
            is_done = found > base_cases
            assert is_done or said.status == -9
        built += 1
    assert max(repeated) <= REPEATED_S
    checks.table(
        "Builds killed",
        [
            ("kills", "collections", "resumed", "most repeated work", "mixed"),
            (str(kills), str(built), str(len(repeated)), f"{max(repeated)} s", "0"),
        ],
    )


def test_that_a_killed_commit_leaves_the_old_or_the_new_generation(
    writers: killing.Writers, tmp_path: Path
) -> None:
    chance = random.Random(SEED + 1)
    path = tmp_path / "c"
    toy_collection.write(path, range(5))
    ends = {"old": 0, "new": 0}
    kills = 0
    whole_s = duration_s(writers, "commit", "committing", str(path), 5, 9)
    while kills < COMMITS:
        before = checks.whole(path)
        writers.start("commit", folder=str(path), first=before, last=before + 4)
        writers.wait_for("committing")
        # Half of the kills fall about the end, where the manifest is put in place.
        said = writers.kill(whole_s * chance.uniform(0.7 * (kills % 2), 1.1))
        found = checks.whole(path)
        assert found in (before, before + 4)
        assert found == before + 4 or not said.all("committed")
        if said.status == -9:
            kills += 1
            ends["new" if found > before else "old"] += 1
    toy_collection.write(path, range(checks.whole(path), checks.whole(path) + 3))
    checks.whole(path)
    checks.table(
        "Commits killed",
        [("kills", "old generation", "new generation"), (str(kills), *map(str, ends.values()))],
    )


def test_that_a_kill_between_generations_loses_none_that_was_committed(
    writers: killing.Writers, tmp_path: Path
) -> None:
    chance = random.Random(SEED + 2)
    path = tmp_path / "c"
    toy_collection.write(path, range(5))
    kills = generations = 0
    while kills < SWAPS:
        before = checks.whole(path)
        with collection.open_collection(path) as reader:
            writers.start("swap", folder=str(path), first=before, last=before + 200)
            writers.wait_for("committed")
            said = writers.kill(chance.uniform(0, 0.4))
            # Who reads an old generation meanwhile goes on with it.
            assert len(reader.matching("square", 500)) == before
            assert sum(1 for _ in reader.all_cases()) == before
        committed = said.last("committed")
        found = checks.whole(path)
        assert found in (committed, committed + 1)
        kills += said.status == -9
        generations += found - before
        if found > 60:
            shutil.rmtree(path)
            toy_collection.write(path, range(5))
    checks.table(
        "Kills while generations change",
        [("kills", "generations written", "lost"), (str(kills), str(generations), "0")],
    )


def test_that_a_killed_window_loses_no_favourite_and_no_verdict(
    writers: killing.Writers, tmp_path: Path
) -> None:
    chance = random.Random(SEED + 3)
    done: list[list] = []
    lost: list[str] = []
    for kill in range(SHELVES):
        writers.start("shelf", folder=str(tmp_path), seed=SEED + kill)
        writers.wait_for("done")
        said = writers.kill(chance.uniform(0, 0.5))
        assert said.status == -9, said.last("raised")
        done += said.all("done")
        begun = checks.begun_only(said.lines)
        lost += checks.shelf_lost(tmp_path, done, begun)
        if begun is not None and checks.shelf_lost(tmp_path, done):
            done.append(begun)
    checks.table(
        "Shelves killed",
        [("kills", "acknowledged", "lost"), (str(SHELVES), str(len(done)), str(len(lost)))],
    )
    assert lost == []


def test_that_a_killed_import_leaves_a_whole_model_or_none(
    writers: killing.Writers, tmp_path: Path
) -> None:
    chance = random.Random(SEED + 4)
    given, models = model_named("copied", tmp_path), tmp_path / "models"
    ends = {"none": 0, "whole": 0}
    for kill in range(IMPORTS):
        writers.start("import", folder=str(models), model=str(given))
        writers.wait_for("committing")
        said = writers.kill(chance.uniform(0, 1.2) if kill % 2 else chance.uniform(0, 0.3))
        assert said.status in (0, -9), said.last("raised")
        is_there = (models / "copied").exists()
        assert is_there or not said.all("committed")
        assert base.names(models) == ["compact", "copied"][: 1 + is_there]
        if is_there:
            assert contents(models / "copied") == contents(given)
            shutil.rmtree(models / "copied")
        ends["whole" if is_there else "none"] += 1
    checks.table(
        "Imports of a model killed",
        [("kills", "none", "whole"), (str(IMPORTS), *map(str, ends.values()))],
    )


def model_named(name: str, folder: Path) -> Path:
    """Return a copy of the compact encoder under another name, without checksums."""
    made = folder / "given" / name
    shutil.copytree(settings.resource(base.BUILT_IN["compact"]), made)
    (made / "SHA256SUMS").unlink()
    about = (made / "model.toml").read_text("utf-8")
    (made / "model.toml").write_text(about.replace('name = "compact"', f'name = "{name}"'), "utf-8")
    return made


def contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a model, without what its import adds."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name not in ("SHA256SUMS", "reference.json")
    }


def test_that_the_indexer_killed_while_it_builds_goes_on_and_leaves_no_process(
    home: Path, tmp_path: Path
) -> None:
    chance = random.Random(SEED + 5)
    source, out = tmp_path / "in", tmp_path / "c"
    for number in range(4):
        phantoms.write_ct_series(source / f"s{number}", slices=6, name=f"s{number}")
    for colour, rgb in toy_encoder.COLOURS.items():
        picture = toy_collection.picture(colour, 24)
        assert tuple(picture[0, 0]) == rgb
        phantoms.write_picture(source / f"{colour}.png", picture)
    kills, outlived = 0, [0.0]
    for _ in range(PROGRAMS):
        shutil.rmtree(out, ignore_errors=True)
        program = start_build(source, out, home)
        time.sleep(chance.uniform(0.5, 3.0))
        outlived.append(kill_with_children(program))
        kills += program.returncode == -9
        if (out / checks.MANIFEST).exists():
            assert collection.verify(out) == []
        done = start_build(source, out, home)
        assert done.wait(60) == 0
        assert collection.verify(out) == []
        with collection.open_collection(out) as opened:
            assert opened.manifest.counts.cases == 12
    checks.table(
        "The indexer killed in a build",
        [
            ("kills", "resumed and whole", "its processes lived on for at most"),
            (str(kills), str(PROGRAMS), f"{max(outlived):.1f} s"),
        ],
    )


def test_that_a_killed_window_leaves_no_reader_and_no_search_process(
    home: Path, tmp_path: Path
) -> None:
    chance = random.Random(SEED + 6)
    phantoms.write_ct_series(tmp_path / "ct", slices=8)
    toy_collection.write(tmp_path / "c", range(20))
    program = Path(__file__).with_name("window_child.py")
    outlived = []
    for _ in range(WINDOWS):
        window = subprocess.Popen(
            [sys.executable, str(program), str(home), str(tmp_path / "c"), str(tmp_path / "ct")],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
        )
        assert window.stdout is not None
        assert window.stdout.readline(), "it ended by itself"
        time.sleep(chance.uniform(0, 0.3))
        children = psutil.Process(window.pid).children(recursive=True)
        assert len(children) >= 2
        outlived.append(kill_with_children(window))
        window.stdout.close()
    checks.table(
        "The readers and the search process of a killed window",
        [("kills", "lived on for at most"), (str(WINDOWS), f"{max(outlived):.1f} s")],
    )


def start_build(source: Path, out: Path, home: Path) -> subprocess.Popen[bytes]:
    """Start `medsearch-index build --resume` with the encoder of the tests."""
    words = ["build", source, "--out", out, "--encoder", toy_encoder.NAME, "--resume"]
    more = ["--home", home, "--quiet", "--batch-size", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "indexer", *map(str, words), *map(str, more)],
        cwd=Path(__file__).parents[2],
        env=os.environ,
    )


def kill_with_children(program: subprocess.Popen[bytes]) -> float:
    """Kill a program and return for how many seconds its children lived on; they must end."""
    children: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(program.pid).children(recursive=True)
    program.kill()
    program.wait()
    began = time.monotonic()
    _, left = psutil.wait_procs(children, timeout=CHILDREN_S)
    assert left == [], "children live on"
    return time.monotonic() - began
