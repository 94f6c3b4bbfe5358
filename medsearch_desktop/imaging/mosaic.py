"""Siemens mosaics: one picture that holds all slices of a volume is cut into its tiles."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from medsearch_desktop.imaging import dicom_frames

# The private elements that say it, each with the block that must own it.
NUMBER_OF_IMAGES = 0x0019100A
CSA_IMAGE_HEADER = 0x00291010
CREATORS = (0x00190010, 0x00290010)
_CREATOR_WORDS = {CREATORS[0]: "SIEMENS MR HEADER", CREATORS[1]: "SIEMENS CSA HEADER"}
_MOST_TILES = 4096
_MOST_TAGS = 1024
# The two normals are the same line; Siemens writes them with eight decimals.
_SAME_LINE = 0.99

NO_NORMAL = "A Siemens mosaic without the direction of its slices: they may stand in reverse order."


@dataclass(frozen=True)
class Tiles:
    """How a mosaic is cut: `across` tiles in a row, the first `count` of them slices.

    `rows` and `columns` are those of one tile; `normal` is the direction in
    which slices follow each other, LPS, or None where the file does not say it.
    """

    count: int
    across: int
    rows: int
    columns: int
    normal: tuple[float, float, float] | None


def tiles(found: Dataset, rows: int, columns: int) -> Tiles | None:
    """Return how a mosaic of this size is cut, or None where the count is not told or not true.

    The picture is a square of tiles with the least side that holds them all.
    Source: nibabel, "Siemens format DICOM with CSA header", Mosaic format.
    """
    csa = csa_values(_private(found, CSA_IMAGE_HEADER))
    count = _count(found, csa)
    if count is None or not 1 <= count <= _MOST_TILES:
        return None
    across = math.isqrt(count - 1) + 1
    if rows % across or columns % across:
        return None
    normal = _numbers(csa.get("SliceNormalVector", ()))
    known = len(normal) == 3 and abs(math.hypot(*normal) - 1) < 1 - _SAME_LINE
    direction = (normal[0], normal[1], normal[2]) if known else None
    return Tiles(count, across, rows // across, columns // across, direction)


def frames(
    found: Dataset, cut: Tiles, whole: dicom_frames.Frame, marks: list[str]
) -> tuple[dicom_frames.Frame, ...]:
    """Return a frame for each tile, at its own place.

    The header gives the place that the first pixel would have if the whole
    mosaic were one slice around the same centre; the first tile's pixel lies
    nearer by half the difference of the sizes. Source: nibabel,
    "DICOM orientation for Siemens mosaic", equation of the corrected position.
    """
    step = _step(found, whole)
    if whole.position is None or whole.orientation is None or whole.spacing_mm is None or not step:
        return tuple(dicom_frames.moved(whole, k, None) for k in range(cut.count))
    row, column = np.array(whole.orientation[:3]), np.array(whole.orientation[3:])
    shift = (
        column * whole.spacing_mm[0] * cut.rows * (cut.across - 1) / 2
        + row * whole.spacing_mm[1] * cut.columns * (cut.across - 1) / 2
    )
    normal = np.cross(row, column)
    along = float(normal @ cut.normal) if cut.normal is not None else 0.0
    if abs(along) < _SAME_LINE:
        marks.append(NO_NORMAL)
    elif along < 0:
        normal = -normal
    first = np.array(whole.position) + shift
    places = [first + normal * step * k for k in range(cut.count)]
    return tuple(
        dicom_frames.moved(whole, k, (float(p[0]), float(p[1]), float(p[2])))
        for k, p in enumerate(places)
    )


def tile(picture: np.ndarray, cut: Tiles, number: int) -> np.ndarray:
    """Return slice `number` of a mosaic: tiles stand row by row, from the upper left."""
    down, right = divmod(number, cut.across)
    rows = slice(down * cut.rows, (down + 1) * cut.rows)
    return picture[rows, right * cut.columns : (right + 1) * cut.columns]


def csa_values(header: bytes) -> dict[str, tuple[str, ...]]:
    """Return the text values of a CSA header, version 1 or 2; {} where it is damaged.

    Every length is checked against the bytes left. Source: nibabel,
    "Siemens format DICOM with CSA header", CSA1 and CSA2.
    """
    is_second = header[:4] == b"SV10"
    place = 8 if is_second else 0
    if len(header) < place + 8:
        return {}
    (count,) = struct.unpack_from("<L", header, place)
    if not 1 <= count <= _MOST_TAGS:
        return {}
    place += 8
    values: dict[str, tuple[str, ...]] = {}
    first_items = 0
    for number in range(count):
        if place + 84 > len(header):
            return {}
        name, items = header[place : place + 64], struct.unpack_from("<l", header, place + 76)[0]
        first_items = first_items if number else items
        found = _csa_items(header, place + 84, items, -1 if is_second else first_items)
        if found is None:
            return {}
        texts, place = found
        values[_text(name)] = tuple(text for text in texts if text)
    return values


def _csa_items(
    header: bytes, place: int, count: int, correction: int
) -> tuple[list[str], int] | None:
    """Return the values of one tag and the place after them, or None beyond the bytes."""
    texts = list[str]()
    if not 0 <= count <= len(header):
        return None
    for _ in range(count):
        if place + 16 > len(header):
            return None
        first, second = struct.unpack_from("<2l", header, place)
        # Version 1 counts the items of its first tag into each length.
        length = second if correction < 0 else first - correction
        place += 16
        if not 0 <= length <= len(header) - place:
            return None
        texts.append(_text(header[place : place + length]))
        place += -(-length // 4) * 4
    return texts, place


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("latin-1").strip()


def _private(found: Dataset, tag: int) -> bytes:
    value = found[tag].value if tag in found else None
    return value if isinstance(value, bytes) and _owner(found, tag) else b""


def _owner(found: Dataset, tag: int) -> bool:
    creator = (tag >> 16 << 16) + (tag >> 8 & 0xFF)
    named = str(found[creator].value) if creator in found else ""
    return named.strip().upper().startswith(_CREATOR_WORDS.get(creator, " "))


def _count(found: Dataset, csa: dict[str, tuple[str, ...]]) -> int | None:
    value = found[NUMBER_OF_IMAGES].value if NUMBER_OF_IMAGES in found else None
    if value is not None and _owner(found, NUMBER_OF_IMAGES):
        if isinstance(value, bytes) and len(value) == 2:
            return int.from_bytes(value, "little")
        if isinstance(value, int):
            return value
    told = _numbers(csa.get("NumberOfImagesInMosaic", ()))
    return int(told[0]) if told else None


def _numbers(texts: tuple[str, ...]) -> list[float]:
    try:
        parts = [float(text) for text in texts]
    except ValueError:
        return []
    return parts if all(math.isfinite(part) for part in parts) else []


def _step(found: Dataset, whole: dicom_frames.Frame) -> float:
    """Return the distance between slices: the stated one, or their thickness."""
    stated = dicom_frames.number(found, "SpacingBetweenSlices")
    return stated if stated is not None and stated > 0 else whole.thickness_mm or 0.0
