"""What is dropped or pasted: files, words or a picture, and the zones that take it."""

from __future__ import annotations

import contextlib
import enum
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QBuffer, QIODevice, QMimeData
from PySide6.QtGui import QImage

# A folder is counted to this many files, so that the answer comes while the mouse still moves.
_COUNTED_FILES = 10_000


class Zone(enum.Enum):
    """Where something may be let go."""

    OPEN = "open"
    FIND = "find"
    ADD = "add"


@dataclass(frozen=True)
class Dropped:
    """What came by mouse or clipboard: files, words, or a picture that is no file yet."""

    paths: tuple[Path, ...] = ()
    words: str = ""
    picture: QImage | None = None

    @property
    def has_pixels(self) -> bool:
        """Say whether there is something to open, as against words."""
        return bool(self.paths) or self.picture is not None


def is_welcome(mime: QMimeData) -> bool:
    """Say at once whether something can be made of the data; nothing is decoded."""
    return any(url.isLocalFile() for url in mime.urls()) or mime.hasImage() or mime.hasText()


def read(mime: QMimeData, *, decoded: bool = True) -> Dropped | None:
    """Return what the data holds: files before a picture before words; None where nothing fits.

    Without `decoded` a picture stays null: enough to say what would be taken.
    """
    paths = tuple(Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile())
    if paths:
        return Dropped(paths=paths)
    if mime.hasImage():
        picture = QImage(mime.imageData()) if decoded else QImage()
        if not (decoded and picture.isNull()):
            return Dropped(picture=picture)
    words = " ".join(mime.text().split())
    return Dropped(words=words) if words and not mime.urls() else None


def keep_picture(picture: QImage, scratch: Path) -> Path:
    """Write a pasted picture as PNG named by its digest and return the file; raises OSError.

    What another program wrote beside the pixels (a comment, a source) is not kept.
    """
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not _pixels_of(picture).save(buffer, "PNG"):
        raise OSError("the picture cannot be written as PNG")
    content = bytes(buffer.data().data())
    file = scratch / f"{hashlib.sha256(content).hexdigest()}.png"
    if not file.exists():
        _write_durably(file, content)
    return file


def _write_durably(file: Path, content: bytes) -> None:
    """Write a file whole or not at all, also where the power goes or the disk is full."""
    handle, beside = tempfile.mkstemp(dir=file.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, file)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def _pixels_of(picture: QImage) -> QImage:
    """Return a copy that has lost the texts which Qt would write into a PNG."""
    form = (
        QImage.Format.Format_RGBA8888 if picture.hasAlphaChannel() else QImage.Format.Format_RGB888
    )
    plain = picture.convertToFormat(form)
    size, stride = plain.size(), plain.bytesPerLine()
    return QImage(plain.constBits(), size.width(), size.height(), stride, form).copy()


def count_files(paths: tuple[Path, ...]) -> int:
    """Return how many files lie in the paths, counted to 10,000; folders are walked."""
    counted = 0
    for path in paths:
        if not path.is_dir():
            counted += 1
            continue
        for _, _, files in os.walk(path):
            counted += len(files)
            if counted >= _COUNTED_FILES:
                return _COUNTED_FILES
    return counted
