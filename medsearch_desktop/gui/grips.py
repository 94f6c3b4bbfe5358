"""Grips: 8 px over each line between the docks, wide enough for a mouse to find."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, Qt, QTimer
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QDockWidget, QMainWindow, QWidget

from medsearch_desktop.gui import theme

_WIDE_PX = 8


class Grip(QWidget):
    """Lies unseen over one edge of a dock; a drag changes the dock's size."""

    def __init__(self, window: QMainWindow, dock: QDockWidget, edge: Qt.Edge) -> None:
        super().__init__(window)
        self._window, self._dock, self._edge = window, dock, edge
        self._is_upright = edge != Qt.Edge.TopEdge
        shapes = Qt.CursorShape
        self.setCursor(shapes.SplitHCursor if self._is_upright else shapes.SplitVCursor)
        self._grabbed: tuple[QPoint, int] | None = None
        # A dock tells its new place before its neighbours have theirs.
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self.place)
        dock.installEventFilter(self)
        self.place()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        kinds = QEvent.Type
        if event.type() in (kinds.Resize, kinds.Move, kinds.Show, kinds.Hide):
            self._later.start()
        return False

    def place(self) -> None:
        """Lie over the edge again."""
        dock, wide = self._dock.geometry(), theme.px(_WIDE_PX)
        if self._edge == Qt.Edge.TopEdge:
            self.setGeometry(QRect(dock.left(), dock.top() - wide // 2, dock.width(), wide))
        else:
            middle = dock.right() + 1 if self._edge == Qt.Edge.RightEdge else dock.left()
            self.setGeometry(QRect(middle - wide // 2, dock.top(), wide, dock.height()))
        is_fixed = self._dock.minimumHeight() == self._dock.maximumHeight()
        self.setVisible(self._dock.isVisible() and (self._is_upright or not is_fixed))
        self.raise_()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        size = self._dock.width() if self._is_upright else self._dock.height()
        self._grabbed = (event.globalPosition().toPoint(), size)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._grabbed is None:
            return
        start, size = self._grabbed
        moved = event.globalPosition().toPoint() - start
        by = moved.x() if self._is_upright else -moved.y()
        if self._edge == Qt.Edge.LeftEdge:
            by = -by
        across, down = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
        along = across if self._is_upright else down
        self._window.resizeDocks([self._dock], [max(1, size + by)], along)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._grabbed = None
