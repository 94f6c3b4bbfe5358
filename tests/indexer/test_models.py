"""A model folder is copied in whole, compared with its checksums, and never with a pickle."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from indexer import models
from medsearch_desktop import errors, settings
from medsearch_desktop.engine.encoders import base


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The model we ship, under another name, as if it had been downloaded."""
    copy = tmp_path / "download"
    shutil.copytree(settings.resource("models/compact"), copy)
    about = (copy / "model.toml").read_text("utf-8")
    (copy / "model.toml").write_text(about.replace('name = "compact"', 'name = "other"'), "utf-8")
    sums = (copy / models.SUMS).read_text("utf-8").splitlines()
    changed = f"{_sha256(copy / 'model.toml')}  model.toml"
    lines = [changed if line.endswith("  model.toml") else line for line in sums]
    (copy / models.SUMS).write_text("\n".join(lines) + "\n", "utf-8")
    return copy


def test_that_an_imported_model_is_found_by_its_name(folder: Path, home: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    encoder = models.copy_in(folder, home / "models", "cpu")
    assert encoder.card.name == "other"
    assert "other" in base.names(home / "models")
    assert not (home / "models" / "other" / "pytorch_model.bin").exists()


def test_that_a_changed_file_is_refused_and_nothing_is_left(folder: Path, home: Path) -> None:
    content = bytearray((folder / "heads.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "heads.safetensors").write_bytes(content)
    with pytest.raises(errors.WeightsMissingError, match=r"heads\.safetensors"):
        models.copy_in(folder, home / "models", "cpu")
    assert list((home / "models").iterdir()) == []


def test_that_a_name_that_is_taken_is_refused(folder: Path, home: Path) -> None:
    models.copy_in(folder, home / "models", "cpu")
    with pytest.raises(errors.EncoderError, match="installed already"):
        models.copy_in(folder, home / "models", "cpu")


def test_that_a_folder_without_a_model_is_refused(tmp_path: Path, home: Path) -> None:
    with pytest.raises(errors.EncoderMissingError):
        models.copy_in(tmp_path, home / "models", "cpu")
