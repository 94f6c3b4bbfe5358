"""The device and precision that torch encoders run with, and what to call them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medsearch_desktop import errors

if TYPE_CHECKING:
    import torch

NVIDIA = Path("/proc/driver/nvidia/gpus")
# AMD's driver, which torch calls "cuda" too, and the GPU of Windows seen from its Linux.
OTHERS = (Path("/dev/kfd"), Path("/dev/dxg"))
_WINDOWS_DRIVER = "System32/nvcuda.dll"
# The compute capability since which fp16 is faster than fp32 (CUDA C++ Programming Guide, table of
# arithmetic throughput): before 7.0, most cards do it at a small fraction of the rate.
_FP16_SINCE = (7, 0)
_BF16_SINCE = (8, 0)


def described(wanted: str = "auto") -> str:
    """Return "CPU", or the name of the GPU that torch encoders will use.

    Answered without importing torch, which takes a second: what an encoder
    really runs on is in its card.
    """
    if wanted == "cpu" or not _torch_may_use_gpu():
        return "CPU"
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return "Apple GPU"
    for about in sorted(NVIDIA.glob("*/information")):
        for line in about.read_text("utf-8", "replace").splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return "CPU"


def is_cpu(name: str, wanted: str = "auto") -> bool:
    """Tell whether a torch encoder called `name` would run on the CPU for a wish.

    torch, which takes a second to import, is asked only where there may be
    another device. Raises what `choose` raises.
    """
    if wanted == "cpu":
        return True
    if wanted == "auto" and not (_torch_may_use_gpu() and _has_driver()):
        return True
    return choose(name, wanted).type == "cpu"


def _has_driver() -> bool:
    """Tell whether the system has what a GPU needs, without loading any of it."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", "C:/Windows")) / _WINDOWS_DRIVER).exists()
    return NVIDIA.exists() or any(path.exists() for path in OTHERS)


def _torch_may_use_gpu() -> bool:
    try:
        return "+cpu" not in importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return False


def choose(name: str, wanted: str = "auto") -> torch.device:
    """Return the torch device for a wish: "auto" takes CUDA or MPS when there is one.

    Raises EncoderError, in the name of the encoder `name`, for a device that
    is not there.
    """
    import torch

    has_mps = torch.backends.mps.is_available()
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise errors.EncoderError(name, f"{wanted!r} is no device") from error
    is_there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": has_mps}
    is_numbered = device.type == "cuda" and device.index is not None
    if not is_there.get(device.type, False) or (
        is_numbered and device.index >= torch.cuda.device_count()
    ):
        raise errors.EncoderError(name, f"the device {wanted} is not there")
    return device


def precision(name: str, device: torch.device, wanted: str = "auto") -> str:
    """Return what a torch encoder computes with on a device: "fp32", "bf16" or "fp16".

    "auto", and "int8", which torch encoders do not have, take fp16 on a GPU
    with units for it and fp32 elsewhere. bf16 keeps fewer digits, and a CPU
    without units for it is slower with it than with fp32. Raises
    EncoderError, in the name of the encoder `name`, for a word that is none.
    """
    if wanted in ("fp32", "bf16", "fp16"):
        return wanted
    if wanted not in ("auto", "int8"):
        raise errors.EncoderError(name, f"{wanted!r} is no precision")
    if device.type == "cuda":
        import torch

        return "fp16" if torch.cuda.get_device_capability(device) >= _FP16_SINCE else "fp32"
    return "fp16" if device.type == "mps" else "fp32"


def wider(device: torch.device, narrow: str) -> str:
    """Return the precision to go on with where one of fewer bits cannot hold the numbers.

    bf16 has the range of fp32; it is as fast as fp16 where the GPU has units for it.
    """
    if narrow == "fp16" and device.type == "cuda":
        import torch

        return "bf16" if torch.cuda.get_device_capability(device) >= _BF16_SINCE else "fp32"
    return "fp32"
