"""Finding encoders by name, folder and plug-in."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
import toy_encoder

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import base


def test_that_an_unknown_name_is_missing_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(errors.EncoderMissingError, match="nothing-here") as caught:
        base.find("nothing-here", models=tmp_path)
    assert "Import the model folder" in caught.value.action


@pytest.mark.parametrize("name", ["os:system", "subprocess:Popen", "toy_encoder:Other"])
def test_that_a_name_out_of_a_manifest_cannot_load_any_code(tmp_path: Path, name: str) -> None:
    with pytest.raises(errors.EncoderMissingError):
        base.find(name, models=tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", "", ".hidden", "a\\b", "a..b"])
def test_that_a_path_is_no_plain_name(name: str) -> None:
    assert not base.is_plain_name(name)


def test_that_the_encoder_of_the_tests_is_found_by_its_name(tmp_path: Path) -> None:
    assert base.find(toy_encoder.NAME, models=tmp_path).card == toy_encoder.ToyEncoder().card


def test_that_a_folder_without_a_model_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(errors.EncoderMissingError, match=r"neither model\.toml nor"):
        base.find(str(tmp_path), models=tmp_path)


def test_that_an_unknown_kind_of_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text('name = "x"\nkind = "oracle"\n')
    with pytest.raises(errors.EncoderMissingError, match="oracle"):
        base.find(str(tmp_path), models=tmp_path)


def test_that_a_model_folder_that_cannot_be_used_is_listed_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.toml").write_text("kind = ")
    listed = {found.name: found for found in base.installed(tmp_path)}
    assert set(listed) == {"compact", "broken"}
    assert isinstance(listed["compact"], base.EncoderCard)
    problem = listed["broken"]
    assert isinstance(problem, base.Problem)
    assert "model.toml cannot be read" in problem.reason


def test_that_a_plug_in_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = importlib.metadata.EntryPoint("mine", toy_encoder.NAME, base.ENTRY_POINTS)
    lost = importlib.metadata.EntryPoint("lost", "no_such_module:X", base.ENTRY_POINTS)

    def entry_points(*, group: str, name: str | None = None) -> list[object]:
        return [p for p in (point, lost) if p.group == group and name in (None, p.name)]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert base.find("mine", models=tmp_path).card.dimension == 16
    with pytest.raises(errors.EncoderMissingError, match="plug-in fails"):
        base.find("lost", models=tmp_path)
    assert {"mine", "lost"} <= set(base.names(tmp_path))
