"""Shared memory for the pixels of one series, freed when its last array is gone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Sequence
from multiprocessing import shared_memory

import numpy as np
import psutil

from medsearch_desktop import errors


class _Owner:
    """Holds a block open for as long as an array looks into it.

    An array made straight from the block's buffer would keep it from being
    closed; this one is made from the address and keeps this object instead.
    """

    def __init__(self, block: shared_memory.SharedMemory, shape: Sequence[int], dtype: str) -> None:
        self._block = block
        if block.buf is None:
            raise ValueError("the block is closed")
        address = ctypes.addressof(ctypes.c_char.from_buffer(block.buf))
        self.__array_interface__ = {
            "version": 3,
            "shape": tuple(shape),
            "typestr": np.dtype(dtype).str,
            "data": (address, True),
        }

    def __del__(self) -> None:
        with contextlib.suppress(BufferError, OSError):
            self._block.close()


class Block:
    """A new shared block; `unlink` it when the other side is done, the array lives on.

    Raises UnreadableFileError, with `path`, when the machine has no room: a
    block that cannot be backed would end both processes when it is touched.
    """

    def __init__(self, path: str, size: int) -> None:
        free = free_bytes()
        if size > free:
            reason = (
                f"Its pixels need {size / 2**20:,.0f} MB of shared memory "
                f"and {free / 2**20:,.0f} MB are free."
            )
            raise errors.UnreadableFileError(path, reason)
        try:
            block = shared_memory.SharedMemory(create=True, size=max(size, 1))
        except OSError as error:
            reason = f"The system gives no shared memory for its pixels: {error.strerror}."
            raise errors.UnreadableFileError(path, reason) from error
        self._block: shared_memory.SharedMemory | None = block
        self.name = block.name

    def array(self, shape: Sequence[int], dtype: str) -> np.ndarray:
        """Return the one read-only array over the block, all zero at first."""
        if self._block is None:
            raise ValueError("the block is gone")
        return np.asarray(_Owner(self._block, shape, dtype))

    def unlink(self) -> None:
        """Take the name away; the memory goes with the last array."""
        if self._block is not None:
            with contextlib.suppress(FileNotFoundError):
                self._block.unlink()
            self._block = None


def free_bytes() -> int:
    """Return how much memory a block may take on this machine now."""
    free = int(psutil.virtual_memory().available)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            shared = os.statvfs("/dev/shm")
            free = min(free, shared.f_bavail * shared.f_frsize)
    return free
