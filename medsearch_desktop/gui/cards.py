"""The delegate of result cards: paints kept faces, tests its buttons, shows tooltips."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from PySide6.QtCore import (
    QEvent,
    QModelIndex,
    QObject,
    QPoint,
    QPointF,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QHelpEvent, QMouseEvent, QPainter, QPen, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolTip,
)

from medsearch_desktop import queries
from medsearch_desktop.gui import card_face, card_places, keys, theme, thumbnails
from medsearch_desktop.gui.results_model import Role

_KEPT_BYTES = 40 << 20


class CardDelegate(QStyledItemDelegate):
    """Paints whole cards from the tokens; thumbs and star are rectangles, not widgets."""

    button_pressed = Signal(QModelIndex, str)  # one of BUTTONS

    def __init__(self, pictures: thumbnails.Thumbnails, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._faces = card_face.FacePainter(pictures)
        self._kept: OrderedDict[tuple, QPixmap] = OrderedDict()
        self._pressed: tuple[int, str] | None = None
        self._size = card_places.SIZES["M"]
        # The ring is for the keyboard; a click needs none.
        self.shows_ring = False
        # The part of the image's width where the mouse is: it picks one of several images.
        self.scrub = 0.0
        # Where cards still are on their way to their new place, and how visible new ones are.
        self.offsets: dict[int, QPointF] = {}
        self.opacities: dict[int, float] = {}

    @property
    def size(self) -> card_places.CardSize:
        """Return the size of the cards."""
        return self._size

    def set_size(self, size: card_places.CardSize) -> None:
        """Paint cards of another size."""
        self._size = size
        self.forget()

    def forget(self) -> None:
        """Drop the kept faces: other hits are listed."""
        self._kept.clear()

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        return card_places.cell_size(self._size)

    def button_at(self, cell: QRect, place: QPointF) -> str:
        """Return the name of the button at a place of the view, "" beside all."""
        for name, rect in card_places.places(cell, self._size).buttons.items():
            if rect.contains(place.toPoint()):
                return name
        return ""

    def editorEvent(
        self, event: QEvent, model: Any, option: QStyleOptionViewItem, index: QModelIndex
    ) -> bool:
        presses = (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonDblClick)
        if event.type() not in (*presses, QEvent.Type.MouseButtonRelease):
            return False
        assert isinstance(event, QMouseEvent)
        if event.button() != Qt.MouseButton.LeftButton:
            return False
        name = self.button_at(option.rect, event.position())
        if event.type() in presses:
            self._pressed = (index.row(), name) if name else None
            return bool(name)
        pressed, self._pressed = self._pressed, None
        if name and pressed == (index.row(), name):
            self.button_pressed.emit(index, name)
        return bool(name)

    def helpEvent(
        self,
        event: QHelpEvent,
        view: QAbstractItemView,
        option: QStyleOptionViewItem,
        index: QModelIndex,
    ) -> bool:
        if event.type() != QEvent.Type.ToolTip or not index.isValid():
            return super().helpEvent(event, view, option, index)
        name = self.button_at(option.rect, event.pos().toPointF())
        text = self._button_tip(name, index) if name else index.data(Qt.ItemDataRole.ToolTipRole)
        QToolTip.showText(event.globalPos(), text, view)
        return True

    def _button_tip(self, name: str, index: QModelIndex) -> str:
        verdict, kept = index.data(Role.VERDICT), index.data(Role.KEPT)
        if name == "like":
            words = self.tr("Take the thumb back") if verdict > 0 else self.tr("Like: more of this")
            return keys.with_key(words, keys.LIKE)
        if name == "dislike":
            words = self.tr("Take the thumb back") if verdict < 0 else self.tr("Dislike: less")
            return keys.with_key(words, keys.DISLIKE)
        words = self.tr("Remove from the favourites") if kept else self.tr("Keep as a favourite")
        return keys.with_key(words, keys.KEEP)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        hit = index.data(Role.HIT)
        if hit is None:
            return
        card = card_places.places(option.rect, self._size).card
        ratio = painter.device().devicePixelRatioF()
        hovered = bool(option.state & QStyle.StateFlag.State_MouseOver)
        state = self.state(index, hovered=hovered)
        painter.save()
        row = index.row()
        if row in self.offsets:
            painter.translate(self.offsets[row])
        painter.setOpacity(self.opacities.get(row, 1.0))
        painter.drawPixmap(card.topLeft(), self._face(hit, row, state, ratio))
        if self.shows_ring and option.state & QStyle.StateFlag.State_HasFocus:
            self._ring(painter, card)
        painter.restore()

    def state(self, index: QModelIndex, *, hovered: bool) -> card_face.State:
        """Return what the card of a row shows beside its case."""
        count = len(card_face.stored(index.data(Role.HIT))) if hovered else 0
        return card_face.State(
            verdict=index.data(Role.VERDICT),
            kept=index.data(Role.KEPT),
            opened=index.data(Role.OPENED),
            change=index.data(Role.CHANGE),
            hovered=hovered,
            which=min(int(self.scrub * count), max(count - 1, 0)),
        )

    def _face(self, hit: queries.Hit, row: int, state: card_face.State, ratio: float) -> QPixmap:
        """Return the card as a pixmap; drawing all its words anew would cost half a ms."""
        key = (row, state, ratio)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        at = card_places.places(QRect(QPoint(0, 0), self.sizeHint(None, None)), self._size)
        made = QPixmap(at.card.size() * ratio)
        made.setDevicePixelRatio(ratio)
        made.fill(Qt.GlobalColor.transparent)
        with QPainter(made) as painter:
            painter.translate(-at.card.topLeft())
            is_final = self._faces.draw(painter, at, self._size, hit, state)
        if is_final:
            self._kept[key] = made
            if len(self._kept) * made.width() * made.height() * 4 > _KEPT_BYTES:
                self._kept.popitem(last=False)
        return made

    def _ring(self, painter: QPainter, card: QRect) -> None:
        ring = theme.current().tokens.ring
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(theme.colour("text1"), ring))
        out = theme.px(card_places.GAP) - ring / 2
        outer = QRectF(card).adjusted(-out, -out, out, out)
        radius = theme.px(6) + out
        painter.drawRoundedRect(outer, radius, radius)
