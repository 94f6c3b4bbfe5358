"""A real encoder of 16 numbers from colour and word hashes: exact, instant, without torch.

Importing this module allows `encoders.base.find("toy_encoder:ToyEncoder")` in this process and
in those it starts.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence

import numpy as np

from medsearch_desktop.engine.encoders import base

NAME = "toy_encoder:ToyEncoder"
os.environ[base.TEST_ENCODER] = NAME

COLOURS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "green": (0, 255, 0),
    "cyan": (0, 255, 255),
    "red": (255, 0, 0),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
}


class ToyEncoder:
    """The first 8 numbers say how much of each corner colour a picture or a text holds.

    A colour's name in a text and a picture of that colour point the same way. All other words
    fall by hash into the last 8 numbers.
    """

    def __init__(self, name: str = NAME, salt: str = "") -> None:
        self.card = base.EncoderCard(
            name=name,
            kind="toy",
            digest=hashlib.sha256(f"toy {salt}".encode()).hexdigest(),
            dimension=16,
            abilities=("images", "texts"),
            limits="For tests only.",
        )

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        corners = np.array(list(COLOURS.values()), dtype=np.float32)
        vectors = np.zeros((len(images), 16), dtype=np.float32)
        for row, image in enumerate(images):
            pixels = image.reshape(-1, 3)[:: max(1, image.size // 3000)].astype(np.float32)
            distances = np.abs(pixels[:, None, :] - corners).sum(axis=2)
            vectors[row, :8] = np.exp(-distances / 100).mean(axis=0)
        return _unit(vectors)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), 16), dtype=np.float32)
        names = list(COLOURS)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                if word in COLOURS:
                    vectors[row, names.index(word)] += 1
                else:
                    place = hashlib.sha256(word.encode()).digest()[0] % 8
                    vectors[row, 8 + place] += 0.3
        return _unit(vectors)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors[~vectors.any(axis=1), -1] = 1
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
