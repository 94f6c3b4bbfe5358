"""Damaged files: each is opened, marked or refused with a sentence, and the reader goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from fuzz import tally, watching
from hostile import answers, mutators, seeds

from medsearch_desktop.imaging import isolated

IS_LONG = bool(os.environ.get("MEDSEARCH_TRIAL"))
SEEDS = (20261122, 7, 99) if IS_LONG else (20261122,)
MUTANTS = 1000 if IS_LONG else 150
A_DROP = 50
DEADLINE_S = 8.0
CAP_BYTES = 2 << 30


def _written(folder: Path, mutants: Sequence[mutators.Mutant]) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"mutant{k:05d}{one.suffix}" for k, one in enumerate(mutants)]
    for path, one in zip(paths, mutants, strict=True):
        path.write_bytes(one.data)
    return paths


def _told(got: answers.Answered, path: Path) -> tuple[str, str]:
    """Return what the report says of one file; it says something of each."""
    found = [entry for entry in got.entries if Path(entry.path) == path]
    assert found, f"{path.name} is not in the report"
    assert found[0].answer == "opened" or found[0].why
    return found[0].answer, found[0].why


def _check(watch: watching.Watch, row: tally.Row) -> None:
    """Count the losses of readers; each was gone when it was told, and in time."""
    for loss in watch.losses:
        assert loss.is_gone, loss
        assert loss.after_s <= DEADLINE_S + 1, loss
        row.deaths += 1
        row.timeouts += "took longer" in loss.sentence
    watch.losses.clear()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_that_each_damaged_file_of_a_folder_is_in_the_report_with_a_reason(
    seed: int, tmp_path: Path
):
    (tmp_path / "whole").mkdir()
    whole = seeds.all_of(tmp_path / "whole")
    drawn = list(mutators.mutants(whole, MUTANTS if not IS_LONG else 3 * A_DROP, seed))
    counted = tally.Tally()
    with (
        isolated.Readers(1, deadline_s=DEADLINE_S, memory_cap_bytes=CAP_BYTES) as readers,
        watching.watched() as watch,
    ):
        for start in range(0, len(drawn), A_DROP):
            drop = drawn[start : start + A_DROP]
            paths = _written(tmp_path / str(start), drop)
            got = answers.answered(readers, [tmp_path / str(start)])
            for path, one in zip(paths, drop, strict=True):
                counted.row(one.kind).answers[_told(got, path)[0]] += 1
            _check(watch, counted.row("(folder)"))
    assert counted.answered("opened", "marked", "split") > len(drawn) // 20
    assert counted.answered("refused") > len(drawn) // 20


@pytest.mark.slow
@pytest.mark.skipif(not IS_LONG, reason="the long run, which `make trial` does")
@pytest.mark.parametrize("seed", SEEDS)
def test_that_a_thousand_damaged_files_end_no_more_than_a_reader_each(seed: int, tmp_path: Path):
    (tmp_path / "whole").mkdir()
    whole = seeds.all_of(tmp_path / "whole")
    drawn = list(mutators.mutants(whole, MUTANTS, seed))
    paths = _written(tmp_path / "mutants", drawn)
    counted = tally.Tally()
    with (
        isolated.Readers(1, deadline_s=DEADLINE_S, memory_cap_bytes=CAP_BYTES) as readers,
        watching.watched() as watch,
    ):
        for path, one in zip(paths, drawn, strict=True):
            row, begun = counted.row(one.kind), time.monotonic()
            answer, _ = _told(answers.answered(readers, [path]), path)
            row.answers[answer] += 1
            row.slowest_s = max(row.slowest_s, time.monotonic() - begun)
            row.peak_mb = max(row.peak_mb, watch.peak_mb())
            _check(watch, row)
    print(counted.text(f"Readers, seed {seed}"))  # noqa: T201
    assert sum(row.answers.total() for row in counted.rows.values()) == MUTANTS
