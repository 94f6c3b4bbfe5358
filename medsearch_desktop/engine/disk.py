"""What a disk refuses, told in one sentence; and whether it has room before a build begins."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

from medsearch_desktop import errors

_FULL_WORDS = ("no space left", "disk is full", "not enough space", "quota exceeded")
# SQLite needs 32 kB beside a journal, and some room for the journal.
_NO_ROOM = 128 << 10
_FULL_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
# How much more than its own size a collection needs while it is written. Chosen with a margin: the
# vectors stand twice on the disk while a segment is sealed, cases in a journal, words are merged.
PEAK = 2.2
# What a case with one image takes: 12.3 kB in a collection of 3,007, most of it the small picture.
CASE_BYTES = 12_500


def is_full(error: BaseException, folder: Path | None = None) -> bool:
    """Tell whether an error of the system, SQLite, FAISS or tantivy means a full disk.

    On one with next to no room SQLite speaks of an I/O error, because it
    cannot make the file beside its journal: there the room of `folder` tells.
    """
    if isinstance(error, sqlite3.Error) and folder is not None and free(folder) < _NO_ROOM:
        return True
    if isinstance(error, OSError) and error.errno in _FULL_NUMBERS:
        return True
    words = str(error).lower()
    return any(part in words for part in _FULL_WORDS)


def told(folder: Path, error: BaseException, needed: int = 0) -> errors.CollectionError:
    """Return what a failed write to the collection in `folder` is told as."""
    if is_full(error, folder):
        return errors.DiskFullError(str(folder), free(folder), needed)
    words = getattr(error, "strerror", None) or str(error)
    return errors.CollectionError(f"The collection {folder} cannot be written: {words}")


def free(folder: Path) -> int:
    """Return the free bytes of the disk that holds `folder`, or the next of its parents."""
    try:
        standing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        return shutil.disk_usage(standing).free
    except (OSError, StopIteration):
        return 0


def require(folder: Path, cases: int | None) -> None:
    """Raise DiskFullError when a collection of so many cases will not fit; None: not known."""
    needed = round(PEAK * CASE_BYTES * (cases or 0))
    if (there := free(folder)) < needed:
        raise errors.DiskFullError(str(folder), there, needed)
