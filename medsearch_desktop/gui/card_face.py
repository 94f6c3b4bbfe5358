"""Draws the face of a result card from the tokens: image, badges, words and buttons."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPoint, QRect, QRectF, Qt
from PySide6.QtGui import QPainter, QPen

from medsearch_desktop import cases, queries
from medsearch_desktop.gui import card_places, card_texts, lines, theme, thumbnails

_STRIP = 24
_DIMMED = 0.45
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


@dataclass(frozen=True)
class State:
    """What a card shows beside its case; `which` counts the case's stored pictures from 0."""

    verdict: int = 0
    kept: bool = False
    opened: bool = False
    change: int = 0
    hovered: bool = False
    which: int = 0


def stored(hit: queries.Hit) -> tuple[cases.Thumbnail, ...]:
    """Return the stored pictures of a case, in order."""
    return tuple(i.thumbnail for i in hit.case.images if i.thumbnail is not None)


def picture(hit: queries.Hit, state: State) -> cases.Thumbnail | None:
    """Return the stored picture that the card shows: the best one, or the one pointed at."""
    pictures = stored(hit)
    if state.hovered and len(pictures) > 1:
        return pictures[state.which]
    return hit.thumbnail or (pictures[0] if pictures else None)


class FacePainter:
    """Draws cards; the ring of focus is not part of the face."""

    def __init__(self, pictures: thumbnails.Thumbnails) -> None:
        self._pictures = pictures

    def draw(
        self,
        painter: QPainter,
        at: card_places.Places,
        size: card_places.CardSize,
        hit: queries.Hit,
        state: State,
    ) -> bool:
        """Draw one card; return whether its picture was there (or never will be)."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._card(painter, at.card, state)
        is_final = self._image(painter, at.image, hit, state)
        self._badges(painter, at.image, hit, state)
        if state.verdict:
            edge = QRect(at.card.left(), at.card.top() + theme.px(6), theme.px(3), 0)
            edge.setHeight(at.card.height() - theme.px(12))
            painter.fillRect(edge, theme.colour("like" if state.verdict > 0 else "dislike"))
        self._words(painter, at, size, hit)
        self._buttons(painter, at, state)
        return is_final

    def _card(self, painter: QPainter, card: QRect, state: State) -> None:
        radius, ring = theme.px(6), theme.current().tokens.ring
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("bg4" if state.hovered or state.opened else "bg3"))
        painter.drawRoundedRect(card, radius, radius)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if state.opened:
            painter.setPen(QPen(theme.colour("accent"), ring))
            inner = QRectF(card).adjusted(ring / 2, ring / 2, -ring / 2, -ring / 2)
            painter.drawRoundedRect(inner, radius, radius)

    def _image(self, painter: QPainter, rect: QRect, hit: queries.Hit, state: State) -> bool:
        painter.fillRect(rect, theme.colour("black"))
        shown = picture(hit, state)
        if shown is None:
            self._report(painter, rect, hit)
            return True
        ratio = painter.device().devicePixelRatioF()
        pixmap, ended = self._pictures.pixmap(shown, rect.width(), ratio)
        if pixmap is not None:
            painter.setOpacity(_DIMMED if state.verdict < 0 else 1.0)
            painter.drawPixmap(rect.topLeft(), pixmap)
            painter.setOpacity(1.0)
        elif ended:
            painter.setPen(theme.colour("text2"))
            painter.setFont(theme.font(12))
            words = card_texts.unreadable()
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            room = rect.adjusted(theme.px(12), 0, -theme.px(12), 0)
            painter.drawText(room, int(flags), words)
        else:
            painter.fillRect(rect, theme.colour("bg0"))
        return ended

    def _report(self, painter: QPainter, rect: QRect, hit: queries.Hit) -> None:
        """Write the report's lines in place of an image, the words found underlined."""
        room = rect.adjusted(theme.px(8), theme.px(30), -theme.px(8), -theme.px(26))
        text = card_texts.body(hit) or card_texts.title(hit)
        pieces = card_texts.marked(text, hit)
        lines.draw_paragraph(painter, room, pieces, lines.Face(12), theme.px(16))

    def _badges(self, painter: QPainter, image: QRect, hit: queries.Hit, state: State) -> None:
        rank = [lines.Badge(str(hit.rank), 600)]
        if state.change:
            arrow = "↑" if state.change > 0 else "↓"
            rank.append(lines.Badge(f"{arrow}{abs(state.change)}", 400, "accent"))
        lines.draw_badge(painter, image, rank, "left", "top")
        if card_texts.is_drawn(hit):
            lines.draw_badge(painter, image, [lines.Badge(card_texts.drawn())], "right", "top")
        caption = " ".join(hit.case.text.split())
        count = len(stored(hit))
        if state.hovered and count > 1:
            self._scrubber(painter, image, state.which, count)
        elif state.hovered and caption and hit.case.images:
            self._caption(painter, image, caption)
        elif words := card_texts.badge(hit):
            lines.draw_badge(painter, image, [lines.Badge(words)], "right", "bottom")

    def _strip(self, painter: QPainter, image: QRect) -> QRect:
        strip = QRect(image)
        strip.setTop(image.bottom() + 1 - theme.px(_STRIP))
        painter.fillRect(strip, theme.colour("black", theme.current().tokens.badge))
        return strip.adjusted(theme.px(6), 0, -theme.px(6), 0)

    def _caption(self, painter: QPainter, image: QRect, caption: str) -> None:
        strip = self._strip(painter, image)
        lines.draw_line(painter, strip, ((caption, False),), lines.Face(11), "text1")

    def _scrubber(self, painter: QPainter, image: QRect, which: int, count: int) -> None:
        strip = self._strip(painter, image)
        said = f"{which + 1}/{count}"
        lines.draw_line(painter, strip, ((said, False),), lines.Face(11), "text1")
        left = strip.left() + theme.px(34)
        wide = (strip.right() - left) / count
        for place in range(count):
            part = QRectF(left + place * wide, strip.center().y() - 1, max(wide - 3, 1.0), 3)
            painter.fillRect(part, theme.colour("text1" if place == which else "line2"))

    def _words(
        self,
        painter: QPainter,
        at: card_places.Places,
        size: card_places.CardSize,
        hit: queries.Hit,
    ) -> None:
        level = card_texts.strength(hit)
        small = lines.Face(12)
        if level is None:
            by = ((card_texts.found_by(hit), False),)
            lines.draw_line(painter, at.strength, by, small, "text2")
        else:
            self._strength(painter, at.strength, *level)
        heading = lines.Face(13, 600)
        wrapped = lines.wrapped(card_texts.title(hit), heading, at.title.width(), size.title_lines)
        for place, line in enumerate(wrapped):
            row = QRect(
                at.title.left(),
                at.title.top() + place * theme.px(17),
                at.title.width(),
                theme.px(17),
            )
            lines.draw_line(painter, row, ((line, False),), heading, "text1")
        facets = ((card_texts.facets(hit), False),)
        lines.draw_line(painter, at.facets, facets, small, "text2")
        if size.why_lines:
            pieces = card_texts.why(hit)
            lines.draw_paragraph(painter, at.why, pieces, small, theme.px(16), "text2")
        source = ((card_texts.source(hit, with_licence=size.with_licence), False),)
        lines.draw_line(painter, at.source, source, lines.Face(11), "text2")

    def _strength(self, painter: QPainter, rect: QRect, bars: int, word: str, value: str) -> None:
        px = theme.px
        base = rect.center().y() + px(6)
        for place in range(4):
            tall = px(4 + 2 * place)
            bar = QRect(rect.left() + place * px(6), base - tall, px(4), tall)
            painter.fillRect(bar, theme.colour("accent" if place < bars else "fill"))
        room = rect.adjusted(px(28), 0, 0, 0)
        lines.draw_line(painter, room, ((word, False),), lines.Face(12, 600), "text1")
        painter.setFont(theme.font(12))
        painter.setPen(theme.colour("text2"))
        painter.drawText(rect, int(_RIGHT), value)

    def _buttons(self, painter: QPainter, at: card_places.Places, state: State) -> None:
        up, down = state.verdict > 0, state.verdict < 0
        icons = {
            "like": ("thumbs-up-fill", "like") if up else ("thumbs-up", "text2"),
            "dislike": ("thumbs-down-fill", "dislike") if down else ("thumbs-down", "text2"),
            "keep": ("star-fill", "text1") if state.kept else ("star", "text2"),
        }
        for name, rect in at.buttons.items():
            drawn = QRect(QPoint(0, 0), theme.icon_size(16))
            drawn.moveCenter(rect.center())
            theme.icon(*icons[name]).paint(painter, drawn)
