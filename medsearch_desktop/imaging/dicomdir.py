"""DICOMDIR, the index on a disc -> the files it lists, if they lie within its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pydicom
from pydicom.dataset import Dataset

from medsearch_desktop import errors
from medsearch_desktop.imaging import files, listing, preflight, study

_MEDIA_DIRECTORY = b"1.2.840.10008.1.3.10"
_INSTEAD = "open its folder instead."


def is_one(path: str) -> bool:
    """Return True for a DICOMDIR, by what it says it is; raises UnreadableFileError."""
    with files.opened(path) as (file, _):
        head = file.read(512)
    return head[128:132] == b"DICM" and _MEDIA_DIRECTORY in head


def listed(path: str) -> Iterator[str | study.Refused]:
    """Give the files that a DICOMDIR lists, and at last an answer for itself.

    Its names are relative and may hold anything; what leads out of the
    folder, by dots, a drive or a link, is refused. Raises UnreadableFileError.
    """
    folder = os.path.realpath(os.path.dirname(path))
    own = os.path.realpath(path)
    count = 0
    for number, record in enumerate(_records(path), start=1):
        parts = _file_id(path, number, record)
        named = f"{path}: {'/'.join(parts)}"
        try:
            target = os.path.realpath(os.path.join(folder, *parts)) if parts else folder
            actual = _existing(folder, parts)
        except ValueError:  # a name that no system allows
            actual, target = "", own
        if target == folder or not listing.is_within(folder, target):
            yield study.Refused(named, "It lies outside the folder of the DICOMDIR.")
        elif actual and os.path.realpath(actual) == own:
            yield study.Refused(named, "The DICOMDIR lists itself as an image.")
        elif actual:
            count += 1
            yield actual
        else:
            yield study.Refused(named, "The DICOMDIR lists it, but it is not there.")
    if not count:
        reason = f"It is a DICOMDIR that lists no file that can be read: {_INSTEAD}"
        yield study.Refused(path, reason, "a DICOMDIR")
    else:
        yield left_out(path, "It is an index: the files that it lists were read.")


def left_out(path: str, reason: str) -> study.Refused:
    """Return the answer for an index whose files are read without it."""
    return study.Refused(path, reason, "a DICOMDIR", "left out")


def _records(path: str) -> list[Dataset]:
    """Return the records that name a file; raises UnreadableFileError."""
    with files.opened(path) as (file, size):
        preflight.check(path, file, size)
        file.seek(0)
        try:
            found = pydicom.dcmread(file)
            records = list(found.DirectoryRecordSequence)
            return [record for record in records if "ReferencedFileID" in record]
        except MemoryError:
            raise
        except Exception as error:
            reason = f"Its list of files is damaged ({type(error).__name__}): {_INSTEAD}"
            raise errors.UnreadableFileError(path, reason) from error


def _file_id(path: str, number: int, record: Dataset) -> list[str]:
    try:
        value = record.ReferencedFileID
    except Exception as error:
        reason = f"Its record {number} is damaged ({type(error).__name__}): {_INSTEAD}"
        raise errors.UnreadableFileError(path, reason) from error
    parts = [value] if isinstance(value, str) else list(value or [])
    names = [str(part).replace("\\", "/") for part in parts]
    return [name for part in names for name in part.split("/") if name]


def _existing(folder: str, parts: Sequence[str]) -> str:
    """Return the file, also where the disc's names were lowered in copying; else ""."""
    for names in (parts, [part.lower() for part in parts]):
        candidate = os.path.join(folder, *names)
        if os.path.isfile(candidate):
            return candidate
    return ""
