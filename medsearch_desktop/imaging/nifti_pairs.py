"""The two files of a NIfTI pair: the .hdr and the .img beside it, packed or not."""

from __future__ import annotations

import re

from medsearch_desktop import errors
from medsearch_desktop.imaging import files

_HEADER = re.compile(r"\.hdr(\.gz)?$", re.IGNORECASE)
_VALUES = re.compile(r"\.img(\.gz)?$", re.IGNORECASE)
# Old systems and copies from discs write names in capitals.
_HEADERS = (".hdr", ".HDR", ".Hdr")
_IMAGES = (".img", ".IMG", ".Img")
_PACKINGS = ("", ".gz", ".GZ")


def image_of(path: str) -> str:
    """Return the file with the values that belongs to a header; raises UnreadableFileError."""
    found = _HEADER.search(path)
    if found and (image := _beside(path, found, _IMAGES)):
        return image
    raise errors.UnreadableFileError(path, "The .img file that belongs to it is missing.")


def header_of(path: str) -> str:
    """Return the header beside a file that is called .img or .img.gz, else ""."""
    found = _VALUES.search(path)
    if found is None:
        return ""
    return _beside(path, found, _HEADERS)


def _beside(path: str, ending: re.Match[str], others: tuple[str, ...]) -> str:
    """Return the other file of a pair, "" where it is missing.

    Names that are written and packed alike go first: on many systems a name
    in other letters is the same file.
    """
    is_high, is_packed = ending.group()[1].isupper(), ending.group(1) is not None
    packings = sorted(_PACKINGS, key=lambda packing: bool(packing) != is_packed)
    endings = sorted(others, key=lambda other: other[1].isupper() != is_high)
    names = (path[: ending.start()] + end + packing for packing in packings for end in endings)
    return next((name for name in names if _is_there(name)), "")


def _is_there(path: str) -> bool:
    archive, member = files.split(path)
    try:
        if member:
            return member in files.members(archive)
        with files.opened(path):
            return True
    except errors.UnreadableFileError:
        return False
