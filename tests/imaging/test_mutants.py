"""Damaged files: each opens, is marked or is refused, and the reader goes on."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import phantoms
import pytest

from medsearch_desktop import errors
from medsearch_desktop.imaging import isolated, study

MUTANTS = 1500 if os.environ.get("MEDSEARCH_TRIAL") else 200
SEED = 20261122


def _cut(data: bytearray, chance: random.Random) -> bytearray:
    return data[: chance.randrange(len(data))]


def _flip(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.randrange(1, 20)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def _overwrite(data: bytearray, chance: random.Random) -> bytearray:
    start, length = chance.randrange(len(data)), chance.randrange(1, 64)
    data[start : start + length] = bytes([chance.choice((0x00, 0xFF, 0x7F))]) * length
    return data


def _insert(data: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(len(data))
    data[start:start] = chance.randbytes(chance.randrange(1, 64))
    return data


def _lie_in_the_header(data: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(min(len(data), 1200))
    data[start : start + 2] = chance.choice((b"\xff\xff", b"\x00\x00", b"\xff\x7f", b"\x01\x00"))
    return data


MUTATORS = (_cut, _flip, _overwrite, _insert, _lie_in_the_header)


@pytest.fixture(scope="module")
def readers() -> Iterator[isolated.Readers]:
    with isolated.Readers(1, deadline_s=20.0, memory_cap_bytes=2 << 30) as started:
        yield started


@pytest.mark.slow
def test_that_a_damaged_file_opens_or_is_refused_with_a_sentence_and_the_next_one_is_read(
    readers: isolated.Readers, tmp_path: Path
):
    whole = tmp_path / "whole"
    seeds = [
        phantoms.write_ct_series(whole / "ct", slices=1, size=(32, 32))[0],
        phantoms.write_nifti(whole / "volume.nii", shape=(8, 9, 10)),
        phantoms.write_nifti(whole / "volume.nii.gz", shape=(8, 9, 10)),
        phantoms.write_picture(whole / "picture.png"),
        phantoms.write_picture(whole / "picture.jpg"),
    ]
    chance = random.Random(SEED)
    counted = {"opened": 0, "refused": 0}
    for number in range(MUTANTS):
        seed = chance.choice(seeds)
        mutate = chance.choice(MUTATORS)
        mutant = tmp_path / f"{number}{''.join(seed.suffixes)}"
        mutant.write_bytes(mutate(bytearray(seed.read_bytes()), chance))
        found = list(readers.open_paths([mutant]))
        assert found, f"mutant {number} of {seed.name} by {mutate.__name__} is not in the report"
        for item in found:
            if isinstance(item, study.Refused):
                assert item.reason
                counted["refused"] += 1
                continue
            for series in item.series:
                try:
                    readers.load(series)
                    counted["opened"] += 1
                except errors.UnreadableFileError:
                    counted["refused"] += 1
        mutant.unlink()
    assert min(counted.values()) > MUTANTS // 20
    assert next(iter(readers.open_paths([seeds[0]]))).series
