"""DICOM series whose slices are missing, doubled, mixed or nowhere, and Siemens mosaics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
from pydicom.dataset import Dataset

from hostile import elements, mosaics
from hostile.expected import Hostile, hostile

_SIZE = (8, 8)
_CORNERS = {"spacing_mm": (1.25, 1.75)}
_SPACING, _NO_PLACE = b"1.25\\1.75 ", "no numbers|not made of"
_SLICES = np.arange(5 * 6 * 4, dtype=np.uint16).reshape(5, 6, 4)


def _series(
    change: Callable[[Dataset, int], None] | None = None, slices: int = 6, **options: Any
) -> elements.Writer:
    def write(folder: Path) -> Sequence[Path]:
        phantoms.write_ct_series(folder, slices, _SIZE, change=change, **options)
        return [folder]

    return write


def _sets(**values: Any) -> Callable[[Dataset, int], None]:
    def change(found: Dataset, _: int) -> None:
        for keyword, value in values.items():
            setattr(found, keyword, value)

    return change


def _lacks(*keywords: str) -> Callable[[Dataset, int], None]:
    def change(found: Dataset, _: int) -> None:
        for keyword in keywords:
            delattr(found, keyword)

    return change


def _spaced(lie: bytes) -> elements.Writer:
    """A series whose pixel spacing is overwritten by what no writer would let through."""

    def write(folder: Path) -> Sequence[Path]:
        for path in phantoms.write_ct_series(folder, 5, _SIZE, **_CORNERS):
            elements.replaced(path, _SPACING, lie)
        return [folder]

    return write


def _placed(lie: bytes, *, only: int | None = None) -> elements.Writer:
    """A series whose positions are overwritten, or that of one slice."""
    places = [(-1.25, -2.25, float(k)) for k in range(6)]

    def write(folder: Path) -> Sequence[Path]:
        paths = phantoms.write_ct_series(folder, size=_SIZE, positions=places)
        for k, path in enumerate(paths):
            if only in (None, k):
                elements.replaced(path, b"-1.25\\-2.25\\", lie + b"\\")
        return [folder]

    return write


def _directed(*cosines: float) -> elements.Writer:
    return _series(_sets(ImageOrientationPatient=[f"{v:g}" for v in cosines]))


def _new_identity(word: str) -> Callable[[Dataset, int], None]:
    def change(found: Dataset, k: int) -> None:
        name = phantoms.uid(word, k)
        found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = name

    return change


def _twice(second: Callable[[Dataset, int], None] | None, **options: Any) -> elements.Writer:
    def write(folder: Path) -> Sequence[Path]:
        phantoms.write_ct_series(folder / "a", 5, _SIZE)
        phantoms.write_ct_series(folder / "b", 5, _SIZE, change=second, **options)
        return [folder]

    return write


def _other_pixels(found: Dataset, _: int) -> None:
    found.PixelData = bytes(255 - byte for byte in found.PixelData)


def _other_series(found: Dataset, k: int) -> None:
    _new_identity("other")(found, k)
    found.SeriesInstanceUID, found.SeriesNumber = phantoms.uid("other series"), 4


def _one_localizer(found: Dataset, k: int) -> None:
    if k == 0:
        found.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def _one_larger(found: Dataset, k: int) -> None:
    if k == 2:
        phantoms.set_pixels(found, np.zeros((10, 10), np.uint16))


def _moments(folder: Path) -> Sequence[Path]:
    for moment in range(3):

        def change(found: Dataset, k: int, moment: int = moment) -> None:
            _new_identity(f"moment {moment}")(found, k)
            found.TemporalPositionIdentifier = moment + 1

        phantoms.write_ct_series(folder / str(moment), 4, _SIZE, change=change)
    return [folder]


def _echoes(folder: Path) -> Sequence[Path]:
    for echo in (10, 80):

        def change(found: Dataset, k: int, echo: int = echo) -> None:
            _new_identity(f"echo {echo}")(found, k)
            found.EchoTime = str(echo)

        phantoms.write_ct_series(folder / str(echo), 4, _SIZE, modality="MR", change=change)
    return [folder]


def _stepped(*places: Sequence[float]) -> elements.Writer:
    return _series(positions=places)


def _mosaic(**options: Any) -> elements.Writer:
    def write(folder: Path) -> Sequence[Path]:
        return [mosaics.write(folder / "a.dcm", _SLICES, position=(0, 0, 0), **options)]

    return write


_NORMAL = mosaics.csa({"SliceNormalVector": ["0.0", "0.0", "1.0"]})
_WHOLE = mosaics.csa({"NumberOfImagesInMosaic": ["5"], "SliceNormalVector": ["0", "0", "1"]})
_UNCUT = "lie side by side in one picture"

STACKS = (
    hostile("slice_missing", _series(skip=(3,)), "marked", words="1 slice is missing", series=1),
    hostile("slices_missing_twice", _series(slices=12, skip=(3, 7, 8)), "marked", words="3 slices"),
    hostile(
        "slices_uneven",
        _stepped((0, 0, 0), (0, 0, 2), (0, 0, 4), (0, 0, 7.1), (0, 0, 9.1)),
        "marked",
        words="unevenly spaced",
    ),
    hostile(
        "slices_tilted",
        _stepped(*((0, 0.5 * k, 2.0 * k) for k in range(6))),
        "marked",
        words="tilted by 14.0 degrees",
    ),
    hostile(
        "slices_sideways",
        _stepped(*((8.0 * (k % 2), 0, 2.0 * k) for k in range(6))),
        "marked",
        words="sideways",
    ),
    hostile("slices_two", _series(slices=2), "marked", words="Only 2 slices", series=1),
    hostile("slices_doubled", _twice(None), "marked", "left out", words="copies of", series=1),
    hostile(
        "slices_doubled_with_other_pixels",
        _twice(_other_pixels),
        *("marked", "left out"),
        words="Different images carry one identifier",
        series=1,
    ),
    hostile("series_two_in_a_folder", _twice(_other_series), "opened", series=2),
    hostile(
        "series_of_two_directions",
        _twice(_new_identity("coronal"), orientation=phantoms.CORONAL),
        "split",
        words="split into 2 stacks",
        series=2,
    ),
    hostile(
        "series_with_a_localizer",
        _series(_one_localizer),
        "split",
        words="A localizer",
        series=2,
    ),
    hostile(
        "series_with_a_larger_slice", _series(_one_larger), "split", words="split into 2", series=2
    ),
    hostile(
        "series_of_three_moments", _moments, *("marked", "left out"), words="3 images lie", series=1
    ),
    hostile("series_of_two_echoes", _echoes, "split", words="split into 2 stacks", series=2),
)

PLACES = (
    hostile(
        "orientation_missing",
        _series(_lacks("ImageOrientationPatient")),
        "marked",
        words="Orientation is missing: sides cannot be told",
    ),
    hostile(
        "position_missing",
        _series(_lacks("ImagePositionPatient")),
        "marked",
        words="Position is missing",
    ),
    hostile("position_nan", _placed(b"nan\\nan"), "marked", words=_NO_PLACE, series=1),
    hostile(
        "position_nan_of_one_slice", _placed(b"nan\\nan", only=3), "split", words="split", series=2
    ),
    hostile("position_far_away", _placed(b"9e99\\1e99"), "marked", words=_NO_PLACE, series=1),
    hostile("orientation_zero", _directed(0, 0, 0, 0, 0, 0), "marked", words="right angle"),
    hostile("orientation_parallel", _directed(1, 0, 0, 1, 0, 0), "marked", words="right angle"),
    hostile("orientation_too_long", _directed(2, 0, 0, 0, 1, 0), "marked", words="right angle"),
    hostile("orientation_of_five", _directed(1, 0, 0, 0, 1), "marked", words="right angle"),
    hostile(
        "spacing_missing",
        _series(_lacks("PixelSpacing")),
        "marked",
        words="nothing can be measured",
    ),
    hostile("spacing_zero", _spaced(b"0\\0"), "marked", words="spacing is no length", series=1),
    hostile("spacing_negative", _spaced(b"-1\\-1"), "marked", words="spacing is no length"),
    hostile("spacing_nan", _spaced(b"nan\\nan"), "marked", words="spacing is no length"),
    hostile("spacing_infinite", _spaced(b"inf\\inf"), "marked", words="spacing is no length"),
    hostile("spacing_enormous", _spaced(b"1e30\\1e30"), "marked", words="spacing is no length"),
    hostile("spacing_of_words", _spaced(b"ab\\cd"), "marked", words="spacing is no length"),
    hostile(
        "thickness_negative", _series(_sets(SliceThickness="-5"), slices=1), "opened", series=1
    ),
)

MOSAICS = (
    hostile("mosaic_by_number", _mosaic(count=5, header=_NORMAL), "opened", series=1),
    hostile("mosaic_by_header", _mosaic(header=_WHOLE), "opened", series=1),
    hostile("mosaic_without_normal", _mosaic(count=5), "marked", words="in reverse order"),
    hostile("mosaic_without_number", _mosaic(header=_NORMAL), "marked", words=_UNCUT, series=1),
    hostile("mosaic_of_no_slices", _mosaic(count=0), "marked", words=_UNCUT),
    hostile("mosaic_of_too_many_slices", _mosaic(count=60_000), "marked", words=_UNCUT),
    hostile("mosaic_with_a_cut_header", _mosaic(header=_WHOLE[:120]), "marked", words=_UNCUT),
    hostile(
        "mosaic_with_lying_lengths",
        _mosaic(header=_WHOLE.replace(b"\2\0\0\0\x4d", b"\xff\xff\xff\x7f\x4d")),
        "marked",
        words=_UNCUT,
    ),
)

CASES: tuple[Hostile, ...] = (*STACKS, *PLACES, *MOSAICS)
