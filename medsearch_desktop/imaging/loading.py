"""One load of a series: the planes still to come, and those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from medsearch_desktop import errors
from medsearch_desktop.imaging import blocks, reader_process, study, volume

# So many planes of one load that each end a reader, or keep it for a whole deadline, are
# no accident: the rest is not tried.
MOST_LOSSES = 6
_MOST_FALSE_STARTS = 3

OnSlice = Callable[[volume.Volume, int], None]
OnFault = Callable[[volume.Volume, int, str], None]


class Loading:
    """Keeps a load over several readers: what is read stays, what ended a reader is left out.

    `volume` fills up; `block` is its shared memory, to be unlinked at the end.
    Raises UnreadableFileError when there is no room for the pixels.
    """

    def __init__(
        self,
        series: study.Series,
        indices: Sequence[int],
        first: int,
        on_slice: OnSlice | None,
        on_fault: OnFault | None,
    ) -> None:
        count = len(indices)
        start = min(range(count), key=lambda k: abs(indices[k] - first))
        self._series, self._indices = series, tuple(indices)
        self._waiting = list(reader_process.outward(count, start))
        self._on_slice, self._on_fault = on_slice, on_fault
        self._has_begun, self._losses, self._false_starts = False, 0, 0
        self._first_fault: tuple[str, str] | None = None
        self.block = blocks.Block(self.path(), series.slice_bytes * count)
        voxels = self.block.array((count, *series.plane_shape), series.dtype)
        self.volume = volume.Volume(series, voxels, self._indices, np.zeros(count, bool))

    def path(self) -> str:
        """Return the file of the plane whose turn it is."""
        plane = self._waiting[0] if self._waiting else 0
        return self._series.slices[self._indices[plane]].path

    def job(self) -> reader_process.Load | None:
        """Return the planes still to come as a job, or None when there are none."""
        if not self._waiting:
            return None
        self._has_begun = False
        order = tuple(self._waiting)
        return reader_process.Load(self._series, self._indices, order, self.block.name)

    def take(self, reply: reader_process.Reply) -> None:
        """Take one reply of a reader into the volume."""
        kind, value = reply
        if kind == "at":
            self._has_begun = True
        elif kind == "plane":
            self._done(value)
            self.volume.ready[value] = True
            if self._on_slice is not None:
                self._on_slice(self.volume, value)
        elif kind == "unread":
            plane, path, sentence = value
            self._done(plane)
            self._fault(plane, path, sentence)
        elif kind == "failed":
            self.lost(value[1])
        elif kind == "done" and self._waiting:
            self.lost("The reader gave up too early.")

    def lost(self, sentence: str) -> None:
        """Leave out the plane at which a reader was lost; after too many, leave out the rest."""
        if self._has_begun:
            path = self.path()
            self._fault(self._waiting.pop(0), path, sentence)
            self._has_begun = False
            self._losses += 1
            if self._losses >= MOST_LOSSES:
                self._give_up("Too many slices of this series ended the reader: it was not tried.")
        else:
            # It ended before it began: a new one may do better.
            self._false_starts += 1
            if self._false_starts >= _MOST_FALSE_STARTS:
                self._give_up(sentence)

    def _give_up(self, sentence: str) -> None:
        while self._waiting:
            path = self.path()
            self._fault(self._waiting.pop(0), path, sentence)

    def finished(self) -> volume.Volume:
        """Return the volume; raises UnreadableFileError when no plane of it could be read."""
        if self._first_fault is not None and len(self.volume.faults) == len(self._indices):
            raise errors.UnreadableFileError(*self._first_fault)
        return self.volume

    def _done(self, plane: int) -> None:
        self._waiting.remove(plane)
        self._has_begun = False

    def _fault(self, plane: int, path: str, sentence: str) -> None:
        self._first_fault = self._first_fault or (path, sentence)
        self.volume.faults[plane] = sentence
        if self._on_fault is not None:
            self._on_fault(self.volume, plane, sentence)
