"""Modality LUT, VOI window, presets -> 8-bit."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from medsearch_desktop.imaging import study, volume

# Usual windows in HU; the widths and centres are those printed on most consoles.
PRESETS: tuple[study.Window, ...] = (
    study.Window(40, 400, "Soft tissue"),
    study.Window(-600, 1500, "Lung"),
    study.Window(400, 1800, "Bone"),
    study.Window(40, 80, "Brain"),
    study.Window(50, 350, "Mediastinum"),
    study.Window(60, 160, "Liver"),
    study.Window(35, 35, "Stroke"),
    study.Window(300, 600, "Vessels"),
)

# Values of a CT that does not call itself one (a NIfTI file names no modality): its air lies
# here, its padding and metal within the outer limits, and some of it is soft tissue. MR and PET
# have no values near -1000.
_AIR_HU, _TISSUE_HU, _ANY_HU = (-1100.0, -900.0), (-200.0, 300.0), (-8192.0, 32767.0)
_LEAST_AIR, _LEAST_TISSUE = 0.01, 0.02
# Every so many rows and columns tell what values a plane holds.
_LOOK_STEP = 8
# One window for a grey picture, or three for the channels of a CT.
Windows = study.Window | tuple[study.Window, study.Window, study.Window]

# What lies outside these percentiles is noise or metal and would flatten the rest.
_LOW, _HIGH = 1.0, 99.0


def to_8bit(values: np.ndarray, window: study.Window, inverted: bool = False) -> np.ndarray:
    """Return modality values as uint8 grey through a window, rounded to the nearest.

    Values that are not finite become black. Source: DICOM PS3.3 C.11.2.1.2.1
    (LINEAR), C.11.2.1.3.2 (LINEAR_EXACT), C.11.2.1.3.1 (SIGMOID).
    """
    x = np.asarray(values, dtype=np.float64)
    centre, width = window.centre, window.width
    with np.errstate(all="ignore"):
        if window.function == "SIGMOID":
            grey = 255.0 / (1.0 + np.exp(-4.0 * (x - centre) / max(width, 1e-9)))
        elif window.function == "LINEAR_EXACT":
            grey = ((x - centre) / max(width, 1e-9) + 0.5) * 255.0
        elif width <= 1:
            grey = np.where(x <= centre - 0.5, 0.0, 255.0)
        else:
            grey = ((x - (centre - 0.5)) / (width - 1.0) + 0.5) * 255.0
    grey = np.nan_to_num(grey, nan=0.0, posinf=255.0, neginf=0.0)
    shown = np.floor(np.clip(grey, 0.0, 255.0) + 0.5).astype(np.uint8)
    return 255 - shown if inverted else shown


def lut(series: study.Series, slice_index: int, window: study.Window) -> np.ndarray:
    """Return uint8 (65536,): stored value -> grey of one slice.

    For 16-bit stored values index it with `voxels.view(np.uint16)`, for 8-bit
    ones with `voxels.view(np.uint8)`; signed values find their place by that
    view. Raises ValueError for stored values that are wider (use `to_8bit`).
    """
    dtype = np.dtype(series.dtype)
    if dtype.kind not in "iu" or dtype.itemsize > 2:
        raise ValueError(f"no table for stored values of type {series.dtype}")
    slope, intercept = series.slope[slice_index], series.intercept[slice_index]
    scale = series.modality_table or (slope, intercept)
    return _lut(series.dtype, scale, window, series.is_inverted)


@functools.lru_cache(maxsize=8)
def _lut(
    name: str,
    scale: study.ModalityTable | tuple[float, float],
    window: study.Window,
    inverted: bool,
) -> np.ndarray:
    dtype = np.dtype(name)
    wide = np.arange(65536, dtype=np.uint16)
    stored = (wide if dtype.itemsize == 2 else wide.astype(np.uint8)).view(dtype)
    if isinstance(scale, study.ModalityTable):
        places = np.clip(stored.astype(np.int64) - scale.first, 0, len(scale.values) - 1)
        values = np.asarray(scale.values, np.float64)[places]
    else:
        values = stored.astype(np.float64) * scale[0] + scale[1]
    table = to_8bit(values, window, inverted)
    table.setflags(write=False)
    return table


def default_window(source: volume.Volume | study.Series, plane: int = 0) -> study.Window:
    """Return the window a reader would start with.

    The file's own first, then soft tissue for CT, then the 1st to 99th
    percentile of plane `plane`; a Series alone has no pixels, so it gives the
    whole range of its stored values.
    """
    series = source if isinstance(source, study.Series) else source.series
    if series.samples == 3:
        return study.WHOLE_8_BIT
    if (own := own_window(series)) is not None:
        return own
    if isinstance(source, volume.Volume):
        return percentile_window(source.modality_values(plane))
    dtype = np.dtype(series.dtype)
    if dtype.kind == "f":
        return study.Window(0.5, 1.0, "", "LINEAR_EXACT")
    limits = np.iinfo(dtype)
    low, high = (float(v) * series.slope[0] + series.intercept[0] for v in (limits.min, limits.max))
    return between(min(low, high), max(low, high))


def own_window(series: study.Series) -> study.Window | None:
    """Return the window that needs no pixels: the file's first, or soft tissue for CT."""
    if series.windows:
        return series.windows[0]
    return PRESETS[0] if series.modality == "CT" and series.samples == 1 else None


def looks_like_hounsfield(values: np.ndarray) -> bool:
    """Say whether modality values (rows, columns) are those of a CT slice with air in it."""
    seen = np.asarray(values)[::_LOOK_STEP, ::_LOOK_STEP]
    if not seen.size or not np.isfinite(seen).all():
        return False
    if seen.min() < _ANY_HU[0] or seen.max() > _ANY_HU[1]:
        return False
    air = np.count_nonzero((seen >= _AIR_HU[0]) & (seen <= _AIR_HU[1]))
    tissue = np.count_nonzero((seen >= _TISSUE_HU[0]) & (seen <= _TISSUE_HU[1]))
    return bool(air >= _LEAST_AIR * seen.size and tissue >= _LEAST_TISSUE * seen.size)


def picture_window(series: study.Series, values: np.ndarray) -> study.Window:
    """Return the window for a picture of one plane whose modality values are given.

    The file's own, soft tissue for CT and for what has its values, else the
    1st to 99th percentile.
    """
    if (own := own_window(series)) is not None:
        return own
    if has_hounsfield(series, values):
        return PRESETS[0]
    return percentile_window(values)


def has_hounsfield(series: study.Series, values: np.ndarray) -> bool:
    """Say whether the modality values of a plane are HU: by the file's word, else by their look."""
    if series.samples == 3 or series.is_inverted:
        return False
    if series.units or series.modality not in ("", "CT"):
        return series.units == "HU" and series.modality == "CT"
    return looks_like_hounsfield(values)


def picture(
    series: study.Series, index: int, plane: np.ndarray, window: Windows | None = None
) -> np.ndarray:
    """Return the stored values of slice `index`, (rows, columns), as uint8 (rows, columns, 3).

    All channels show it through `window`, or through its own
    (`picture_window`). Three windows become the three channels where the
    values are HU, and are passed over where they are not.
    """
    chosen = window if isinstance(window, study.Window) else own_window(series)
    if chosen is None or isinstance(window, tuple):
        values = volume.modality_values(series, index, plane)
        if isinstance(window, tuple) and has_hounsfield(series, values):
            return np.stack([_grey(series, index, plane, each) for each in window], axis=2)
        chosen = picture_window(series, values)
    return np.repeat(_grey(series, index, plane, chosen)[:, :, None], 3, axis=2)


def _grey(series: study.Series, index: int, plane: np.ndarray, window: study.Window) -> np.ndarray:
    if plane.dtype.kind not in "iu" or plane.dtype.itemsize > 2:
        return to_8bit(volume.modality_values(series, index, plane), window, series.is_inverted)
    # A table is made once for all slices of a series, and reading it is five times faster.
    return lut(series, index, window).take(plane.view(f"u{plane.dtype.itemsize}"))


def between(low: float, high: float) -> study.Window:
    """Return the window that shows `low` as black and `high` as white."""
    return study.Window((low + high) / 2, max(high - low, 1e-6), "", "LINEAR_EXACT")


def percentile_window(values: np.ndarray) -> study.Window:
    """Return the window from the 1st to the 99th percentile of the finite values.

    A picture of two values (a mask) or with little but background gets its
    whole range, which those percentiles would hide.
    """
    known = np.asarray(values)[np.isfinite(values)]
    if not known.size:
        return between(0.0, 1.0)
    low, high = (float(v) for v in np.percentile(known, (_LOW, _HIGH)))
    least, most = float(known.min()), float(known.max())
    if high <= low or (most - least) > 50 * (high - low):
        low, high = least, most
    return between(low, high) if high > low else between(low - 0.5, low + 0.5)


@dataclass(frozen=True)
class Turn:
    """How a plane is turned to stand upright: transpose first, then flip."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return a view of (rows, columns, ...) turned this way."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        if self.flip_rows:
            image = image[::-1]
        return image[:, ::-1] if self.flip_columns else image


def upright(affine: np.ndarray | study.Affine | None) -> Turn:
    """Return the turn that shows a slice as radiologists hang it.

    Axial and coronal slices have the patient's left on the right, axial ones
    the front up, coronal and sagittal ones the head up, sagittal ones the
    front on the left. DICOM slices are stored that way, NIfTI slices often
    not. `affine` is (4, 4), index (z, y, x, 1) -> LPS mm; None turns nothing.
    """
    if affine is None:
        return Turn()
    matrix = np.asarray(affine, dtype=np.float64)
    down, right = matrix[:3, 1], matrix[:3, 2]
    axes = [int(np.abs(right).argmax()), int(np.abs(down).argmax())]
    if axes[0] == axes[1]:
        return Turn()
    # The axis that runs down is the head-foot one, else the front-back one.
    transpose = axes[0] > axes[1]
    if transpose:
        right, down, axes = down, right, axes[::-1]
    return Turn(
        transpose,
        flip_rows=bool(down[axes[1]] < 0 if axes[1] == 1 else down[axes[1]] > 0),
        flip_columns=bool(right[axes[0]] < 0),
    )
