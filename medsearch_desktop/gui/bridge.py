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
    prepared = Signal(object)  # messages.Prepared
    arrived = Signal(object)  # queries.Results of the current ticket
    progressed = Signal(object)  # messages.Progress of the current ticket
    failed = Signal(object)  # messages.Failed of the current ticket or of a Prepare
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
        self._ticket = 0
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
        self._ticket += 1
        self._client.send(messages.Search(self._ticket, query))
        _log.debug("asked, ticket %d", self._ticket)
        return self._ticket

    def forget(self) -> None:
        """Drop the answers that are still under way."""
        self._ticket += 1

    def close(self) -> None:
        """Stop the worker (it is killed after 2 s); nothing is delivered after this."""
        if not self._closed:
            self._closed = True
            self._client.close()

    @Slot(object)
    def _sort(self, message: messages.FromWorker) -> None:
        if self._closed:
            return
        match message:
            case messages.Ready():
                self.readied.emit(message.device)
            case messages.Prepared():
                self.prepared.emit(message)
            case messages.Answer() if message.results.ticket == self._ticket:
                self.arrived.emit(message.results)
            case messages.Progress() if message.ticket == self._ticket:
                self.progressed.emit(message)
            case messages.Failed() if message.ticket in (None, self._ticket):
                self.failed.emit(message)

    @Slot()
    def _report_loss(self) -> None:
        if not self._closed:
            self.lost.emit()
