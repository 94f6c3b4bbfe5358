"""An ImageRef or a Series -> decoded planes and 8-bit pictures, whatever kind of file it is."""

from __future__ import annotations

import dataclasses
import functools
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from PIL import Image

from medsearch_desktop import cases, errors
from medsearch_desktop.imaging import (
    dicom,
    dicom_headers,
    display,
    files,
    nifti,
    raster,
    sniffing,
    stacks,
    study,
)

_LARGEST_ARRAY_BYTES = 1 << 30


class PixelFile(Protocol):
    """An open file that gives its frames: (rows, columns), or uint8 (rows, columns, 3)."""

    @property
    def frames(self) -> int: ...

    def frame(self, number: int) -> np.ndarray: ...

    def close(self) -> None: ...


def opened(path: str) -> PixelFile:
    """Open one image file for its pixels; raises UnreadableFileError."""
    kind = sniffing.kind(path)
    if kind in ("dicom", "bare dicom"):
        return dicom.PixelFile(path)
    if kind == "nifti":
        return cast(PixelFile, nifti.PixelFile(path))
    if kind == "picture":
        return cast(PixelFile, raster.PixelFile(path))
    raise errors.UnreadableFileError(path, sniffing.name_of_other(path))


class Planes:
    """Reads the planes of a series one by one; one file stays open at a time.

    Each plane has the series' shape and dtype. A plane that cannot be read
    says nothing about the next one: go on with it.
    """

    def __init__(self, series: study.Series) -> None:
        self._series = series
        self._path = ""
        self._file: PixelFile | None = None
        self._fault: errors.UnreadableFileError | None = None

    def __enter__(self) -> Planes:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def plane(self, index: int, *, is_last: bool = False) -> np.ndarray:
        """Return the plane of slice `index`; raises UnreadableFileError.

        A packed NIfTI file is read to its end before the last plane is given:
        a wrong checksum there is the fault of that plane.
        """
        ref = self._series.slices[index]
        file = self._opened(ref.path)
        plane = file.frame(ref.frame)
        if plane.shape != self._series.plane_shape:
            reason = f"Its pixels are {plane.shape} and its header says {self._series.plane_shape}."
            raise errors.UnreadableFileError(ref.path, reason)
        if is_last:
            self.finish()
        return plane.astype(self._series.dtype, casting="unsafe", copy=False)

    def finish(self) -> None:
        """Read a packed NIfTI file to its end; raises UnreadableFileError on a wrong checksum."""
        if isinstance(self._file, nifti.PixelFile):
            self._file.finish()

    def _opened(self, path: str) -> PixelFile:
        if path != self._path:
            self._close()
            self._path = path
            try:
                self._file = opened(path)
            except errors.UnreadableFileError as error:
                self._fault = error
        if self._file is None:
            raise self._fault or errors.UnreadableFileError(path, "It cannot be opened.")
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._path, self._file, self._fault = "", None, None


def planes(series: study.Series, order: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Give (slice index, plane) in the order asked for; raises UnreadableFileError.

    A packed NIfTI file is read to its end after the last slice.
    """
    with Planes(series) as reading:
        for index in order:
            yield index, reading.plane(index)
        reading.finish()


def picture(
    ref: cases.ImageRef, window: display.Windows | None = None, max_side: int | None = None
) -> np.ndarray:
    """Return uint8 (rows, columns, 3) of one image at its own or the given window.

    Three windows are the channels of a CT (display.picture). NIfTI slices are
    turned upright (display.upright); pictures and DICOM stand as stored.
    `region` is cut out; with `max_side` the result is reduced so that its
    longer side is no longer than that.
    """
    is_array = ".npz#" in ref.path.lower() and not Path(ref.path).exists()
    shown = _array(ref.path) if is_array else _shown(ref, window)
    if ref.region is not None:
        r = ref.region
        shown = shown[r.y : r.y + r.height, r.x : r.x + r.width]
        if 0 in shown.shape:
            raise errors.UnreadableFileError(ref.path, "The region lies outside the image.")
    if shown.ndim == 2:
        shown = np.repeat(shown[:, :, None], 3, axis=2)
    if max_side is not None and max(shown.shape[:2]) > max_side:
        image = Image.fromarray(np.ascontiguousarray(shown))
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        shown = np.asarray(image)
    return np.ascontiguousarray(shown)


def _shown(ref: cases.ImageRef, window: display.Windows | None) -> np.ndarray:
    kind = sniffing.kind(ref.path)
    series = _one_slice(ref, kind)
    if kind == "nifti":
        plane = _kept_file(ref.path).frame(ref.frame)
    else:
        (_, plane), *_ = planes(series, [0])
    shown = plane if series.samples == 3 else display.picture(series, 0, plane, window)
    return display.upright(series.affine).apply(shown) if kind == "nifti" else shown


def _one_slice(ref: cases.ImageRef, kind: str) -> study.Series:
    """Return a Series of the one image that is named."""
    if kind in ("dicom", "bare dicom"):
        with files.opened(ref.path) as (file, size):
            header = dicom_headers.read_header(ref.path, file, size, force=kind != "dicom")
        if not 0 <= ref.frame < len(header.frames):
            raise errors.UnreadableFileError(ref.path, f"It has no frame {ref.frame + 1}.")
        return stacks.single(header, header.frames[ref.frame])
    if kind not in ("nifti", "picture"):
        raise errors.UnreadableFileError(ref.path, sniffing.name_of_other(ref.path))
    found = nifti.read_series(ref.path) if kind == "nifti" else raster.read_series(ref.path)
    for series in found.series:
        for known in series.slices:
            if known.frame == ref.frame:
                return dataclasses.replace(series, slices=(known,))
    raise errors.UnreadableFileError(ref.path, f"It has no image {ref.frame + 1}.")


_kept: dict[tuple[str, int, int], nifti.PixelFile] = {}


def _kept_file(path: str) -> nifti.PixelFile:
    """Return an open NIfTI file; the last one is kept, for it is slow to unpack again."""
    info = Path(files.split(path)[0]).stat()
    key = (path, info.st_mtime_ns, info.st_size)
    if key not in _kept:
        release()
        _kept[key] = nifti.PixelFile(path)
    return _kept[key]


def release() -> None:
    """Close the files that are kept open for the next picture."""
    for file in _kept.values():
        file.close()
    _kept.clear()
    files.close_archives()
    _arrays.cache_clear()


def _array(path: str) -> np.ndarray:
    """Return one array of a .npz as uint8: `file.npz#name[7]`, or `file.npz#name` for all of it."""
    file, _, place = path.rpartition("#")
    name, _, number = place.rstrip("]").partition("[")
    if not name or not (number == "" or number.isdecimal()):
        raise errors.UnreadableFileError(
            path, "It does not name an array as file.npz#name[number]."
        )
    try:
        info = Path(file).stat()
        found = _arrays(file, name, info.st_mtime_ns, info.st_size)
        chosen = found[int(number)] if number else found
    except OSError as error:
        reason = f"The system says: {error.strerror or type(error).__name__}."
        raise errors.UnreadableFileError(path, reason) from error
    except (KeyError, IndexError) as error:
        raise errors.UnreadableFileError(path, "The file holds no such array.") from error
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        reason = "It is not a whole file of NumPy arrays."
        raise errors.UnreadableFileError(path, reason) from error
    if chosen.ndim == 3 and chosen.shape[2] == 1:
        chosen = chosen[..., 0]
    if chosen.dtype.kind not in "uif" or not (
        chosen.ndim == 2 or (chosen.ndim == 3 and chosen.shape[2] == 3)
    ):
        raise errors.UnreadableFileError(path, "The array is not one picture.")
    if chosen.dtype != np.uint8:
        chosen = display.to_8bit(chosen, display.percentile_window(chosen))
    return np.asarray(chosen)


@functools.lru_cache(maxsize=1)
def _arrays(file: str, name: str, stamp: int, size: int) -> np.ndarray:
    with zipfile.ZipFile(file) as archive:
        member = f"{name}.npy"
        with archive.open(member) as head:
            version = np.lib.format.read_magic(head)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                raise ValueError("an unknown version of the array format")
            shape, _, dtype = read(head)
        if math.prod(shape) * dtype.itemsize > _LARGEST_ARRAY_BYTES:
            raise ValueError("an array too large to be opened")
        with archive.open(member) as packed:
            return np.asarray(np.lib.format.read_array(packed, allow_pickle=False))
