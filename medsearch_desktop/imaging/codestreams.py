"""What a compressed frame says of its own size, read before any decoder allocates for it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom import uid

_JPEG = {
    *(uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1),
    *(uid.JPEGLSLossless, uid.JPEGLSNearLossless),
}
_JPEG_2000 = {
    *(uid.JPEG2000, uid.JPEG2000Lossless),
    *(uid.HTJ2K, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL),
}
# Start of frame: SOF0-15 without DHT, JPG and DAC (ITU-T T.81 table B.1), SOF55 (T.87).
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
# Markers that stand alone: TEM, RST0-7, SOI.
_BARE = {0x01, *range(0xD0, 0xD9)}
# JPEG 2000 allows so many tiles; each costs the decoder memory before one is read.
_MOST_TILES = 65_535
_RLE_HEAD = 64


@dataclass(frozen=True)
class Told:
    """The size of a frame by its own header; `bits` is the depth of one sample."""

    rows: int
    columns: int
    samples: int
    bits: int


def fault(packed: bytes, syntax: str, declared: Told) -> str:
    """Return what is wrong with a compressed frame as the end of a sentence, or "".

    `declared` is what the DICOM header says, with the bits allocated.
    """
    if syntax == uid.RLELossless:
        return _rle_fault(packed, declared.samples * declared.bits // 8)
    found = _jpeg(packed) if syntax in _JPEG else None
    if syntax in _JPEG_2000:
        found = _jpeg_2000(packed)
    if found is None:
        return "it does not begin with the size of its picture"
    if (found.columns, found.rows) != (declared.columns, declared.rows):
        return (
            f"it is {found.columns} x {found.rows} pixels and the header says "
            f"{declared.columns} x {declared.rows}"
        )
    if found.samples != declared.samples:
        return f"it has {found.samples} samples a pixel and the header says {declared.samples}"
    if found.bits > max(declared.bits, 8):
        return f"it has {found.bits} bits a sample and the header says {declared.bits}"
    return ""


def told(packed: bytes) -> Told | None:
    """Return the size that a JPEG stream gives of itself, or None."""
    return _jpeg(packed)


def start(syntax: str) -> bytes:
    """Return the bytes with which each frame of a syntax begins, b"" where none are certain."""
    if syntax in _JPEG:
        return b"\xff\xd8\xff"
    return b"\xff\x4f\xff\x51" if syntax in _JPEG_2000 else b""


def _jpeg(packed: bytes) -> Told | None:
    """Return the size in the frame header of a JPEG or JPEG-LS stream (ITU-T T.81 B.2.2)."""
    place = packed.find(b"\xff\xd8", 0, 64)
    while 0 <= place < len(packed) - 4:
        if packed[place] != 0xFF:
            return None
        marker = packed[place + 1]
        if marker == 0xFF or marker in _BARE:
            place += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAMES:
            if len(packed) < place + 10:
                return None
            bits, rows, columns, samples = struct.unpack(">BHHB", packed[place + 4 : place + 10])
            return Told(rows, columns, samples, bits)
        if marker in (0xD9, 0xDA):
            return None
        place += 2 + max(int.from_bytes(packed[place + 2 : place + 4], "big"), 2)
    return None


def _jpeg_2000(packed: bytes) -> Told | None:
    """Return the size in the SIZ marker of a codestream, bare or in boxes (ITU-T T.800 A.5.1)."""
    place = packed.find(b"\xff\x4f\xff\x51", 0, 4096) + 4
    if place < 4 or len(packed) < place + 41:
        return None
    _, _, *sizes, samples = struct.unpack(">HH8LH", packed[place : place + 38])
    right, bottom, left, top, tile_width, tile_height, _, _ = sizes
    if right <= left or bottom <= top or not tile_width or not tile_height:
        return None
    if -(-right // tile_width) * -(-bottom // tile_height) > _MOST_TILES:
        return None
    parts = packed[place + 38 : place + 38 + 3 * samples]
    if not samples or len(parts) < 3 * samples or 0 in parts[1::3] or 0 in parts[2::3]:
        return None
    return Told(bottom - top, right - left, samples, max(part & 0x7F for part in parts[::3]) + 1)


def _rle_fault(packed: bytes, planes: int) -> str:
    """Check the head of an RLE frame: as many segments as byte planes, each within the bytes."""
    if len(packed) < _RLE_HEAD:
        return "it is shorter than its own head"
    count, *offsets = struct.unpack("<16L", packed[:_RLE_HEAD])
    if count != planes:
        return f"it has {count:,} segments and the header needs {planes}"
    used = offsets[:count]
    if used != sorted(used) or used[0] < _RLE_HEAD or used[-1] >= len(packed):
        return "its segments lie outside of it"
    return ""
