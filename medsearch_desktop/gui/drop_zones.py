"""Three zones over the window, while something is dragged, that say what will become of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QMimeData, QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import (
    QDragEnterEvent,
    QDragMoveEvent,
    QDropEvent,
    QFont,
    QGuiApplication,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QWidget

from medsearch_desktop.gui import drops, theme

if TYPE_CHECKING:
    from medsearch_desktop.gui import main_window


class DropZones(QWidget):
    """Veils the window while something is dragged over it; sees no mouse itself.

    Watches the drag events of `window`, which needs `zone_areas()`: a child
    that takes no drops leaves them to the window, wherever the mouse is.
    """

    pasted = Signal(object)  # drops.Dropped
    drag_entered = Signal(object)  # drops.Dropped

    def __init__(self, window: main_window.MainWindow) -> None:
        super().__init__(window)
        self._window = window
        window.setAcceptDrops(True)
        window.installEventFilter(self)
        self._areas: dict[drops.Zone, QRect] = {}
        self._offer: drops.Dropped | None = None
        self._under: drops.Zone | None = None
        self._files = 0
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def eventFilter(self, watched: object, event: QEvent) -> bool:
        kinds = QEvent.Type
        if event.type() == kinds.DragEnter:
            self._enter(event)
        elif event.type() == kinds.DragMove:
            self._move(event)
        elif event.type() == kinds.Drop:
            self._drop(event)
        elif event.type() in (kinds.DragLeave, kinds.WindowDeactivate):
            self.close_zones()
            return False
        else:
            return False
        return True

    def paste(self, mime: QMimeData | None = None) -> None:
        """Take what is on the clipboard: files, a picture or words."""
        found = drops.read(mime or QGuiApplication.clipboard().mimeData())
        if found is not None:
            self.pasted.emit(found)

    def offer(self, dropped: drops.Dropped) -> None:
        """Show the zones for what is dragged."""
        areas = zip(drops.Zone, self._window.zone_areas(), strict=True)
        self._offer, self._areas, self._under = dropped, dict(areas), None
        self._files = 0 if any(not path.suffix for path in dropped.paths) else len(dropped.paths)
        self.setGeometry(self._window.rect())
        self.raise_()
        self.show()

    def set_count(self, files: int) -> None:
        """Say how many files were counted in what is dragged."""
        self._files = files
        self.update()

    def point(self, position: QPoint) -> drops.Zone | None:
        """Light the zone under the mouse and return it, or None where nothing may be dropped."""
        under = self._nearest(position)
        if under is not None and self._refusal(under):
            under = None
        if under is not self._under:
            self._under = under
            self.update()
        return under

    def _nearest(self, position: QPoint) -> drops.Zone | None:
        """Return the zone at a place; the search row above them adds to the search."""
        if not self._areas:
            return None
        if position.y() < min(area.top() for area in self._areas.values()):
            return drops.Zone.FIND if self._refusal(drops.Zone.ADD) else drops.Zone.ADD
        return min(
            self._areas,
            key=lambda zone: max(
                self._areas[zone].left() - position.x(), position.x() - self._areas[zone].right(), 0
            ),
        )

    def close_zones(self) -> None:
        """Take the veil away."""
        self._offer, self._under = None, None
        self.hide()

    def _enter(self, event: QDragEnterEvent) -> None:
        mime = event.mimeData()
        offered = drops.read(mime, decoded=False) if drops.is_welcome(mime) else None
        if offered is None:
            event.ignore()
            return
        self.offer(offered)
        self.point(event.position().toPoint())
        _accept(event)
        self.drag_entered.emit(offered)

    def _move(self, event: QDragMoveEvent) -> None:
        if self.point(event.position().toPoint()) is None:
            event.ignore()
        else:
            _accept(event)

    def _drop(self, event: QDropEvent) -> None:
        zone = self.point(event.position().toPoint())
        self.close_zones()
        found = drops.read(event.mimeData())
        if zone is None or found is None:
            event.ignore()
            return
        _accept(event)
        self._window.dropped.emit(found, zone)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), theme.colour("bg0", 0.86))
        for zone, area in self._areas.items():
            self._paint_zone(painter, zone, area)
        painter.end()

    def _paint_zone(self, painter: QPainter, zone: drops.Zone, area: QRect) -> None:
        is_under, refusal = zone is self._under, self._refusal(zone)
        is_wide = area.width() > theme.px(160)
        edge = QPen(theme.colour("accent" if is_under else "line2"), theme.px(2))
        edge.setStyle(Qt.PenStyle.SolidLine if is_under else Qt.PenStyle.DashLine)
        painter.setPen(edge)
        inset, radius = theme.px(8), theme.px(10)
        painter.drawRoundedRect(area.adjusted(inset, inset, -inset, -inset), radius, radius)
        side = theme.px(40 if is_wide else 20)
        picture = QRect(area.center() - QPoint(side // 2, theme.px(60)), QSize(side, side))
        role = "accent" if is_under else "text3" if refusal else "text2"
        theme.icon(_ICONS[zone], role).paint(painter, picture)
        room = area.adjusted(2 * inset, 0, -2 * inset, 0)
        room.setTop(picture.bottom() + theme.px(12))
        title_font = theme.font(15, 600) if is_wide else theme.font(12)
        drawn = _write(
            painter, room, self._title(zone), title_font, "text3" if refusal else "text1"
        )
        room.setTop(drawn.bottom() + theme.px(6))
        second = theme.font(13 if is_wide else 11)
        _write(painter, room, refusal or self._what(zone), second, "text3" if refusal else "text2")

    def _title(self, zone: drops.Zone) -> str:
        if zone is drops.Zone.OPEN:
            return self.tr("Only open")
        if zone is drops.Zone.ADD:
            return self.tr("Add to this search")
        if self._offer is not None and not self._offer.has_pixels:
            return self.tr("Find with these words")
        return self.tr("Open and find similar")

    def _what(self, zone: drops.Zone) -> str:
        if zone is drops.Zone.ADD:
            return self.tr("as another term")
        return "" if zone is drops.Zone.OPEN else self._description()

    def _refusal(self, zone: drops.Zone) -> str:
        if zone is drops.Zone.OPEN and self._offer is not None and not self._offer.has_pixels:
            return self.tr("Words cannot be opened")
        return ""

    def _description(self) -> str:
        if self._offer is None:
            return ""
        if self._offer.words:
            return f"“{self._offer.words[:80]}”"
        if self._offer.picture is not None:
            return self.tr("a picture")
        name = self._offer.paths[0].name
        if len(self._offer.paths) > 1:
            name = self.tr("{name} and {n} more").format(name=name, n=len(self._offer.paths) - 1)
        if self._files > 1:
            return self.tr("{name}: {n} files").format(name=name, n=f"{self._files:,}")
        return name


_ICONS = {
    drops.Zone.OPEN: "folder-open",
    drops.Zone.FIND: "download-simple",
    drops.Zone.ADD: "plus",
}


def _accept(event: QDropEvent) -> None:
    # Copy: a file manager that moves would delete the reader's files.
    event.setDropAction(Qt.DropAction.CopyAction)
    event.accept()


def _write(painter: QPainter, room: QRect, words: str, font: QFont, role: str) -> QRect:
    """Draw centred words that break at spaces and return the rectangle they took."""
    painter.setFont(font)
    painter.setPen(theme.colour(role))
    centred = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop
    return painter.drawText(room, int(centred) | int(Qt.TextFlag.TextWordWrap), words)
