"""A path, or a member of an archive, as an open binary file with a known size."""

from __future__ import annotations

import contextlib
import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from medsearch_desktop import errors

# Between the path of an archive and the name inside it; such a path is never extracted to disk.
INSIDE = "!/"

# A member that unpacks to more than this is taken for a bomb: the largest
# multi-frame objects we know of stay below it.
LARGEST_MEMBER_BYTES = 2 << 30


def split(path: str) -> tuple[str, str]:
    """Return (archive, member); the member is "" for an ordinary path.

    A real file whose name happens to hold the separator is an ordinary path.
    """
    archive, separator, member = path.partition(INSIDE)
    if not separator or Path(path).exists():
        return path, ""
    return archive, member


@contextlib.contextmanager
def opened(path: str, *, whole: bool = False) -> Iterator[tuple[IO[bytes], int]]:
    """Open `path` for reading and give (file, size in bytes).

    With `whole`, a member of an archive is unpacked into memory, so that it
    can be read in any order at no cost. Raises UnreadableFileError for what
    is missing, forbidden, no regular file, encrypted, damaged or a bomb.
    """
    archive, member = split(path)
    try:
        if not member:
            mode = Path(path).stat().st_mode
            if not stat.S_ISREG(mode):
                raise errors.UnreadableFileError(path, "It is not a regular file.")
            with Path(path).open("rb") as file:
                size = file.seek(0, io.SEEK_END)
                file.seek(0)
                yield file, size
            return
        with _archive(archive).open(_member(path, archive, member)) as packed:
            size = _archive(archive).getinfo(member).file_size
            yield (io.BytesIO(packed.read(size)) if whole else packed), size
    except errors.UnreadableFileError:
        raise
    except OSError as error:
        reason = f"The system says: {error.strerror or error}."
        raise errors.UnreadableFileError(path, reason) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise errors.UnreadableFileError(path, "The archive is damaged here.") from error
    except (RuntimeError, NotImplementedError) as error:
        if not member:
            raise
        reason = "The archive is encrypted, or packed in a way that is not supported."
        raise errors.UnreadableFileError(path, reason) from error


def members(path: str) -> list[str]:
    """Return the names of the files in a ZIP; raises UnreadableFileError."""
    try:
        return [info.filename for info in _archive(path).infolist() if not info.is_dir()]
    except OSError as error:
        reason = f"The system says: {error.strerror or error}."
        raise errors.UnreadableFileError(path, reason) from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise errors.UnreadableFileError(path, "It is not a whole ZIP archive.") from error


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key by which "slice 2" stands before "slice 10"."""
    parts = re.split(r"(\d{1,18})", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


_kept: dict[tuple[str, int, int], zipfile.ZipFile] = {}


def _archive(path: str) -> zipfile.ZipFile:
    """Return the open archive; the last one stays open, for its index is slow to read."""
    info = Path(path).stat()
    key = (path, info.st_mtime_ns, info.st_size)
    if key not in _kept:
        close_archives()
        _kept[key] = zipfile.ZipFile(path)
    return _kept[key]


def close_archives() -> None:
    """Close the archive that `opened` keeps for the next member."""
    for archive in _kept.values():
        archive.close()
    _kept.clear()


def _member(path: str, archive: str, member: str) -> zipfile.ZipInfo:
    info = _archive(archive).getinfo(member)
    if info.file_size > LARGEST_MEMBER_BYTES:
        size = f"{info.file_size / 2**30:.1f} GB"
        raise errors.UnreadableFileError(path, f"It would unpack to {size}, which is not tried.")
    return info
