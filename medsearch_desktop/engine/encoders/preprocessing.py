"""What a picture goes through before an open_clip network: size, crop, mean, spread; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

# Mean and spread of a channel, as CLIP was trained with: the default of open_clip.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_SPREAD = (0.26862954, 0.26130258, 0.27577711)
# Of a picture that is longer than this many times its width, the middle is taken before it is
# scaled: the rest would be cut off anyway, after it had filled the memory.
_LONGEST_SHAPE = 32


@dataclass(frozen=True)
class Preprocessing:
    """How uint8 pictures become the float32 pixels that a network was trained on.

    `height` and `width` are the network's. `fitting` is "shortest" (the
    shorter edge fills it and the longer is cut), "longest" (the longer edge
    fills it, black bars beside it) or "squash".
    """

    height: int
    width: int
    mean: tuple[float, ...] = _MEAN
    spread: tuple[float, ...] = _SPREAD
    fitting: str = "shortest"
    resampling: Image.Resampling = Image.Resampling.BICUBIC

    @staticmethod
    def of(model: Mapping[str, Any], preprocess: Mapping[str, Any]) -> Preprocessing:
        """Return what model_cfg and preprocess_cfg of an open_clip_config.json ask for.

        Raises ValueError or TypeError where they ask for what there is not.
        """
        size = model["vision_cfg"].get("image_size", 224)
        height, width = (int(n) for n in (size if isinstance(size, list | tuple) else (size, size)))
        fitting = preprocess.get("resize_mode") or "shortest"
        interpolation = preprocess.get("interpolation") or "bicubic"
        if min(height, width) < 1 or max(height, width) > 4096:
            raise ValueError(f"pictures of {height} x {width} pixels are asked for")
        if fitting not in ("shortest", "longest", "squash"):
            raise ValueError(f"resize_mode {fitting!r} is not known")
        if interpolation not in ("bicubic", "bilinear", "random"):
            raise ValueError(f"interpolation {interpolation!r} is not known")
        is_bilinear = interpolation == "bilinear"
        spread = _three(preprocess.get("std"), _SPREAD)
        if min(spread) <= 0:
            raise ValueError(f"std must be above 0, not {preprocess.get('std')}")
        return Preprocessing(
            height,
            width,
            _three(preprocess.get("mean"), _MEAN),
            spread,
            fitting,
            Image.Resampling.BILINEAR if is_bilinear else Image.Resampling.BICUBIC,
        )

    def shown(self, image: np.ndarray) -> np.ndarray:
        """Return uint8 (height, width, 3) of a uint8 (h, w, 3) of any size."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"not uint8 (h, w, 3) with pixels: {image.dtype} {image.shape}")
        middle = _middle(image) if self.fitting == "shortest" else image
        picture = Image.fromarray(np.ascontiguousarray(middle))
        scaled = picture.resize(self._scaled(*middle.shape[:2]), self.resampling)
        return np.asarray(self._cut(scaled))

    def pixels(self, shown: np.ndarray) -> np.ndarray:
        """Return float32 (n, 3, height, width) of uint8 (n, height, width, 3)."""
        unit = shown.astype(np.float32) / np.float32(255)
        scaled = (unit - np.array(self.mean, np.float32)) / np.array(self.spread, np.float32)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        """Return (width, height) after scaling, rounded as torchvision rounds it."""
        if self.fitting == "squash":
            return self.width, self.height
        if self.fitting == "shortest" and self.height == self.width:
            long = int(self.height * max(height, width) / min(height, width))
            return (self.width, long) if width <= height else (long, self.height)
        ratios = height / self.height, width / self.width
        ratio = max(ratios) if self.fitting == "longest" else min(ratios)
        return max(1, round(width / ratio)), max(1, round(height / ratio))

    def _cut(self, picture: Image.Image) -> Image.Image:
        """Return the middle of the network's size, with black bars where the picture ends."""
        if picture.size == (self.width, self.height):
            return picture
        above, beside = max(0, self.height - picture.height), max(0, self.width - picture.width)
        if above or beside:
            size = (picture.width + beside, picture.height + above)
            boxed = Image.new("RGB", size)
            boxed.paste(picture, (beside // 2, above // 2))
            picture = boxed
        top = round((picture.height - self.height) / 2.0)
        left = round((picture.width - self.width) / 2.0)
        return picture.crop((left, top, left + self.width, top + self.height))


def _middle(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    most = _LONGEST_SHAPE * min(height, width)
    top, left = max(0, (height - most) // 2), max(0, (width - most) // 2)
    return image[top : top + most, left : left + most]


def _three(given: object, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return a number a channel; a single number counts for all of them."""
    if not given:
        return default
    numbers = tuple(float(n) for n in (given if isinstance(given, list | tuple) else (given,) * 3))
    if len(numbers) != 3 or not np.isfinite(numbers).all():
        raise ValueError(f"not a number for each of three channels: {given}")
    return numbers
