"""Small DICOM images, plain or packed, that a case then changes, cuts or lies about."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import phantoms
from pydicom.dataset import Dataset

from hostile import elements

JPEG, RLE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5"
PIXELS = 0x7FE00010
GREY = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
FRAMES = np.arange(5 * 6 * 8, dtype=np.uint16).reshape(5, 6, 8)
BYTES = (GREY % 251).astype(np.uint8)


def changed(array: np.ndarray, change: Callable[[Dataset], None]) -> elements.Writer:
    """Write one image of `array`, changed before it is written."""

    def write(folder: Path) -> Sequence[Path]:
        path = phantoms.write_dicom_image(folder / "a.dcm", array)
        found = phantoms.read(path)
        change(found)
        found.save_as(path)
        return [path]

    return write


def rle(frame: np.ndarray) -> bytes:
    """Pack a frame of 16 bits as two segments of literal runs (DICOM PS3.5 G)."""
    segments = []
    for plane in (frame >> 8, frame & 0xFF):
        raw = plane.astype(np.uint8).tobytes()
        runs = [raw[k : k + 128] for k in range(0, len(raw), 128)]
        packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(packed + b"\x80" * (len(packed) % 2))
    places = [2, 64, 64 + len(segments[0]), *[0] * 13]
    return struct.pack("<16L", *places) + b"".join(segments)


def packed(
    array: np.ndarray,
    syntax: str,
    encode: Callable[[np.ndarray], bytes],
    change: Callable[[Dataset], None] = lambda _: None,
    *,
    cut: int = 0,
) -> elements.Writer:
    """Write an image in a compressed syntax; `cut` bytes are left out at its end."""

    def write(folder: Path) -> Sequence[Path]:
        frames = array if array.ndim == 4 or (array.ndim == 3 and array.shape[-1] != 3) else [array]

        def encapsulate(found: Dataset) -> None:
            phantoms.encapsulate(found, [encode(frame) for frame in frames], syntax)
            change(found)

        (path,) = changed(array, encapsulate)(folder)
        path.write_bytes(path.read_bytes()[: -cut or None])
        return [path]

    return write


def sets(**values: object) -> Callable[[Dataset], None]:
    """Return the change that sets these elements."""

    def change(found: Dataset) -> None:
        for keyword, value in values.items():
            setattr(found, keyword, value)

    return change


def fragments(*frames: bytes) -> bytes:
    """The pixel element with an empty offset table and these fragments."""
    items = b"".join(elements.implicit(elements.ITEM, frame) for frame in (b"", *frames))
    end = elements.implicit(elements.SEQUENCE_END)
    return elements.explicit(PIXELS, "OB", items + end, elements.UNDEFINED)
