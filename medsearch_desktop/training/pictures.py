"""Pictures of the training rows: read, disturbed in fixed ways, and encoded by the trunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medsearch_desktop import cases
from medsearch_desktop.engine.encoders import compact
from medsearch_desktop.imaging import isolated

_LARGEST = 512  # pixels a side before disturbing: more than the network sees, cheap to turn


def features(
    paths: Sequence[Path],
    trunks: compact.Trunks,
    readers: isolated.Readers,
    *,
    views: int,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> np.ndarray:
    """Return float32 (1 + views, n, f): each picture as it is, then `views` disturbed ones.

    The disturbance of a picture depends on the seed and its place in the list.
    Raises UnreadableFileError.
    """
    found = np.empty((1 + views, len(paths), 1280), np.float32)
    for number, path in enumerate(paths):
        pixels = readers.render_picture(cases.ImageRef(str(path)))
        found[0, number] = trunks.image_features(pixels[None])[0]
        picture = Image.fromarray(pixels)
        picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BILINEAR)
        draw = np.random.default_rng((seed, number))
        for view in range(1, views + 1):
            changed = np.asarray(disturbed(picture, draw))
            found[view, number] = trunks.image_features(changed[None])[0]
        progress("pictures", number + 1, len(paths))
    return found


def disturbed(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
    """Return the picture cropped, perhaps turned or coarse, with other grey values.

    The ranges are what differs between two good photographs of one film: up
    to a quarter cut off a side, 12 degrees, down to 48 pixels, and the spread
    of windows one reader may choose. No flips: left and right mean something.
    """
    width, height = picture.size
    kept = draw.uniform(0.75, 1.0, 2)
    size = max(1, int(width * kept[0])), max(1, int(height * kept[1]))
    left = int(draw.integers(0, width - size[0] + 1))
    top = int(draw.integers(0, height - size[1] + 1))
    picture = picture.crop((left, top, left + size[0], top + size[1]))
    if draw.random() < 0.5:
        picture = picture.rotate(draw.uniform(-12, 12), Image.Resampling.BILINEAR)
    if draw.random() < 0.5:
        coarse = draw.uniform(48, 160)
        picture.thumbnail((coarse, coarse), Image.Resampling.BILINEAR)
    values: Any = np.asarray(picture, np.float32) / 255
    values = values ** draw.uniform(0.6, 1.6) * draw.uniform(0.8, 1.25)
    values = np.clip(values + draw.uniform(-0.08, 0.08), 0, 1)
    return Image.fromarray((values * 255).astype(np.uint8))
