"""Lets torchvision be imported beside a CPU build of torch; nothing else is done here."""

from __future__ import annotations

import functools
import importlib.metadata
from typing import Any

_OPERATORS = ("nms", "qnms")


@functools.cache
def declare_operators() -> Any:
    """Declare the two operators that torchvision describes to torch when it is imported.

    The torchvision of the package index is built for CUDA; beside a CPU build
    of torch its compiled operators do not load, and its import ends with
    "operator torchvision::nms does not exist". Only their declarations are
    needed: we use none of them. A matching pair of builds is left alone,
    because it declares them itself. Returns what must be kept alive.
    """
    import torch

    if "+cpu" not in torch.__version__ or "+cpu" in importlib.metadata.version("torchvision"):
        return None
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
