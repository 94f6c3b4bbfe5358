"""How long an encoder takes on this machine, measured in steps that give way to questions."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from medsearch_desktop import errors
from medsearch_desktop.engine import devices
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.worker import messages

# The median of so many is shown, after one that is not counted: the first allocates.
_ROUNDS = 5
_SIDE = 512
_TEXT = "Frontal chest radiograph with a small left pleural effusion and no pneumothorax."


def steps(name: str, load: Callable[[str], base.Encoder]) -> Iterator[messages.Measured | None]:
    """Yield None after each step; the last yields what was measured.

    One picture, or one text, is encoded a step: what a question of one takes.
    """
    try:
        encoder = load(name)
        yield None
        able = encoder.card.abilities
        took: dict[str, float | None] = {"images": None, "texts": None}
        picture = _picture()
        calls: dict[str, Callable[[], object]] = {
            "images": lambda: encoder.encode_images(picture),
            "texts": lambda: encoder.encode_texts([_TEXT]),
        }
        for ability, call in calls.items():
            rounds: list[float] = []
            while ability in able and len(rounds) <= _ROUNDS:
                began = time.perf_counter()
                call()
                rounds.append((time.perf_counter() - began) * 1000)
                yield None
            if rounds:
                took[ability] = statistics.median(rounds[1:])
        # Told after it ran: an encoder may have gone over to the CPU meanwhile.
        yield messages.Measured(name, placed(encoder), took["images"], took["texts"])
    except errors.MedsearchError as error:
        yield messages.Measured(name, problem=errors.told(error))


def placed(encoder: base.Encoder) -> messages.Placed:
    """Return where an encoder runs now."""
    card = encoder.card
    # One that began on a GPU may have gone over to the CPU.
    has_left = getattr(encoder, "has_left_device", False) is True
    device = "CPU" if has_left else _device_name(card.device)
    precision = "fp32" if has_left else card.precision
    return messages.Placed(card.name, device, precision, card.runtime)


def _device_name(device: str) -> str:
    if device in ("", "cpu"):
        return "CPU"
    if device == "mps":
        return "Apple GPU"
    if "torch" in sys.modules:  # it runs by torch; what runs by another runtime knows no more
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name(torch.device(device))
    described = devices.described()
    return device if described == "CPU" else described


def _picture() -> np.ndarray:
    """Return one picture of grey levels without a pattern, uint8 (1, side, side, 3)."""
    grey = np.random.default_rng(0).integers(0, 256, (1, _SIDE, _SIDE, 1), np.uint8)
    return np.repeat(grey, 3, axis=3)
