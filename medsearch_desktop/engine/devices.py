"""The device that torch encoders run on, and what to call it."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medsearch_desktop import errors

if TYPE_CHECKING:
    import torch

NVIDIA = Path("/proc/driver/nvidia/gpus")


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
