"""What is wrong with a PNG or JPEG that its decoder passes over in silence."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import pairwise

_PNG = b"\x89PNG\r\n\x1a\n"
# PNG (Third Edition), table 11.1: colour type -> samples a pixel.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# PNG (Third Edition), 8.2, Adam7: first column, first row, column step, row step of each pass.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_STEP = 1 << 20

_CHECKSUM = "A checksum within the picture is wrong: it may be damaged."
_DEEP = "Colours of 16 bits are shown with 8."
_CUT = "Part of the picture is missing: it is shown empty."


def marks(content: bytes) -> list[str]:
    """Return sentences about a whole PNG or JPEG file; those of another kind get none."""
    if content.startswith(_PNG):
        return _png_marks(content)
    if content.startswith(b"\xff\xd8"):
        return _jpeg_marks(content)
    return []


def _png_marks(content: bytes) -> list[str]:
    """Check each checksum, the end, and that the pixels are all there."""
    found: list[str] = []
    end, pixels = 0, _Pixels()
    for name, place, length in _chunks(content):
        end = place + length + 4
        stored = int.from_bytes(content[end - 4 : end], "big")
        if (
            zlib.crc32(memoryview(content)[place - 4 : end - 4]) != stored
            and _CHECKSUM not in found
        ):
            found.append(_CHECKSUM)
        if name == b"IHDR" and length == 13:
            pixels.needed = _needed(content[place : place + length])
            # Grey values of 16 bits alone are kept.
            if content[place + 8] == 16 and _SAMPLES.get(content[place + 9], 1) > 1:
                found.append(_DEEP)
        elif name == b"IDAT":
            pixels.take(content[place : place + length])
        elif name == b"IEND":
            if end < len(content):
                found.append("More data follow the end of the picture: they are not read.")
            break
    else:
        found.append("The picture has no end: it may be cut short.")
    return found + ([_CUT] if pixels.are_short() else [])


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Give (name, place of the data, length) of each whole chunk (PNG, 5.3)."""
    place = len(_PNG)
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        if place + 12 + length > len(content):
            return
        yield content[place + 4 : place + 8], place + 8, length
        place += 12 + length


def _needed(header: bytes) -> int:
    """Return the bytes that the pixels of a PNG unpack to, each line with its filter."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * _SAMPLES.get(header[9], 1)
    passes = _PASSES if header[12] == 1 else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


class _Pixels:
    """Counts what the pixels of a PNG unpack to, and no more than is needed."""

    def __init__(self) -> None:
        self.needed = 0
        self._found = 0
        self._inflate = zlib.decompressobj()
        self._is_damaged = False

    def take(self, packed: bytes) -> None:
        """Take the data of one IDAT chunk."""
        try:
            while packed and not self._inflate.eof and self._found < self.needed:
                self._found += len(self._inflate.decompress(packed, _STEP))
                packed = self._inflate.unconsumed_tail
        except zlib.error:
            # The decoder notices that and says so.
            self._is_damaged = True

    def are_short(self) -> bool:
        """Return True where the data ended early, as if that were all."""
        return not self._is_damaged and self._inflate.eof and self._found < self.needed


def _jpeg_marks(content: bytes) -> list[str]:
    """Check that the file could hold its pixels: each block of 8 x 8 takes a bit at least.

    Source: ITU-T T.81, F.1.2.1: a code of the first coefficient in every block.
    """
    for place, after in pairwise(_segments(content)):
        # SOF0 to SOF2: Huffman-coded pictures of 8 x 8 blocks.
        if content[place + 1] in (0xC0, 0xC1, 0xC2) and after >= place + 10:
            height = int.from_bytes(content[place + 5 : place + 7], "big")
            width = int.from_bytes(content[place + 7 : place + 9], "big")
            blocks = -(-height // 8) * -(-width // 8)
            return [_CUT] if blocks > 8 * (len(content) - after) else []
    return []


def _segments(content: bytes) -> Iterator[int]:
    """Give the places of the segments of a JPEG up to its first scan."""
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        yield place
        if content[place + 1] == 0xDA:
            return
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
