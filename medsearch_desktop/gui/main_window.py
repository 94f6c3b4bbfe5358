"""Main window: docks, drops, menus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QDockWidget,
    QLabel,
    QMainWindow,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop.gui import (
    background,
    bottom_dock,
    facet_bar,
    grid,
    keeping,
    menus,
    results_panel,
    search_bar,
    study_strip,
    theme,
    viewer_area,
)
from medsearch_desktop.viewer import plain

if TYPE_CHECKING:
    from medsearch_desktop.viewer import slice_pane

APPLICATION = "MedSearch Desktop"
# A strip that opens over the viewer is as wide as the narrow one.
_OVERLAY_PX = 88
# What an edge zone is at least, where its dock is not shown.
_EDGE_ZONE_PX = 120


class MainWindow(QMainWindow):
    """Holds the parts in their places; what they mean to each other is `session`'s."""

    dropped = Signal(object, object)  # drops.Dropped, drops.Zone
    closing = Signal()

    def __init__(
        self,
        work: background.Background,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._work = work
        self.setMinimumSize(QSize(*grid.SMALLEST))
        self.setDockNestingEnabled(False)
        self.menus = menus.Menus(self)
        self.search_bar = search_bar.SearchBar(self.menus.folded)
        self.strip = study_strip.StudyStrip()
        self.viewer = viewer_area.ViewerArea()
        self.facets = facet_bar.FacetBar()
        self.results = results_panel.ResultsPanel(work)
        self.results.below_heading.addWidget(self.facets)
        self.bottom = bottom_dock.BottomDock()
        self._grid: grid.Grid | None = None
        self._place_rows()
        self._left = self._dock("studies", self.strip, Qt.DockWidgetArea.LeftDockWidgetArea)
        self._right = self._dock("results", self.results, Qt.DockWidgetArea.RightDockWidgetArea)
        self._below = self._dock("shelf", self.bottom, Qt.DockWidgetArea.BottomDockWidgetArea)
        for corner, area in (
            (Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea),
            (Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea),
        ):
            self.setCorner(corner, area)
        self._hint, self._job, self._took, self._device = (QLabel() for _ in range(4))
        for label in (self._hint, self._job, self._took, self._device):
            label.setTextFormat(Qt.TextFormat.PlainText)
        self._place_status()
        self._resizing = QTimer(self, singleShot=True, interval=0)
        self._resizing.timeout.connect(self._resize_docks)
        self.bottom.opened.connect(lambda _: self._resizing.start())
        self.viewer.strip_requested.connect(self._toggle_overlay)
        self.strip.series_chosen.connect(lambda *_: self._close_overlay())
        self.set_title("")
        self.say("")

    @property
    def work(self) -> background.Background:
        """The threads on which pictures are read."""
        return self._work

    @property
    def pane(self) -> slice_pane.SlicePane | None:
        """The pane of the viewer; None until `furnish`."""
        return self.viewer.pane

    def furnish(self, pane: slice_pane.SlicePane, shelf: keeping.Keeping) -> None:
        """Put in what the first sight of the window does not need."""
        from medsearch_desktop.gui import grips

        self.bottom.furnish(shelf, self._work)
        for dock, edge in (
            (self._left, Qt.Edge.RightEdge),
            (self._right, Qt.Edge.LeftEdge),
            (self._below, Qt.Edge.TopEdge),
        ):
            grips.Grip(self, dock, edge)
        self.viewer.set_pane(pane)

    # what the window says

    def set_title(self, what: str) -> None:
        """Name what is open by modality and part; never by patient or file."""
        self.setWindowTitle(f"{what} – {APPLICATION}" if what else APPLICATION)

    def say(self, hint: str) -> None:
        """Show a sentence at the left of the status bar."""
        self._hint.setText(hint or self.tr("Wheel: slices. Left drag: window. Right drag: zoom."))

    def say_job(self, words: str) -> None:
        """Show what is under way at the right of the status bar."""
        self._job.setText(words)

    def say_took(self, words: str) -> None:
        """Show how long the last search took."""
        self._took.setText(words)

    def say_device(self, words: str) -> None:
        """Show where searches run, and how precisely: "CPU, int8"."""
        self._device.setText(plain.line(words, 80))
        self._device.setToolTip(self.tr("Where searches run, and how precisely they compute"))
        self._device.setAccessibleName(self.tr("Searches run on: {what}").format(what=words))

    # grid

    def apply_grid(self, wanted: grid.Grid) -> None:
        """Give every part its place and size."""
        before, self._grid = self._grid, wanted
        self.menus.bar.setVisible(not wanted.is_folded)
        self.search_bar.set_folded(wanted.is_folded)
        self.search_bar.box.set_level(wanted.level)
        self._menu_row.setFixedHeight(
            self.search_bar.height() + (0 if wanted.is_folded else theme.px(28))
        )
        self._close_overlay()
        self._left.setVisible(wanted.left > 0)
        self.viewer.set_strip_button(wanted.left == 0)
        self.strip.set_narrow(wanted.is_strip_narrow)
        self.strip.setMinimumWidth(theme.px(wanted.left or _OVERLAY_PX))
        self._right.widget().setMinimumWidth(theme.px(wanted.results if wanted.level > 2 else 360))
        if before is None or before.card != wanted.card:
            self.results.view.set_card_size(wanted.card)
        if before is None or before.bottom != wanted.bottom:
            self.bottom.set_open(wanted.bottom > grid.TABS_ONLY)
        self._resizing.start()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        wanted = grid.grid_for(self.width(), self.height(), theme.current().scale)
        if wanted != self._grid:
            self.apply_grid(wanted)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.closing.emit()
        super().closeEvent(event)

    def zone_areas(self) -> tuple[QRect, QRect, QRect]:
        """Return where the drop zones lie: over the strip, the viewer and the results."""
        top = self._menu_row.mapTo(self, self._menu_row.rect().bottomLeft()).y() + 1
        height = self.statusBar().mapTo(self, QPoint(0, 0)).y() - top
        edge = theme.px(_EDGE_ZONE_PX)
        left = max(self._left.width(), edge) if self._left.isVisible() else edge
        right = max(self._right.width(), edge) if self._right.isVisible() else edge
        middle = self.width() - left - right
        return (
            QRect(0, top, left, height),
            QRect(left, top, middle, height),
            QRect(left + middle, top, right, height),
        )

    # building

    def _place_rows(self) -> None:
        self._menu_row = QWidget()
        theme.set_role(self._menu_row, "bar")
        column = QVBoxLayout(self._menu_row)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.menus.bar.setFixedHeight(theme.px(28))
        column.addWidget(self.menus.bar)
        column.addWidget(self.search_bar)
        self.setMenuWidget(self._menu_row)
        self.setCentralWidget(self.viewer)

    def _dock(self, name: str, content: QWidget, area: Qt.DockWidgetArea) -> QDockWidget:
        dock = QDockWidget(self)
        dock.setObjectName(name)
        dock.setTitleBarWidget(QWidget())
        dock.setFeatures(QDockWidget.DockWidgetFeature.NoDockWidgetFeatures)
        dock.setWidget(content)
        self.addDockWidget(area, dock)
        return dock

    def _place_status(self) -> None:
        bar = self.statusBar()
        bar.setSizeGripEnabled(False)
        bar.setFixedHeight(theme.px(24))
        bar.setContentsMargins(theme.px(12), 0, theme.px(12), 0)
        bar.addWidget(self._hint, 1)
        bar.addPermanentWidget(self._job)
        bar.addPermanentWidget(self._took)
        self._device.setContentsMargins(theme.px(12), 0, 0, 0)
        bar.addPermanentWidget(self._device)

    def _resize_docks(self) -> None:
        if self._grid is None:
            return
        across, down = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
        sides = [dock for dock in (self._left, self._right) if dock.isVisible()]
        widths = {self._left: self._grid.left, self._right: self._grid.results}
        self.resizeDocks(sides, [theme.px(widths[dock]) for dock in sides], across)
        if self.bottom.is_open:
            self.resizeDocks([self._below], [theme.px(grid.BOTTOM_OPEN)], down)

    # the strip over the viewer, where the window has no room beside it

    def _toggle_overlay(self) -> None:
        if self.strip.parent() is self.viewer:
            self._close_overlay()
            return
        self.strip.setParent(self.viewer)
        top = self.viewer.bar.height()
        width = theme.px(_OVERLAY_PX)
        self.strip.setGeometry(0, top, width, self.viewer.height() - top)
        self.strip.raise_()
        self.strip.show()

    def _close_overlay(self) -> None:
        if self.strip.parent() is self.viewer:
            self._left.setWidget(self.strip)
