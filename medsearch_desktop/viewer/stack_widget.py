"""A widget that holds one series: its place, window and zoom, while its pixels come and go."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QPointF, QTimer, Signal
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
    stack,
)

# The picture is drawn finely this long after the last movement.
_STILL_MS = 150


class StackWidget(QWidget):
    """Holds the slices of one series and says what changes; `slice_pane` draws and listens."""

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
        self._moving = self._hidden = False
        self._wheel = 0

    @property
    def series(self) -> studies.Series | None:
        """Return the series that is shown."""
        return self._stack.series if self._stack else None

    @property
    def volume(self) -> volumes.Volume | None:
        """Return the volume of the slice shown; until it is read, the newest given."""
        return self._stack.volume if self._stack else None

    @property
    def volumes(self) -> tuple[volumes.Volume, ...]:
        """Return all volumes that hold slices of the series shown."""
        return self._stack.volumes if self._stack else ()

    @property
    def ready(self) -> np.ndarray:
        """Return bool (slices,): which slices of the series can be shown at once."""
        return self._stack.ready if self._stack else np.zeros(0, dtype=bool)

    @property
    def faults(self) -> dict[int, str]:
        """Return why some slices cannot be read, by their place in the series."""
        return dict(self._stack.faults) if self._stack else {}

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

    def add_volume(self, volume: volumes.Volume) -> None:
        """Take pixels of some slices beside those that are there; ValueError as `set_volume`."""
        if self._stack is None:
            raise ValueError("no series is shown")
        had_slice = self._stack.plane is not None
        self._stack.add(volume)
        self._message = ("", False)
        if had_slice:
            self.update()
        else:
            self._slice_came()

    def drop_volumes(self, gone: Sequence[volumes.Volume]) -> None:
        """Forget the pixels of some volumes."""
        if self._stack is not None and gone:
            self._stack.drop(gone)
            self._slice_came()

    def plane_ready(self, plane: int, volume: volumes.Volume | None = None) -> None:
        """Draw what a plane of a volume (the newest) changes: the slice, or its part of the bar."""
        if self._stack is None:
            return
        if self._stack.mark_ready(plane, volume):
            self._slice_came()
        else:
            self._update_bar()

    def slice_failed(self, index: int, sentence: str) -> None:
        """Say of a slice why it cannot be read: in its place, on the bar and among the marks."""
        if self._stack is None:
            return
        if self._stack.mark_fault(index, sentence) or len(self._stack.faults) == 1:
            self._slice_came()
        else:
            # Thousands may come at once: they are counted when it is quiet again.
            self._still.start()

    def grow_series(
        self,
        study: studies.Study,
        series: studies.Series,
        index: int,
        read: Sequence[volumes.Volume],
        faults: dict[int, str],
    ) -> None:
        """Show the series with more slices than before; window and zoom stay.

        `index` is where the slice shown lies now, `read` what is kept of the pixels,
        `faults` what is known of slices that cannot be read.
        """
        before, frame = self._stack, self._frame
        if before is None or frame is None:
            raise ValueError("no series is shown")
        if hanging.shown_size(series) != hanging.shown_size(before.series):
            self.show_series(study, series, index)
            return
        grown = stack.Stack(study, series, index)
        grown.faults.update(faults)
        grown.window, grown.first_window = before.window, before.first_window
        for volume in read:
            grown.add(volume)
        steps = framing.pixel_steps(hanging.shown_spacing(series))
        if steps != (frame.step_x, frame.step_y):
            frame = dataclasses.replace(frame, step_x=steps[0], step_y=steps[1])
            frame = frame.fitted() if self._is_fit else frame
        has_moved = index != before.index
        self._stack, self._frame = grown, frame
        self._slice_came()
        if has_moved:
            self.slice_changed.emit(self.current_index)

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

    def _begin_moving(self) -> None:
        self._moving = True
        self._still.start()

    def _update_bar(self) -> None:
        track = self._overlays.bar_rect(self.width(), self.height())
        self.update(track.toAlignedRect().adjusted(-2, -2, 2, 2))

    def _settle(self) -> None:
        self._moving = False
        self._describe()
        self.update()

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
