"""The shelf on its one thread: what is kept, given and asked, without waiting for the disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

from medsearch_desktop import errors
from medsearch_desktop.gui import background

if TYPE_CHECKING:
    from medsearch_desktop.shelf import database

_log = logging.getLogger(__name__)

# What waits is tried again after this long, then ever more slowly.
_RETRY_MS = 2_000
_SLOWEST_RETRY_MS = 30_000
# The day's backup is written when the start is long over, and looked for once an hour.
_FIRST_BACKUP_MS = 60_000
_BACKUP_MS = 3_600_000


def _nothing(_: object) -> None:
    """Take a result that nobody waits for."""


@dataclass(frozen=True)
class _Write:
    """Something the reader did that is to be written, and who waits for it."""

    work: Callable[[database.Shelf], Any]
    then: Callable[[Any], object]


class Keeping(QObject):
    """Calls functions of `medsearch_desktop.shelf` in order, on the thread that owns the files.

    The files are opened by the first call. Reading that fails is reported by
    `failed`. A write that fails (a full disk, another program that holds the
    file, a folder that is gone) is reported once, waits with all later ones
    in their order, and is tried again until it is written; `noticed` says
    so then. A write is acknowledged when its `then` is called.
    """

    failed = Signal(object)  # errors.MedsearchError
    noticed = Signal(str)

    def __init__(self, path: Path, scratch: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._path, self._scratch = path, scratch
        self._thread = background.Background(self, threads=1)
        # Touched on the shelf's thread alone.
        self._shelf: database.Shelf | None = None
        self._waiting: list[_Write] = []
        self._was_open = False
        self._told: set[str] = set()
        self._retry = QTimer(self, singleShot=True, interval=_RETRY_MS)
        self._retry.timeout.connect(lambda: self._call(self._try_again))
        self._backup = QTimer(self, singleShot=True)
        self._backup.timeout.connect(self._back_up_now)

    def run(
        self,
        work: Callable[[database.Shelf], Any],
        then: Callable[[Any], object] = _nothing,
        failed: Callable[[BaseException], object] | None = None,
    ) -> None:
        """Read: call `work(shelf)` on the shelf's thread, then `then(result)` on the main thread.

        `failed` is called after the error was reported, for work that must go on.
        """

        def complain(error: BaseException) -> None:
            if not isinstance(error, errors.MedsearchError):
                raise error
            self.failed.emit(error)
            if failed is not None:
                failed(error)

        self._thread.run(lambda: self._done(work), then=then, failed=complain)

    def keep(
        self, work: Callable[[database.Shelf], Any], then: Callable[[Any], object] = _nothing
    ) -> None:
        """Write: as `run`, but what cannot be written now is kept and written later."""
        self._call(lambda: self._keep(_Write(work, then)))

    def close(self) -> None:
        """Finish what was asked for, then back up and close the files."""
        self._retry.stop()
        self._backup.stop()
        self._thread.finish(self._close)

    def _call(self, work: Callable[[], object]) -> None:
        self._thread.run(work, then=_nothing, failed=self._complain)

    def _complain(self, error: BaseException) -> None:
        if not isinstance(error, errors.MedsearchError):
            raise error
        self.failed.emit(error)

    # on the main thread

    def _begin_to_wait(self, error: errors.ShelfError) -> None:
        later = self.tr("What you did is kept in mind and written as soon as that is over.")
        self.failed.emit(errors.ShelfError(error.path, f"{error.reason} {later}"))
        self._retry.setInterval(_RETRY_MS)
        self._retry.start()

    def _stop_waiting(self, count: int) -> None:
        if count:
            self.noticed.emit(self.tr("The shelf is written again; what waited is kept now."))
            return
        self._retry.setInterval(min(2 * self._retry.interval(), _SLOWEST_RETRY_MS))
        self._retry.start()

    def _back_up_now(self) -> None:
        self.run(lambda shelf: shelf.back_up())
        self._backup.start(_BACKUP_MS)

    # on the shelf's thread

    def _keep(self, write: _Write) -> None:
        if self._waiting:
            # Behind those that wait: an undo must not overtake its thumb.
            self._waiting.append(write)
            return
        try:
            self._do(write)
        except errors.ShelfError as error:
            self._waiting.append(write)
            self._thread.tell(self._begin_to_wait, error)

    def _try_again(self) -> None:
        done = 0
        while self._waiting:
            try:
                self._do(self._waiting[0])
            except errors.ShelfError as error:
                _log.debug("a write still waits: %s", type(error).__name__)
                break
            except errors.MedsearchError as error:
                # Refused for what it is, such as a name that was taken meanwhile.
                self._thread.tell(self.failed.emit, error)
            self._waiting.pop(0)
            done += 1
        self._thread.tell(self._stop_waiting, 0 if self._waiting else done)

    def _do(self, write: _Write) -> None:
        shelf = self._opened()
        if shelf.is_read_only or shelf.is_moved:
            # It may be writable now, or have come back.
            self._shelf = None
            shelf.close()
        self._thread.tell(write.then, self._done(write.work))

    def _done(self, work: Callable[[database.Shelf], Any]) -> Any:
        """Call `work`; where the files prove damaged, open them anew, and call it once more."""
        shelf = self._opened()
        try:
            return work(shelf)
        except errors.ShelfError:
            if not shelf.is_damaged:
                raise
        self._shelf = None
        shelf.close()
        return work(self._opened())

    def _opened(self) -> database.Shelf:
        if self._shelf is None:
            # sqlite-utils is imported here, on the thread, to keep the start of the window light.
            from medsearch_desktop.shelf import database

            if self._was_open and not self._path.parent.is_dir():
                # A fresh shelf must not be begun where a drive was pulled.
                raise errors.ShelfError(str(self._path), "its folder is gone.")
            self._shelf = database.open_shelf(self._path, scratch=self._scratch)
            self._tell_once(self._shelf.notices)
            if not self._was_open:
                self._thread.tell(self._backup.start, _FIRST_BACKUP_MS)
            self._was_open = True
            _log.debug("the shelf is open")
        return self._shelf

    def _tell_once(self, notices: tuple[str, ...]) -> None:
        """Pass on what was not said before: what waits may open the shelf many times."""
        for notice in notices:
            if notice not in self._told:
                self._told.add(notice)
                self._thread.tell(self.noticed.emit, notice)

    def _close(self) -> None:
        if self._waiting:
            self._try_again()
        if self._waiting:
            _log.warning("closed while %d writes to the shelf waited", len(self._waiting))
        if self._shelf is not None:
            try:
                self._shelf.back_up()
            except errors.ShelfError as error:
                _log.debug("no backup: %s", type(error).__name__)
            self._shelf.close()
            self._shelf = None
