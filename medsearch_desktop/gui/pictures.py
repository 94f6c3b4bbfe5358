"""Small pictures of series for the strip and the chips."""

from __future__ import annotations

import contextlib

import numpy as np
from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QImage

from medsearch_desktop import errors
from medsearch_desktop.imaging import display, isolated, volume
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.viewer import hanging

# Enough for 72 px at twice the scale and twice the ratio of the screen.
SIDE = 288
# So many slices to each side of the middle are tried one by one.
_NEAR = 6


def of_series(
    series: studies.Series, readers: isolated.Readers, held: volume.Volume | None = None
) -> QImage:
    """Return the middle slice at its own window, cut to its middle square; not on the main thread.

    The nearest that can be read stands in where that cannot. `held` spares
    reading it again. Raises UnreadableFileError.
    """
    places = _outward(len(series.slices))
    for place in places[:-1]:
        with contextlib.suppress(errors.UnreadableFileError):
            return _picture(series, readers, held, place)
    return _picture(series, readers, held, places[-1])


def _outward(count: int) -> list[int]:
    """Return the places tried for a picture: each near the middle, then in steps that double.

    A series of thousands of slices that cannot be read is thus not read to its end.
    """
    steps = [*range(_NEAR), *(_NEAR << n for n in range(count.bit_length()))]
    tried = (count // 2 + side * step for step in steps for side in (1, -1))
    return list(dict.fromkeys(place for place in tried if 0 <= place < count))


def _picture(
    series: studies.Series, readers: isolated.Readers, held: volume.Volume | None, place: int
) -> QImage:
    if held is None or place not in held.indices or not held.ready[held.indices.index(place)]:
        held = readers.load(series, first=place, indices=(place,))
    plane = held.indices.index(place)
    if not held.ready[plane]:
        why = held.faults.get(plane, "its pixels did not come.")
        raise errors.UnreadableFileError(series.slices[place].path, why)
    return square(grey_or_colour(held, plane))


def grey_or_colour(read: volume.Volume, plane: int) -> np.ndarray:
    """Return one plane as uint8, hung as in the viewer: (h, w) at its own window, or (h, w, 3)."""
    turn = hanging.turn(read.series)
    if read.series.samples == 3:
        return turn.apply(read.voxels[plane])
    window = display.default_window(read, plane)
    grey = display.to_8bit(read.modality_values(plane), window, read.series.is_inverted)
    return turn.apply(grey)


def square(pixels: np.ndarray) -> QImage:
    """Return the middle square of uint8 pixels, (h, w) or (h, w, 3), as a picture."""
    image = to_image(pixels)
    side = min(image.width(), image.height())
    corner = ((image.width() - side) // 2, (image.height() - side) // 2)
    cut = image.copy(QRect(*corner, side, side))
    mode = Qt.TransformationMode.SmoothTransformation
    return cut.scaled(SIDE, SIDE, Qt.AspectRatioMode.KeepAspectRatio, mode)


def to_image(pixels: np.ndarray) -> QImage:
    """Return uint8 pixels, (h, w) or (h, w, 3), as a picture with its own memory."""
    pixels = np.ascontiguousarray(pixels)
    formats = QImage.Format
    kind = formats.Format_RGB888 if pixels.ndim == 3 else formats.Format_Grayscale8
    height, width = pixels.shape[:2]
    return QImage(pixels.data, width, height, pixels.strides[0], kind).copy()


def from_image(image: QImage) -> np.ndarray:
    """Return a picture as uint8 (h, w, 3)."""
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 3].reshape(image.height(), image.width(), 3).copy()
