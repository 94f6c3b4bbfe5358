"""What a model makes of one drawn picture and one text: kept beside it, compared ever after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import base, folders

FILE = "reference.json"
TEXT = "Chest radiograph, frontal view: small left pleural effusion, no nodule."
# The least cosine between stored and seen vector, by what is computed with: other machines and
# libraries round otherwise, int8 leaves less (a ViT-B/16 with random weights: 0.9989).
LEAST = {"fp32": 0.999, "fp16": 0.995, "bf16": 0.995, "int8": 0.98}
_MOST_BYTES = 1 << 20
_VERSION = 1


@dataclass(frozen=True)
class Vectors:
    """The vectors of picture and text, empty where a model does not read such; and its digest."""

    digest: str
    picture: tuple[float, ...]
    text: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Cosines between the stored vectors and those of now, None where there is none of a kind."""

    picture: float | None
    text: float | None
    problem: str = ""


def picture() -> np.ndarray:
    """Return the drawn picture, uint8 (192, 256, 3): drawn in whole numbers, alike everywhere."""
    y, x = np.mgrid[0:192, 0:256].astype(np.int64)
    drawn = 40 + (x + y) // 8
    for centre_y, centre_x, radius, light in (
        (96, 80, 56, -30),
        (96, 176, 52, -25),
        (120, 128, 30, 90),
    ):
        inside = (y - centre_y) ** 2 + (x - centre_x) ** 2 <= radius**2
        drawn = np.where(inside, drawn + light, drawn)
    drawn += ((x * 7 + y * 13) % 17) + np.where((y % 24 < 3) & (y > 30) & (y < 170), 25, 0)
    return np.repeat(np.clip(drawn, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def seen(encoder: base.Encoder) -> Vectors:
    """Return what an encoder makes of picture and text; raises EncoderError."""
    card = encoder.card
    images = texts = np.empty((1, 0), np.float32)
    if "images" in card.abilities:
        images = base.image_vectors(encoder, picture()[None])
    if "texts" in card.abilities:
        texts = base.text_vectors(encoder, [TEXT])
    return Vectors(card.digest, _plain(images[0]), _plain(texts[0]))


def write(folder: Path, vectors: Vectors) -> None:
    """Keep the vectors in a model folder."""
    kept = {"version": _VERSION, "digest": vectors.digest, "text_read": TEXT}
    kept |= {"picture": vectors.picture, "text": vectors.text}
    (folder / FILE).write_text(json.dumps(kept) + "\n", "utf-8")


def read(folder: Path, name: str) -> Vectors | None:
    """Return the vectors that lie in a model folder, None where there are none.

    Raises EncoderError for a file that cannot be understood.
    """
    folders.check_file(folder, FILE, _MOST_BYTES, name)
    if not (folder / FILE).is_file():
        return None
    kept = folders.read_json(folder / FILE, name)
    try:
        if kept["version"] != _VERSION or kept["text_read"] != TEXT:
            raise errors.EncoderError(name, f"its {FILE} is of another version of this program")
        return Vectors(str(kept["digest"]), _numbers(kept["picture"]), _numbers(kept["text"]))
    except (KeyError, TypeError, ValueError) as error:
        raise errors.EncoderError(name, f"its {FILE} cannot be understood") from error


def compare(kept: Vectors, now: Vectors, card: base.EncoderCard) -> Comparison:
    """Compare stored vectors with those of now, which the encoder of that card made."""
    found: dict[str, float | None] = {}
    problem = ""
    for what in ("picture", "text"):
        precision = card.precision
        # A converted model may run its texts in int8 beside pictures in fp32.
        if what == "text" and card.kind == "open_clip" and card.runtime == "onnxruntime":
            precision = "int8"
        least = LEAST.get(precision, LEAST["fp32"])
        before, after = getattr(kept, what), getattr(now, what)
        found[what] = None
        if len(before) != len(after):
            problem = problem or (
                f"its vector of a {what} has {len(after)} numbers, the one stored with it "
                f"{len(before)}"
            )
        elif before:
            found[what] = cosine = _cosine(before, after)
            if cosine < least:
                problem = problem or (
                    f"its vector of the reference {what} is not the one stored with it (cosine "
                    f"{cosine:.4f}, {least} is the least in {precision}): its files are not "
                    "those that it was imported with"
                )
    return Comparison(found["picture"], found["text"], problem)


def _cosine(before: Sequence[float], after: Sequence[float]) -> float:
    a, b = np.asarray(before), np.asarray(after)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length > 0 else 0.0


def _numbers(given: Any) -> tuple[float, ...]:
    found = tuple(float(number) for number in given)
    if not np.isfinite(found).all():
        raise ValueError("a number is not finite")
    return found


def _plain(vector: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(number), 7) for number in vector)
