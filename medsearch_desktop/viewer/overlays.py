"""What is drawn over a slice: corner texts, letters, scale bar, slice bar, marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QGuiApplication, QPainter, QPen, QPolygonF

from medsearch_desktop.viewer import framing

EDGE = 6  # px between a plate and the edge of the pane
BAR_WIDTH = 6
BAR_ROOM = 22  # px the slice bar takes at the right, with its margins
# Pane widths below which corners, then all but the image number, are left out.
FOUR_CORNERS, TWO_CORNERS = 400, 240


@dataclass(frozen=True)
class OverlayColours:
    """The look as the viewer needs it; `scale` is 1.0 at 100 %, `ring` a width in px."""

    ground: QColor
    text: QColor
    second: QColor
    plate: QColor
    line: QColor
    track: QColor
    border: QColor
    accent: QColor
    warning: QColor
    error: QColor
    reference: QColor
    scale: float = 1.0
    ring: int = 2


@dataclass(frozen=True, eq=False)
class Contents:
    """What to write over one slice; every text is ready to be shown.

    `letters` are at the (left, right, top, bottom) edges or None when the
    orientation is unknown. `ready` is bool (slices,): which are loaded; `faults`
    are the slices that cannot be read.
    """

    who: tuple[str, ...] = ()
    image_number: str = ""
    machine: tuple[str, ...] = ()
    window: str = ""
    window_name: str = ""
    zoom: str = ""
    quality: str = ""
    is_lossy: bool = False
    value: str = ""
    letters: tuple[str, str, str, str] | None = None
    unknown: str = ""
    scale_bar: framing.ScaleBar | None = None
    no_scale: str = ""
    marks: tuple[str, ...] = ()
    more_marks: str = ""
    index: int = 0
    ready: np.ndarray | None = None
    faults: tuple[int, ...] = ()
    hidden: bool = False


class Painter:
    """Draws `Contents` into a pane of `width` x `height` logical px."""

    def __init__(self, colours: OverlayColours) -> None:
        self._colours = colours
        self._scale = colours.scale
        self._body = _font(12 * colours.scale, QFont.Weight.Normal)
        self._strong = _font(12 * colours.scale, QFont.Weight.DemiBold)
        self._letter = _font(15 * colours.scale, QFont.Weight.DemiBold)
        self._heading = _font(13 * colours.scale, QFont.Weight.Medium)

    def paint(self, painter: QPainter, width: float, height: float, contents: Contents) -> QRectF:
        """Draw everything; return the rectangle of the warnings (null where there are none)."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        right = width - (self._px(BAR_ROOM) if self._has_bar(contents) else self._px(EDGE))
        top = self._letters(painter, width, height, right, contents)
        if contents.hidden:
            if contents.is_lossy:
                self._corner(painter, right, height, [contents.quality], right=True, lower=True)
            return self._warnings(painter, width, top, contents)
        if self._has_bar(contents):
            self._slice_bar(painter, width, height, contents)
        taken = self._corners(painter, width, height, right, contents)
        if width >= self._px(FOUR_CORNERS):
            self._scale_bar(painter, width, height, contents)
        return self._warnings(painter, width, top, contents, taken)

    def message(
        self, painter: QPainter, width: float, height: float, text: str, *, is_error: bool
    ) -> None:
        """Write a sentence in the middle of the pane, under an octagon if it is an error."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._heading)
        room = QRectF(0, 0, min(width - self._px(32), self._px(440)), height)
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        written = QFontMetricsF(self._heading).boundingRect(room, int(flags), text)
        written.moveCenter(QPointF(width / 2, height / 2))
        plate = written.adjusted(-self._px(12), -self._px(8), self._px(12), self._px(8))
        if is_error:
            plate.setTop(plate.top() - self._px(36))
        self._plate(painter, plate)
        if is_error:
            self._octagon(painter, QPointF(width / 2, plate.top() + self._px(22)), self._px(12))
        painter.setPen(self._colours.text)
        painter.drawText(written, int(flags), text)

    def ring(self, painter: QPainter, width: float, height: float) -> None:
        """Draw the ring of keyboard focus just inside the pane."""
        pen = QPen(self._colours.accent, self._colours.ring)
        pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        half = self._colours.ring / 2
        painter.drawRect(QRectF(half, half, width - 2 * half, height - 2 * half))

    def bar_rect(self, width: float, height: float) -> QRectF:
        """Return the track of the slice bar."""
        margin = self._px(40)
        left = width - self._px(14)
        return QRectF(left, margin, self._px(BAR_WIDTH), max(height - 2 * margin, 1.0))

    def _px(self, size: float) -> float:
        return float(round(size * self._scale))

    @staticmethod
    def _has_bar(contents: Contents) -> bool:
        return contents.ready is not None and len(contents.ready) > 1

    def _plate(self, painter: QPainter, rect: QRectF) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._colours.plate)
        painter.drawRoundedRect(rect, self._px(3), self._px(3))

    def _corners(
        self, painter: QPainter, width: float, height: float, right: float, contents: Contents
    ) -> list[QRectF]:
        """Draw the corners there is room for; return the plates of the upper ones."""
        left = self._px(EDGE)
        if width < self._px(TWO_CORNERS):
            upper = self._corner(painter, left, height, [contents.image_number], right=False)
            if contents.is_lossy:
                self._corner(painter, right, height, [contents.quality], right=True, lower=True)
            return [upper]
        two = width < self._px(FOUR_CORNERS)
        # The middle of the upper edge belongs to the letter, or to "Orientation unknown".
        room = 0.7 * width if two else min(0.4 * width, width / 2 - self._px(96))
        upper = [self._corner(painter, left, height, [*contents.who], right=False, room=room)]
        quality = [contents.quality] if contents.is_lossy else []
        lower = [contents.window, *(quality if two else [contents.zoom])]
        strong = contents.window_name
        self._corner(
            painter, left, height, lower, right=False, lower=True, strong=strong, room=room
        )
        if not two:
            machine = [*contents.machine]
            upper.append(self._corner(painter, right, height, machine, right=True, room=room))
            last = [contents.quality, contents.value]
            self._corner(painter, right, height, last, right=True, lower=True, room=room)
        return upper

    def _corner(
        self,
        painter: QPainter,
        side: float,
        height: float,
        lines: list[str],
        *,
        right: bool,
        lower: bool = False,
        strong: str = "",
        room: float = 1e6,
    ) -> QRectF:
        """Draw up to four lines on one plate and return it.

        `strong` follows the first line in the accent.
        """
        metrics = QFontMetricsF(self._body)
        elide = Qt.TextElideMode.ElideRight
        lines = [metrics.elidedText(line, elide, room) for line in lines if line][:4]
        if not lines:
            return QRectF()
        gap = self._px(6)
        extra = QFontMetricsF(self._strong).horizontalAdvance(strong) + gap if strong else 0.0
        widths = [metrics.horizontalAdvance(line) for line in lines]
        widths[0] += extra
        line_height, pad = self._px(16), self._px(6)
        plate = QRectF(0, 0, max(widths) + 2 * pad, len(lines) * line_height + self._px(4))
        plate.moveLeft(side - plate.width() if right else side)
        plate.moveTop(height - self._px(EDGE) - plate.height() if lower else self._px(EDGE))
        self._plate(painter, plate)
        painter.setFont(self._body)
        painter.setPen(self._colours.text)
        align = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        for place, line in enumerate(lines):
            row = QRectF(
                plate.left() + pad,
                plate.top() + self._px(2) + place * line_height,
                plate.width() - 2 * pad,
                line_height,
            )
            painter.drawText(row, int(align | Qt.AlignmentFlag.AlignVCenter), line)
            if strong and place == 0:
                painter.setFont(self._strong)
                painter.setPen(self._colours.accent)
                row.setLeft(row.left() + widths[0] - extra + gap)
                painter.drawText(row, int(align | Qt.AlignmentFlag.AlignVCenter), strong)
                painter.setFont(self._body)
                painter.setPen(self._colours.text)
        return plate

    def _letters(
        self, painter: QPainter, width: float, height: float, right: float, contents: Contents
    ) -> float:
        """Draw the letters of orientation; return where free room begins under the upper one."""
        edge = self._px(EDGE)
        if contents.letters is None:
            if not contents.unknown:
                return edge
            plate = self._label(painter, contents.unknown, width / 2, edge, 0.5, 0.0, self._body)
            return plate.bottom() + self._px(4)
        left, rightmost, top, bottom = contents.letters
        at_right = right if not contents.hidden else width - edge
        self._label(painter, left, edge, height / 2, 0.0, 0.5, self._letter)
        self._label(painter, rightmost, at_right, height / 2, 1.0, 0.5, self._letter)
        # The scale bar stands below the lower letter.
        lower = height - self._px(EDGE if contents.hidden else 30)
        self._label(painter, bottom, width / 2, lower, 0.5, 1.0, self._letter)
        plate = self._label(painter, top, width / 2, edge, 0.5, 0.0, self._letter)
        return plate.bottom() + self._px(4)

    def _label(
        self,
        painter: QPainter,
        text: str,
        x: float,
        y: float,
        part_x: float,
        part_y: float,
        font: QFont,
    ) -> QRectF:
        """Draw one text on a plate; (part_x, part_y) of the plate lies at (x, y)."""
        wide = QFontMetricsF(font).horizontalAdvance(text) + self._px(10)
        plate = QRectF(0, 0, max(wide, self._px(20)), self._px(20))
        plate.moveTopLeft(QPointF(x - part_x * plate.width(), y - part_y * plate.height()))
        self._plate(painter, plate)
        painter.setFont(font)
        painter.setPen(self._colours.text)
        painter.drawText(plate, int(Qt.AlignmentFlag.AlignCenter), text)
        return plate

    def _scale_bar(
        self, painter: QPainter, width: float, height: float, contents: Contents
    ) -> None:
        base = height - self._px(14)
        if contents.scale_bar is None:
            if contents.no_scale:
                y = height - self._px(EDGE)
                self._label(painter, contents.no_scale, width / 2, y, 0.5, 1.0, self._body)
            return
        length, parts = contents.scale_bar.length_px, contents.scale_bar.parts
        left = width / 2 - length / 2
        lines = [(QPointF(left, base), QPointF(left + length, base))]
        for part in range(parts + 1):
            x = left + length * part / parts
            tall = self._px(6 if part in (0, parts) else 4)
            lines.append((QPointF(x, base), QPointF(x, base - tall)))
        for colour, thick in ((self._colours.line, 4.0), (self._colours.text, 1.5)):
            painter.setPen(QPen(colour, self._px(thick)))
            for start, end in lines:
                painter.drawLine(start, end)
        self._label(
            painter, contents.scale_bar.label, left + length + self._px(8), base, 0.0, 0.6,
            self._body,
        )  # fmt: skip

    def _slice_bar(
        self, painter: QPainter, width: float, height: float, contents: Contents
    ) -> None:
        """Draw the track, bright where slices are loaded, and the knob."""
        ready = contents.ready
        assert ready is not None
        track = self.bar_rect(width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._colours.plate)
        painter.drawRect(track)
        painter.setBrush(self._colours.track)
        step = track.height() / len(ready)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], ready.astype(np.int8), [0]))))
        for first, end in zip(edges[::2], edges[1::2], strict=True):
            painter.drawRect(
                QRectF(
                    track.left(), track.top() + first * step, track.width(), (end - first) * step
                )
            )
        self._fault_ticks(painter, track, contents)
        centre = track.top() + (contents.index + 0.5) * step
        knob = QRectF(0, 0, track.width() + self._px(2), self._px(14))
        knob.moveCenter(QPointF(track.center().x(), centre))
        painter.setBrush(self._colours.line)
        painter.drawRoundedRect(knob.adjusted(-1, -1, 1, 1), self._px(3), self._px(3))
        painter.setBrush(self._colours.text)
        painter.drawRoundedRect(knob, self._px(3), self._px(3))

    def _fault_ticks(self, painter: QPainter, track: QRectF, contents: Contents) -> None:
        """Draw a tick beyond both sides of the track at each slice that cannot be read."""
        assert contents.ready is not None
        high = max(self._px(2), track.height() / len(contents.ready))
        painter.setBrush(self._colours.warning)
        step = track.height() / len(contents.ready)
        for top in {round(track.top() + (i + 0.5) * step - high / 2) for i in contents.faults}:
            painter.drawRect(QRectF(track.left() - 2, top, track.width() + 4, high))

    def _warnings(
        self,
        painter: QPainter,
        width: float,
        top: float,
        contents: Contents,
        taken: Sequence[QRectF] = (),
    ) -> QRectF:
        """Draw up to two warnings beside a triangle, under the upper letter and clear of `taken`.

        Hidden overlays leave the triangle.
        """
        if not contents.marks:
            return QRectF()
        lines = [] if contents.hidden else list(contents.marks[:2])
        if lines and contents.more_marks:
            lines[-1] = f"{lines[-1]} {contents.more_marks}"
        text = "\n".join(lines)
        flags = int(Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextWordWrap)
        sign, pad = self._px(26), self._px(3)
        room = max(min(width * 0.62, self._px(460)) - sign - self._px(8), 40.0)
        written = QFontMetricsF(self._body).boundingRect(QRectF(0, 0, room, 1e4), flags, text)
        plate = QRectF(0, top, sign, self._px(22))
        if text:
            plate.setWidth(written.width() + sign + self._px(8))
            plate.setHeight(written.height() + 2 * pad)
        plate.moveLeft(width / 2 - plate.width() / 2)
        if any(plate.intersects(other) for other in taken):
            plate.moveTop(max(other.bottom() for other in taken) + self._px(4))
        self._plate(painter, plate)
        centre = QPointF(plate.left() + sign / 2, plate.top() + self._px(11))
        self._triangle(painter, centre, self._px(7))
        if text:
            painter.setFont(self._body)
            painter.setPen(self._colours.text)
            painter.drawText(plate.adjusted(sign, pad, 0, 0), flags, text)
        return plate

    def _triangle(self, painter: QPainter, centre: QPointF, radius: float) -> None:
        x, y = centre.x(), centre.y()
        shape = [(0, -1), (1.05, 0.8), (-1.05, 0.8)]
        self._sign(
            painter,
            [QPointF(x + a * radius, y + b * radius) for a, b in shape],
            self._colours.warning,
        )
        self._stroke(painter, x, y - 0.25 * radius, y + 0.25 * radius, self._colours.warning)

    def _octagon(self, painter: QPainter, centre: QPointF, radius: float) -> None:
        x, y = centre.x(), centre.y()
        angles = np.deg2rad(22.5 + 45 * np.arange(8))
        points = [QPointF(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]
        self._sign(painter, points, self._colours.error)
        self._stroke(painter, x, y - 0.45 * radius, y + 0.1 * radius, self._colours.error)
        painter.drawPoint(QPointF(x, y + 0.5 * radius))

    def _sign(self, painter: QPainter, points: list[QPointF], colour: QColor) -> None:
        pen = QPen(colour, self._px(1.5))
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolygon(QPolygonF(points))

    def _stroke(
        self, painter: QPainter, x: float, top: float, bottom: float, colour: QColor
    ) -> None:
        pen = QPen(colour, self._px(1.5))
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        painter.drawLine(QPointF(x, top), QPointF(x, bottom))


def _font(size: float, weight: QFont.Weight) -> QFont:
    made = QFont(QGuiApplication.font())
    made.setPixelSize(max(1, round(size)))
    made.setWeight(weight)
    return made
