"""The shelf on its one thread: what is kept, given and asked, without waiting for the disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from medsearch_desktop import errors
from medsearch_desktop.gui import background

if TYPE_CHECKING:
    from medsearch_desktop.shelf import database

_log = logging.getLogger(__name__)


def _nothing(_: object) -> None:
    """Take a result that nobody waits for."""


class Keeping(QObject):
    """Calls functions of `medsearch_desktop.shelf` in order, on the thread that owns the file.

    The file is opened by the first call. A call that fails is reported once by
    `failed`; the window goes on without a shelf.
    """

    failed = Signal(object)  # errors.MedsearchError

    def __init__(self, path: Path, scratch: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._path, self._scratch = path, scratch
        self._thread = background.Background(self, threads=1)
        self._shelf: database.Shelf | None = None

    def run(
        self,
        work: Callable[[database.Shelf], Any],
        then: Callable[[Any], object] = _nothing,
        failed: Callable[[BaseException], object] | None = None,
    ) -> None:
        """Call `work(shelf)` on the shelf's thread, then `then(result)` on the main thread.

        `failed` is called after the error was reported, for work that must go on.
        """

        def complain(error: BaseException) -> None:
            if not isinstance(error, errors.MedsearchError):
                raise error
            self.failed.emit(error)
            if failed is not None:
                failed(error)

        self._thread.run(lambda: work(self._opened()), then=then, failed=complain)

    def close(self) -> None:
        """Finish what was asked for, then close the file."""
        self._thread.finish(self._close)

    def _opened(self) -> database.Shelf:
        if self._shelf is None:
            # sqlite-utils is imported here, on the thread, to keep the start of the window light.
            from medsearch_desktop.shelf import database

            self._shelf = database.open_shelf(self._path, scratch=self._scratch)
            _log.debug("the shelf is open")
        return self._shelf

    def _close(self) -> None:
        if self._shelf is not None:
            self._shelf.close()
            self._shelf = None
