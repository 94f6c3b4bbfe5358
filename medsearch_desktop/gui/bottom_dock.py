"""Bottom dock: favourites, jobs, import report and log behind tabs that can stand alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QHBoxLayout,
    QStackedWidget,
    QTabBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop.gui import grid, theme

if TYPE_CHECKING:
    from medsearch_desktop.gui import background, import_report, jobs, keeping, shelf_dock

FAVOURITES, JOBS, IMPORT, LOG = range(4)


class BottomDock(QWidget):
    """196 px with a page, or 32 px with the tabs alone."""

    opened = Signal(bool)

    favourites: shelf_dock.FavouritesPane
    jobs: jobs.JobsPane
    imported: import_report.ImportPane
    log: jobs.LogPane

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        theme.set_role(self, "dock")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._tabs = QTabBar()
        self._tabs.setExpanding(False)
        self._tabs.setDrawBase(False)
        self._tabs.setAccessibleName(self.tr("Favourites, jobs, import report and log"))
        self._pages = QStackedWidget()
        for icon, name in (
            ("star", self.tr("Favourites")),
            ("hourglass", self.tr("Jobs")),
            ("clipboard-text", self.tr("Import")),
            ("list", self.tr("Log")),
        ):
            self._tabs.addTab(theme.icon(icon), name)
        self._tabs.setIconSize(theme.icon_size(18))
        self._caret = QToolButton()
        theme.set_role(self._caret, "tool")
        self._caret.setIconSize(theme.icon_size(16))
        self._caret.clicked.connect(lambda: self.set_open(not self.is_open))
        head = QHBoxLayout()
        head.setContentsMargins(0, 0, theme.px(8), 0)
        head.addWidget(self._tabs)
        head.addStretch(1)
        head.addWidget(self._caret)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(head)
        column.addWidget(self._pages, 1)
        self._tabs.tabBarClicked.connect(self._click)
        self._is_open = True
        self.set_open(False)

    def furnish(self, shelf: keeping.Keeping, work: background.Background) -> None:
        """Make the pages, once the window stands."""
        from medsearch_desktop.gui import import_report, jobs, shelf_dock

        self.favourites = shelf_dock.FavouritesPane(shelf)
        self.jobs = jobs.JobsPane()
        self.imported = import_report.ImportPane(work)
        self.log = jobs.LogPane()
        for page in (self.favourites, self.jobs, self.imported, self.log):
            self._pages.addWidget(page)
        self._tabs.currentChanged.connect(self._pages.setCurrentIndex)
        self._pages.setCurrentIndex(self._tabs.currentIndex())
        self.jobs.count_changed.connect(self._count_jobs)

    @property
    def is_open(self) -> bool:
        """Say whether a page is shown."""
        return self._is_open

    def set_open(self, shown: bool) -> None:
        """Show a page, or the tabs alone."""
        self._is_open = shown
        self._pages.setVisible(shown)
        closed = theme.px(grid.TABS_ONLY)
        self.setMinimumHeight(theme.px(140) if shown else closed)
        self.setMaximumHeight(16_777_215 if shown else closed)
        self._caret.setIcon(theme.icon("caret-down" if shown else "caret-up"))
        name = self.tr("Show the tabs alone") if shown else self.tr("Open")
        self._caret.setToolTip(name)
        self._caret.setAccessibleName(name)
        self.opened.emit(shown)

    def show_page(self, page: int) -> None:
        """Open a page: FAVOURITES, JOBS, IMPORT or LOG."""
        self._tabs.setCurrentIndex(page)
        self.set_open(True)

    def _click(self, page: int) -> None:
        if page >= 0:
            self.set_open(not (self._is_open and page == self._tabs.currentIndex()))

    def _count_jobs(self, running: int) -> None:
        name = self.tr("Jobs")
        self._tabs.setTabText(JOBS, f"{name}  {running}" if running else name)
