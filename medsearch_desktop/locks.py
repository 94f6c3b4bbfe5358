"""Lock files: each held by one process until it lets go or ends, however it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

# Windows locks bytes against reading too: one far behind the text is taken.
_LOCKED_BYTE = 1 << 30


def held(path: Path) -> IO[bytes] | None:
    """Return the lock file at `path`, open and held; None while another holds it.

    The file is made where it is missing. Closing it lets go; so does the end
    of the process, also by a kill. Children do not inherit it. Raises OSError
    where the file cannot be written, or where its file system knows no locks.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        file = os.fdopen(handle, "r+b", buffering=0)
        try:
            if not _taken(handle):
                file.close()
                return None
            if _is_still_at(path, handle):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # whoever held it has removed it meanwhile: a new one is made


def _taken(handle: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(handle, 0, os.SEEK_SET)
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
