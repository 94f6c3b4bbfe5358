"""Checkpoints that are pickles: read weights-only in a child, and never run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import pickles, tensors


class _Code:
    """What makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._canary),)


def refused(source: Path, words: str) -> None:
    target = source.with_name("made.safetensors")
    with pytest.raises(errors.WeightsMissingError, match=words) as raised:
        pickles.convert(source, target, "given")
    assert raised.value.name == "given"
    assert not target.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_that_a_checkpoint_with_code_is_named_and_its_code_does_not_run(
    tmp_path: Path, zipped: bool
) -> None:
    import torch

    canary, source = tmp_path / "canary", tmp_path / "model.bin"
    held = {"weight": torch.zeros(2), "other": _Code(canary)}
    torch.save(held, source, _use_new_zipfile_serialization=zipped)
    refused(source, r"model\.bin asks to run (posix|nt)\.mkdir while it is read, and was not read")
    assert not canary.exists()


def test_that_a_plain_pickle_is_not_read(tmp_path: Path) -> None:
    canary, source = tmp_path / "canary", tmp_path / "model.pt"
    source.write_bytes(pickle.dumps(_Code(canary)))
    refused(source, "model.pt")
    assert not canary.exists()


def test_that_a_torchscript_archive_is_refused_with_what_to_take_instead(tmp_path: Path) -> None:
    import torch

    traced = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(traced, str(tmp_path / "ViT-B-32.pt"))
    refused(tmp_path / "ViT-B-32.pt", "TorchScript archive.*vit_base_patch32_clip_224.openai")


@pytest.mark.parametrize("content", [b"", b"no checkpoint" * 9, b"PK\x03\x04" + bytes(60)])
def test_that_a_damaged_checkpoint_gets_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    refused(tmp_path / "model.pth", r"model\.pth (is not a whole checkpoint|holds more than)")


def test_that_a_checkpoint_without_tensors_is_refused(tmp_path: Path) -> None:
    import torch

    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "model.ckpt")
    refused(tmp_path / "model.ckpt", "holds no weights")


def test_that_what_training_saved_comes_back_as_its_weights_alone(tmp_path: Path) -> None:
    """Wrapped, with the prefix of several GPUs, and with tensors that share their memory."""
    import torch
    from safetensors.torch import load_file

    whole = torch.arange(12.0).reshape(3, 4)
    state = {
        "module.whole": whole,
        "module.row": whole[1],
        "module.turned": whole.T,
        "module.half": torch.nn.Parameter(whole.half()),
        "module.count": torch.tensor(7),
    }
    for zipped in (True, False):
        source, target = tmp_path / "model.pth", tmp_path / f"made-{zipped}.safetensors"
        held = {"epoch": 3, "optimizer": {"lr": 0.1}, "state_dict": state}
        torch.save(held, source, _use_new_zipfile_serialization=zipped)
        assert pickles.convert(source, target, "given") == 5
        found = load_file(target)
        assert {f"module.{key}" for key in found} == set(state)
        assert all(torch.equal(found[key.removeprefix("module.")], v) for key, v in state.items())
        assert tensors.shapes(target, "given")["turned"] == (4, 3)


def test_that_a_reading_without_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.bin").write_bytes(b"")
    monkeypatch.setattr(pickles, "_DEADLINE_S", 0.01)
    with pytest.raises(errors.EncoderError, match="takes more than"):
        pickles.convert(tmp_path / "model.bin", tmp_path / "made.safetensors", "given")


def test_that_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(b"")
    (folder / "model.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(errors.EncoderError, match="leads out of it"):
        pickles.convert(folder / "model.bin", tmp_path / "made.safetensors", "given")
