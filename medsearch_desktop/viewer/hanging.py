"""How slices hang: which way up, and the letters at their edges."""

from __future__ import annotations

import numpy as np

from medsearch_desktop.imaging import display
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.imaging import volume as volumes

Letters = tuple[str, str, str, str]

_OPPOSITE = str.maketrans("LRPASI", "RLAPIS")
# Patient Orientation writes head and foot, the pane superior and inferior.
_WRITTEN = str.maketrans("HF", "SI")


def turn(series: studies.Series) -> display.Turn:
    """Return how the slices are turned: NIfTI upright, DICOM and pictures as they are stored."""
    is_nifti = series.key.startswith("nifti:")
    return display.upright(series.affine) if is_nifti else display.Turn()


def letters(series: studies.Series) -> Letters | None:
    """Return the letters at the (left, right, top, bottom) edges as shown; None: not known."""
    affine = None if series.affine is None else np.asarray(series.affine, dtype=np.float64)
    stored = volumes.orientation_letters(affine) or _from_words(dict(series.details))
    return None if stored is None else turned_letters(stored, turn(series))


def turned_letters(stored: Letters, by: display.Turn) -> Letters:
    """Return the letters after a turn of the slice."""
    left, right, top, bottom = stored
    if by.transpose:
        left, right, top, bottom = top, bottom, left, right
    if by.flip_rows:
        top, bottom = bottom, top
    if by.flip_columns:
        left, right = right, left
    return left, right, top, bottom


def _from_words(details: dict[str, str]) -> Letters | None:
    """Return the letters that a projection image states itself: "L / F", right and down.

    Source: DICOM PS3.3 C.7.6.1.1.1 (Patient Orientation).
    """
    parts = [part.strip().upper() for part in details.get("Patient orientation", "").split("/")]
    if len(parts) != 2 or not all(part and set(part) <= set("APRLHF") for part in parts):
        return None
    right, bottom = (part.translate(_WRITTEN) for part in parts)
    return right.translate(_OPPOSITE), right, bottom.translate(_OPPOSITE), bottom


def shown_size(series: studies.Series) -> tuple[int, int]:
    """Return (columns, rows) of a slice as shown."""
    size = max(series.columns, 1), max(series.rows, 1)
    return size[::-1] if turn(series).transpose else size


def shown_spacing(series: studies.Series) -> tuple[float, float] | None:
    """Return (row step, column step) in mm as shown, None where it is not known."""
    spacing = series.pixel_spacing_mm
    if spacing is None or min(spacing) <= 0:
        return None
    return spacing[::-1] if turn(series).transpose else spacing


def stored_pixel(series: studies.Series, column: int, row: int) -> tuple[int, int]:
    """Return the stored (column, row) of a pixel of the slice as shown."""
    by, (columns, rows) = turn(series), shown_size(series)
    if by.flip_columns:
        column = columns - 1 - column
    if by.flip_rows:
        row = rows - 1 - row
    return (row, column) if by.transpose else (column, row)
