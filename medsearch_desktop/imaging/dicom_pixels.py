"""How the pixels of a DICOM file lie, and what of them is there: sizes, depth, frames."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from medsearch_desktop import errors
from medsearch_desktop.imaging import (
    codestreams,
    dicom_frames,
    files,
    fragments,
    preflight,
    syntaxes,
)

# One frame larger than this is a lie of the header: 1 GiB is 23,000 pixels square at 16 bits.
LARGEST_FRAME_BYTES = 1 << 30
MOST_FRAMES = 100_000
# Photometric interpretations (DICOM PS3.3 C.7.6.3.1.2) by their samples a pixel.
_PHOTOMETRIC = {
    1: {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"},
    3: {
        *("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420"),
        *("YBR_ICT", "YBR_RCT"),
    },
}
# A palette has an entry for each value of 16 bits at most.
_LARGEST_TABLE = 65_536
# A length may be rounded up to the next block; filled with zeros it may be longer.
_PADDING_BYTES, _LOOKED_AT_BYTES = 16, 1 << 20
_REAL = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}


@dataclass(frozen=True)
class Layout:
    """What a decoder needs beside the bytes; `frames` is what the header declares.

    `length` is that of the value within the file, -1 for fragments. `bits` is
    the depth allocated to a sample, `dtype` that of the stored values.
    """

    syntax: str
    keyword: str
    vr: str
    offset: int
    length: int
    rows: int
    columns: int
    samples: int
    photometric: str
    planar: int
    frames: int
    bits: int
    stored: int
    is_signed: bool
    dtype: str

    @property
    def frame_bits(self) -> int:
        """Return the size of one frame that is not compressed."""
        size = self.rows * self.columns * self.samples * self.bits
        return size * 2 // 3 if self.photometric == "YBR_FULL_422" else size

    def options(self) -> dict[str, Any]:
        """Return the options of pydicom's decoders."""
        options: dict[str, Any] = {
            "transfer_syntax_uid": pydicom.uid.UID(self.syntax),
            "rows": self.rows,
            "columns": self.columns,
            "samples_per_pixel": self.samples,
            "photometric_interpretation": self.photometric,
            "planar_configuration": self.planar,
            "number_of_frames": self.frames,
            "bits_allocated": self.bits,
            "pixel_keyword": self.keyword,
            "pixel_vr": self.vr,
        }
        if self.keyword not in _REAL:
            options["bits_stored"] = self.stored
            options["pixel_representation"] = int(self.is_signed)
        return options

    def told(self) -> codestreams.Told:
        """Return the size that each compressed frame must have."""
        return codestreams.Told(self.rows, self.columns, self.samples, self.bits)


def layout(
    path: str, found: Dataset, checked: preflight.Checked, marks: list[str] | None = None
) -> Layout:
    """Return how the pixels lie; what is odd is said in `marks`.

    Colours that are called halved (YBR_FULL_422) and are there in full are read so.
    Raises UnreadableFileError for what cannot be true, before anything is
    allocated for it.
    """
    element, syntax = checked.pixels, checked.syntax
    if element is None:
        raise errors.UnreadableFileError(path, "The pixels are missing.")
    marks = [] if marks is None else marks
    samples = _whole(found, "SamplesPerPixel", 1)
    photometric = _photometric(path, found, samples)
    bits, stored, is_signed = _depth(path, found, element.keyword, marks)
    kind = "float" if element.keyword in _REAL else "int" if is_signed else "uint"
    result = Layout(
        syntax=syntax,
        keyword=element.keyword,
        vr=element.vr,
        offset=element.offset,
        length=-1 if element.length < 0 else min(element.length, checked.size - element.offset),
        rows=_side(path, found, "Rows"),
        columns=_side(path, found, "Columns"),
        samples=samples,
        photometric=photometric,
        planar=_whole(found, "PlanarConfiguration", 0),
        frames=_frame_count(path, found),
        bits=bits,
        stored=stored,
        is_signed=is_signed,
        dtype=f"{kind}{max(bits, 8)}",
    )
    if result.frame_bits // 8 > LARGEST_FRAME_BYTES:
        size = f"{result.columns} x {result.rows} pixels"
        raise errors.UnreadableFileError(
            path, f"Its header says {size}, which is too large to be true."
        )
    if photometric == "YBR_FULL_422" and 0 <= 2 * result.length - 3 * _native_bytes(result) <= 2:
        result = dataclasses.replace(result, photometric="YBR_FULL")
        marks.append("Its header says that its colours are halved (YBR_FULL_422); they are not.")
    if syntaxes.is_native(syntax) != (element.length >= 0):
        reason = f"Its pixels are not packed as its header says ({syntaxes.name(syntax)})."
        raise errors.UnreadableFileError(path, reason)
    return result


def _native_bytes(lying: Layout) -> int:
    """Return how many bytes all frames need that are not compressed."""
    return (lying.frame_bits * lying.frames + 7) // 8


def _whole(found: Dataset, keyword: str, default: int) -> int:
    value = dicom_frames.number(found, keyword)
    return default if value is None else int(value)


def _side(path: str, found: Dataset, keyword: str) -> int:
    value = dicom_frames.number(found, keyword)
    if value is None or not 1 <= value <= 65535:
        raise errors.UnreadableFileError(path, f"Its header gives no usable {keyword}.")
    return int(value)


def _frame_count(path: str, found: Dataset) -> int:
    count = _whole(found, "NumberOfFrames", 1) or 1
    if not 1 <= count <= MOST_FRAMES:
        raise errors.UnreadableFileError(path, f"Its header says it has {count:,} frames.")
    return count


def _photometric(path: str, found: Dataset, samples: int) -> str:
    if samples not in _PHOTOMETRIC:
        reason = f"It has {samples} samples a pixel; 1 and 3 can be shown."
        raise errors.UnreadableFileError(path, reason)
    named = dicom_frames.text(found, "PhotometricInterpretation").upper()
    named = named or ("RGB" if samples == 3 else "MONOCHROME2")
    if named not in _PHOTOMETRIC[samples]:
        known = any(named in kinds for kinds in _PHOTOMETRIC.values())
        reason = f"Its header says {samples} samples a pixel and {named}, which do not go together."
        if not known:
            reason = "Its header names a way to store colours that is not known here."
        raise errors.UnreadableFileError(path, reason)
    return named


def _depth(path: str, found: Dataset, keyword: str, marks: list[str]) -> tuple[int, int, bool]:
    """Return (bits allocated, bits stored, whether values are signed)."""
    if keyword in _REAL:
        return _REAL[keyword], _REAL[keyword], False
    bits = _whole(found, "BitsAllocated", 16)
    stored = dicom_frames.number(found, "BitsStored")
    if stored is None:
        marks.append(f"Its header gives no number of bits stored: all {bits} are shown.")
        stored = bits
    if bits not in (1, 8, 16, 32, 64):
        reason = f"Its header says {bits} bits a pixel, which is not read here."
        raise errors.UnreadableFileError(path, reason)
    if not 1 <= stored <= bits:
        reason = f"Its header says {stored:.0f} of {bits} bits a pixel, which is not possible."
        raise errors.UnreadableFileError(path, reason)
    high = dicom_frames.number(found, "HighBit")
    if high is not None and high != stored - 1:
        marks.append(
            f"Its header says that the highest of {stored:.0f} bits is bit {high:.0f}: grey values "
            "may be wrong."
        )
    sign = _whole(found, "PixelRepresentation", 0)
    if sign not in (0, 1):
        reason = "Its header does not say whether its values are signed."
        raise errors.UnreadableFileError(path, reason)
    return bits, int(stored), sign == 1


def whole_frames(path: str, file: IO[bytes], size: int, lying: Layout, marks: list[str]) -> int:
    """Return how many frames are there as a whole; missing ones are said in `marks`.

    Raises UnreadableFileError where not one is.
    """
    if lying.length >= 0:
        there = lying.length * 8 // lying.frame_bits
        needed = _native_bytes(lying)
        if lying.length - needed == 1:  # the byte that makes a length even
            there = lying.frames
        why = f"its pixels need {needed:,} bytes and {lying.length:,} are there"
        if there == lying.frames and _is_surplus(file, lying, needed):
            marks.append(
                f"Its pixels hold {lying.length - needed:,} bytes more than its header says: the "
                "picture may be distorted."
            )
    else:
        there, why = _fragmented_frames(file, size, lying)
    if not there:
        raise errors.UnreadableFileError(path, f"The file is cut short: {why}.")
    if there > lying.frames:
        marks.append(
            f"Its header declares {_frames(lying.frames)}, but there are pixels for "
            f"{there:,}: the others are not shown."
        )
    elif there < lying.frames:
        gone = lying.frames - there
        which = f"frame {lying.frames} is" if gone == 1 else f"frames {there + 1} to {lying.frames}"
        marks.append(
            f"The file is cut short or its header is wrong: {which}{'' if gone == 1 else ' are'} "
            "missing."
        )
    return min(there, lying.frames)


def _is_surplus(file: IO[bytes], lying: Layout, needed: int) -> bool:
    """Return True where more than padding stands behind the pixels that the header describes."""
    if lying.length - needed <= _PADDING_BYTES:
        return False
    file.seek(lying.offset + needed)
    return any(file.read(min(lying.length - needed, _LOOKED_AT_BYTES)))


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count:,} frames"


def _fragmented_frames(file: IO[bytes], size: int, lying: Layout) -> tuple[int, str]:
    # Of a single image the first fragment is enough here: no far end of many files is read.
    single = lying.frames == 1
    found = fragments.find(file, lying.offset, size, most=1 if single else fragments.MOST_FRAGMENTS)
    if single:
        return len(found.items), found.fault or "its compressed pixels are missing"
    there = fragments.frames(file, found, lying.frames, None, codestreams.start(lying.syntax))
    return len(there), found.fault or "its compressed pixels are missing"


def check_palette(path: str, found: Dataset) -> None:
    """Refuse a palette whose tables are shorter than they say, or unpack to more than they may."""
    for colour in ("Red", "Green", "Blue"):
        shape = dicom_frames.numbers(found, f"{colour}PaletteColorLookupTableDescriptor")
        if len(shape) != 3 or shape[2] not in (8, 16):
            raise errors.UnreadableFileError(path, "Its palette is not described.")
        count = int(shape[0]) or _LARGEST_TABLE
        data = _bytes(found, f"{colour}PaletteColorLookupTableData")
        packed = _bytes(found, f"Segmented{colour}PaletteColorLookupTableData")
        if packed and not data:
            is_little = getattr(found, "original_encoding", (None, True))[1] is not False
            if _unpacked_entries(packed, is_little) > _LARGEST_TABLE:
                raise errors.UnreadableFileError(path, "Its palette is larger than one can be.")
        elif len(data) < count * (2 if shape[2] == 16 else 1):
            reason = f"Its palette has {count:,} colours by its header, and fewer are there."
            raise errors.UnreadableFileError(path, reason)


def _bytes(found: Dataset, keyword: str) -> bytes:
    value = found.get(keyword)
    return value if isinstance(value, bytes) else b""


def _unpacked_entries(packed: bytes, is_little: bool) -> int:
    """Return how many entries a segmented table gives (DICOM PS3.3 C.7.9.2.2); repeats count."""
    words = np.frombuffer(packed[: len(packed) // 2 * 2], "<u2" if is_little else ">u2").tolist()
    total, place = 0, 0
    while place + 1 < len(words) and total <= _LARGEST_TABLE:
        kind, length = words[place : place + 2]
        repeated = total + _LARGEST_TABLE // 256 if kind == 2 else 0
        total += repeated or length
        place += 2 + (length if kind == 0 else 1 if kind == 1 else 2)
    return total


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the pixels of a file lie, for comparing two files that call themselves the same."""

    offset: int
    length: int


def are_same(path: str, other: str, extent: Extent, other_extent: Extent) -> bool:
    """Return True where the pixels of two files are alike: all bytes, of large ones samples."""
    if extent.length != other_extent.length:
        return False
    return _digest(path, extent) == _digest(other, other_extent)


_SAMPLES, _SAMPLE_BYTES = 5, 4096
_COMPARED_BYTES, _BLOCK_BYTES = 64 << 20, 1 << 20


@functools.lru_cache(maxsize=4096)
def _digest(path: str, extent: Extent) -> tuple[int, bytes]:
    """Return the length and a hash of the pixels; what cannot be read is like nothing else."""
    made = hashlib.sha256()
    try:
        with files.opened(path) as (file, size):
            length = size - extent.offset if extent.length < 0 else extent.length
            step, count = _BLOCK_BYTES, _BLOCK_BYTES
            if length > _COMPARED_BYTES:
                step, count = (length - _SAMPLE_BYTES) // (_SAMPLES - 1), _SAMPLE_BYTES
            for place in range(0, length, step):
                file.seek(extent.offset + place)
                made.update(file.read(min(count, length - place)))
    except errors.UnreadableFileError:
        return -1, path.encode(errors="surrogatepass")
    return length, made.digest()
