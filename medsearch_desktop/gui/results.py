"""Result list: the grid of cards, walked by mouse and keyboard."""

from __future__ import annotations

import time
from collections.abc import Iterable

from PySide6.QtCore import (
    QEasingCurve,
    QItemSelectionModel,
    QModelIndex,
    QPoint,
    QPointF,
    Qt,
    QTimer,
    QVariantAnimation,
    Signal,
)
from PySide6.QtGui import QContextMenuEvent, QFocusEvent, QKeyEvent, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QAbstractItemView, QListView, QMenu, QWidget

from medsearch_desktop import queries
from medsearch_desktop.gui import (
    background,
    card_places,
    cards,
    keys,
    results_model,
    theme,
    thumbnails,
)
from medsearch_desktop.gui.results_model import Role

# The order does not change under a moving mouse: it waits this long after the last movement.
_HOLD_MS = 400
_GLIDE_MS = 180
_MOST_GLIDING = 24


class ResultsView(QListView):
    """Shows the hits as cards and says what the reader wants of them.

    It changes nothing by itself: the window answers a signal by calling the
    model (`set_verdict`, `set_is_kept`, `set_opened`).
    """

    open_requested = Signal(object)  # queries.Hit
    star_toggled = Signal(object)  # queries.Hit
    thumb_given = Signal(object, int)  # Hit and +1, -1, or 0: a lit thumb was pressed again
    more_like_requested = Signal(object)  # queries.Hit
    card_size_changed = Signal(str)  # "S", "M" or "L"

    def __init__(self, work: background.Background, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = results_model.ResultsModel(self)
        self._pictures = thumbnails.Thumbnails(work, self)
        self._pictures.came.connect(self.viewport().update)
        self._cards = cards.CardDelegate(self._pictures, self)
        self._cards.button_pressed.connect(self._button)
        self._model.modelReset.connect(self._cards.forget)
        self._glide = QVariantAnimation(self, startValue=1.0, endValue=0.0)
        self._glide.setEasingCurve(QEasingCurve.Type.OutCubic)
        self._glide.valueChanged.connect(self._glided)
        self._glide.finished.connect(self._arrived)
        self._paths: dict[int, QPointF] = {}
        self._fresh: set[int] = set()
        self._hold = QTimer(self, singleShot=True)
        self._hold.timeout.connect(self._show_held)
        self._held: tuple[tuple[queries.Hit, ...], bool, int | None] | None = None
        self._shown: int | None = None
        self._moved_at = 0.0
        self._pressed = QModelIndex()
        self.setModel(self._model)
        self.setItemDelegate(self._cards)
        self._arrange()

    def _arrange(self) -> None:
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setMovement(QListView.Movement.Static)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setViewportMargins(theme.px(4), theme.px(4), 0, 0)
        self.setAccessibleName(self.tr("Similar cases"))
        self.set_card_size("M")

    # What is listed

    def results_model(self) -> results_model.ResultsModel:
        """Return the model, for verdicts, stars and what is open."""
        return self._model

    def show_hits(
        self,
        hits: Iterable[queries.Hit],
        *,
        reranked: bool = False,
        ticket: int | None = None,
    ) -> None:
        """List hits: at once, or when the mouse over the list has come to rest."""
        self._held = (tuple(hits), reranked, ticket)
        rest_ms = _HOLD_MS - (time.monotonic() - self._moved_at) * 1000
        if self._model.hits() and rest_ms > 0 and self.viewport().underMouse():
            self._hold.start(round(rest_ms))
        else:
            self._show_held()

    def clear(self) -> None:
        """List nothing, and forget what waited."""
        self._held = None
        self._hold.stop()
        self._model.set_hits(())

    def current_hit(self) -> queries.Hit | None:
        """Return the card the keyboard is on."""
        return self.currentIndex().data(Role.HIT)

    def card_size(self) -> str:
        """Return "S", "M" or "L"."""
        return self._cards.size.name

    def set_card_size(self, size: str) -> None:
        """Show cards of size "S", "M" or "L"."""
        self._cards.set_size(card_places.SIZES[size])
        cell = card_places.cell_size(self._cards.size)
        self.setGridSize(cell)
        self.verticalScrollBar().setSingleStep(cell.height() // 4)
        self.scheduleDelayedItemsLayout()

    def _show_held(self) -> None:
        if self._held is None:
            return
        (hits, reranked, ticket), self._held = self._held, None
        self._hold.stop()
        before = self._visible()
        current = self.current_hit()
        self._arrived()
        self._model.set_hits(hits, reranked=reranked, ticket=ticket)
        if current is not None:
            self._go_to_row(self._model.row_of(results_model.key_of(current)))
        self.executeDelayedItemsLayout()
        is_new = ticket is not None and ticket != self._shown
        self._shown = ticket
        if not before or (is_new and not reranked):
            self.scrollToTop()
        elif reranked:
            self._keep_place(before)
            self._start_glide(before)

    def _visible(self) -> dict[results_model.Key, QPoint]:
        """Return where the cards in sight lie."""
        room = self.viewport().rect()
        places = {}
        for row, hit in enumerate(self._model.hits()):
            rect = self.visualRect(self._model.index(row))
            if rect.intersects(room):
                places[results_model.key_of(hit)] = rect.topLeft()
        return places

    def _keep_place(self, before: dict[results_model.Key, QPoint]) -> None:
        """Scroll so that the open case stays where it was, as far as the list allows."""
        opened = self._model.opened()
        row = self._model.row_of(opened) if opened in before else None
        if row is not None:
            moved = self.visualRect(self._model.index(row)).top() - before[opened].y()
            bar = self.verticalScrollBar()
            bar.setValue(bar.value() + moved)

    def _start_glide(self, before: dict[results_model.Key, QPoint]) -> None:
        duration = theme.motion_ms(_GLIDE_MS)
        after = self._visible()
        if not duration or not self.isVisible() or len(after) > _MOST_GLIDING:
            return
        for key, place in after.items():
            row = self._model.row_of(key)
            if key not in before:
                self._fresh.add(row)
            elif place != before[key]:
                self._paths[row] = QPointF(before[key] - place)
        if self._paths or self._fresh:
            self._glided(1.0)  # the first painting comes before the first step
            self._glide.setDuration(duration)
            self._glide.start()

    def _glided(self, left: float) -> None:
        self._cards.offsets = {row: path * left for row, path in self._paths.items()}
        self._cards.opacities = dict.fromkeys(self._fresh, min(1.0, (1.0 - left) * 1.5))
        self.viewport().update()

    def _arrived(self) -> None:
        self._glide.stop()
        self._paths, self._fresh = {}, set()
        self._cards.offsets, self._cards.opacities = {}, {}
        self.viewport().update()

    # What the reader does

    def moveCursor(
        self, action: QAbstractItemView.CursorAction, held: Qt.KeyboardModifier
    ) -> QModelIndex:
        count = self._model.rowCount()
        if not count:
            return QModelIndex()
        row, columns = self.currentIndex().row(), self._columns()
        if row < 0:
            return self._model.index(0)
        kind = QAbstractItemView.CursorAction
        page = max(1, self.viewport().height() // self.gridSize().height()) * columns
        step = {
            kind.MoveLeft: -1, kind.MovePrevious: -1, kind.MoveRight: 1, kind.MoveNext: 1,
            kind.MoveUp: -columns, kind.MoveDown: columns,
            kind.MovePageUp: -page, kind.MovePageDown: page,
            kind.MoveHome: -count, kind.MoveEnd: count,
        }[action]  # fmt: skip
        wanted = row + step
        if abs(step) == columns and columns > 1 and not 0 <= wanted < count:
            wanted = row  # up from the first line and down from the last one stay
        return self._model.index(min(max(wanted, 0), count - 1))

    def _columns(self) -> int:
        return max(1, self.viewport().width() // self.gridSize().width())

    def focusInEvent(self, event: QFocusEvent) -> None:
        self._cards.shows_ring = event.reason() != Qt.FocusReason.MouseFocusReason
        super().focusInEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        self._cards.shows_ring = True
        hit, pressed = self.current_hit(), event.keyCombination()
        plain = keys.is_plain(event.modifiers())
        if hit is None:
            super().keyPressEvent(event)
        elif plain and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.open_requested.emit(hit)
        elif keys.LIKE.matches(pressed):
            self._thumb(hit, 1)
        elif keys.DISLIKE.matches(pressed):
            self._thumb(hit, -1)
        elif keys.KEEP.matches(pressed):
            self.star_toggled.emit(hit)
        elif keys.MORE_LIKE.matches(pressed):
            self.more_like_requested.emit(hit)
        elif event.text().strip() and plain:
            event.ignore()  # letters are keys of the window, not a search in the list
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._cards.shows_ring = False
        super().mousePressEvent(event)
        index = self.indexAt(event.position().toPoint())
        on_card = event.button() == Qt.MouseButton.LeftButton and not self._button_at(event)
        self._pressed = index if on_card else QModelIndex()
        self._go_to_row(index.row() if index.isValid() else None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        pressed, self._pressed = self._pressed, QModelIndex()
        index = self.indexAt(event.position().toPoint())
        if pressed.isValid() and index == pressed and not self._button_at(event):
            self.open_requested.emit(index.data(Role.HIT))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._moved_at = time.monotonic()
        if self._held is not None:
            self._hold.start(_HOLD_MS)
        index = self.indexAt(event.position().toPoint())
        if index.isValid():
            image = card_places.places(self.visualRect(index), self._cards.size).image
            part = (event.position().x() - image.left()) / image.width()
            self._cards.scrub = min(max(part, 0.0), 0.999)
            self.update(index)
        over = bool(index.isValid())
        self.viewport().setCursor(
            Qt.CursorShape.PointingHandCursor if over else Qt.CursorShape.ArrowCursor
        )
        super().mouseMoveEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            super().wheelEvent(event)
            return
        names = list(card_places.SIZES)
        step = (event.angleDelta().y() > 0) - (event.angleDelta().y() < 0)
        wanted = min(max(names.index(self.card_size()) + step, 0), len(names) - 1)
        if names[wanted] != self.card_size():
            self.set_card_size(names[wanted])
            self.card_size_changed.emit(names[wanted])
        event.accept()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        by_key = event.reason() == QContextMenuEvent.Reason.Keyboard
        index = self.currentIndex() if by_key else self.indexAt(event.pos())
        hit = index.data(Role.HIT)
        if hit is None:
            return
        place = self.visualRect(index).center() if by_key else event.pos()
        menu = self._menu(hit)
        menu.exec(self.viewport().mapToGlobal(place))
        menu.deleteLater()

    def _menu(self, hit: queries.Hit) -> QMenu:
        menu = QMenu(self)
        verdict, kept = self._model.verdict(hit), self._model.is_kept(hit)
        back = self.tr("Take the thumb back")
        for words, key, do in (
            (self.tr("Open"), keys.OPEN_CASE, lambda: self.open_requested.emit(hit)),
            (self.tr("More like this"), keys.MORE_LIKE, lambda: self.more_like_requested.emit(hit)),
            (back if verdict > 0 else self.tr("Like"), keys.LIKE, lambda: self._thumb(hit, 1)),
            (
                back if verdict < 0 else self.tr("Dislike"),
                keys.DISLIKE,
                lambda: self._thumb(hit, -1),
            ),
            (
                self.tr("Remove from favourites") if kept else self.tr("Keep as favourite"),
                keys.KEEP,
                lambda: self.star_toggled.emit(hit),
            ),
        ):
            menu.addAction(f"{words}\t{key.label}").triggered.connect(do)
        return menu

    def _button_at(self, event: QMouseEvent) -> str:
        index = self.indexAt(event.position().toPoint())
        return (
            self._cards.button_at(self.visualRect(index), event.position())
            if index.isValid()
            else ""
        )

    def _button(self, index: QModelIndex, name: str) -> None:
        hit = index.data(Role.HIT)
        if name == "keep":
            self.star_toggled.emit(hit)
        else:
            self._thumb(hit, 1 if name == "like" else -1)

    def _thumb(self, hit: queries.Hit, thumb: int) -> None:
        self.thumb_given.emit(hit, 0 if self._model.verdict(hit) == thumb else thumb)

    def _go_to_row(self, row: int | None) -> None:
        if row is not None:
            self.selectionModel().setCurrentIndex(
                self._model.index(row), QItemSelectionModel.SelectionFlag.NoUpdate
            )
