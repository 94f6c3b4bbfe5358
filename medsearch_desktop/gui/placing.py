"""Placing: where encoders run, on the device light and the status bar, and when that changes."""

from __future__ import annotations

from PySide6.QtCore import QObject

from medsearch_desktop.gui import bridge, library, main_window, problems
from medsearch_desktop.worker import messages


class Placing(QObject):
    """Shows what the worker tells of devices, with a notice when an encoder changes its place.

    Shown are the encoders of the collections that are searched.
    """

    def __init__(
        self, window: main_window.MainWindow, worker: bridge.Bridge, known: library.Library
    ) -> None:
        super().__init__(window)
        self._window, self._library = window, known
        self._placed: tuple[messages.Placed, ...] = ()
        self._device = ""  # what the process named when it stood, "" while there is none
        known.changed.connect(lambda *_: self._show())
        worker.readied.connect(self._show_ready)
        worker.placed.connect(self._show_placed)
        worker.lost.connect(self._forget)

    def _show_ready(self, device: str) -> None:
        self._device = device or "CPU"
        self._window.search_bar.device.set_device(device)
        self._window.say_device(device)

    def _forget(self) -> None:
        """A new process begins anew: what it loads has not changed its place."""
        self._placed, self._device = (), ""
        self._window.search_bar.device.set_waiting()

    def _show_placed(self, placed: tuple[messages.Placed, ...]) -> None:
        before = {one.encoder: one.words for one in self._placed}
        self._placed = placed
        self._show()
        for one in placed:
            if before.get(one.encoder, one.words) != one.words:
                self._tell(one, before[one.encoder])

    def _show(self) -> None:
        searched = self._library.searched
        used = {info.encoder for info in self._library.offered if info.path in searched}
        shown = tuple(one for one in self._placed if one.encoder in used)
        if shown:
            self._window.search_bar.device.set_placed(shown)
            self._window.say_device(" + ".join(dict.fromkeys(one.words for one in shown)))
        elif self._device:
            # Another collection, whose encoder is not loaded yet or cannot be.
            self._window.search_bar.device.set_device(self._device)
            self._window.say_device(self._device)

    def _tell(self, placed: messages.Placed, before: str) -> None:
        sentence = self.tr("{encoder} now runs on {now}; it ran on {before}.").format(
            encoder=placed.encoder, now=placed.words, before=before
        )
        line = self.tr("Results stay the same but for rounding; answers may take longer.")
        notice = problems.Problem(problems.Kind.NOTICE, sentence, line)
        self._window.results.problems.show_problem(notice)
        self._window.bottom.log.add(self.tr("Device"), sentence)
