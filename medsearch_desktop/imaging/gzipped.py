"""A gzip file unpacked as a stream, as far as it is asked for, with its checksums verified."""

from __future__ import annotations

import zlib
from typing import IO

# RFC 1952: what each member of a gzip file begins with.
MAGIC = b"\x1f\x8b"
_STEP = 1 << 18
_HEADER_CHECKSUM, _EXTRA, _NAME, _COMMENT = 2, 4, 8, 16
# A name or comment that is longer is none.
_LONGEST_NAME = 1 << 16


class DamagedError(Exception):
    """The packing cannot be unpacked further; the text is a whole sentence."""


class Unpacked:
    """Reads a gzip file from front to back; `file` stands at its beginning and stays open.

    Members that follow each other are one stream (RFC 1952, 2.2). Padding or
    other bytes behind a whole member are no part of it: the stream ends there.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._packed = b""
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._is_within, self._is_over = False, False
        self._checksum, self._length = 0, 0
        self._fault = ""

    def read(self, most: int) -> bytes:
        """Return up to `most` bytes, at least one until the end; raises DamagedError.

        The end is b"", and it is only reached where all checksums were right;
        what was packed is given first.
        """
        if self._fault:
            raise DamagedError(self._fault)
        try:
            while not self._is_over:
                if not self._is_within:
                    self._begin_member()
                if found := self._inflated(most):
                    return found
                if self._inflate.eof:
                    self._end_member()
        except zlib.error as error:
            self._fault = "Its gzip packing is damaged."
            raise DamagedError(self._fault) from error
        except DamagedError as error:
            self._fault = str(error)
            raise
        return b""

    def _inflated(self, most: int) -> bytes:
        if self._inflate.eof:
            return b""
        self._packed = self._packed or self._file.read(_STEP)
        if not self._packed:
            raise DamagedError("Its gzip packing is cut short.")
        found = self._inflate.decompress(self._packed, most)
        self._packed = self._inflate.unused_data or self._inflate.unconsumed_tail
        self._checksum = zlib.crc32(found, self._checksum)
        self._length += len(found)
        return found

    def _begin_member(self) -> None:
        """Read the header of a member (RFC 1952, 2.3)."""
        head = self._taken(10)
        if not head.startswith(MAGIC) or head[2] != 8:
            raise DamagedError("Its gzip packing is damaged.")
        if head[3] & _EXTRA:
            self._taken(int.from_bytes(self._taken(2), "little"))
        for flag in (_NAME, _COMMENT):
            length = 0
            while head[3] & flag and self._taken(1) != b"\0":
                length += 1
                if length > _LONGEST_NAME:
                    raise DamagedError("Its gzip packing is damaged.")
        if head[3] & _HEADER_CHECKSUM:
            self._taken(2)
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._checksum, self._length, self._is_within = 0, 0, True

    def _end_member(self) -> None:
        """Compare checksum and length of a member, and look whether another follows."""
        stored = self._checksum.to_bytes(4, "little")
        stored += (self._length % (1 << 32)).to_bytes(4, "little")
        if self._taken(8) != stored:
            raise DamagedError("The checksum of its gzip packing is wrong: values may be damaged.")
        if len(self._packed) < len(MAGIC):
            self._packed += self._file.read(_STEP)
        self._is_within, self._is_over = False, not self._packed.startswith(MAGIC)

    def _taken(self, count: int) -> bytes:
        while len(self._packed) < count:
            more = self._file.read(_STEP)
            if not more:
                raise DamagedError("Its gzip packing is cut short.")
            self._packed += more
        found, self._packed = self._packed[:count], self._packed[count:]
        return found


def head(file: IO[bytes], count: int) -> bytes:
    """Return the first `count` bytes of what is packed, fewer where there are no more.

    `file` stands at its beginning. Raises DamagedError.
    """
    unpacked, found = Unpacked(file), b""
    while len(found) < count and (more := unpacked.read(count - len(found))):
        found += more
    return found
