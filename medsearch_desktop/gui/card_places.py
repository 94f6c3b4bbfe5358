"""Where everything lies on a result card of each size."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QRect, QSize

from medsearch_desktop.gui import theme

GAP = 4  # px around a card, room for the ring of focus
_INSET = 4
_BUTTON = 28
BUTTONS = ("like", "dislike", "keep")


@dataclass(frozen=True)
class CardSize:
    """One size of the card, in px at 100 %; the numbers are those of the look."""

    name: str
    width: int
    height: int
    image: int
    title_lines: int
    why_lines: int
    with_licence: bool
    gap: int


SIZES = {
    "S": CardSize("S", 168, 259, 160, 1, 0, False, 2),
    "M": CardSize("M", 184, 310, 176, 2, 1, True, 4),
    "L": CardSize("L", 256, 398, 248, 2, 2, True, 6),
}


@dataclass(frozen=True)
class Places:
    """The rectangles of one card, in px of the view."""

    card: QRect
    image: QRect
    strength: QRect
    title: QRect
    facets: QRect
    why: QRect
    source: QRect
    buttons: dict[str, QRect]


def places(cell: QRect, size: CardSize) -> Places:
    """Return where everything of a card lies in its cell of the grid."""
    px = theme.px
    card = QRect(cell.left() + px(GAP), cell.top() + px(GAP), px(size.width), px(size.height))
    image = QRect(card.left() + px(_INSET), card.top() + px(_INSET), px(size.image), px(size.image))
    left, width = card.left() + px(8), card.width() - px(16)
    top = image.bottom() + 1 + px(size.gap)

    def row(height: int, gap: int = 0) -> QRect:
        nonlocal top
        made = QRect(left, top + px(gap), width, px(height))
        top = made.bottom() + 1
        return made

    strength = row(16)
    title = row(17 * size.title_lines, 1)
    facets = row(16, 1)
    why = row(16 * size.why_lines) if size.why_lines else QRect()
    base = card.bottom() + 1 - px(_INSET + _BUTTON)
    first = card.right() + 1 - px(_INSET + 3 * _BUTTON)
    buttons = {
        name: QRect(first + place * px(_BUTTON), base, px(_BUTTON), px(_BUTTON))
        for place, name in enumerate(BUTTONS)
    }
    source = QRect(left, base, first - left - px(4), px(_BUTTON))
    return Places(card, image, strength, title, facets, why, source, buttons)


def cell_size(size: CardSize) -> QSize:
    """Return the size of a card with the room around it, at the present scale."""
    return QSize(
        theme.px(size.width) + 2 * theme.px(GAP), theme.px(size.height) + 2 * theme.px(GAP)
    )
