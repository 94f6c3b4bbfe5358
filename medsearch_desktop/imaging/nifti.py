"""NIfTI-1 and -2 (.nii, .nii.gz, .hdr with .img) -> Series and stored values."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Literal

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from medsearch_desktop import cases, errors
from medsearch_desktop.imaging import files, gzipped, nifti_pairs, study

# DEFLATE cannot shrink by more than this (RFC 1951: 258 bytes in 2 bits).
_BEST_DEFLATE = 1032
_LARGEST_BYTES = 8 << 30
_CHUNK = 1 << 20
# Four bytes behind the header say whether extensions follow (nifti1.h).
_EXTENSION_BYTES = 4
# What lies outside is no voxel size of a body; what is flatter spans no volume.
_SMALLEST_MM, _LARGEST_MM, _FLATTEST = 1e-6, 1e5, 1e-4
# Beyond this, scaled values overflow the 32 bits in which they are shown.
_LARGEST_SCALE = 1e18

# NIfTI data type -> numpy name; what is missing here is refused by name.
_DTYPES = {
    2: "uint8",
    4: "int16",
    8: "int32",
    16: "float32",
    64: "float64",
    256: "int8",
    512: "uint16",
    768: "uint32",
    1024: "int64",
    1280: "uint64",
}
_RGB, _RGBA = 128, 2304
_NAMES = {1: "1-bit", 32: "complex", 1536: "128-bit real", 1792: "complex", 2048: "complex"}


@dataclass(frozen=True)
class Header:
    """What is needed to read the values: shape is (x, y, z, time), order "<" or ">".

    `shape[3]` also counts what lies at one place at one time (`values`), as a vector does.
    """

    path: str
    shape: tuple[int, int, int, int]
    dtype: str
    order: Literal["<", ">"]
    samples: int
    stored_samples: int
    offset: int
    slope: float
    intercept: float
    affine: np.ndarray | None
    pixel_mm: tuple[float, float, float] | None
    description: str
    marks: tuple[str, ...]
    values: int = 1

    @property
    def slice_bytes(self) -> int:
        """Return the bytes of one slice in the file."""
        return int(
            self.shape[0] * self.shape[1] * self.stored_samples * np.dtype(self.dtype).itemsize
        )


def magic(head: bytes) -> str:
    """Return "one" or "pair" for the first 540 bytes of a NIfTI header, else ""."""
    if len(head) >= 348 and head[344:348] in (b"n+1\0", b"ni1\0"):
        return "one" if head[344:348] == b"n+1\0" else "pair"
    if len(head) >= 12 and head[4:8] in (b"n+2\0", b"ni2\0"):
        return "one" if head[4:8] == b"n+2\0" else "pair"
    return ""


def is_analyze(head: bytes) -> bool:
    """Return True for an Analyze 7.5 header: NIfTI-1's size and extents, without its magic."""
    orders: tuple[Literal["little", "big"], ...] = ("little", "big")
    return len(head) >= 348 and any(
        int.from_bytes(head[:4], order) == 348 and 1 <= int.from_bytes(head[40:42], order) <= 7
        for order in orders
    )


def _sizes(count: int) -> tuple[bytes, bytes]:
    return count.to_bytes(4, "little"), count.to_bytes(4, "big")


def read_series(path: str) -> study.Study:
    """Return the Study of one NIfTI file (for a pair: of its .hdr); raises UnreadableFileError."""
    header = read_header(path)
    with files.opened(path) as (file, size):
        digest = hashlib.sha256(file.read(_CHUNK) + str(size).encode()).hexdigest()
    uid = f"nifti:{digest[:16]}"
    slices, steps = header.shape[2], header.pixel_mm
    marks = list(header.marks)
    times = header.shape[3] // header.values
    if times > 1:
        marks.append(f"{times} volumes, one after another in time: the first is shown.")
    if header.values > 1:
        marks.append(f"It has {header.values} values a voxel; the first is shown.")
    name = PurePosixPath(path.replace("\\", "/")).name
    series = study.Series(
        key=uid,
        series_uid=uid,
        modality="",
        description=name,
        number=None,
        body_part="",
        slices=tuple(cases.ImageRef(path, k) for k in range(slices)),
        rows=header.shape[1],
        columns=header.shape[0],
        samples=header.samples,
        dtype=header.dtype,
        slope=(header.slope,) * slices,
        intercept=(header.intercept,) * slices,
        affine=None if header.affine is None else study.as_affine(header.affine),
        pixel_spacing_mm=None if steps is None else (steps[1], steps[0]),
        slice_spacing_mm=None if steps is None else steps[2],
        is_volume=header.affine is not None and slices > 1,
        timepoints=times,
        marks=tuple(marks),
        details=(("Encoding", "NIfTI"), ("Note", header.description)),
        positions_lps=_positions(header.affine, slices),
    )
    return study.Study(study_uid=uid, series=(series,), paths=(path,), title=name)


def read_header(path: str) -> Header:
    """Return the checked header; raises UnreadableFileError with a whole sentence."""
    with files.opened(path) as (file, size):
        head, is_packed = _head(path, file)
    kind = magic(head)
    if not kind:
        raise errors.UnreadableFileError(path, "It is not a NIfTI file.")
    is_second = head[4:6] in (b"n+", b"ni")
    if head[:4] not in _sizes(540 if is_second else 348) or len(head) < (540 if is_second else 348):
        raise errors.UnreadableFileError(path, "Its NIfTI header is damaged: it has a wrong size.")
    parser = nibabel.Nifti2Header if is_second else nibabel.Nifti1Header
    try:
        parsed = parser(head[: 540 if is_second else 348], check=False)
    except (HeaderDataError, ValueError) as error:
        raise errors.UnreadableFileError(path, "Its NIfTI header is damaged.") from error
    header = _checked(path, parsed, kind)
    data_path = path if kind == "one" else nifti_pairs.image_of(path)
    if data_path != path:
        with files.opened(data_path) as (file, size):
            is_packed = file.read(2) == gzipped.MAGIC
    needed = header.offset + header.slice_bytes * header.shape[2] * header.shape[3]
    if needed > (size * _BEST_DEFLATE if is_packed else size):
        reason = f"The file is cut short: it needs {needed:,} bytes and {size:,} are there."
        raise errors.UnreadableFileError(path, reason)
    return header


def _head(path: str, file: IO[bytes]) -> tuple[bytes, bool]:
    head = file.read(540)
    if head[:2] != gzipped.MAGIC:
        return head, False
    file.seek(0)
    try:
        return gzipped.head(file, 540), True
    except gzipped.DamagedError as error:
        raise errors.UnreadableFileError(path, str(error)) from error


def _checked(path: str, parsed: Any, kind: str) -> Header:
    count = int(parsed["dim"][0])
    dimensions = [int(v) for v in parsed["dim"][1:8]]
    if not 1 <= count <= 7 or any(v < 1 for v in dimensions[:count]):
        raise errors.UnreadableFileError(path, "Its header gives no usable size.")
    dimensions = dimensions[:count] + [1] * (7 - count)
    later = math.prod(dimensions[3:])
    code = int(parsed["datatype"])
    if code in (_RGB, _RGBA):
        dtype, samples, stored = "uint8", 3, 3 if code == _RGB else 4
    elif code in _DTYPES:
        dtype, samples, stored = _DTYPES[code], 1, 1
    else:
        named = _NAMES.get(code, f"type {code}")
        raise errors.UnreadableFileError(path, f"Its values are {named}, which cannot be shown.")
    total = math.prod(dimensions) * stored * np.dtype(dtype).itemsize
    if total > _LARGEST_BYTES:
        reason = f"Its header asks for {total / 2**30:.0f} GB, which is too large to be opened."
        raise errors.UnreadableFileError(path, reason)
    offset = float(parsed["vox_offset"])
    if not math.isfinite(offset) or not 0 <= offset <= 1 << 40:
        raise errors.UnreadableFileError(path, "Its header says the values begin nowhere.")
    marks: list[str] = []
    affine, steps = _geometry(parsed, marks)
    if code == _RGBA:
        marks.append("Its transparency is not shown.")
    if int(parsed["bitpix"]) != stored * np.dtype(dtype).itemsize * 8:
        marks.append("Its header contradicts itself about the size of a value: it may be damaged.")
    least = 0 if kind == "pair" else int(parsed.sizeof_hdr) + _EXTENSION_BYTES
    if offset < least:
        marks.append("Its header says the values begin inside the header: they are read behind it.")
    slope, intercept = (1.0, 0.0) if samples == 3 else _scale(parsed, marks)
    note = bytes(parsed["descrip"]).split(b"\0")[0].decode("latin-1")
    return Header(
        path=path,
        shape=(dimensions[0], dimensions[1], dimensions[2], later),
        dtype=dtype,
        order="<" if parsed.endianness == "<" else ">",
        samples=samples,
        stored_samples=stored,
        offset=max(int(offset), least),
        slope=slope,
        intercept=intercept,
        affine=affine,
        pixel_mm=steps,
        description="".join(c for c in note if c.isprintable())[:80],
        marks=tuple(marks),
        values=math.prod(dimensions[4:]),
    )


def _scale(parsed: Any, marks: list[str]) -> tuple[float, float]:
    """Return slope and intercept; NIfTI-1: a slope of 0 (or none) leaves the values as stored."""
    slope, intercept = float(parsed["scl_slope"]), float(parsed["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    # A comparison with no number is False.
    if abs(slope) < _LARGEST_SCALE and abs(intercept) < _LARGEST_SCALE:
        return slope, intercept
    marks.append("The scale of its values is damaged: they are shown as stored.")
    return 1.0, 0.0


def _geometry(
    parsed: Any, marks: list[str]
) -> tuple[np.ndarray | None, tuple[float, float, float] | None]:
    """Return index (z, y, x, 1) -> LPS mm and the (x, y, z) steps in mm, None where unknown.

    NIfTI's own affine takes (x, y, z, 1) to RAS mm; LPS turns the first two
    axes (nifti1.h, "3D IMAGE (VOLUME) ORIENTATION AND LOCATION IN SPACE").
    """
    unit = {1: 1000.0, 3: 0.001}.get(int(parsed["xyzt_units"]) & 7, 1.0)
    steps = [abs(float(v)) * unit for v in parsed["pixdim"][1:4]]
    sized = all(_SMALLEST_MM < v < _LARGEST_MM for v in steps)
    if int(parsed["sform_code"]) <= 0 and int(parsed["qform_code"]) <= 0:
        marks.append("Orientation is missing: sides cannot be told.")
        return None, _known(steps, sized, marks)
    try:
        ras = np.asarray(parsed.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError):
        ras = np.full((4, 4), np.nan)
    lps = np.diag([-unit, -unit, unit, 1.0]) @ ras
    lengths = np.linalg.norm(lps[:3, :3], axis=0)
    if not _is_sound(lps, lengths):
        marks.append("Its orientation is damaged: sides cannot be told.")
        return None, _known(steps, sized, marks)
    if int(parsed["sform_code"]) > 0 and not sized:
        marks.append("Its header gives no usable voxel size; the orientation's is used.")
    elif int(parsed["sform_code"]) > 0 and sized and np.abs(lengths / steps - 1).max() > 0.02:
        marks.append("Its two statements about voxel size differ; the orientation's is used.")
    return lps[:, [2, 1, 0, 3]], _steps(lengths)


def _known(steps: list[float], sized: bool, marks: list[str]) -> tuple[float, float, float] | None:
    if sized:
        return _steps(steps)
    marks.append("The size of its voxels is missing: nothing can be measured.")
    return None


def _is_sound(lps: np.ndarray, lengths: np.ndarray) -> bool:
    """Return True where the axes have a possible length and span a volume."""
    if not np.isfinite(lps).all() or np.abs(lps[:3, 3]).max() > _LARGEST_MM:
        return False
    if lengths.min() < _SMALLEST_MM or lengths.max() > _LARGEST_MM:
        return False
    return abs(float(np.linalg.det(lps[:3, :3] / lengths))) > _FLATTEST


def _steps(values: Any) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _positions(affine: np.ndarray | None, slices: int) -> tuple[tuple[float, float, float], ...]:
    if affine is None:
        return ()
    corners = affine[:3, 3] + np.arange(slices)[:, None] * affine[:3, 0]
    return tuple(_steps(corner) for corner in corners)


class PixelFile:
    """An open NIfTI file that gives the slices of its first time point; close it after use.

    A packed file is unpacked as far as it is asked for; `finish` reads the
    rest, so that a wrong checksum at its very end is noticed.
    """

    def __init__(self, path: str) -> None:
        self._header = header = read_header(path)
        with files.opened(path) as (file, _):
            paired = magic(_head(path, file)[0]) == "pair"
        self._path = nifti_pairs.image_of(path) if paired else path
        self._context = files.opened(self._path, whole=True)
        self._file, _ = self._context.__enter__()
        self._packed = self._file.read(2) == gzipped.MAGIC
        self._file.seek(0)
        self._stream = gzipped.Unpacked(self._file)
        self._unpacked = bytearray()
        self._beyond = 0
        self.frames = header.shape[2]

    def frame(self, number: int) -> np.ndarray:
        """Return slice `number` along the third axis, (y, x) or uint8 (y, x, 3)."""
        header = self._header
        if not 0 <= number < self.frames:
            raise errors.UnreadableFileError(header.path, f"It has no slice {number + 1}.")
        raw = self._bytes(header.offset + number * header.slice_bytes, header.slice_bytes)
        values = np.frombuffer(raw, np.dtype(header.dtype).newbyteorder(header.order))
        native = values.astype(header.dtype, copy=False)
        if header.samples == 3:
            colours = native.reshape(header.shape[1], header.shape[0], header.stored_samples)
            return np.ascontiguousarray(colours[..., :3])
        return np.asarray(native.reshape(header.shape[1], header.shape[0]))

    def finish(self) -> None:
        """Read a packed file to its end; raises UnreadableFileError on a wrong checksum."""
        if self._packed:
            while self._more():
                pass

    def close(self) -> None:
        """Close the file."""
        self._context.__exit__(None, None, None)

    def _bytes(self, offset: int, length: int) -> bytes:
        if not self._packed:
            self._file.seek(offset)
            raw = self._file.read(length)
        else:
            while len(self._unpacked) < offset + length and self._more():
                pass
            raw = bytes(self._unpacked[offset : offset + length])
        if len(raw) < length:
            raise errors.UnreadableFileError(self._header.path, "The file is cut short.")
        return raw

    def _more(self) -> bool:
        try:
            chunk = self._stream.read(_CHUNK)
        except gzipped.DamagedError as error:
            raise errors.UnreadableFileError(self._header.path, str(error)) from error
        limit = self._header.offset + self._header.slice_bytes * self.frames
        # Later time points and the trailer are read for the checksum and not kept.
        if len(self._unpacked) < limit:
            self._unpacked += chunk
        elif chunk and self._spent(len(chunk)):
            raise errors.UnreadableFileError(
                self._header.path, "It unpacks to far more than its header says."
            )
        return bool(chunk)

    def _spent(self, count: int) -> bool:
        self._beyond += count
        return (
            self._beyond > self._header.slice_bytes * self.frames * self._header.shape[3] + _CHUNK
        )


def pixels(path: str) -> np.ndarray:
    """Return all slices of the first time point, (z, y, x), and check the packing."""
    file = PixelFile(path)
    try:
        planes = [file.frame(k) for k in range(file.frames)]
        file.finish()
    finally:
        file.close()
    return np.stack(planes)
