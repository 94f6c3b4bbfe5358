"""2D stack pane: shows one series slice by slice, drawn by Qt."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from medsearch_desktop.imaging import study as studies
from medsearch_desktop.viewer import (
    captions,
    gestures,
    overlays,
    plain,
    slice_image,
    stack,
    stack_widget,
)

_WHEEL_STEP = 120
_ZOOM_STEP = 1.25
_BAR_GRIP_PX = 18
_KEYBOARD = (
    Qt.FocusReason.TabFocusReason,
    Qt.FocusReason.BacktabFocusReason,
    Qt.FocusReason.ShortcutFocusReason,
)


class SlicePane(stack_widget.StackWidget):
    """Shows the slices of one series.

    Wheel, arrows, Page, Home and End scroll; left drag changes the window,
    right drag or Ctrl+wheel zooms, middle drag pans, a double click fits.
    Nothing here reads files: the volume comes from outside and may be filling.
    """

    def __init__(self, colours: overlays.OverlayColours, parent: QWidget | None = None) -> None:
        super().__init__(colours, parent)
        self._ring = False
        self._marks_rect = QRectF()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumSize(120, 120)
        self.setAccessibleName(self.tr("Image pane"))
        # The right button zooms; a menu would come up at the end of each drag.
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)

    # Events

    def paintEvent(self, event: QPaintEvent) -> None:
        # Ended in any case: Qt crashes when an error leaves a painter on a widget.
        with QPainter(self) as painter:
            painter.fillRect(event.rect(), self._colours.ground)
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        text, is_error = self._message
        size = self.width(), self.height()
        shown = self._stack
        if shown is not None and shown.count:
            if shown.plane is not None:
                self._picture.draw(painter, shown, self._frame, moving=self._moving)
            elif shown.fault:
                text, is_error = captions.fault(shown), True
            elif not text:
                text = self.tr("Reading image {}…").format(shown.index + 1)
            self._marks_rect = self._overlays.paint(painter, *size, self._contents(shown))
        if text:
            self._overlays.message(painter, *size, text, is_error=is_error)
        if self._ring:
            self._overlays.ring(painter, *size)

    def resizeEvent(self, event: QResizeEvent) -> None:
        if self._frame is not None:
            self._frame = self._frame.resized(self.width(), self.height(), keep_fit=self._is_fit)
        super().resizeEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._wheel += event.angleDelta().y()
        steps = int(self._wheel / _WHEEL_STEP)  # towards zero: a touchpad sends small parts
        self._wheel -= steps * _WHEEL_STEP
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.zoom(_ZOOM_STEP**steps, event.position())
        elif steps:
            self.go_to(self.current_index - steps)
        self._say_value(event.position())
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, held = event.key(), event.modifiers()
        steps = gestures.steps(key, self._stack.count if self._stack else 0)
        if held & ~(Qt.KeyboardModifier.KeypadModifier | Qt.KeyboardModifier.ShiftModifier):
            super().keyPressEvent(event)
        elif steps is not None:
            self.go_to(self.current_index + steps)
        elif Qt.Key.Key_0 <= key <= Qt.Key.Key_9:
            self.choose_preset(key - Qt.Key.Key_0)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(_ZOOM_STEP)
        elif key == Qt.Key.Key_Minus:
            self.zoom(1 / _ZOOM_STEP)
        elif key == Qt.Key.Key_F:
            self.fit()
        elif key == Qt.Key.Key_Space:
            self.set_overlays_hidden(not self._hidden)
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self._stack is None or self._frame is None:
            event.ignore()
            return
        place = event.position()
        on_bar = (
            self._stack.count > 1
            and not self._hidden
            and place.x() > self.width() - _BAR_GRIP_PX * self._colours.scale
        )
        self._drag = gestures.Drag(event.button(), place, self._stack.window, self._frame, on_bar)
        if event.button() == gestures.LEFT and on_bar:
            self._scroll_to(place)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        place, drag = event.position(), self._drag
        if drag is not None and drag.scrolls:
            self._scroll_to(place)
        elif drag is not None and drag.windows:
            self._drag_window(drag.window, place - drag.start)
        elif drag is not None and (frame := drag.placed(place)) is not None:
            self._place(frame)
        self._say_value(place)
        marks = captions.marks(self._stack) if self._stack else ()
        self.setToolTip(plain.tooltip("\n".join(marks)) if self._in_marks(place) else "")

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._drag is not None and event.button() == self._drag.button:
            self._drag = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == gestures.LEFT:
            self.fit()

    def leaveEvent(self, event: QEvent) -> None:
        self._say_value(None)
        super().leaveEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        self._ring = event.reason() in _KEYBOARD
        self.update()
        super().focusInEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self._ring = False
        self.update()
        super().focusOutEvent(event)

    def sizeHint(self) -> QSize:
        return QSize(900, 600)

    # Inside

    def _drag_window(self, start: studies.Window, moved: QPointF) -> None:
        series = self._stack.series
        self._begin_moving()
        self.set_window(
            slice_image.dragged_window(
                start,
                moved.x(),
                moved.y(),
                narrowest=slice_image.smallest_width(series),
                inverted=series.is_inverted,
            )
        )

    def _in_marks(self, place: QPointF) -> bool:
        return self._marks_rect.contains(place)

    def _scroll_to(self, place: QPointF) -> None:
        track = self._overlays.bar_rect(self.width(), self.height())
        part = (place.y() - track.top()) / track.height()
        self.go_to(int(part * self._stack.count))

    def _contents(self, shown: stack.Stack) -> overlays.Contents:
        return captions.contents(
            shown,
            self._frame,
            value=self._value,
            ratio=self.devicePixelRatioF(),
            scale=self._colours.scale,
            hidden=self._hidden,
        )
