"""A path, or a member of an archive, as an open binary file with a known size."""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from medsearch_desktop import errors
from medsearch_desktop.imaging import archives

# Between the path of an archive and the name inside it; such a path is never extracted to disk.
INSIDE = "!/"
_PIECE_BYTES = 1 << 20


def split(path: str) -> tuple[str, str]:
    """Return (archive, member); the member is "" for an ordinary path.

    A real file whose name happens to hold the separator is an ordinary path,
    and the archive is the first part of the path that is a file.
    """
    place = path.find(INSIDE)
    if place < 0 or os.path.exists(path):
        return path, ""
    first = place
    while place >= 0:
        if os.path.isfile(path[:place]):
            return path[:place], path[place + len(INSIDE) :]
        place = path.find(INSIDE, place + 1)
    return path[:first], path[first + len(INSIDE) :]


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
            with _regular(path) as file:
                size = file.seek(0, io.SEEK_END)
                file.seek(0)
                yield file, size
            return
        found = _archive(archive)
        known = found.members[member]
        if known.fault:
            raise errors.UnreadableFileError(path, known.fault)
        with found.open(member) as packed:
            size = known.info.file_size
            yield (io.BytesIO(packed.read(size)) if whole else packed), size
    except errors.UnreadableFileError:
        raise
    except OSError as error:
        raise errors.UnreadableFileError(path, _of_system(error)) from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, KeyError) as error:
        raise errors.UnreadableFileError(path, "The archive is damaged here.") from error
    except (RuntimeError, NotImplementedError) as error:
        if not member:
            raise
        reason = "The archive is encrypted, or packed in a way that is not supported."
        raise errors.UnreadableFileError(path, reason) from error


def members(path: str) -> Mapping[str, archives.Member]:
    """Return the files in a ZIP by their harmless names; raises UnreadableFileError."""
    return _of_archive(path).members


def document(path: str) -> str:
    """Return what kind of document a ZIP is ("an Office document"), "" for a mere archive."""
    return _of_archive(path).document()


def copied(source: str | Path, target: str | Path) -> None:
    """Copy one file of the user, or a member of an archive, to be kept: whole or not at all.

    The copy is durable and for the user's eyes only (0600). A DICOM file
    that begins like a program (PS3.10 7.1 leaves the first 128 bytes free) is
    copied with these bytes zeroed. Raises UnreadableFileError for the
    source and OSError for the target.
    """
    target = Path(target)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if (fault := _copied_aside(str(source), aside)) is not None:
            raise fault
        os.replace(aside, target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _copied_aside(source: str, aside: Path) -> OSError | None:
    """Copy a file; return the fault of the copy, for within `opened` all faults are the source's.

    Raises UnreadableFileError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with opened(source) as (file, _):
        try:
            with os.fdopen(os.open(aside, flags, 0o600), "wb") as copy:
                copy.write(_without_program(_read(source, file)))
                while chunk := _read(source, file):
                    copy.write(chunk)
                copy.flush()
                os.fsync(copy.fileno())
        except OSError as error:
            return error
    return None


def _read(path: str, file: IO[bytes]) -> bytes:
    """Return the next piece of a file to copy; its faults are the source's, not the target's."""
    try:
        return file.read(_PIECE_BYTES)
    except OSError as error:
        raise errors.UnreadableFileError(path, _of_system(error)) from error


def _without_program(head: bytes) -> bytes:
    from medsearch_desktop.imaging import preflight  # brings pydicom, which the window never needs

    if head[128:132] == b"DICM" and preflight.is_executable(head[:128]):
        return bytes(128) + head[128:]
    return head


@contextlib.contextmanager
def _regular(path: str) -> Iterator[IO[bytes]]:
    """Open a regular file; a pipe or a device that stands in its place is not waited for."""
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags | getattr(os, "O_NOCTTY", 0)), "rb") as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                yield file
                return
    raise errors.UnreadableFileError(path, f"It is {special(mode)}, not a regular file.")


def special(mode: int) -> str:
    """Return what kind of thing a path is that is no regular file, by its mode."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISCHR, "a device"),
    )
    return next((name for is_kind, name in kinds if is_kind(mode)), "something else")


def _of_system(error: OSError) -> str:
    return f"The system says: {error.strerror or type(error).__name__}."


def _of_archive(path: str) -> archives.Archive:
    try:
        return _archive(path)
    except OSError as error:
        raise errors.UnreadableFileError(path, _of_system(error)) from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise errors.UnreadableFileError(path, "It is not a whole ZIP archive.") from error


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key by which "slice 2" stands before "slice 10"."""
    parts = re.split(r"(\d{1,18})", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


_kept: dict[tuple[str, int, int], archives.Archive] = {}


def _archive(path: str) -> archives.Archive:
    """Return the open archive; the last one stays open, for its index is slow to read."""
    info = os.stat(path)
    key = (path, info.st_mtime_ns, info.st_size)
    if key not in _kept:
        close_archives()
        _kept[key] = archives.Archive(path)
    return _kept[key]


def close_archives() -> None:
    """Close the archive that `opened` keeps for the next member."""
    for archive in _kept.values():
        archive.close()
    _kept.clear()
