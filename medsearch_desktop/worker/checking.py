"""Compares what opening left of large collections with its checksums, at low priority."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from medsearch_desktop.engine import damage, manifest

# Of 19, the lowest priority: the check gives way to a question and to the window.
_NICE = 15

Found = Callable[[str, damage.Problem], None]


class Checker:
    """Hashes the files of collections one after another; `found` is called on its thread.

    Each generation is checked once. Nothing is told of sound files.
    """

    def __init__(self, found: Found) -> None:
        self._found = found
        self._waiting: queue.SimpleQueue[tuple[str, manifest.FileEntry] | None] = (
            queue.SimpleQueue()
        )
        self._known: set[tuple[str, int, str]] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def check(self, path: str, described: manifest.Manifest) -> None:
        """Check, some time, the files of a collection that were not compared at its opening."""
        key = (path, described.generation, described.created)
        files = damage.later(described)
        if key in self._known or not files:
            return
        self._known.add(key)
        for entry in files:
            self._waiting.put((path, entry))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="worker-checker", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread, within one chunk of a file."""
        self._stop.set()
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        if sys.platform == "linux":
            # There, and only there, a priority belongs to a thread.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while (job := self._waiting.get()) is not None and not self._stop.is_set():
            path, entry = job
            words = damage.differs(Path(path), entry, self._stop.is_set)
            if words and not self._stop.is_set():
                self._found(path, damage.Problem(entry.path, words))
