"""The device that torch encoders run on."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from medsearch_desktop import errors
from medsearch_desktop.engine import devices


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "wanted", "chosen"),
    [
        (True, False, "auto", "cuda"),
        (False, True, "auto", "mps"),
        (False, False, "auto", "cpu"),
        (True, False, "cpu", "cpu"),
        (True, False, "cuda:1", "cuda:1"),
    ],
)
def test_that_a_gpu_is_taken_when_there_is_one(
    monkeypatch: pytest.MonkeyPatch, has_cuda: bool, has_mps: bool, wanted: str, chosen: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    assert str(devices.choose("x", wanted)) == chosen


@pytest.mark.parametrize("wanted", ["cuda:7", "mps", "toaster", "xpu"])
def test_that_a_device_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(errors.EncoderError, match=wanted):
        devices.choose("x", wanted)


def test_that_a_cpu_build_of_torch_is_called_cpu_whatever_is_built_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0+cpu")
    assert devices.described() == "CPU"
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0")
    assert devices.described("cpu") == "CPU"


def test_that_an_nvidia_gpu_is_called_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "0000:01:00.0").mkdir()
    about = "Model: \t\t NVIDIA RTX A2000\nIRQ:   \t\t 85\n"
    (tmp_path / "0000:01:00.0" / "information").write_text(about)
    monkeypatch.setattr(devices, "NVIDIA", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0")
    assert devices.described() == "NVIDIA RTX A2000"


def test_that_asking_for_the_name_does_not_import_torch() -> None:
    code = "import sys; from medsearch_desktop.engine import devices; devices.described(); "
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
