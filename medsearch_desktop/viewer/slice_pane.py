"""2D stack pane: shows one series slice by slice, drawn by Qt."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, QTimer, Signal
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
from medsearch_desktop.imaging import volume as volumes
from medsearch_desktop.viewer import (
    captions,
    framing,
    gestures,
    hanging,
    overlays,
    picture,
    slice_image,
    stack,
)

# The picture is drawn finely this long after the last movement.
_STILL_MS = 150
_WHEEL_STEP = 120
_ZOOM_STEP = 1.25
_BAR_GRIP_PX = 18
_KEYBOARD = (
    Qt.FocusReason.TabFocusReason,
    Qt.FocusReason.BacktabFocusReason,
    Qt.FocusReason.ShortcutFocusReason,
)


class SlicePane(QWidget):
    """Shows the slices of one series.

    Wheel, arrows, Page, Home and End scroll; left drag changes the window,
    right drag or Ctrl+wheel zooms, middle drag pans, a double click fits.
    Nothing here reads files: the volume comes from outside and may be filling.
    """

    slice_changed = Signal(int)
    window_changed = Signal(object)  # imaging.study.Window
    value_under_cursor = Signal(str)
    overlays_toggled = Signal(bool)  # True: hidden

    def __init__(self, colours: overlays.OverlayColours, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colours = colours
        self._overlays = overlays.Painter(colours)
        self._picture = picture.Picture()
        self._still = QTimer(self, singleShot=True, interval=_STILL_MS)
        self._still.timeout.connect(self._settle)
        self._stack: stack.Stack | None = None
        self._frame: framing.Frame | None = None
        self._drag: gestures.Drag | None = None
        self._message = ("", False)
        self._value = ""
        self._is_fit = True
        self._moving = self._ring = self._hidden = False
        self._wheel = 0
        self._marks_rect = QRectF()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumSize(120, 120)
        self.setAccessibleName(self.tr("Image pane"))
        # The right button zooms; a menu would come up at the end of each drag.
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)

    # What is shown

    @property
    def series(self) -> studies.Series | None:
        """Return the series that is shown."""
        return self._stack.series if self._stack else None

    @property
    def volume(self) -> volumes.Volume | None:
        """Return the volume given by `set_volume`."""
        return self._stack.volume if self._stack else None

    @property
    def current_index(self) -> int:
        """Return which of `series.slices` is shown, from 0."""
        return self._stack.index if self._stack else 0

    @property
    def window(self) -> studies.Window | None:
        """Return the window in use; None before the first slice, and for colour."""
        return self._stack.window if self._stack else None

    @property
    def frame(self) -> framing.Frame | None:
        """Return where the slice lies in the pane."""
        return self._frame

    @property
    def message(self) -> str:
        """Return the sentence that was set for the middle of the pane."""
        return self._message[0]

    @property
    def overlays_hidden(self) -> bool:
        """Return whether only letters, loss and the sign of a warning are drawn."""
        return self._hidden

    def clear(self) -> None:
        """Show nothing."""
        self._begin(None, None)

    def show_series(self, study: studies.Study, series: studies.Series, first: int = 0) -> None:
        """Show the headers of a series at once; its slices say "Reading" until they come."""
        steps = framing.pixel_steps(hanging.shown_spacing(series))
        size = hanging.shown_size(series)
        frame = framing.Frame(*size, self.width(), self.height(), *steps)
        self._begin(stack.Stack(study, series, first), frame.fitted())
        self.slice_changed.emit(self.current_index)

    def set_volume(self, volume: volumes.Volume) -> None:
        """Take the pixels of the series shown; `plane_ready` tells of planes that come later.

        Raises ValueError for a volume of another series.
        """
        if self._stack is None:
            raise ValueError("no series is shown")
        self._stack.take(volume)
        self._message = ("", False)
        self._slice_came()

    def plane_ready(self, plane: int) -> None:
        """Draw what plane `plane` of the volume changes: the slice, or its part of the bar."""
        if self._stack is None:
            return
        if self._stack.mark_ready(plane):
            self._slice_came()
        else:
            track = self._overlays.bar_rect(self.width(), self.height())
            self.update(track.toAlignedRect().adjusted(-2, -2, 2, 2))

    def set_message(self, text: str, *, is_error: bool = False) -> None:
        """Write a sentence in the middle of the pane; "" takes it away."""
        self._message = (text, is_error)
        self._describe()
        self.update()

    def set_overlays_hidden(self, hidden: bool) -> None:
        """Hide all but letters, loss and the sign of a warning; or show everything."""
        if hidden != self._hidden:
            self._hidden = hidden
            self.overlays_toggled.emit(hidden)
            self.update()

    # What the reader does

    def go_to(self, index: int) -> None:
        """Show slice `index`, or the nearest there is."""
        if self._stack is None or not self._stack.move_to(index):
            return
        self._begin_moving()
        self._slice_came()
        self.slice_changed.emit(self._stack.index)

    def set_window(self, window: studies.Window) -> None:
        """Show grey values through `window`; colour has none and stays as it is."""
        shown = self._stack
        if shown is None or shown.series.samples == 3 or window == shown.window:
            return
        shown.window = window
        self._describe()
        self.window_changed.emit(window)
        self.update()

    def presets(self) -> tuple[studies.Window, ...]:
        """Return the windows to choose from: that of the beginning, the file's, the modality's."""
        return self._stack.presets() if self._stack else ()

    def choose_preset(self, number: int) -> None:
        """Set number `number` of `presets`; 0 is the window of the beginning."""
        window = self._stack.preset(number) if self._stack else None
        if window is not None:
            self.set_window(window)

    def fit(self) -> None:
        """Show the whole slice."""
        if self._frame is not None:
            self._frame, self._is_fit = self._frame.fitted(), True
            self.update()

    def zoom(self, factor: float, at: QPointF | None = None) -> None:
        """Zoom about a place of the pane, the middle by default."""
        if self._frame is not None:
            at = at or QPointF(self.width() / 2, self.height() / 2)
            self._place(self._frame.zoomed(factor, at.x(), at.y()))

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
        marks = self.series.marks if self.series else ()
        self.setToolTip("\n".join(marks) if self._marks_rect.contains(place) else "")

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

    def _begin(self, shown: stack.Stack | None, frame: framing.Frame | None) -> None:
        self._stack, self._frame, self._is_fit = shown, frame, True
        self._message, self._drag, self._wheel = ("", False), None, 0
        self._picture.drop()
        self._describe()
        self._say_value(None)
        self.update()

    def _slice_came(self) -> None:
        """Draw another slice, or the one shown now that it has been read."""
        self._picture.drop()
        if self._stack.begin_window():
            self.window_changed.emit(self._stack.window)
        self._describe()
        if self.underMouse():
            self._say_value(self.mapFromGlobal(self.cursor().pos()).toPointF())
        self.update()

    def _place(self, frame: framing.Frame) -> None:
        self._frame, self._is_fit = frame, False
        self._begin_moving()
        self.update()

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

    def _begin_moving(self) -> None:
        self._moving = True
        self._still.start()

    def _settle(self) -> None:
        self._moving = False
        self.update()

    def _scroll_to(self, place: QPointF) -> None:
        track = self._overlays.bar_rect(self.width(), self.height())
        part = (place.y() - track.top()) / track.height()
        self.go_to(int(part * self._stack.count))

    def _say_value(self, place: QPointF | None) -> None:
        text = ""
        if place is not None and self._stack is not None and self._frame is not None:
            text = self._stack.value_text(self._frame.pixel_at(place.x(), place.y()))
        if text != self._value:
            self._value = text
            self.value_under_cursor.emit(text)
            self.update()

    def _describe(self) -> None:
        shown = captions.spoken(self._stack) if self._stack else ""
        self.setAccessibleDescription(self._message[0] or shown)

    def _contents(self, shown: stack.Stack) -> overlays.Contents:
        return captions.contents(
            shown,
            self._frame,
            value=self._value,
            ratio=self.devicePixelRatioF(),
            scale=self._colours.scale,
            hidden=self._hidden,
        )
