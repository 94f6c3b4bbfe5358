"""The picture of the slice shown: made once, fine when still, quick while moving."""

from __future__ import annotations

import math

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter

from medsearch_desktop.viewer import framing, slice_image, stack

# Screen pixels above which bilinear drawing is too slow to follow a drag.
_SMOOTH_PIXELS = 2_500_000
# Slices up to this size are made whole, so that panning needs no new picture.
_SMALL_PIXELS = 1 << 20
# A picture shown smaller than this is averaged, not sampled, when it stands still.
_SHRUNK = 0.75


class Picture:
    """Draws one plane; keeps the 8-bit picture and its shrunken copy between paintings."""

    def __init__(self) -> None:
        self._shader = slice_image.Shader()
        self.drop()

    def drop(self) -> None:
        """Forget the kept pictures: plane, window or pixels have changed."""
        self._key: object = None
        self._image: QImage | None = None
        self._shrunk_key: object = None
        self._shrunk: QImage | None = None

    def draw(
        self,
        painter: QPainter,
        shown: stack.Stack,
        frame: framing.Frame,
        *,
        moving: bool,
    ) -> None:
        """Draw the present slice, which has been read, where `frame` places it.

        `moving` prefers speed.
        """
        ratio = painter.device().devicePixelRatioF()
        screen = frame.scale * ratio
        part = seen_part(frame, _step(screen, moving))
        if part is None:
            return
        image = self._full(shown, part)
        target = QRectF(*part.target(frame))
        pixels = QSize(
            max(1, round(target.width() * ratio)), max(1, round(target.height() * ratio))
        )
        large = pixels.width() * pixels.height() > _SMOOTH_PIXELS
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, not (moving and large))
        if screen < _SHRUNK and not moving:
            image = self._averaged(image, pixels)
        painter.drawImage(target, image)

    def _full(self, shown: stack.Stack, part: slice_image.Part) -> QImage:
        key = (shown.volume, shown.plane, shown.window, part)
        if self._image is None or key != self._key:
            self._image = self._shader.picture(
                shown.volume, shown.plane, shown.window, part, shown.turn
            )
            self._key, self._shrunk = key, None
        return self._image

    def _averaged(self, image: QImage, size: QSize) -> QImage:
        if self._shrunk is None or size != self._shrunk_key:
            mode = Qt.TransformationMode.SmoothTransformation
            self._shrunk = image.scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, mode)
            self._shrunk_key = size
        return self._shrunk


def _step(screen_px_per_pixel: float, moving: bool) -> int:
    """Return of how many pixels one is used; at rest two are kept for each screen pixel."""
    kept = 1.0 if moving else 2.0
    return max(1, math.floor(1 / (screen_px_per_pixel * kept))) if screen_px_per_pixel > 0 else 1


def seen_part(frame: framing.Frame, step: int) -> slice_image.Part | None:
    """Return the part of a slice to draw: all of a small one, what is in sight of a large one.

    None where nothing is in sight.
    """
    if frame.columns * frame.rows <= _SMALL_PIXELS:
        return slice_image.Part(0, 0, frame.columns, frame.rows, step)
    left, top = frame.to_image(0, 0)
    right, bottom = frame.to_image(frame.width, frame.height)
    margin = 2 * step  # for smoothing beyond the edge of the pane
    x0 = max(0, math.floor((left - margin) / step) * step)
    y0 = max(0, math.floor((top - margin) / step) * step)
    x1 = min(frame.columns, math.ceil(right + margin))
    y1 = min(frame.rows, math.ceil(bottom + margin))
    return slice_image.Part(x0, y0, x1, y1, step) if x0 < x1 and y0 < y1 else None
