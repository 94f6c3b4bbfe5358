"""Sees when reader processes go, whether they are gone, and how much memory each took."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from medsearch_desktop.imaging import reader_client, reader_process


def _peak_mb(pid: int) -> float:
    """Return the most memory that a process ever held (Linux), else what it holds; 0 if gone."""
    try:
        if sys.platform != "linux":
            return float(psutil.Process(pid).memory_info().rss) / 2**20
        lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    except (OSError, psutil.Error):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _readers() -> set[int]:
    children = multiprocessing.active_children()
    return {child.pid or 0 for child in children if child.name == "medsearch-reader"}


@dataclass(frozen=True)
class Loss:
    """A reader that a job ended: `after_s` its last sign of life, and whether it was gone then."""

    after_s: float
    is_gone: bool
    sentence: str


@dataclass
class Watch:
    """The losses of readers since it began."""

    losses: list[Loss] = field(default_factory=list)

    def peak_mb(self) -> float:
        """Return the most memory that a reader which lives now ever held."""
        return max(map(_peak_mb, _readers()), default=0.0)

    def replies(self, original: Callable) -> Callable:
        """Return `Reader.replies` as it is, noting each loss at the moment it is told."""

        def told(
            reader: reader_client.Reader, *arguments: object
        ) -> Iterator[reader_process.Reply]:
            before, last = _readers(), time.monotonic()
            try:
                for reply in original(reader, *arguments):
                    if reply[0] == "failed" and not reader.is_alive():
                        self._note(before, last, str(reply[1][1]))
                    yield reply
                    last = time.monotonic()
            except reader_client.LostError as error:
                self._note(before, last, str(error))
                raise

        return told

    def _note(self, before: set[int], last: float, sentence: str) -> None:
        after_s = time.monotonic() - last
        self.losses.append(Loss(after_s, any(map(_is_gone, before)), sentence))


@contextmanager
def watched() -> Iterator[Watch]:
    """Give a Watch over all readers of this process."""
    watch = Watch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_client.Reader, "replies", watch.replies(reader_client.Reader.replies))
        yield watch
