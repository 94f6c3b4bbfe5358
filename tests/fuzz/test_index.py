"""A collection is built from damaged files by the program itself, as a user starts it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_encoder
from fuzz import tally
from hostile import mutators, seeds

from medsearch_desktop.engine import collection

IS_LONG = bool(os.environ.get("MEDSEARCH_TRIAL"))
SEEDS = (20261122, 7, 99) if IS_LONG else (20261122,)
MUTANTS = 1000 if IS_LONG else 46
# A build that takes longer hangs: no file may hold it for more than a reader's deadline.
PATIENCE_S = 3000


def _run(home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    paths = [str(Path(toy_encoder.__file__).parent), str(Path(__file__).parents[2])]
    environment = {
        **os.environ,
        "MEDSEARCH_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(paths),
        toy_encoder.base.TEST_ENCODER: toy_encoder.NAME,
    }
    return subprocess.run(
        [sys.executable, "-m", "indexer", *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def _skipped(built: Path) -> dict[str, str]:
    """Return the reason of each file that skipped.csv names."""
    with (built / "skipped.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def _indexed(built: Path) -> Iterator[str]:
    """Give the path of each image of the collection."""
    with collection.open_collection(built) as found:
        for case in found.all_cases():
            yield from (image.ref.path for image in case.images)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_that_a_build_of_damaged_files_ends_whole_and_names_each_file_it_skipped(
    seed: int, home: Path, tmp_path: Path
):
    (tmp_path / "whole").mkdir()
    whole = seeds.all_of(tmp_path / "whole")
    folder, out = tmp_path / "mutants", tmp_path / "built"
    folder.mkdir()
    kinds = {}
    for number, one in enumerate(mutators.mutants(whole, MUTANTS, seed)):
        path = folder / f"mutant{number:05d}{one.suffix}"
        path.write_bytes(one.data)
        kinds[str(path)] = one.kind
    done = _run(home, "build", folder, "--out", out, "--encoder", toy_encoder.NAME)
    assert done.returncode in (0, 3), done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    checked = _run(home, "verify", out)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    skipped, indexed = _skipped(out), set(_indexed(out))
    counted = tally.Tally()
    for path, kind in kinds.items():
        assert path in indexed or skipped.get(path), f"nothing is said of {path}, {kind}"
        counted.row(kind).answers["opened" if path in indexed else "refused"] += 1
    print(counted.text(f"Index, seed {seed}: status {done.returncode}"))  # noqa: T201
    assert counted.answered("opened")
    assert counted.answered("refused")
