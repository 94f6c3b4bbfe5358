"""The seeds are whole, and damage to them is of many kinds and the same every time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hostile import answers, mutators, seeds
from medsearch_desktop.imaging import isolated


@pytest.fixture
def whole(tmp_path: Path) -> list[seeds.Seed]:
    return seeds.all_of(tmp_path)


def test_that_every_seed_opens_before_it_is_damaged(whole: list[seeds.Seed], tmp_path: Path):
    with isolated.Readers(1) as readers:
        for number, seed in enumerate(whole):
            path = tmp_path / f"{number}{seed.suffix}"
            path.write_bytes(seed.data)
            (entry,) = answers.answered(readers, [path]).entries
            assert entry.answer in ("opened", "marked", "split"), (seed.name, entry.why)


def test_that_there_are_13_kinds_for_dicom_7_for_nifti_and_3_for_pictures():
    counts = Counter(family for family, _ in mutators.KINDS.values())
    assert counts == {"dicom": 13, "nifti": 7, "picture": 3}


def test_that_a_seed_gives_the_same_mutants_and_another_seed_others(whole, tmp_path):
    again = seeds.all_of(tmp_path / "again")
    first, same = (list(mutators.mutants(found, 69, 5)) for found in (whole, again))
    assert first == same
    other = list(mutators.mutants(whole, 69, 6))
    assert sum(a.data == b.data for a, b in zip(first, other, strict=True)) == 0


def test_that_almost_every_mutant_differs_from_all_seeds(whole):
    known = {seed.data for seed in whole}
    drawn = list(mutators.mutants(whole, 460, 5))
    assert sum(one.data in known for one in drawn) < len(drawn) // 20
    assert {one.kind for one in drawn} == set(mutators.KINDS)
