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


@pytest.mark.parametrize(
    ("device", "capability", "wanted", "taken"),
    [
        ("cpu", (0, 0), "auto", "fp32"),
        ("cuda", (9, 0), "auto", "fp16"),
        ("cuda", (7, 5), "auto", "fp16"),
        ("cuda", (6, 1), "auto", "fp32"),
        ("mps", (0, 0), "auto", "fp16"),
        ("cuda", (8, 0), "bf16", "bf16"),
        ("cpu", (0, 0), "bf16", "bf16"),
        ("cuda", (9, 0), "fp32", "fp32"),
        ("cuda", (9, 0), "int8", "fp16"),
        ("cpu", (0, 0), "int8", "fp32"),
    ],
)
def test_that_a_gpu_computes_in_half_precision_and_a_cpu_in_full_unless_asked(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    capability: tuple[int, int],
    wanted: str,
    taken: str,
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert devices.precision("x", torch.device(device), wanted) == taken


@pytest.mark.parametrize(
    ("device", "capability", "narrow", "taken"),
    [
        ("cuda", (8, 6), "fp16", "bf16"),
        ("cuda", (8, 6), "bf16", "fp32"),
        ("cuda", (7, 5), "fp16", "fp32"),
        ("mps", (0, 0), "fp16", "fp32"),
        ("cpu", (0, 0), "fp16", "fp32"),
    ],
)
def test_that_numbers_too_large_go_on_in_what_the_device_is_fast_with(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    capability: tuple[int, int],
    narrow: str,
    taken: str,
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert devices.wider(torch.device(device), narrow) == taken


def test_that_a_precision_that_is_none_is_refused() -> None:
    import torch

    with pytest.raises(errors.EncoderError, match="fp12"):
        devices.precision("x", torch.device("cpu"), "fp12")


def test_that_a_machine_without_a_gpu_is_known_without_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    monkeypatch.setattr(devices, "choose", lambda name, wanted: asked.append(wanted) or _Cuda)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices, "NVIDIA", tmp_path / "none")
    monkeypatch.setattr(devices, "OTHERS", (tmp_path / "none",))
    assert devices.is_cpu("x")
    assert devices.is_cpu("x", "cpu")
    assert not asked
    monkeypatch.setattr(devices, "NVIDIA", tmp_path)
    assert not devices.is_cpu("x")
    assert not devices.is_cpu("x", "cuda:1")
    assert asked == ["auto", "cuda:1"]


class _Cuda:
    type = "cuda"


@pytest.mark.parametrize("has_driver", [True, False])
def test_that_windows_has_a_gpu_where_its_driver_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_driver: bool
) -> None:
    (tmp_path / "System32").mkdir()
    if has_driver:
        (tmp_path / "System32" / "nvcuda.dll").touch()
    monkeypatch.setattr(devices, "choose", lambda name, wanted: _Cuda)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    assert devices.is_cpu("x") != has_driver
