"""Pictures of cards: read by offset in the background, trimmed, letterboxed and kept."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from PySide6.QtCore import QBuffer, QByteArray, QObject, QRect, QSize, Qt, Signal
from PySide6.QtGui import QImage, QImageReader, QPainter, QPixmap

from medsearch_desktop import cases
from medsearch_desktop.gui import background

# A stored picture is a few kB; a larger length means a damaged table.
_LARGEST_BYTES = 4 << 20
# The indexer stores at most 448 pixels a side; a foreign collection must not fill our memory.
_LARGEST_SIDE = 2048
_KEPT_BYTES = 32 << 20
_KINDS = {b"\xff\xd8\xff": b"jpeg", b"\x89PNG\r\n\x1a\n": b"png"}
# Grey levels up to here count as black border (JPEG noise stays below).
_BLACK = 12
# At most this part of a side is cut off: a mostly black picture keeps its place.
_MOST_TRIMMED = 0.8


class Thumbnails(QObject):
    """Gives pixmaps for stored pictures; `came` tells when one that was asked for is there."""

    came = Signal()

    def __init__(self, work: background.Background, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._work = work
        self._kept: OrderedDict[tuple, QPixmap | None] = OrderedDict()
        self._bytes = 0
        self._asked: set[tuple] = set()

    def pixmap(
        self, picture: cases.Thumbnail, size: int, ratio: float
    ) -> tuple[QPixmap | None, bool]:
        """Return (square pixmap of `size` logical px, whether reading has ended).

        (None, False) while it is read; (None, True) where it cannot be read.
        """
        key = (picture.file, picture.offset, picture.length, size, ratio)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key], True
        if key not in self._asked:
            self._asked.add(key)
            self._work.run(
                lambda: square(read(picture), round(size * ratio)),
                then=lambda image: self._keep(key, image, ratio),
                failed=lambda error: self._keep(key, None, ratio),
            )
        return None, False

    def _keep(self, key: tuple, image: QImage | None, ratio: float) -> None:
        self._asked.discard(key)
        made = None
        if image is not None:
            made = QPixmap.fromImage(image)
            made.setDevicePixelRatio(ratio)
            self._bytes += _size(made)
        self._kept[key] = made
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= _size(oldest) if oldest is not None else 0
        self.came.emit()


def _size(pixmap: QPixmap) -> int:
    return pixmap.width() * pixmap.height() * 4


def read(picture: cases.Thumbnail) -> QImage:
    """Return the stored picture; OSError or ValueError where there is none."""
    if not 0 < picture.length <= _LARGEST_BYTES:
        raise ValueError(f"not the length of a picture: {picture.length}")
    with Path(picture.file).open("rb") as file:
        file.seek(picture.offset)
        content = file.read(picture.length)
    return decoded(content)


def decoded(content: bytes) -> QImage:
    """Return the JPEG or PNG picture in `content`; ValueError for anything else or a large one."""
    # Named, so that no other reader of Qt's is asked what a stranger's bytes might be.
    kind = next((name for head, name in _KINDS.items() if content.startswith(head)), None)
    if kind is None:
        raise ValueError("the stored bytes are no picture")
    held = QBuffer()
    held.setData(content)
    held.open(QBuffer.OpenModeFlag.ReadOnly)
    reader = QImageReader(held, QByteArray(kind))
    reader.setDecideFormatFromContent(False)
    size = reader.size()
    if not size.isValid() or max(size.width(), size.height()) > _LARGEST_SIDE:
        raise ValueError(f"not the size of a stored picture: {size.width()} x {size.height()}")
    image = reader.read()
    if image.isNull():
        raise ValueError("the stored bytes are no picture")
    return image


def square(image: QImage, side: int) -> QImage:
    """Return `image` without its black borders, whole, in the middle of a black square."""
    image = image.copy(content(image))
    fitted = image.scaled(
        QSize(side, side),
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    made = QImage(side, side, QImage.Format.Format_RGB32)
    made.fill(Qt.GlobalColor.black)
    painter = QPainter(made)
    painter.drawImage((side - fitted.width()) // 2, (side - fitted.height()) // 2, fitted)
    painter.end()
    return made


def content(image: QImage) -> QRect:
    """Return the part of a picture inside its black borders; all of it when it is black."""
    grey = image.convertToFormat(QImage.Format.Format_Grayscale8)
    height, width, line = grey.height(), grey.width(), grey.bytesPerLine()
    import numpy as np  # here, in the background: the window stands before numpy is loaded

    levels = np.frombuffer(grey.constBits(), dtype=np.uint8).reshape(height, line)[:, :width]
    rows = np.flatnonzero(levels.max(axis=1) > _BLACK)
    columns = np.flatnonzero(levels.max(axis=0) > _BLACK)
    if not len(rows) or not len(columns):
        return image.rect()
    top, bottom = int(rows[0]), int(rows[-1])
    left, right = int(columns[0]), int(columns[-1])
    if (bottom - top + 1) < height * (1 - _MOST_TRIMMED):
        top, bottom = 0, height - 1
    if (right - left + 1) < width * (1 - _MOST_TRIMMED):
        left, right = 0, width - 1
    return QRect(left, top, right - left + 1, bottom - top + 1)
