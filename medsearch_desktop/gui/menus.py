"""Menus of the window: one set of actions, in the menu bar and folded into one menu."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QMainWindow, QMenu, QMenuBar

from medsearch_desktop import queries
from medsearch_desktop.gui import keys
from medsearch_desktop.viewer import plain


@dataclass(frozen=True)
class Item:
    """One action: its name in code, its words, and its key (None: none)."""

    name: str
    words: str
    key: keys.Key | None = None


def _tr(words: str) -> str:
    return QCoreApplication.translate("menus", words)


def _table() -> tuple[tuple[str, tuple[Item | None, ...]], ...]:
    """Return the menus in order; None is a line between items."""
    return (
        (
            _tr("&File"),
            (
                Item("open_files", _tr("Open files…"), keys.OPEN_FILES),
                Item("open_folder", _tr("Open a folder…"), keys.OPEN_FOLDER),
                Item("paste", _tr("Paste picture, files or words"), keys.PASTE),
                None,
                Item("close_all", _tr("Close all studies")),
                None,
                Item("quit", _tr("Quit"), keys.QUIT),
            ),
        ),
        (
            _tr("&View"),
            (
                Item("focus_viewer", _tr("Go to the viewer"), keys.FOCUS_VIEWER),
                Item("focus_results", _tr("Go to the results"), keys.FOCUS_RESULTS),
                Item("focus_shelf", _tr("Favourites, jobs and log"), keys.FOCUS_SHELF),
                Item("show_report", _tr("Import report")),
                Item("read_all", _tr("Read all slices into memory")),
                None,
                Item("cards_small", _tr("Small cards")),
                Item("cards_medium", _tr("Medium cards")),
                Item("cards_large", _tr("Large cards")),
            ),
        ),
        (
            _tr("&Search"),
            (
                Item("search", _tr("Search"), keys.SEARCH),
                Item("focus_search", _tr("Go to the search box"), keys.SEARCH_BOX),
                Item("new_search", _tr("New search")),
                Item("undo", _tr("Undo the last thumb"), keys.UNDO),
                None,
            ),
        ),
        (
            _tr("&Collection"),
            (
                Item("choose_collections", _tr("Choose collections…")),
                Item("add_collection", _tr("Add a collection folder…")),
                Item("build_demo", _tr("Build the demo collection")),
            ),
        ),
        (
            _tr("&Tools"),
            (
                Item("models", _tr("Models…")),
                Item("compare_encoders", _tr("Compare two encoders…")),
            ),
        ),
        (
            _tr("&Help"),
            (
                Item("show_keys", _tr("Keys"), keys.SHOW_KEYS),
                Item("about", _tr("About MedSearch Desktop")),
            ),
        ),
    )


class Menus:
    """Builds the actions once; `bar` and `folded` show the same ones."""

    def __init__(self, window: QMainWindow) -> None:
        self.bar = QMenuBar(window)
        self.folded = QMenu(window)
        self.recent = QMenu(_tr("Recent searches"), window)
        self.against = QMenu(_tr("Compare with"), window)
        self._actions: dict[str, QAction] = {}
        self._menus: dict[str, QMenu] = {}
        self._kinds = QActionGroup(window)
        for title, items in _table():
            menu = self._menus[title] = QMenu(title, window)
            self.bar.addMenu(menu)
            self.folded.addMenu(menu)
            for item in items:
                self._add(window, menu, item)
            if title == _tr("&Search"):
                menu.addMenu(self.recent)
                menu.addMenu(self.against)
        self._fill_against(window)

    def action(self, name: str) -> QAction:
        """Return the action of that name; KeyError for an unknown one."""
        return self._actions[name]

    def connect_all(self, what: dict[str, Callable[[], object]]) -> None:
        """Give actions, by name, what they do."""
        for name, call in what.items():
            self._actions[name].triggered.connect(lambda _=False, call=call: call())

    @property
    def chosen_against(self) -> queries.Against:
        """What a question is compared with: images, texts or both."""
        return self._kinds.checkedAction().data()

    def on_against(self, call: Callable[[], object]) -> None:
        """Call back when the choice of `chosen_against` changes."""
        self._kinds.triggered.connect(lambda _: call())

    def on_view(self, call: Callable[[], object]) -> None:
        """Call back before the View menu is shown."""
        self._menus[_tr("&View")].aboutToShow.connect(lambda: call())

    def show_recent(
        self, found: list[tuple[str, queries.Query]], ask: Callable[[queries.Query], object]
    ) -> None:
        """Fill the menu of recent searches."""
        self.recent.clear()
        for words, query in found:
            action = self.recent.addAction(plain.label(words))
            action.triggered.connect(lambda _=False, query=query: ask(query))
        if not found:
            self.recent.addAction(_tr("Nothing was searched yet")).setEnabled(False)

    def _add(self, window: QMainWindow, menu: QMenu, item: Item | None) -> None:
        if item is None:
            menu.addSeparator()
            return
        action = QAction(item.words, window)
        if item.key is not None:
            action.setShortcut(item.key.sequence)
        # Also on the window: the keys hold while the menu bar is folded away.
        window.addAction(action)
        menu.addAction(action)
        self._actions[item.name] = action

    def _fill_against(self, window: QMainWindow) -> None:
        words = {
            "both": _tr("Images and texts of the cases"),
            "images": _tr("Images of the cases alone"),
            "texts": _tr("Texts of the cases alone"),
        }
        for kind, name in words.items():
            action = self.against.addAction(name)
            action.setCheckable(True)
            action.setChecked(kind == "both")
            action.setData(kind)
            self._kinds.addAction(action)
