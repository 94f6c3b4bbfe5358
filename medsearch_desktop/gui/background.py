"""A thread pool whose results arrive on the main thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal, Slot


class Background(QObject):
    """Runs plain functions on threads and brings their results to the main thread.

    With `threads=1` the calls run one after another on one thread, which is
    what a SQLite connection asks for.
    """

    _finished = Signal(object, object, object)
    _came = Signal(object, object)

    def __init__(self, parent: QObject | None = None, *, threads: int = 4) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="background")
        self._stopping = threading.Event()
        # Queued always: work that ends at once would else call `then` from inside `run`.
        self._finished.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        self._came.connect(self._pass_on, Qt.ConnectionType.QueuedConnection)

    @property
    def is_closing(self) -> bool:
        """Say whether long work should give up; may be asked from any thread."""
        return self._stopping.is_set()

    def run(
        self,
        work: Callable[[], Any],
        *,
        then: Callable[[Any], object],
        failed: Callable[[BaseException], object],
    ) -> None:
        """Call `work` on a thread, then one of `then` and `failed` on the main thread."""
        if self.is_closing:
            return
        future = self._pool.submit(work)
        future.add_done_callback(lambda done: self._finish(done, then, failed))

    def stream(
        self,
        items: Callable[[], Iterable[Any]],
        *,
        each: Callable[[Any], object],
        then: Callable[[Any], object],
        failed: Callable[[BaseException], object],
    ) -> None:
        """Walk through `items()` on a thread; each item reaches `each` on the main thread.

        `then` is called with None behind the last item, `failed` behind an error.
        """

        def work() -> None:
            for item in items():
                if self.is_closing:
                    return
                self._came.emit(each, item)

        self.run(work, then=then, failed=failed)

    def tell(self, receiver: Callable[[Any], object], value: Any) -> None:
        """Call `receiver(value)` on the main thread; for use inside work."""
        if not self.is_closing:
            self._came.emit(receiver, value)

    def close(self) -> None:
        """Drop what has not started and wait for the rest; nothing is delivered after this."""
        self._stopping.set()  # disconnecting is not enough: a posted delivery still arrives
        self._pool.shutdown(wait=True, cancel_futures=True)

    def finish(self, last: Callable[[], object]) -> None:
        """Do everything that was asked for and `last` behind it; nothing is delivered any more."""
        if self.is_closing:
            return
        self._stopping.set()
        self._pool.submit(last)
        self._pool.shutdown(wait=True)

    def _finish(self, done: Future[Any], then: Callable, failed: Callable) -> None:
        if not done.cancelled() and not self.is_closing:
            self._finished.emit(done, then, failed)

    @Slot(object, object, object)
    def _deliver(self, done: Future[Any], then: Callable, failed: Callable) -> None:
        if self.is_closing:
            return
        error = done.exception()
        if error is None:
            then(done.result())
        else:
            failed(error)

    @Slot(object, object)
    def _pass_on(self, receiver: Callable[[Any], object], value: Any) -> None:
        if not self.is_closing:
            receiver(value)
