"""Our end of one reader process: its start, its jobs, its deadline and its end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import psutil

from medsearch_desktop.imaging import limits, reader_process

# How often a waiting thread looks up to see whether it is still wanted.
LOOK_S = 0.05
# A cold start imports numpy and the decoders; on a busy machine that takes seconds.
_START_S = 120.0
_STOP_S = 2.0
# Who cancels waits for it; a reader that is busy with one file for longer is given up.
_STOP_JOB_S = 0.7


def never() -> bool:
    """Return False: the default for `cancelled`."""
    return False


class LostError(Exception):
    """A reader process ended or was ended; the text is a whole sentence."""


class Reader:
    """One reader process and our end of its pipe; used by one thread at a time."""

    _starting = threading.Lock()

    def __init__(self, cap_bytes: int, keeper: limits.Keeper) -> None:
        self._cap_bytes, self._keeper = cap_bytes, keeper
        self._job_object: limits.JobObject | None = None
        self._is_ready = False
        # What it holds while it stands idle; until that is known, no size is too large.
        self._base_bytes = 1 << 62
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=reader_process.serve,
            args=(theirs, cap_bytes, keeper == "itself"),
            name="medsearch-reader",
            daemon=True,
        )
        try:
            with self._starting, _safe_path():
                self._process.start()
        except OSError as error:
            self._pipe.close()
            raise LostError(f"A reader process cannot be started: {error.strerror}.") from error
        finally:
            theirs.close()

    def is_alive(self) -> bool:
        """Return True while the process runs."""
        return self._process.is_alive()

    def replies(
        self, job: Any, deadline_s: float, cancelled: Callable[[], bool]
    ) -> Generator[reader_process.Reply, None, None]:
        """Give the replies to one job, last of them ("done" or "failed", ...).

        Each reply has `deadline_s` to come. Raises LostError, after which
        this reader is dead. Stops the job when cancelled or closed early.
        """
        try:
            if not self._is_ready:
                if self._receive(_START_S, cancelled) is None:
                    return
                self._is_ready = True
            self._cap_memory()
            self._pipe.send(job)
        except OSError as error:
            raise LostError(self._death()) from error
        is_finished = False
        try:
            while True:
                reply = self._receive(deadline_s, cancelled)
                if reply is None:
                    return
                is_finished = reply[0] in ("done", "failed", "lost")
                if reply[0] == "lost":
                    self.kill()
                    reply = ("failed", reply[1])
                yield reply
                if is_finished:
                    return
        finally:
            if not is_finished and self.is_alive():
                self._stop_job()

    def end(self) -> None:
        """End the process at once, from any thread; the one that uses it is told by its pipe."""
        with contextlib.suppress(OSError, ValueError):
            self._process.kill()

    def kill(self) -> None:
        """End the process at once and wait for its end."""
        with contextlib.suppress(OSError, ValueError):
            self._process.kill()
        self._process.join(_STOP_S)
        self._release()

    def close(self) -> None:
        """Let an idle process end; kill it when it does not within two seconds."""
        self._pipe.close()
        self._process.join(_STOP_S)
        self.kill()

    def _release(self) -> None:
        self._pipe.close()
        if self._job_object is not None:
            self._job_object.close()

    def _cap_memory(self) -> None:
        """Set the cap for the next job, where it is not the process itself that does."""
        if self._keeper == "job object":
            try:
                if self._job_object is None:
                    self._job_object = limits.JobObject(int(self._process.pid or 0))
                self._job_object.allow(self._committed_bytes() + self._cap_bytes)
            except OSError:  # it may lie in a job that allows no other
                self._keeper = "watched"
        if self._keeper == "watched":
            self._base_bytes = self._resident_bytes()

    def _committed_bytes(self) -> int:
        try:
            # What Windows counts against the limit; no other system has it.
            return int(getattr(psutil.Process(self._process.pid).memory_info(), "private", 0))
        except psutil.Error:
            return 0

    def _receive(
        self, deadline_s: float, cancelled: Callable[[], bool]
    ) -> reader_process.Reply | None:
        """Return the next reply, or None when cancelled; raises LostError."""
        end = time.monotonic() + deadline_s
        try:
            while not cancelled():
                if self._pipe.poll(LOOK_S):
                    reply: reader_process.Reply = self._pipe.recv()
                    return reply
                if time.monotonic() > end:
                    self.kill()
                    raise LostError(f"Reading it took longer than {deadline_s:g} seconds.")
                if self._keeper == "watched" and self._is_too_large():
                    self.kill()
                    size = f"{self._cap_bytes / 2**30:.1f} GB"
                    raise LostError(f"Reading it needs more than {size} of memory.")
        except (EOFError, OSError) as error:
            raise LostError(self._death()) from error
        return None

    def _death(self) -> str:
        self._process.join(_STOP_S)
        code = self._process.exitcode
        self.kill()
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"Reading it ended the reader process ({signal.Signals(-code).name})."
        return f"Reading it ended the reader process (code {code})."

    def _stop_job(self) -> None:
        """Ask for the end of the job at hand, and end the process when that takes too long."""
        end = time.monotonic() + _STOP_JOB_S
        try:
            self._pipe.send(reader_process.Stop())
            while time.monotonic() < end:
                if self._pipe.poll(LOOK_S) and self._pipe.recv()[0] in ("done", "failed"):
                    return
        except (EOFError, OSError):
            pass
        self.kill()

    def _resident_bytes(self) -> int:
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def _is_too_large(self) -> bool:
        return self._resident_bytes() > self._base_bytes + self._cap_bytes


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Start Python so that it does not import from the current folder (as -P does)."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
