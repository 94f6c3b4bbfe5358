"""Icons as glyphs of the Phosphor font that comes with qtawesome.

Chosen: our own icon engine on that font file. Rejected: importing qtawesome, because it takes as
much CPU time (120 ms here) as an empty window.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QIcon, QIconEngine, QPainter, QPixmap


class GlyphEngine(QIconEngine):
    """Paints one glyph in the colour of the icon's mode."""

    def __init__(self, glyph: str, family: str, colours: dict[QIcon.Mode, QColor]) -> None:
        super().__init__()
        self._glyph, self._family, self._colours = glyph, family, colours

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        font = QFont(self._family)
        font.setPixelSize(max(1, rect.height()))
        painter.save()
        painter.setFont(font)
        painter.setPen(self._colours[mode])
        painter.drawText(rect, int(Qt.AlignmentFlag.AlignCenter), self._glyph)
        painter.restore()

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        made = QPixmap(size)
        made.fill(Qt.GlobalColor.transparent)
        painter = QPainter(made)
        self.paint(painter, QRect(0, 0, size.width(), size.height()), mode, state)
        painter.end()
        return made


def glyph_icon(name: str, colours: dict[QIcon.Mode, QColor]) -> QIcon:
    """Return the icon `name` ("star", "star-fill"); KeyError where the font has none."""
    family, glyphs = _font()
    if name not in glyphs:
        raise KeyError(f"the icon font has no {name!r}")
    return QIcon(GlyphEngine(chr(int(glyphs[name], 16)), family, colours))


@cache
def _font() -> tuple[str, dict[str, str]]:
    """Return the family name of the font and its table of names; loads it into Qt."""
    found = importlib.util.find_spec("qtawesome")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("qtawesome, which holds the icon font, is not installed")
    folder = Path(found.submodule_search_locations[0]) / "fonts"
    number = QFontDatabase.addApplicationFont(str(next(folder.glob("phosphor-*.ttf"))))
    charmap = next(folder.glob("phosphor-charmap-*.json"))
    return (
        QFontDatabase.applicationFontFamilies(number)[0],
        json.loads(charmap.read_text("utf-8")),
    )
