"""Volume: voxels (z, y, x), affine to LPS mm, orientation letters."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from medsearch_desktop.imaging import study


@dataclass(frozen=True, eq=False)
class Volume:
    """Stored values of the chosen slices of a series, with their geometry.

    `voxels` is (z, y, x), or (z, y, x, 3) uint8 for colour, read-only, in the
    series' dtype; plane k is `series.slices[indices[k]]`. While a load runs,
    planes not yet read are zero and False in `ready` (bool, (z,)). So are
    those that cannot be read: `faults` gives the sentence that says why, by plane.
    """

    series: study.Series
    voxels: np.ndarray
    indices: tuple[int, ...]
    ready: np.ndarray
    faults: dict[int, str] = field(default_factory=dict)

    def modality_values(self, plane: int) -> np.ndarray:
        """Return plane `plane` as float32 modality values (rescale or table applied)."""
        return modality_values(self.series, self.indices[plane], self.voxels[plane])


def modality_values(series: study.Series, index: int, stored: np.ndarray) -> np.ndarray:
    """Return stored values of slice `index` as float32 modality values.

    Source: DICOM PS3.3 C.11.1: a table where there is one, else rescale.
    """
    if (table := series.modality_table) is not None:
        places = stored.astype(np.int64) - table.first
        known = np.asarray(table.values, np.float32)
        return np.asarray(known[np.clip(places, 0, len(known) - 1)])
    slope, intercept = np.float32(series.slope[index]), np.float32(series.intercept[index])
    # Values beyond 32 bits become infinite, and are shown as the brightest or darkest.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(stored.astype(np.float32) * slope + intercept)


def orientation_letters(affine: np.ndarray | None) -> tuple[str, str, str, str] | None:
    """Return the letters at the (left, right, top, bottom) edges of a displayed slice.

    `affine` is (4, 4), index (z, y, x, 1) -> LPS mm; rows run down the screen,
    columns to the right. Oblique directions give up to three letters, strongest
    first. None when the orientation is unknown.

    Source: DICOM PS3.3 C.7.6.1.1.1 (Patient Orientation).
    """
    if affine is None:
        return None
    affine = np.asarray(affine, dtype=np.float64)
    right, down = _letters(affine[:3, 2]), _letters(affine[:3, 1])
    if not right or not down:
        return None
    return _opposite(right), right, _opposite(down), down


_AXES = (("L", "R"), ("P", "A"), ("S", "I"))
_OPPOSITE = str.maketrans("LRPASI", "RLAPIS")
# A part of the direction below sin(15 degrees) is not worth a letter.
_SMALLEST_PART = 0.26


def _letters(direction: np.ndarray) -> str:
    length = float(np.linalg.norm(direction))
    if not np.isfinite(length) or length == 0:
        return ""
    unit = direction / length
    strongest = sorted(range(3), key=lambda axis: -abs(unit[axis]))
    return "".join(
        _AXES[axis][0 if unit[axis] > 0 else 1]
        for axis in strongest
        if abs(unit[axis]) > _SMALLEST_PART
    )


def _opposite(letters: str) -> str:
    return letters.translate(_OPPOSITE)
