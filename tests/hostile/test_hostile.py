"""Every hand-made hostile input gets its answer, through one real reader process."""

from __future__ import annotations

import importlib
import itertools
import os
import pkgutil
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import phantoms
import pytest

import hostile
from hostile import answers, expected
from medsearch_desktop.imaging import isolated, report

DEADLINE_S = 10.0
CAP_BYTES = 2 << 30
LEAST_CASES = 140
# Modules of inputs that go to the readers; those of models have a runner of their own.
KINDS = ("dicom", "archives", "nifti", "pictures")


def _modules(kinds: Sequence[str]) -> Iterator[object]:
    for found in pkgutil.iter_modules(hostile.__path__):
        if found.name.startswith(tuple(kinds)):
            yield importlib.import_module(f"hostile.{found.name}")


CASES = [case for module in _modules(KINDS) for case in module.CASES]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def readers() -> Iterator[isolated.Readers]:
    with isolated.Readers(1, deadline_s=DEADLINE_S, memory_cap_bytes=CAP_BYTES) as started:
        yield started


def _below(folder: Path) -> set[str]:
    """Return what lies below a folder: files, links and pipes."""
    found = (Path(at, name) for at, _, names in os.walk(folder) for name in names)
    return {str(path) for path in found}


def _untold(dropped: set[str], entries: Sequence[report.Entry]) -> set[str]:
    """Return the files that no entry names, by their own path or as an archive's members."""
    told = {entry.path for entry in entries}
    tops = {path.partition("!/")[0] for path in told} | {path.partition(": ")[0] for path in told}
    return {path for path in dropped if path not in told | tops and not _goes_with(path, told)}


def _goes_with(path: str, told: set[str]) -> bool:
    """Return True for the values of a .hdr that is in the report, and for what discs leave."""
    stem = re.sub(r"(?i)\.img(\.gz)?$", "", path)
    is_junk = Path(path).name.startswith(".") or Path(path).name.upper() in ("DICOMDIR", "LOCKFILE")
    return is_junk or (stem != path and any(f"{stem}{end}" in told for end in (".hdr", ".HDR")))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_that_a_hostile_input_gets_its_answer_and_nothing_is_lost(
    case: expected.Hostile, readers: isolated.Readers, tmp_path: Path
):
    folder = tmp_path / "around" / "case"
    folder.mkdir(parents=True)
    paths = case.write(folder)
    before = _below(tmp_path)
    got = answers.answered(readers, paths)
    said = got.told()
    assert {entry.answer for entry in got.entries} == case.answers, said
    assert any(re.search(case.words, entry.why) for entry in got.entries), said
    assert case.series is None or got.stacks == case.series, said
    dropped = _dropped(paths)
    assert not _untold(dropped, got.entries), said
    assert _below(tmp_path) == before, "a file was written"
    for entry in got.entries:
        assert entry.answer == "opened" or entry.why, said
        assert "Traceback" not in entry.why, said
    text = report.as_text(got.entries)
    assert not [name for name in _names(got.entries) if name in text], text


def _dropped(paths: Sequence[Path]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        if path.is_dir():
            found |= _below(path)
        elif path.exists() and stat.S_ISREG(path.stat().st_mode):
            found.add(str(path))
    return found


def _names(entries: Sequence[report.Entry]) -> set[str]:
    """Return the stems of the files that are long enough to be no word of a sentence."""
    stems = {Path(entry.path.replace("\\", "/")).name.partition(".")[0] for entry in entries}
    return {stem for stem in stems if len(stem) > 6 and stem.upper() != "DICOMDIR"}


def test_that_the_reader_goes_on_after_all_of_them(readers: isolated.Readers, tmp_path: Path):
    got = answers.answered(readers, [phantoms.write_ct_series(tmp_path / "ct")[0].parent])
    assert {entry.answer for entry in got.entries} == {"opened"}
    assert got.stacks == 1


def test_that_there_are_enough_hand_made_inputs_and_each_has_its_own_name():
    everything = list(
        itertools.chain.from_iterable(
            module.CASES  # type: ignore[attr-defined]
            for module in _modules((*KINDS, "models"))
        )
    )
    names = [case.name for case in everything]
    assert len(set(names)) == len(names)
    assert len(names) >= LEAST_CASES
