"""One or two warm reader processes, where every parse and decode of a user's file runs."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medsearch_desktop import cases, errors
from medsearch_desktop.imaging import (
    display,
    finding,
    limits,
    loading,
    reader_client,
    reader_process,
    study,
    volume,
)

# More pixels than this are loaded only when the reader of the images has said so.
ASK_ABOVE_BYTES = 2 << 30

never = reader_client.never


class Readers:
    """One or two warm spawned reader processes.

    All methods may be called from several threads. Every parse and decode of
    a user's file runs in a process with a memory cap (`memory_cap_bytes`
    beyond what it needs to stand, and beyond the pixels asked for) and a
    deadline for each file or plane; one that dies or is over is replaced.
    `limit` says who keeps the memory cap; "auto" is what this system can do.
    """

    def __init__(
        self,
        count: int = 1,
        *,
        memory_cap_bytes: int = 4 << 30,
        deadline_s: float = 60.0,
        limit: Literal["auto"] | limits.Keeper = "auto",
    ) -> None:
        self._count, self._cap_bytes, self._deadline_s = count, memory_cap_bytes, deadline_s
        self._keeper: limits.Keeper = limits.keeper() if limit == "auto" else limit
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(count)
        self._idle: list[reader_client.Reader] = []
        self._busy: set[reader_client.Reader] = set()
        self._warming: threading.Thread | None = None
        self._is_closed = False

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def warm(self) -> None:
        """Start the processes on a thread of our own and return at once."""
        with self._lock:
            if self._warming is None and not self._is_closed:
                self._warming = threading.Thread(target=self._start_all, name="readers-warm")
                self._warming.start()

    def open_paths(
        self,
        paths: Sequence[str | Path],
        *,
        cancelled: Callable[[], bool] = never,
        grow: bool = False,
    ) -> Iterator[study.Study | study.Refused]:
        """Give a Study or Refused for everything found in files, folders, ZIPs and DICOMDIRs.

        A file that ends the reader is Refused and the others are read on. The
        reader is held until the last value was taken, but never one that
        `load` or `render_picture` waits for. With `grow` studies come as they
        grow, too (`is_complete` False).
        """
        if not paths:
            return
        found = finding.Finding([os.path.abspath(path) for path in paths], grow=grow)
        while not found.is_over and not cancelled():
            try:
                with self._asked(found.job(), cancelled) as replies:
                    for reply in replies:
                        yield from found.take(reply)
            except reader_client.LostError as error:
                yield from found.lost(str(error), is_last=self._is_closed)

    def load(
        self,
        series: study.Series,
        *,
        first: int = 0,
        indices: Sequence[int] | None = None,
        on_slice: loading.OnSlice | None = None,
        on_fault: loading.OnFault | None = None,
        cancelled: Callable[[], bool] = never,
        allow_bytes: int = ASK_ABOVE_BYTES,
    ) -> volume.Volume:
        """Return the stored values of a series, or of the slices in `indices`.

        Slice `first` is read first, then outward from it; `on_slice(volume,
        plane)` is called on this thread for each plane read, with the one
        volume that fills up, and `on_fault(volume, plane, sentence)` for each
        that cannot be read. When cancelled, the volume comes back as far as
        it got (`ready` says which planes). Raises UnreadableFileError when all
        planes fail, and TooLargeError for more than `allow_bytes` of pixels.
        """
        chosen = tuple(range(len(series.slices)) if indices is None else indices)
        if not chosen:
            raise ValueError("no slices to load")
        needed = series.slice_bytes * len(chosen)
        if needed > allow_bytes:
            raise errors.TooLargeError(series.slices[chosen[0]].path, needed, allow_bytes)
        load = loading.Loading(series, chosen, first, on_slice, on_fault)
        try:
            with self._turn(cancelled):
                self._load_all(load, cancelled)
        except reader_client.LostError as error:
            if not cancelled():
                raise errors.UnreadableFileError(load.path(), str(error)) from error
        finally:
            load.block.unlink()
        return load.finished()

    def _load_all(self, load: loading.Loading, cancelled: Callable[[], bool]) -> None:
        """Ask for all planes, with a new reader after each that is lost."""
        while not cancelled() and (job := load.job()) is not None:
            try:
                with self._asked(job, cancelled) as replies:
                    for reply in replies:
                        load.take(reply)
            except reader_client.LostError as error:
                if self._is_closed or cancelled():
                    raise
                load.lost(str(error))

    def render_picture(
        self,
        ref: cases.ImageRef,
        *,
        window: display.Windows | None = None,
        max_side: int | None = None,
    ) -> np.ndarray:
        """Return uint8 (rows, columns, 3) of one image at its own window, or at `window`.

        Three windows are the channels of a CT and are passed over elsewhere.

        A picture file, a DICOM frame, a NIfTI slice (upright), or an array of
        a .npz; with `max_side` reduced to that length. Raises UnreadableFileError.
        """
        shown: np.ndarray | None = None
        job = reader_process.Picture(ref, window, max_side)
        try:
            with self._turn(never), self._asked(job, never) as replies:
                for kind, value in replies:
                    if kind == "picture":
                        shown = value
                    elif kind == "failed":
                        raise errors.UnreadableFileError(value[0] or ref.path, value[1])
        except reader_client.LostError as error:
            raise errors.UnreadableFileError(ref.path, str(error)) from error
        if shown is None:
            raise errors.UnreadableFileError(ref.path, "The reader gave no picture.")
        return shown

    def close(self) -> None:
        """End all processes, within two seconds; may be called twice."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            busy, warming = list(self._busy), self._warming
        for reader in busy:
            reader.end()
        for reader in idle:
            reader.close()
        if warming is not None and warming is not threading.current_thread():
            warming.join()

    def _start_all(self) -> None:
        for _ in range(self._count):
            with self._lock:
                wanted = len(self._idle) + len(self._busy) < self._count and not self._is_closed
            if wanted:
                self._give_back(reader_client.Reader(self._cap_bytes, self._keeper))

    @contextlib.contextmanager
    def _turn(self, cancelled: Callable[[], bool]) -> Iterator[None]:
        """Wait until fewer than `count` pixel jobs run."""
        while not self._turns.acquire(timeout=reader_client.LOOK_S):
            if self._is_closed or cancelled():
                raise reader_client.LostError("The reading was given up.")
        try:
            yield
        finally:
            self._turns.release()

    @contextlib.contextmanager
    def _asked(
        self, job: Any, cancelled: Callable[[], bool]
    ) -> Iterator[Iterator[reader_process.Reply]]:
        """Give the replies to a job; the reader is free again after it, finished or not."""
        reader = self._borrow()
        try:
            with contextlib.closing(reader.replies(job, self._deadline_s, cancelled)) as replies:
                yield replies
        finally:
            self._give_back(reader)

    def _borrow(self) -> reader_client.Reader:
        warming = self._warming
        if warming is not None and warming is not threading.current_thread():
            warming.join()
        with self._lock:
            if self._is_closed:
                raise reader_client.LostError("The reading was given up.")
            reader = self._idle.pop() if self._idle else None
            if reader is not None and not reader.is_alive():
                reader.kill()
                reader = None
            if reader is None:
                # Starting takes milliseconds and is done under the lock, so that `close`
                # never misses a process.
                reader = reader_client.Reader(self._cap_bytes, self._keeper)
            self._busy.add(reader)
            return reader

    def _give_back(self, reader: reader_client.Reader) -> None:
        with self._lock:
            self._busy.discard(reader)
            # One more than `count` may stay, for an opening beside a loading.
            if not self._is_closed and reader.is_alive() and len(self._idle) <= self._count:
                self._idle.append(reader)
                return
        if reader.is_alive():
            reader.close()
        else:
            reader.kill()
