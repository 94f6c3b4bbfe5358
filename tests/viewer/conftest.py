"""Series of phantoms with their pixels, and a dressed pane to show them in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medsearch_desktop.gui import theme
from medsearch_desktop.imaging import opening, pixels, study, volume
from medsearch_desktop.viewer import slice_pane

Opened = tuple[study.Study, study.Series, volume.Volume]


@pytest.fixture
def opened() -> Callable[..., Opened]:
    """A function that opens the one study of a path; `filled` False gives no plane yet."""

    def read(path: Path, *, filled: bool = True) -> Opened:
        (found,) = opening.open_paths([str(path)])
        series = found.series[0]
        planes = dict(pixels.planes(series, range(len(series.slices))))
        voxels = np.stack([planes[index] for index in range(len(planes))])
        ready = np.full(len(planes), filled)
        return found, series, volume.Volume(series, voxels, tuple(range(len(planes))), ready)

    return read


@pytest.fixture
def pane(qapp, qtbot) -> slice_pane.SlicePane:
    """A shown pane of 640 x 640 px."""
    theme.apply(qapp, 100, high_contrast=False)
    made = slice_pane.SlicePane(theme.overlay_colours())
    qtbot.addWidget(made)
    made.resize(640, 640)
    made.show()
    return made


@pytest.fixture
def show(pane, opened) -> Callable[..., Opened]:
    """A function that shows the study of a path in the pane."""

    def put(path: Path, first: int = 0) -> Opened:
        found = opened(path)
        pane.show_series(found[0], found[1], first)
        pane.set_volume(found[2])
        return found

    return put
