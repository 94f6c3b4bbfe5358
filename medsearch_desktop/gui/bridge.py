"""The worker client as Qt signals; an answer to an older question is dropped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QObject, Qt, Signal, Slot

from medsearch_desktop import queries
from medsearch_desktop.worker import client, messages

_log = logging.getLogger(__name__)


class Client(Protocol):
    """What the bridge needs of a worker client."""

    @property
    def process_id(self) -> int | None: ...
    def start(self) -> None: ...
    def send(self, message: messages.FromWindow) -> None: ...
    def close(self) -> None: ...


class Bridge(QObject):
    """Asks the worker process and passes its answers on to the main thread."""

    readied = Signal(str)  # the device's name
    placed = Signal(tuple)  # messages.Placed of each encoder that is loaded
    measured = Signal(object)  # messages.Measured
    prepared = Signal(object)  # messages.Prepared
    arrived = Signal(object)  # queries.Results of the current ticket
    progressed = Signal(object)  # messages.Progress of the current ticket
    failed = Signal(object)  # messages.Failed of the current ticket or of a Prepare
    beside = Signal(int, object)  # lane; Results or messages.Failed of that lane's current ticket
    lost = Signal()

    _came = Signal(object)
    _went = Signal()

    def __init__(
        self,
        home: Path,
        parent: QObject | None = None,
        *,
        make_client: Callable[..., Client] = client.WorkerClient,
    ) -> None:
        super().__init__(parent)
        self._ticket = self._last = 0
        self._lanes: dict[int, int] = {}  # lane -> its current ticket
        self._closed = False
        self._started = False
        # The client calls back on its listener thread; a queued signal changes to this one.
        self._came.connect(self._sort, Qt.ConnectionType.QueuedConnection)
        self._went.connect(self._report_loss, Qt.ConnectionType.QueuedConnection)
        self._client = make_client(home, self._came.emit, on_lost=self._went.emit)

    @property
    def ticket(self) -> int:
        """The number of the newest question; 0 before the first."""
        return self._ticket

    @property
    def process_id(self) -> int | None:
        """The id of the worker process, None while there is none."""
        return self._client.process_id

    def start(self) -> None:
        """Start the worker process; returns at once."""
        if not self._started and not self._closed:
            self._started = True
            self._client.start()

    def prepare(self, collections: Iterable[str]) -> None:
        """Open these collections and their encoders before the first question."""
        self.start()
        self._client.send(messages.Prepare(tuple(collections)))

    def ask(self, query: queries.Query) -> int:
        """Ask, and return the ticket that the answers will carry."""
        self.start()
        self._ticket = self._next()
        self._client.send(messages.Search(self._ticket, query))
        _log.debug("asked, ticket %d", self._ticket)
        return self._ticket

    def ask_beside(self, lane: int, query: queries.Query) -> int:
        """Ask beside the window's question, and return the ticket; `beside` brings the answers.

        `lane` counts from 1: a newer question of a lane takes the place of its older one.
        """
        self.start()
        self._lanes[lane] = self._next()
        self._client.send(messages.Search(self._lanes[lane], query, lane))
        return self._lanes[lane]

    def measure(self, encoder: str) -> None:
        """Measure how long an encoder takes here; `measured` tells."""
        self.start()
        self._client.send(messages.Measure(encoder))

    def forget(self) -> None:
        """Drop the answers that are still under way."""
        self._ticket = self._next()

    def forget_beside(self) -> None:
        """Drop the answers that are still under way in all other lanes."""
        self._lanes.clear()

    def close(self) -> None:
        """Stop the worker (it is killed after 2 s); nothing is delivered after this."""
        if not self._closed:
            self._closed = True
            self._client.close()

    def _next(self) -> int:
        self._last += 1
        return self._last

    def _lane_of(self, ticket: int | None) -> int | None:
        """Return the lane whose current ticket this is; None for the window's and old ones."""
        return next((lane for lane, current in self._lanes.items() if current == ticket), None)

    @Slot(object)
    def _sort(self, message: messages.FromWorker) -> None:
        if self._closed:
            return
        match message:
            case messages.Ready():
                self.readied.emit(message.device)
            case messages.Running():
                self.placed.emit(message.encoders)
            case messages.Measured():
                self.measured.emit(message)
            case messages.Prepared():
                self.prepared.emit(message)
            case messages.Answer() if message.results.ticket == self._ticket:
                self.arrived.emit(message.results)
            case messages.Progress() if message.ticket == self._ticket:
                self.progressed.emit(message)
            case messages.Failed() if message.ticket in (None, self._ticket):
                self.failed.emit(message)
            case messages.Answer() if (lane := self._lane_of(message.results.ticket)) is not None:
                self.beside.emit(lane, message.results)
            case messages.Failed() if (lane := self._lane_of(message.ticket)) is not None:
                self.beside.emit(lane, message)

    @Slot()
    def _report_loss(self) -> None:
        if not self._closed:
            self.lost.emit()
