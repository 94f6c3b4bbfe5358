"""Pictures of the training rows: read, disturbed in fixed ways, and scaled for the trunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from medsearch_desktop import cases
from medsearch_desktop.engine import radiographs
from medsearch_desktop.engine import views as engine_views
from medsearch_desktop.engine.encoders import compact
from medsearch_desktop.imaging import isolated
from medsearch_desktop.training import recipe, rows

_LARGEST = 512  # pixels a side before disturbing: more than the network sees, cheap to turn


def views(
    found: Sequence[rows.Row], plan: recipe.Trunk, readers: isolated.Readers
) -> Iterator[np.ndarray]:
    """Yield for each row float32 (1 + views, 3, 224, 224): as it is, then disturbed.

    The disturbance of a picture depends on the seed and its place in the
    list, not on who asks. Raises UnreadableFileError.
    """
    for number, row in enumerate(found):
        pixels = readers.render_picture(cases.ImageRef(str(row.path)))
        if plan.trim:
            pixels = radiographs.trimmed(pixels)
        seen = [compact.pixels(pixels)]
        picture = Image.fromarray(np.ascontiguousarray(pixels))
        picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BILINEAR)
        draw = np.random.default_rng((plan.seed, number))
        curves = plan.tone_curves if row.modality == "CT" else 0.0
        for _ in range(plan.views):
            seen.append(compact.pixels(np.asarray(disturbed(picture, draw, curves))))
        yield np.stack(seen)


def disturbed(
    picture: Image.Image, draw: np.random.Generator, tone_curves: float = 0.0
) -> Image.Image:
    """Return the picture cropped, perhaps turned or coarse, with other grey values.

    The ranges are what differs between two good photographs of one film: up
    to a quarter cut off a side, 12 degrees, down to 48 pixels, and the spread
    of windows one reader may choose. No flips: left and right mean something.
    With the probability `tone_curves` the channels become three windows of a
    CT, as the slices of a volume have them.
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
    if tone_curves and draw.random() < tone_curves:
        values = _three_windows(values, draw)
    values = values ** draw.uniform(0.6, 1.6) * draw.uniform(0.8, 1.25)
    values = np.clip(values + draw.uniform(-0.08, 0.08), 0, 1)
    return Image.fromarray((values * 255).astype(np.uint8))


def _three_windows(values: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return grey values 0 to 1 of (h, w, 3) as the three windows that slices of a CT have.

    At which window the picture was made is not known, so one of these is
    drawn, up to a fifth wider or narrower.
    """
    guess = engine_views.CT_WINDOWS[draw.integers(len(engine_views.CT_WINDOWS))]
    width = guess.width * draw.uniform(0.8, 1.25)
    hounsfield = guess.centre + (values.mean(axis=2) - 0.5) * width
    shown = [(hounsfield - one.centre) / one.width + 0.5 for one in engine_views.CT_WINDOWS]
    return np.asarray(np.clip(np.stack(shown, axis=2), 0, 1))
