"""Feeds the pane: all slices of a series, or those around the place shown of a large one."""

from __future__ import annotations

import collections
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from medsearch_desktop.gui import background
from medsearch_desktop.imaging import isolated, volume
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.viewer import slice_pane

_log = logging.getLogger(__name__)

# A busy main thread holds the reading up no longer than this.
_FIRST_SLICE_S = 0.1
# Slices that cannot be read are told together, this long after the first and so many at once:
# a series may have 50,000 of them, and each costs a twentieth of a millisecond.
_FAULTS_MS = 100
_FAULTS_AT_ONCE = 150
# What is kept around the place shown: of a large series, and of one that still grows.
NEAR_BYTES = 512 << 20
GROWING_BYTES = 128 << 20
# One load reads so much at most, so that a new wish never waits for long.
_BATCH_BYTES = 32 << 20
# Of what may be kept, this part is read ahead; the rest stays from where the reader was.
_AHEAD = 0.75
# A wish this far from where a load began is worth a load of its own.
_FAR_SLICES = 8


@dataclass(frozen=True)
class _Plane:
    """One plane that a load has read, or failed to read."""

    volume: volume.Volume
    plane: int
    is_shown: threading.Event
    fault: str = ""


class Feed(QObject):
    """Reads the series in the pane, beginning at the slice shown.

    With `near_bytes` 0 all of it into one volume; else in batches around the
    slice shown, following the reader, newest wish first, and letting go of
    what is far away. Slices that the pane has already are not read again.
    """

    fault_met = Signal(object, int, str)  # studies.Series, slice, sentence
    finished = Signal(object)  # volume.Volume: all that can be read of the series
    failed = Signal(object)  # the error that ended the reading

    def __init__(
        self,
        readers: isolated.Readers,
        work: background.Background,
        pane: slice_pane.SlicePane,
        series: studies.Series,
        *,
        near_bytes: int = 0,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._readers, self._work, self._pane = readers, work, pane
        self._series, self._near_bytes = series, near_bytes
        self._is_stopped = False
        self._wish = 0
        self._batch: tuple[int, ...] = ()
        self._began_at = 0
        # Filled by the thread that loads, emptied on the main thread.
        self._faulty: collections.deque[_Plane] = collections.deque()
        self._is_told = False
        self._telling = QTimer(self, singleShot=True)
        self._telling.timeout.connect(self._take_faults)

    @property
    def is_near(self) -> bool:
        """Say whether only slices around the place shown are kept."""
        return self._near_bytes > 0

    def start(self) -> None:
        """Begin to read."""
        if self.is_near:
            self._pane.slice_changed.connect(self._move)
            self._next()
        else:
            self._load(tuple(range(len(self._series.slices))))

    def stop(self) -> None:
        """Read no more; what the pane has stays."""
        if not self._is_stopped:
            self._is_stopped = True
            self._telling.stop()
            if self.is_near:
                self._pane.slice_changed.disconnect(self._move)
            self.deleteLater()

    def _load(self, indices: tuple[int, ...]) -> None:
        wish, self._batch, self._began_at = self._wish, indices, self._pane.current_index
        is_shown = threading.Event()

        def tell(filling: volume.Volume, plane: int, fault: str = "") -> None:
            came = _Plane(filling, plane, is_shown, fault)
            if fault and is_shown.is_set():
                self._put_aside(came)
                return
            self._work.tell(self._take, came)
            # The first slice goes before all others: this thread gives way until it is shown.
            is_shown.wait(_FIRST_SLICE_S)

        def load() -> tuple[volume.Volume, volume.Volume]:
            read = self._readers.load(
                self._series,
                first=self._began_at,
                indices=indices,
                on_slice=tell,
                on_fault=tell,
                cancelled=lambda: self._work.is_closing or self._is_stopped or wish != self._wish,
                allow_bytes=self._series.slice_bytes * len(indices),
            )
            return read, _compact(read) if self.is_near else read

        self._work.run(load, then=lambda read: self._end(*read), failed=self._fail)

    def _take(self, came: _Plane) -> None:
        came.is_shown.set()
        if self._is_stopped:
            return
        if came.fault:
            self._say_fault(came)
            return
        if came.volume not in self._pane.volumes:
            self._pane.add_volume(came.volume)
            _log.debug("the first slice is shown")
        self._pane.plane_ready(came.plane, came.volume)

    def _put_aside(self, came: _Plane) -> None:
        """Keep a fault, on the thread that loads, to be told with those that come soon."""
        self._faulty.append(came)
        if not self._is_told:
            self._is_told = True
            self._work.tell(self._wait_for_more, None)

    def _wait_for_more(self, _: None) -> None:
        if not self._is_stopped and not self._telling.isActive():
            self._telling.start(_FAULTS_MS)

    def _take_faults(self) -> None:
        """Tell some of the faults put aside; between two portions the window does other work."""
        self._is_told = False  # before the first is taken: what comes now is told anew
        for _ in range(min(_FAULTS_AT_ONCE, len(self._faulty))):
            self._say_fault(self._faulty.popleft())
        if self._faulty and not self._is_stopped:
            self._telling.start(0)

    def _say_fault(self, came: _Plane) -> None:
        index = came.volume.indices[came.plane]
        self._pane.slice_failed(index, came.fault)
        self.fault_met.emit(self._series, index, came.fault)

    def _after_faults(self, last: Callable[[], None]) -> bool:
        """Return True where faults are still to be told first; `last` is called behind them."""
        if not self._faulty or self._is_stopped:
            return False
        self._telling.start(0)
        QTimer.singleShot(0, self, last)
        return True

    def _end(self, filling: volume.Volume, read: volume.Volume) -> None:
        if self._after_faults(lambda: self._end(filling, read)):
            return
        self._batch = ()
        if self._is_stopped:
            return
        if not self.is_near:
            self._pane.set_volume(read)
            self.finished.emit(read)
            return
        if read is not filling:
            if len(read.indices):
                self._pane.add_volume(read)
            self._pane.drop_volumes((filling,))
        self._pane.drop_volumes(self._far_away())
        self._next()

    def _fail(self, error: BaseException) -> None:
        if self._after_faults(lambda: self._fail(error)):
            return
        batch, self._batch = self._batch, ()
        if self._is_stopped:
            return
        if self.is_near and set(batch) <= set(self._pane.faults):
            self._next()
        else:
            self.failed.emit(error)

    # around the place shown

    def _move(self, index: int) -> None:
        """Follow the reader: read what is missing here before anything else."""
        is_missing = not self._pane.ready[index] and index not in self._pane.faults
        is_far = index not in self._batch or abs(index - self._began_at) > _FAR_SLICES
        if self._batch and is_missing and is_far:
            self._wish += 1  # the load at hand ends with this plane, and `_next` comes after it
        elif not self._batch:
            self._next()

    def _next(self) -> None:
        wanted = self._missing()
        if wanted:
            self._load(wanted)

    def _missing(self) -> tuple[int, ...]:
        """Return the slices to read next, the nearest to the place shown, in order."""
        size = max(self._series.slice_bytes, 1)
        place, known = self._pane.current_index, self._pane.ready.copy()
        known[list(self._pane.faults)] = True
        half = int(self._near_bytes * _AHEAD) // size // 2
        near = np.arange(max(0, place - half), min(len(known), place + half + 1))
        near = near[~known[near]]
        order = np.argsort(np.abs(near - place), kind="stable")[: max(1, _BATCH_BYTES // size)]
        return tuple(sorted(near[order].tolist()))

    def _far_away(self) -> Sequence[volume.Volume]:
        """Return the volumes to let go of, so that the rest keeps below the limit."""
        place = self._pane.current_index
        held = [one for one in self._pane.volumes if one is not self._pane.volume]
        held.sort(key=lambda one: int(np.abs(np.asarray(one.indices) - place).min()))
        room = self._near_bytes
        if self._pane.volume is not None:
            room -= self._pane.volume.voxels.nbytes
        gone = []
        for one in held:
            room -= one.voxels.nbytes
            if room < 0:
                gone.append(one)
        return gone


def _compact(read: volume.Volume) -> volume.Volume:
    """Return a volume of the planes that were read alone, where others are missing."""
    if bool(np.all(read.ready)):
        return read
    planes = np.flatnonzero(read.ready)
    voxels = read.voxels[planes]
    voxels.setflags(write=False)
    indices = tuple(read.indices[plane] for plane in planes.tolist())
    return volume.Volume(read.series, voxels, indices, np.ones(len(planes), dtype=bool))


def moved_place(series: studies.Series, index: int, after: studies.Study) -> tuple[int, int] | None:
    """Return (series, slice) of a study where a slice of its earlier self lies now."""
    wanted = series.slices[index]
    for number, one in enumerate(after.series):
        for place, ref in enumerate(one.slices):
            if ref.path == wanted.path and ref.frame == wanted.frame:
                return number, place
    return None


def moved_faults(
    faults: dict[int, str], before: studies.Series, after: studies.Series
) -> dict[int, str]:
    """Return what is known of unreadable slices for the newer self of a series."""
    if not faults:
        return {}
    places = {(ref.path, ref.frame): index for index, ref in enumerate(after.slices)}
    refs = {index: before.slices[index] for index in faults}
    found = {places.get((refs[i].path, refs[i].frame), -1): why for i, why in faults.items()}
    return {index: why for index, why in found.items() if index >= 0}


def moved(
    read: Sequence[volume.Volume], before: studies.Series, after: studies.Series
) -> list[volume.Volume]:
    """Return volumes of a series as volumes of its newer self, without reading them again."""
    if (before.plane_shape, before.dtype) != (after.plane_shape, after.dtype):
        return []
    places = {(ref.path, ref.frame): index for index, ref in enumerate(after.slices)}
    found = []
    for one in map(_compact, read):
        refs = [before.slices[index] for index in one.indices]
        indices = [places.get((ref.path, ref.frame), -1) for ref in refs]
        voxels = one.voxels
        if -1 in indices:
            voxels = voxels[[index >= 0 for index in indices]]
            indices = [index for index in indices if index >= 0]
        if indices:
            ready = np.ones(len(indices), dtype=bool)
            found.append(volume.Volume(after, voxels, tuple(indices), ready))
    return found
