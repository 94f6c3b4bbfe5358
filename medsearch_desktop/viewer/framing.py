"""Where a slice lies in a pane: fit, zoom, pan, and the way back to image pixels."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

# Screen pixels per image pixel beyond which nothing more is seen.
LARGEST_SCALE = 64.0
# The smallest zoom, as a part of the fitted one.
SMALLEST_OF_FIT = 0.25


@dataclass(frozen=True)
class Frame:
    """Places `columns` x `rows` pixels in a pane of `width` x `height` logical px.

    `step_x` and `step_y` are the shown width and height of one pixel in units
    of the smaller of both, so pixels that are not square keep their shape.
    `scale` is px per unit; (`centre_x`, `centre_y`) is the place of the image,
    in pixels counted from its upper left corner, at the middle of the pane.
    """

    columns: int
    rows: int
    width: float
    height: float
    step_x: float = 1.0
    step_y: float = 1.0
    scale: float = 1.0
    centre_x: float = 0.0
    centre_y: float = 0.0

    @property
    def fitted_scale(self) -> float:
        """Return the scale at which the whole image just fits."""
        wide = self.width / (self.columns * self.step_x)
        high = self.height / (self.rows * self.step_y)
        return max(min(wide, high), 1e-3)

    def fitted(self) -> Frame:
        """Return the frame that shows the whole image in the middle."""
        return dataclasses.replace(
            self, scale=self.fitted_scale, centre_x=self.columns / 2, centre_y=self.rows / 2
        )

    def to_pane(self, x: float, y: float) -> tuple[float, float]:
        """Return where image place (x, y) lies in the pane, in logical px."""
        return (
            self.width / 2 + (x - self.centre_x) * self.step_x * self.scale,
            self.height / 2 + (y - self.centre_y) * self.step_y * self.scale,
        )

    def to_image(self, left: float, top: float) -> tuple[float, float]:
        """Return the place of the image under a place of the pane; inverse of `to_pane`."""
        return (
            self.centre_x + (left - self.width / 2) / (self.step_x * self.scale),
            self.centre_y + (top - self.height / 2) / (self.step_y * self.scale),
        )

    def pixel_at(self, left: float, top: float) -> tuple[int, int] | None:
        """Return (column, row) of the pixel under a place of the pane, None beside the image."""
        x, y = (math.floor(value) for value in self.to_image(left, top))
        return (x, y) if 0 <= x < self.columns and 0 <= y < self.rows else None

    def target(self) -> tuple[float, float, float, float]:
        """Return (left, top, width, height) of the whole image in the pane."""
        left, top = self.to_pane(0, 0)
        return (
            left,
            top,
            self.columns * self.step_x * self.scale,
            self.rows * self.step_y * self.scale,
        )

    def zoomed(self, factor: float, left: float, top: float) -> Frame:
        """Return the frame zoomed by `factor` about a place of the pane, which stays put."""
        smallest = self.fitted_scale * SMALLEST_OF_FIT
        scale = min(max(self.scale * factor, smallest), max(LARGEST_SCALE, self.fitted_scale))
        x, y = self.to_image(left, top)
        moved = dataclasses.replace(self, scale=scale)
        new_x, new_y = moved.to_image(left, top)
        return moved._held(moved.centre_x + x - new_x, moved.centre_y + y - new_y)

    def panned(self, right: float, down: float) -> Frame:
        """Return the frame with the image moved by logical px; part of it always stays in sight."""
        return self._held(
            self.centre_x - right / (self.step_x * self.scale),
            self.centre_y - down / (self.step_y * self.scale),
        )

    def resized(self, width: float, height: float, *, keep_fit: bool) -> Frame:
        """Return the frame for another size of pane, fitted again if `keep_fit`."""
        moved = dataclasses.replace(self, width=width, height=height)
        return moved.fitted() if keep_fit else moved

    def _held(self, x: float, y: float) -> Frame:
        return dataclasses.replace(
            self,
            centre_x=min(max(x, 0.0), float(self.columns)),
            centre_y=min(max(y, 0.0), float(self.rows)),
        )


def pixel_steps(spacing_mm: tuple[float, float] | None) -> tuple[float, float]:
    """Return (step_x, step_y) of a Frame for a pixel spacing of (row step, column step) in mm."""
    if spacing_mm is None or min(spacing_mm) <= 0:
        return 1.0, 1.0
    row_step, column_step = spacing_mm
    smaller = min(row_step, column_step)
    return column_step / smaller, row_step / smaller


@dataclass(frozen=True)
class ScaleBar:
    """A bar of a round length: its size in px, what it says, and its number of parts."""

    length_px: float
    label: str
    parts: int


# Parts a bar is divided into, by the leading digit of its length.
_PARTS = {1: 5, 2: 4, 5: 5}


def scale_bar(mm_per_px: float, longest_px: float) -> ScaleBar | None:
    """Return the longest bar of 1, 2 or 5 times a power of ten mm within `longest_px`.

    None where no length fits in (`longest_px` not positive).
    """
    longest_mm = mm_per_px * longest_px
    if not (longest_mm > 0 and math.isfinite(longest_mm)):
        return None
    power = 10.0 ** math.floor(math.log10(longest_mm))
    digit = next(d for d in (5, 2, 1) if d * power <= longest_mm * (1 + 1e-9) or d == 1)
    length_mm = digit * power
    label = f"{length_mm / 10:g} cm" if length_mm >= 10 else f"{length_mm:g} mm"
    return ScaleBar(length_mm / mm_per_px, label, _PARTS[digit])
