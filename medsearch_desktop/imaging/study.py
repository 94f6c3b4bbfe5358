"""Study and Series: what was opened, in DICOM's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from medsearch_desktop import cases

Affine = tuple[tuple[float, float, float, float], ...]


def as_affine(matrix: Sequence[Sequence[float]] | Any) -> Affine:
    """Return a (4, 4) matrix as the tuple of rows that a Series holds."""
    rows = [tuple(float(value) for value in row) for row in matrix]
    if len(rows) != 4 or any(len(row) != 4 for row in rows):
        raise ValueError("an affine is a (4, 4) matrix")
    return tuple((row[0], row[1], row[2], row[3]) for row in rows)


@dataclass(frozen=True)
class Window:
    """A VOI window in modality values (DICOM PS3.3 C.11.2.1.2).

    `function` is "LINEAR", "LINEAR_EXACT" or "SIGMOID".
    """

    centre: float
    width: float
    name: str = ""
    function: str = "LINEAR"


# The window that shows 0 as black, 255 as white and changes nothing between.
WHOLE_8_BIT = Window(127.5, 255.0, "", "LINEAR_EXACT")


@dataclass(frozen=True)
class ModalityTable:
    """A table from stored to modality values: `values[0]` stands for `first` and all below it."""

    first: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class Series:
    """Slices or frames that are shown as one stack.

    `slices` are in geometric order; with `affine` known, slice k lies at array
    index z = k. `affine` is a (4, 4) row-major tuple that takes the array
    index (z, y, x, 1) to LPS mm, or None when orientation is unknown.
    `pixel_spacing_mm` is (row step, column step) or None. `samples` is 1, or 3
    for colour. `dtype` is the numpy name of the stored values; `slope` and
    `intercept` are per slice and give modality values in `units` ("HU",
    "SUV", "" where unknown). `marks` are sentences about what is wrong or odd
    ("Slices 12 and 13 are 10.0 mm apart, the others 5.0 mm."); they are shown.
    `key` names the series within its study for the window (the Series
    Instance UID plus a suffix where one UID was split). `positions_lps` holds
    the true place of the first voxel of each slice in mm, where known: beside
    a gap it differs from the affine's. `modality_table` replaces slope and
    intercept where the file has one.
    """

    key: str
    series_uid: str
    modality: str
    description: str
    number: int | None
    body_part: str
    slices: tuple[cases.ImageRef, ...]
    rows: int
    columns: int
    samples: int
    dtype: str
    slope: tuple[float, ...]
    intercept: tuple[float, ...]
    units: str = ""
    affine: Affine | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    slice_spacing_mm: float | None = None
    slice_thickness_mm: float | None = None
    windows: tuple[Window, ...] = ()
    is_inverted: bool = False
    is_lossy: bool = False
    is_volume: bool = False
    frame_time_ms: float | None = None
    timepoints: int = 1
    marks: tuple[str, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    laterality: str = ""
    view: str = ""
    positions_lps: tuple[tuple[float, float, float], ...] = ()
    modality_table: ModalityTable | None = None

    @property
    def slice_bytes(self) -> int:
        """Return the size of one decoded slice in bytes."""
        import numpy as np

        return self.rows * self.columns * self.samples * np.dtype(self.dtype).itemsize

    @property
    def decoded_bytes(self) -> int:
        """Return the size of all decoded slices in bytes."""
        return self.slice_bytes * len(self.slices)

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """Return (rows, columns), or (rows, columns, 3) for colour."""
        size = (self.rows, self.columns)
        return (*size, 3) if self.samples == 3 else size


@dataclass(frozen=True)
class Study:
    """What one drop opened: DICOM's study, or one file of another kind.

    Patient fields are for the screen only; they never reach a log, a title of
    the window or a file name. `paths` are the top-level paths it came from.
    """

    study_uid: str
    series: tuple[Series, ...]
    paths: tuple[str, ...]
    title: str = ""
    patient_name: str = ""
    patient_id: str = ""
    sex: str = ""
    age: str = ""
    date: str = ""
    accession_number: str = ""
    is_complete: bool = True


@dataclass(frozen=True)
class Refused:
    """A file that was not opened, and why: `reason` is a whole sentence.

    `what` says in a few words what the file is ("a structured report"), "" where
    that is not known. `answer` is "refused" for a fault, "listed" for a sound
    file without an image, "left out" for what belongs to another file or is a copy.
    """

    path: str
    reason: str
    what: str = ""
    answer: Literal["refused", "listed", "left out"] = "refused"
