"""Rows of a comparison: each with its rank, and its rank in the other answer by word and shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QCoreApplication,
    QModelIndex,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QKeyEvent, QPainter, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from medsearch_desktop import queries
from medsearch_desktop.gui import (
    background,
    card_face,
    card_texts,
    lines,
    results_model,
    theme,
    thumbnails,
)

Index = results_model.Index
_HIT, _OTHER = Qt.ItemDataRole.UserRole + 1, Qt.ItemDataRole.UserRole + 2
_ROW, _IMAGE = 88, 72


def _tr(words: str) -> str:
    return QCoreApplication.translate("compare", words)


def other_words(hit: queries.Hit, other: int | None, listed: int) -> str:
    """Return where a case stands in the other answer, of which `listed` cases are known."""
    if not listed:
        return ""
    if other is None:
        return _tr("Not among the first {n} there").format(n=listed)
    if other == hit.rank:
        return _tr("Same rank there")
    return _tr("Rank {n} there").format(n=other)


class RowsModel(QAbstractListModel):
    """The hits of one answer, each with its rank in the other one."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._hits: tuple[queries.Hit, ...] = ()
        self._others: dict[str, int] | None = None
        self._listed = 0

    def set_rows(self, hits: Sequence[queries.Hit], others: dict[str, int] | None) -> None:
        """List hits; `others` is case id -> rank in the other answer, None while it is awaited."""
        self.beginResetModel()
        self._hits, self._others = tuple(hits), others
        self._listed = len(others or ())
        self.endResetModel()

    def row_of(self, case_id: str) -> int | None:
        """Return the row of a case, None where it is not listed."""
        found = (row for row, hit in enumerate(self._hits) if hit.case.case_id == case_id)
        return next(found, None)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._hits)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._hits):
            return None
        hit = self._hits[index.row()]
        title = card_texts.title(hit)
        if role == _HIT:
            return hit
        if role == _OTHER:
            return self._other(hit)
        if role == Qt.ItemDataRole.DisplayRole:
            return title
        if role == Qt.ItemDataRole.ToolTipRole:
            return card_texts.tooltip(hit)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            rank = _tr("Rank {n}").format(n=hit.rank)
            words = (rank, title, card_texts.facets(hit), self._other(hit)[1])
            return ", ".join(part for part in words if part)
        return None

    def _other(self, hit: queries.Hit) -> tuple[bool, str]:
        """Return whether the other answer holds the case, and the words for it."""
        if self._others is None:
            return False, ""
        other = self._others.get(hit.case.case_id)
        return other is not None, other_words(hit, other, self._listed)


class _Rows(QStyledItemDelegate):
    """Paints a row of 88 px: picture with rank, title, facets, and where it stands there."""

    def __init__(self, pictures: thumbnails.Thumbnails, parent: QWidget) -> None:
        super().__init__(parent)
        self._pictures = pictures

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(theme.px(200), theme.px(_ROW))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        hit, (is_common, words) = index.data(_HIT), index.data(_OTHER)
        px = theme.px
        cell = option.rect.adjusted(0, px(2), 0, -px(2))
        is_chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        hovered = bool(option.state & QStyle.StateFlag.State_MouseOver)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("bg4" if is_chosen or hovered else "bg3"))
        painter.drawRoundedRect(cell, px(6), px(6))
        if is_chosen:
            self._ring(painter, cell)
        image = QRect(cell.left() + px(10), cell.top() + px(6), px(_IMAGE), px(_IMAGE))
        self._image(painter, image, hit)
        if is_common:
            bar = QRect(cell.left() + px(3), cell.top() + px(8), px(3), cell.height() - px(16))
            painter.fillRect(bar, theme.colour("text1"))
        left = image.right() + px(12)
        room = QRect(left, cell.top() + px(8), cell.right() - left - px(8), px(34))
        lines.draw_paragraph(
            painter, room, ((card_texts.title(hit), False),), lines.Face(13, 600), px(17)
        )
        facets = QRect(left, room.bottom() + 1, room.width(), px(16))
        pieces = ((card_texts.facets(hit), False),)
        lines.draw_line(painter, facets, pieces, lines.Face(12), "text2")
        if words:
            self._standing(painter, facets.translated(0, px(18)), is_common, words)
        painter.restore()

    def _ring(self, painter: QPainter, cell: QRect) -> None:
        ring = theme.current().tokens.ring
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(theme.colour("accent"), ring))
        inner = QRectF(cell).adjusted(ring / 2, ring / 2, -ring / 2, -ring / 2)
        painter.drawRoundedRect(inner, theme.px(6), theme.px(6))
        painter.setPen(Qt.PenStyle.NoPen)

    def _image(self, painter: QPainter, image: QRect, hit: queries.Hit) -> None:
        painter.fillRect(image, theme.colour("black"))
        stored = card_face.picture(hit, card_face.State())
        if stored is not None:
            ratio = painter.device().devicePixelRatioF()
            shown, _ = self._pictures.pixmap(stored, image.width(), ratio)
            if shown is not None:
                painter.drawPixmap(image.topLeft(), shown)
        lines.draw_badge(painter, image, (lines.Badge(str(hit.rank), 600),), "left", "top")

    def _standing(self, painter: QPainter, row: QRect, is_common: bool, words: str) -> None:
        """Draw the sign and the words: two shapes, so that no colour has to be told apart."""
        role = "text1" if is_common else "text2"
        sign = theme.pixmap("equals" if is_common else "circle-dashed", 16, role)
        painter.drawPixmap(row.left(), row.top(), sign)
        room = row.adjusted(theme.px(22), 0, 0, 0)
        weight = 600 if is_common else 400
        lines.draw_line(painter, room, ((words, False),), lines.Face(12, weight), role)


class RowsView(QListView):
    """One answer as rows; Return or a double click opens a case. Thumbs are not given here."""

    open_requested = Signal(object)  # queries.Hit
    case_chosen = Signal(str)  # case id

    def __init__(self, work: background.Background, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = RowsModel(self)
        pictures = thumbnails.Thumbnails(work, self)
        pictures.came.connect(self.viewport().update)
        self.setModel(self.rows)
        self.setItemDelegate(_Rows(pictures, self))
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.selectionModel().currentChanged.connect(self._tell)
        self.doubleClicked.connect(lambda index: self.open_requested.emit(index.data(_HIT)))

    def choose(self, case_id: str) -> None:
        """Choose a case that the other answer chose; none where it is not listed."""
        row = self.rows.row_of(case_id)
        self.selectionModel().blockSignals(True)
        self.clearSelection()
        if row is not None:
            index = self.rows.index(row)
            self.setCurrentIndex(index)
            self.scrollTo(index)
        else:  # nor does Return open what was chosen before
            self.setCurrentIndex(QModelIndex())
        self.selectionModel().blockSignals(False)
        self.viewport().update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        hit = self.currentIndex().data(_HIT)
        if hit is not None and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.open_requested.emit(hit)
        else:
            super().keyPressEvent(event)

    def _tell(self, now: QModelIndex, _: QModelIndex) -> None:
        hit = now.data(_HIT)
        if hit is not None:
            self.case_chosen.emit(hit.case.case_id)
