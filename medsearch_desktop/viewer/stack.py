"""The series a pane shows: which slice, which of them are read, and through which window."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from medsearch_desktop.imaging import display
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.imaging import volume as volumes
from medsearch_desktop.viewer import hanging, slice_image

# A window taken from this many pixels is that of all of them, and found within a few ms.
_SAMPLE_PIXELS = 1 << 18


class Stack:
    """One series with its place and window; knows nothing of panes.

    Its pixels lie in one volume, or in several that hold some slices each.
    `ready` is bool, one for each of `series.slices`; `faults` says of a slice
    why it cannot be read. `window` is None until the first slice is there, and
    always for colour.
    """

    def __init__(self, study: studies.Study, series: studies.Series, first: int = 0) -> None:
        self.study, self.series = study, series
        self.window: studies.Window | None = None
        self.first_window: studies.Window | None = None
        self.index = self._held(first)
        self.ready = np.zeros(len(series.slices), dtype=bool)
        self.faults: dict[int, str] = {}
        self._volumes: list[volumes.Volume] = []
        self._places: dict[int, tuple[volumes.Volume, int]] = {}
        self.turn = hanging.turn(series)
        self.letters = hanging.letters(series)

    @property
    def count(self) -> int:
        """Return the number of slices."""
        return len(self.series.slices)

    @property
    def volumes(self) -> tuple[volumes.Volume, ...]:
        """Return the volumes that hold the slices read so far."""
        return tuple(self._volumes)

    @property
    def volume(self) -> volumes.Volume | None:
        """Return the volume of the present slice; until it is read, the newest there is."""
        place = self._places.get(self.index)
        if place is not None:
            return place[0]
        return self._volumes[-1] if self._volumes else None

    @property
    def plane(self) -> int | None:
        """Return the plane of `volume` that holds the present slice, None until it is read."""
        place = self._places.get(self.index)
        return None if place is None else place[1]

    @property
    def fault(self) -> str:
        """Say why the present slice cannot be read; "" where nothing is wrong with it."""
        return "" if self.index in self._places else self.faults.get(self.index, "")

    def take(self, volume: volumes.Volume) -> None:
        """Take pixels in place of all others; ValueError for another series."""
        self._check(volume)
        self._volumes = []
        self.add(volume)

    def add(self, volume: volumes.Volume) -> None:
        """Take pixels beside those there are; they may still be filling."""
        self._check(volume)
        self._volumes = [one for one in self._volumes if one is not volume] + [volume]
        self._find_places()

    def drop(self, gone: Iterable[volumes.Volume]) -> None:
        """Forget the pixels of some volumes."""
        let_go = set(map(id, gone))
        self._volumes = [one for one in self._volumes if id(one) not in let_go]
        self._find_places()

    def mark_ready(self, plane: int, volume: volumes.Volume | None = None) -> bool:
        """Note that a plane of a volume (the newest) was read; return whether it is shown."""
        volume = volume or (self._volumes[-1] if self._volumes else None)
        if volume is None or not 0 <= plane < len(volume.indices):
            return False
        index = volume.indices[plane]
        self._places[index] = (volume, plane)
        self.ready[index] = True
        return index == self.index

    def mark_fault(self, index: int, sentence: str) -> bool:
        """Note that a slice cannot be read; return whether it is the one shown."""
        self.faults[index] = sentence
        return index == self.index

    def move_to(self, index: int) -> bool:
        """Go to slice `index`, or the nearest there is; return whether it is another one."""
        before, self.index = self.index, self._held(index)
        return self.index != before

    def begin_window(self) -> bool:
        """Choose the window with the first slice that is there; return whether that was now.

        It then stays for the whole series, so that slices can be compared.
        """
        if self.window is not None or self.plane is None or self.series.samples == 3:
            return False
        self.window = self.first_window = display.default_window(self._sample(), 0)
        return True

    def presets(self) -> tuple[studies.Window, ...]:
        """Return the windows to choose from: that of the beginning, the file's, the modality's."""
        if self.first_window is None:
            return ()
        of_modality = display.PRESETS if self.series.modality == "CT" else ()
        return tuple(dict.fromkeys((self.first_window, *self.series.windows, *of_modality)))

    def preset(self, number: int) -> studies.Window | None:
        """Return preset `number`, None where there is none; 0 is that of the beginning."""
        offered = self.presets()
        return offered[number] if 0 <= number < len(offered) else None

    def value_text(self, pixel: tuple[int, int] | None) -> str:
        """Return the value at (column, row) as shown, with its unit; "" where there is none."""
        plane, volume = self.plane, self.volume
        if pixel is None or plane is None or volume is None:
            return ""
        stored = hanging.stored_pixel(self.series, *pixel)
        return slice_image.value_text(volume, plane, *stored)

    def _check(self, volume: volumes.Volume) -> None:
        if volume.series.key != self.series.key:
            raise ValueError("the volume is of another series than the one shown")

    def _find_places(self) -> None:
        self._places = {}
        for volume in self._volumes:
            read = np.flatnonzero(volume.ready).tolist()
            self._places.update((volume.indices[plane], (volume, plane)) for plane in read)
            for plane, sentence in dict(volume.faults).items():
                self.faults[volume.indices[plane]] = sentence
        self.ready = np.zeros(self.count, dtype=bool)
        self.ready[list(self._places)] = True

    def _sample(self) -> volumes.Volume:
        """Return the present plane alone, thinned where it is large: enough for its percentiles."""
        whole, plane = self.volume, self.plane
        rows, columns = whole.voxels.shape[1:3]
        step = max(1, math.isqrt(rows * columns // _SAMPLE_PIXELS))
        voxels = whole.voxels[plane : plane + 1, ::step, ::step]
        index = (whole.indices[plane],)
        return volumes.Volume(self.series, voxels, index, np.ones(1, dtype=bool))

    def _held(self, index: int) -> int:
        return min(max(index, 0), max(len(self.series.slices) - 1, 0))
