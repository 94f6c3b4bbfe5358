"""Pictures as published image towers take them: shorter side resized, centre cut out, scaled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
# A strip is cut to this ratio around its centre before it is resized: the rest would be cut off
# afterwards, and a picture of 1 x 10,000 pixels would first grow to gigabytes.
_WIDEST = 2


@dataclass(frozen=True)
class Framing:
    """How a picture becomes the `side` x `side` pixels that a network takes.

    `shorter` is what the shorter side is resized to before the centre is cut
    out; 0 resizes the whole picture to the square, whatever its shape.
    `mean` and `scale` are of the three colours, in 0..1. With `floors`, an odd
    remainder goes to the lower right, as transformers cuts; else to the even
    side, as torchvision does.
    """

    side: int
    shorter: int
    interpolation: str
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    floors: bool = False

    def __post_init__(self) -> None:
        if not 8 <= self.side <= 2048 or not (self.shorter == 0 or self.side <= self.shorter):
            raise ValueError(f"pictures of {self.side} pixels out of {self.shorter} are not known")
        if self.interpolation not in RESAMPLING:
            raise ValueError(f"the interpolation {self.interpolation!r} is not known")
        numbers = np.array((self.mean, self.scale), np.float32)
        if numbers.shape != (2, 3) or not np.isfinite(numbers).all() or numbers[1].min() <= 0:
            raise ValueError("mean and scale are not of three colours")

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """Return float32 (3, side, side), scaled, of a uint8 (h, w, 3)."""
        square = np.asarray(self.square(Image.fromarray(np.ascontiguousarray(image))))
        mean, scale = np.array((self.mean, self.scale), np.float32)
        scaled = (square.astype(np.float32) / np.float32(255) - mean) / scale
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))

    def square(self, picture: Image.Image) -> Image.Image:
        """Return the picture at `side` x `side` pixels."""
        resample = RESAMPLING[self.interpolation]
        if self.shorter == 0:
            return picture.resize((self.side, self.side), resample)
        picture = _without_ends(picture)
        width, height = picture.size
        short = min(width, height)
        size = (int(self.shorter * width / short), int(self.shorter * height / short))
        resized = picture.resize(size, resample)
        whole = int if self.floors else round
        left, top = (whole((length - self.side) / 2) for length in size)
        return resized.crop((left, top, left + self.side, top + self.side))


def _without_ends(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    longest = _WIDEST * min(width, height)
    if max(width, height) <= longest:
        return picture
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return picture.crop((left, top, left + min(width, longest), top + min(height, longest)))
