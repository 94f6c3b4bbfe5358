"""Thumbnails that a collection holds: their bytes, and the picture where the original is gone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from medsearch_desktop import cases, errors
from medsearch_desktop.imaging import isolated

# The first bytes of the two kinds that are stored.
# Sources: ITU-T T.81, B.1.1.3 (SOI and the next marker); PNG, third edition, 5.2.
_KINDS = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))
# Ours are some 30 kB; this many are no thumbnail.
_MOST_BYTES = 4 << 20


def content(image: cases.CaseImage) -> bytes:
    """Return the bytes of an image's thumbnail, b"" where it has none that can be read."""
    place = image.thumbnail
    if place is None or not 0 < place.length <= _MOST_BYTES:
        return b""
    try:
        with Path(place.file).open("rb") as file:
            file.seek(place.offset)
            return file.read(place.length)
    except OSError:
        return b""


def media_type(found: bytes) -> str:
    """Return the media type of a thumbnail by its first bytes, "" for what is neither kind."""
    return next((kind for start, kind in _KINDS if found.startswith(start)), "")


def picture(image: cases.CaseImage, readers: isolated.Readers) -> np.ndarray | None:
    """Return what an image's thumbnail shows, uint8 (h, w, 3), decoded in a reader; None without.

    A collection may come from anywhere, so its pictures are decoded where all files are.
    """
    found = content(image)
    if not media_type(found):
        return None
    with tempfile.TemporaryDirectory(prefix="thumbnail-") as folder:
        path = Path(folder) / ("one.png" if media_type(found).endswith("png") else "one.jpg")
        path.write_bytes(found)
        try:
            return readers.render_picture(cases.ImageRef(str(path)))
        except (errors.UnreadableFileError, errors.TooLargeError):
            return None
