"""Models and collections of a stranger: each gets its sentence, and the process goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import toy_collection
from hostile import models

from medsearch_desktop import errors
from medsearch_desktop.engine import collection
from medsearch_desktop.engine.encoders import base


def use(case: models.Hostile, folder: Path) -> None:
    if case.kind == "model":
        base.load_folder(folder, device="cpu")
        return
    with collection.open_collection(folder) as opened:
        list(opened.all_cases())
        opened.matching("red fracture", 10)


@pytest.mark.parametrize("case", models.CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_that_a_hostile_model_or_collection_gets_its_sentence(
    case: models.Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.name == "a pipe in place of weights" and sys.platform == "win32":
        pytest.skip("Windows has no pipes in folders")
    monkeypatch.chdir(tmp_path)
    case.write(tmp_path / "given")
    kind = errors.EncoderError if case.kind == "model" else errors.CollectionError
    with pytest.raises(kind, match=case.words) as raised:
        use(case, tmp_path / "given")
    assert raised.value.action
    assert not (tmp_path / "canary-of-a-pickle").exists()


def test_that_what_the_hostile_ones_were_made_of_can_be_used(tmp_path: Path) -> None:
    base.load_folder(models.compact(tmp_path / "compact"))
    models.sums(tmp_path / "compact")
    base.load_folder(tmp_path / "compact")
    models.rehashed(models.toys(tmp_path / "toys"))
    assert collection.verify(tmp_path / "toys") == []
    toy_collection.write(tmp_path / "toys", range(10, 12))


def test_that_hostile_names_are_unique() -> None:
    assert len({case.name for case in models.CASES}) == len(models.CASES) >= 12
