"""Siemens mosaics, with the private headers that say how they are cut."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import phantoms

_CREATORS = {0x00190010: "SIEMENS MR HEADER", 0x00290010: "SIEMENS CSA HEADER"}


def csa(values: Mapping[str, Sequence[str]], *, version: int = 2) -> bytes:
    """A CSA header of version 1 or 2 that holds these texts."""
    tags = list(values.items())
    if version == 1:  # its first tag's items count into each length
        tags.insert(0, ("EchoLinePosition", [""] * 6))
    first_items = len(tags[0][1])
    head = b"SV10\4\3\2\1" if version == 2 else b""
    parts = [head + struct.pack("<2L", len(tags), 77)]
    for name, texts in tags:
        parts.append(name.encode().ljust(64, b"\0") + struct.pack("<l", len(texts)) + b"DS\0\0")
        parts.append(struct.pack("<3l", 3, len(texts), 77))
        for text in texts:
            raw = text.encode() + b"\0" if text else b""
            first = len(raw) + first_items if version == 1 else len(raw)
            parts.append(struct.pack("<4l", first, len(raw), 77, len(raw)))
            parts.append(raw.ljust(-(-len(raw) // 4) * 4, b"\0"))
    return b"".join(parts)


def tiled(slices: np.ndarray) -> np.ndarray:
    """Slices (z, y, x) side by side in the least square of tiles that holds them."""
    count, rows, columns = slices.shape
    across = math.ceil(math.sqrt(count))
    picture = np.zeros((across * rows, across * columns), slices.dtype)
    for k, plane in enumerate(slices):
        down, right = divmod(k, across)
        picture[down * rows : (down + 1) * rows, right * columns : (right + 1) * columns] = plane
    return picture


def write(
    path: Path,
    slices: np.ndarray,
    *,
    position: Sequence[float],
    orientation: Sequence[float] = phantoms.AXIAL,
    spacing_mm: tuple[float, float] = (2.0, 3.0),
    step_mm: float = 4.0,
    count: int | None = None,
    header: bytes | None = None,
) -> Path:
    """Write a mosaic; `position` is that in its header, `count` and `header` what it says.

    Neither is written when None.
    """
    phantoms.write_dicom_image(path, tiled(slices))
    found = phantoms.read(path)
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = phantoms.MR_IMAGE
    found.Modality, found.ImageType = "MR", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    found.ImagePositionPatient = [f"{v:.8g}" for v in position]
    found.ImageOrientationPatient = [f"{v:.8g}" for v in orientation]
    found.PixelSpacing = [f"{v:.6g}" for v in spacing_mm]
    found.SpacingBetweenSlices = found.SliceThickness = f"{step_mm:.6g}"
    for tag, words in _CREATORS.items():
        found.add_new(tag, "LO", words)
    if count is not None:
        found.add_new(0x0019100A, "US", count)
    if header is not None:
        found.add_new(0x00291010, "OB", header + b"\0" * (len(header) % 2))
    found.save_as(path)
    return path
