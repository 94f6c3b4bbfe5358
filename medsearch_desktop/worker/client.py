"""start, send, stop, restart: the window's end of the search process."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from medsearch_desktop import errors
from medsearch_desktop.worker import messages

# By name only: importing it here would load the engine into the window.
MODULE = "medsearch_desktop.worker.process"
_STOP_S = 2.0


def run_module(module: str, connection: Connection, home: str) -> None:
    """Run `main` of the module called `module`; the first thing a new process does."""
    importlib.import_module(module).main(connection, home)


class WorkerClient:
    """Owns the search process and the pipe to it.

    `on_message` is called on the listener thread with each answer, `on_lost`
    on the same thread when the process was lost. It is then started anew and
    told again what it was last asked. When that one is lost too before it has
    answered, what was asked fails with WorkerLostError (ticket None when
    nothing was), and the next `send` starts a process again.
    """

    def __init__(
        self,
        folders_home: Path,
        on_message: Callable[[messages.FromWorker], None],
        *,
        on_lost: Callable[[], None],
    ) -> None:
        self._home, self._on_message, self._on_lost = str(folders_home), on_message, on_lost
        self._lock = threading.Lock()
        self._is_closed = False
        self._losses = 0
        self._is_listening = False
        self._listeners: list[threading.Thread] = []
        self._process: Any = None
        self._connection: Connection | None = None
        self._prepare: messages.Prepare | None = None
        # What was asked last, by lane; what is to be measured is asked once and never again.
        self._searches: dict[int, messages.Search] = {}
        self._measures: list[messages.Measure] = []

    @property
    def process_id(self) -> int | None:
        """Return the id of the running process, None while there is none."""
        with self._lock:
            return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process and the listener; returns at once. Starting twice changes nothing."""
        with self._lock:
            self._ensure_listener()

    def send(self, message: messages.Search | messages.Prepare | messages.Measure) -> None:
        """Ask the process; it is started when there is none. Nothing happens after `close`."""
        with self._lock:
            if self._is_closed:
                return
            self._losses = 0
            if isinstance(message, messages.Search):
                self._searches[message.lane] = message
            elif isinstance(message, messages.Prepare):
                self._prepare = message
            elif self._connection is None:
                self._measures.append(message)
            if self._connection is not None:
                # A lost process is noticed by the listener, which asks again.
                with contextlib.suppress(OSError):
                    self._connection.send(message)
            self._ensure_listener()

    def close(self) -> None:
        """Ask the process to stop, kill it after 2 s, and wait for it and the listener."""
        with self._lock:
            self._is_closed = True
            own = threading.current_thread()
            listeners = [thread for thread in self._listeners if thread is not own]
            if self._connection is not None:
                with contextlib.suppress(OSError):
                    self._connection.send(messages.Stop())
        deadline = time.monotonic() + _STOP_S
        for listener in listeners:
            listener.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            if self._process is not None:
                self._process.kill()
        for listener in listeners:
            listener.join()

    def _ensure_listener(self) -> None:
        if self._is_closed or self._is_listening:
            return
        self._is_listening = True
        listener = threading.Thread(target=self._run, name="worker-client")
        self._listeners = [t for t in self._listeners if t.is_alive()] + [listener]
        listener.start()

    def _run(self) -> None:
        """Start the process and listen; once more after a loss."""
        while True:
            try:
                connection = self._started()
            except OSError as error:
                self._give_up(f"it cannot be started: {error}")
                return
            self._listen(connection)
            status = self._ended()
            if self._is_closed:
                return
            self._on_lost()
            self._losses += 1
            if self._losses > 1:
                self._give_up(f"it ended twice, the last time with status {status}")
                return

    def _started(self) -> Connection:
        """Start a process and ask it what is still to be answered."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=run_module, args=(MODULE, theirs, self._home), name="medsearch-worker"
        )
        process.start()
        theirs.close()
        with self._lock:
            self._process, self._connection = process, ours
            asked: list[messages.FromWindow] = [*self._searches.values(), *self._measures]
            if self._prepare is not None:
                asked.insert(0, self._prepare)
            self._measures = []
            for message in (messages.Stop(),) if self._is_closed else asked:
                with contextlib.suppress(OSError):
                    ours.send(message)
        return ours

    def _listen(self, connection: Connection) -> None:
        """Hand on what arrives until the pipe ends."""
        while True:
            try:
                message = connection.recv()
            except (EOFError, OSError):
                return
            self._note(message)
            if not self._is_closed:
                self._on_message(message)

    def _note(self, message: messages.FromWorker) -> None:
        """Forget the question once it is answered."""
        ticket: int | None = None
        if isinstance(message, messages.Answer) and message.results.complete:
            ticket = message.results.ticket
        elif isinstance(message, messages.Failed):
            ticket = message.ticket
        if ticket is None:
            return
        with self._lock:
            self._losses = 0
            answered = [n for n, search in self._searches.items() if search.ticket == ticket]
            for lane in answered:
                del self._searches[lane]

    def _ended(self) -> int | None:
        """Wait for the end of the process and return its status."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        process = self._process
        process.join(_STOP_S)
        if process.is_alive():
            process.kill()
            process.join()
        status: int | None = process.exitcode
        with self._lock:
            self._process = None
            process.close()
        return status

    def _give_up(self, reason: str) -> None:
        """Fail what was asked and end the listener; the next `send` starts another."""
        with self._lock:
            searches, self._searches = self._searches, {}
            self._measures = []
            # What ended the process twice is not asked of the next one before it is asked anew.
            self._prepare = None
            self._is_listening = False
        tickets: list[int | None] = [search.ticket for search in searches.values()]
        for ticket in tickets if 0 in searches else [None, *tickets]:
            self._on_message(messages.Failed(ticket, errors.WorkerLostError(reason)))
