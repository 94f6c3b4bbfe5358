"""Lines of text on cards: elided, wrapped, with found words underlined; and badges."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QFont, QFontMetricsF, QPainter, QPen, QTextLayout, QTextOption

from medsearch_desktop.gui import theme

# A piece of text; True where it is a word that was found.
Piece = tuple[str, bool]
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
# What is laid out at most: more never fits on a card.
_LONGEST = 600


class Face(NamedTuple):
    """A size of the look in px at 100 %, and a weight."""

    size: int
    weight: int = 400


@functools.lru_cache(maxsize=64)
def _metrics(face: Face, scale: float) -> tuple[QFont, QFontMetricsF]:
    font = theme.font(*face)
    return font, QFontMetricsF(font)


def _face(face: Face) -> tuple[QFont, QFontMetricsF]:
    # Making a font for each line would cost more than drawing it.
    return _metrics(face, theme.current().scale)


@dataclass(frozen=True)
class Badge:
    """One part of a badge: its text, weight and token."""

    text: str
    weight: int = 400
    role: str = "text1"


def wrapped(text: str, face: Face, width: int, count: int) -> tuple[str, ...]:
    """Return at most `count` lines of `text`; the last is elided at its right."""
    plain = " ".join(text[:_LONGEST].split())
    return _wrapped(plain, face, theme.current().scale, width, count)


@functools.lru_cache(maxsize=2048)
def _wrapped(text: str, face: Face, scale: float, width: int, count: int) -> tuple[str, ...]:
    font, metrics = _metrics(face, scale)
    if count == 1 or metrics.horizontalAdvance(text) <= width:
        return (metrics.elidedText(text, Qt.TextElideMode.ElideRight, width),)
    layout = QTextLayout(text, font)
    layout.setTextOption(QTextOption(wrapMode=QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere))
    layout.beginLayout()
    made: list[str] = []
    while len(made) < count and (line := layout.createLine()).isValid():
        line.setLineWidth(width)
        start, length = line.textStart(), line.textLength()
        last = len(made) == count - 1
        # QTextLayout counts UTF-16 units, Python whole characters.
        units = text.encode("utf-16-le")
        rest = units[2 * start :] if last else units[2 * start : 2 * (start + length)]
        plain = rest.decode("utf-16-le", "ignore").strip()
        made.append(metrics.elidedText(plain, Qt.TextElideMode.ElideRight, width))
    layout.endLayout()
    return tuple(made)


def draw_line(
    painter: QPainter, rect: QRect, pieces: Sequence[Piece], face: Face, role: str
) -> None:
    """Draw pieces on one line, elided at the right; found ones underlined in the accent."""
    font, metrics = _face(face)
    painter.setFont(font)
    left, end = float(rect.left()), float(rect.right() + 1)
    for text, found in pieces:
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(end - left, 0.0))
        wide = metrics.horizontalAdvance(shown)
        place = QRectF(left, rect.top(), wide + 1, rect.height())
        painter.setPen(theme.colour("text1" if found else role))
        painter.drawText(place, _LEFT, shown)
        if found:
            _underline(painter, left, wide, rect.center().y() + metrics.ascent() / 2)
        left += wide
        if shown != text:
            return


def draw_paragraph(
    painter: QPainter,
    rect: QRect,
    pieces: Sequence[Piece],
    face: Face,
    line_height: int,
    role: str = "text1",
) -> None:
    """Draw pieces over as many lines as `rect` holds; the last one ends in an ellipsis."""
    count = max(1, rect.height() // line_height)
    rows = _rows(tuple(pieces), face, theme.current().scale, rect.width(), count)
    for place, row in enumerate(rows):
        line = QRect(rect.left(), rect.top() + place * line_height, rect.width(), line_height)
        # Only the last may be too long; the others were broken to fit, give or take a pixel.
        if place < len(rows) - 1:
            line.setWidth(2 * rect.width())
        draw_line(painter, line, row, face, role)


@functools.lru_cache(maxsize=1024)
def _rows(
    pieces: tuple[Piece, ...], face: Face, scale: float, width: int, count: int
) -> tuple[tuple[Piece, ...], ...]:
    """Break pieces between words into at most `count` rows; what is over stays on the last."""
    _, metrics = _metrics(face, scale)
    rows: list[list[Piece]] = [[]]
    used, letters = 0.0, 0
    for word, found in ((word, found) for text, found in pieces for word in _words(text)):
        too_long = used + metrics.horizontalAdvance(word.rstrip()) > width
        if too_long and rows[-1] and len(rows) < count:
            rows.append([])
            used, word = 0.0, word.lstrip()
        _append(rows[-1], word, found)
        used += metrics.horizontalAdvance(word)
        letters += len(word)
        if letters > _LONGEST or (used > width and len(rows) == count):
            break
    return tuple(tuple(row) for row in rows)


def _append(row: list[Piece], word: str, found: bool) -> None:
    """Add a word to a row, in one piece with a neighbour of its kind."""
    if row and row[-1][1] == found:
        row[-1] = (row[-1][0] + word, found)
    else:
        row.append((word, found))


def _words(text: str) -> list[str]:
    """Return `text` in words, each with the white space behind it made one space."""
    made = [word + " " for word in text.split()]
    if made and not text[-1].isspace():
        made[-1] = made[-1][:-1]
    if text[:1].isspace():
        made.insert(0, " ")
    return made


def _underline(painter: QPainter, left: float, wide: float, base: float) -> None:
    painter.setPen(QPen(theme.colour("accent"), theme.px(1)))
    painter.drawLine(QPointF(left, base), QPointF(left + wide, base))


def draw_badge(
    painter: QPainter, image: QRect, parts: Sequence[Badge], side: str, end: str
) -> None:
    """Draw texts on one black plate in a corner of the image (side left|right, end top|bottom)."""
    gap, pad = theme.px(4), theme.px(6)
    faces = [_face(Face(11, part.weight)) for part in parts]
    widths = [
        metrics.horizontalAdvance(part.text)
        for (_, metrics), part in zip(faces, parts, strict=True)
    ]
    wide = sum(widths) + gap * (len(parts) - 1) + 2 * pad
    plate = QRectF(0, 0, wide, theme.px(18))
    plate.moveLeft(image.left() if side == "left" else image.right() + 1 - wide)
    plate.moveTop(image.top() if end == "top" else image.bottom() + 1 - plate.height())
    painter.fillRect(plate, theme.colour("black", theme.current().tokens.badge))
    left = plate.left() + pad
    for (font, _), part, width in zip(faces, parts, widths, strict=True):
        painter.setFont(font)
        painter.setPen(theme.colour(part.role))
        painter.drawText(QRectF(left, plate.top(), width + 1, plate.height()), _LEFT, part.text)
        left += width + gap
