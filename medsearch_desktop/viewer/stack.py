"""The series a pane shows: which slice, which of them are read, and through which window."""

from __future__ import annotations

import math

import numpy as np

from medsearch_desktop.imaging import display
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.imaging import volume as volumes
from medsearch_desktop.viewer import hanging, slice_image

# A window taken from this many pixels is that of all of them, and found within a few ms.
_SAMPLE_PIXELS = 1 << 18


class Stack:
    """One series with its place and window; knows nothing of panes.

    `ready` is bool, one for each of `series.slices`. `window` is None until
    the first slice is there, and always for colour.
    """

    def __init__(self, study: studies.Study, series: studies.Series, first: int = 0) -> None:
        self.study, self.series = study, series
        self.volume: volumes.Volume | None = None
        self.window: studies.Window | None = None
        self.first_window: studies.Window | None = None
        self.index = self._held(first)
        self.ready = np.zeros(len(series.slices), dtype=bool)
        self._planes: dict[int, int] = {}
        self.turn = hanging.turn(series)
        self.letters = hanging.letters(series)

    @property
    def count(self) -> int:
        """Return the number of slices."""
        return len(self.series.slices)

    @property
    def plane(self) -> int | None:
        """Return the plane of the volume that holds the present slice, None until it is read."""
        if self.volume is None or not self.count or not self.ready[self.index]:
            return None
        return self._planes[self.index]

    def take(self, volume: volumes.Volume) -> None:
        """Take the pixels, which may still be filling; ValueError for another series."""
        if volume.series.key != self.series.key:
            raise ValueError("the volume is of another series than the one shown")
        self.volume = volume
        self._planes = {index: plane for plane, index in enumerate(volume.indices)}
        self.ready = np.zeros(self.count, dtype=bool)
        self.ready[list(volume.indices)] = volume.ready

    def mark_ready(self, plane: int) -> bool:
        """Note that a plane was read; return whether it is the one shown."""
        if self.volume is None or not 0 <= plane < len(self.volume.indices):
            return False
        index = self.volume.indices[plane]
        self.ready[index] = True
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
        plane = self.plane
        if pixel is None or plane is None or self.volume is None:
            return ""
        stored = hanging.stored_pixel(self.series, *pixel)
        return slice_image.value_text(self.volume, plane, *stored)

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
