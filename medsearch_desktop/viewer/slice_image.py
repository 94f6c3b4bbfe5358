"""One plane of a volume -> the 8-bit picture Qt draws; window and value under the cursor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QImage

from medsearch_desktop.imaging import display
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.imaging import volume as volumes
from medsearch_desktop.viewer import framing

# Pixels of mouse travel that multiply the width by e, or move the centre by one width.
_TRAVEL_PX = 250.0


def _tr(words: str) -> str:
    return QCoreApplication.translate("viewer", words)


@dataclass(frozen=True)
class Part:
    """The pixels of a shown slice that are drawn: columns x0 to x1, rows y0 to y1, by `step`."""

    x0: int
    y0: int
    x1: int
    y1: int
    step: int = 1

    def of(self, plane: np.ndarray) -> np.ndarray:
        """Return these pixels of (rows, columns, ...), as a view."""
        return plane[self.y0 : self.y1 : self.step, self.x0 : self.x1 : self.step]

    def target(self, frame: framing.Frame) -> tuple[float, float, float, float]:
        """Return (left, top, width, height) of the part in the pane."""
        columns = math.ceil((self.x1 - self.x0) / self.step)
        rows = math.ceil((self.y1 - self.y0) / self.step)
        left, top = frame.to_pane(self.x0, self.y0)
        right, bottom = frame.to_pane(self.x0 + columns * self.step, self.y0 + rows * self.step)
        return left, top, right - left, bottom - top


class Shader:
    """Turns planes into pictures; keeps the last look-up table, which most slices share."""

    def __init__(self) -> None:
        self._key: object = None
        self._table: np.ndarray | None = None

    def picture(
        self,
        volume: volumes.Volume,
        plane: int,
        window: studies.Window | None,
        part: Part,
        turn: display.Turn = display.Turn(),  # noqa: B008 - frozen
    ) -> QImage:
        """Return a part of plane `plane`, turned, as Grayscale8 or RGB888.

        `window` is None for colour. The picture owns its pixels.
        """
        values = part.of(turn.apply(volume.voxels[plane]))
        if volume.series.samples == 3:
            return _owned(np.ascontiguousarray(values), QImage.Format.Format_RGB888)
        if window is None:
            raise ValueError("a grey slice needs a window")
        return _owned(self._grey(volume, plane, values, window), QImage.Format.Format_Grayscale8)

    def _grey(
        self, volume: volumes.Volume, plane: int, values: np.ndarray, window: studies.Window
    ) -> np.ndarray:
        series, index = volume.series, volume.indices[plane]
        if values.dtype.kind not in "iu" or values.dtype.itemsize > 2:
            modality = volumes.modality_values(series, index, values)
            return display.to_8bit(modality, window, series.is_inverted)
        key = (series.key, series.slope[index], series.intercept[index], window)
        if self._table is None or key != self._key:
            self._table, self._key = display.lut(series, index, window), key
        # Negative stored values index from the table's upper half, as `lut` lays it out.
        unsigned = np.uint16 if values.dtype.itemsize == 2 else np.uint8
        return self._table.take(values.view(unsigned))


def _owned(pixels: np.ndarray, kind: QImage.Format) -> QImage:
    """Return a QImage over `pixels`, (h, w) or (h, w, 3) uint8, that keeps them alive."""
    height, width = pixels.shape[:2]
    image = QImage(pixels.data, width, height, pixels.strides[0], kind)
    image.pixels = pixels  # Qt does not own the buffer
    return image


def smallest_width(series: studies.Series) -> float:
    """Return the narrowest useful window: one step of stored values."""
    if np.dtype(series.dtype).kind in "iub":
        return max(abs(series.slope[0]) if series.slope else 1.0, 1e-9)
    return 1e-6


def dragged_window(
    start: studies.Window, right_px: float, down_px: float, *, narrowest: float, inverted: bool
) -> studies.Window:
    """Return the window after a drag: to the right widens, upwards brightens.

    The width grows by e for each 250 px, the centre moves by one width of
    `start` for each 250 px. The result has no preset's name.
    """
    width = max(start.width * math.exp(right_px / _TRAVEL_PX), narrowest)
    brighter = start.width * down_px / _TRAVEL_PX
    centre = start.centre + (-brighter if inverted else brighter)
    return studies.Window(centre, width, "", start.function)


def number(value: float) -> str:
    """Return a value as the pane writes it: a true minus sign, four digits for a fraction."""
    if math.isnan(value):
        return _tr("not a number")
    text = f"{value:.0f}" if value == int(value) or abs(value) >= 1e4 else f"{value:.4g}"
    return text.replace("-", "−") if text != "-0" else "0"


def value_text(volume: volumes.Volume, plane: int, column: int, row: int) -> str:
    """Return the modality value of one pixel with its unit ("HU −84"), or its colour."""
    stored = volume.voxels[plane, row, column]
    if volume.series.samples == 3:
        return "RGB " + " ".join(str(int(part)) for part in stored)
    series, index = volume.series, volume.indices[plane]
    if series.modality_table is not None:
        value = float(volumes.modality_values(series, index, stored.reshape(1))[0])
    else:
        # In double precision: a slope such as 0.1 must not show as 0.30000001.
        value = float(stored) * series.slope[index] + series.intercept[index]
    if math.isinf(value):
        return _tr("infinite")
    value = value if math.isnan(value) else round(value, 9)
    return f"{series.units or _tr('Value')} {number(value)}"
