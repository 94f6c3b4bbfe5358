"""The whole program in this process, with a real worker, real readers and a toy collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import toy_collection
from PySide6.QtCore import QMimeData, QPointF, Qt
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QWidget

from medsearch_desktop import queries, settings
from medsearch_desktop.gui import app, drops, theme

PATIENCE_MS = 40_000


@pytest.fixture
def dressed(qapp: QApplication) -> QApplication:
    """The application in the look of the program."""
    theme.apply(qapp)
    return qapp


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The pictures that the toy collection's cases name."""
    return toy_collection.write_pictures(tmp_path / "pictures")


@pytest.fixture
def toys(home: Path, pictures: Path) -> Path:
    """A collection of 40 coloured squares in the data folder."""
    folder = home / "collections" / "toys"
    toy_collection.write(folder, range(40), folder=pictures)
    return folder


@dataclass
class Program:
    """A started program and what a test does to it."""

    app: app.App
    bot: object

    @property
    def window(self):
        return self.app.window

    @property
    def parts(self):
        return self.app.parts

    @property
    def box(self):
        return self.window.search_bar.box

    @property
    def model(self):
        return self.window.results.view.results_model()

    def order(self) -> list[str]:
        return [hit.case.case_id for hit in self.model.hits()]

    def hit(self, rank: int) -> queries.Hit:
        return self.model.hits()[rank - 1]

    def wait(self, condition: Callable[[], object]) -> None:
        self.bot.waitUntil(lambda: bool(condition()), timeout=PATIENCE_MS)

    def wait_for_collections(self) -> None:
        self.wait(lambda: self.parts.library.searched)

    def answered(self) -> bool:
        results = self.parts.searching.results
        return bool(results and results.complete and not self.parts.searching.is_busy)

    def ask(self, words: str) -> None:
        self.box.set_words(words)
        self.box.ask()
        self.wait(self.answered)


@pytest.fixture
def program(dressed, qtbot, home) -> Iterator[Callable[..., Program]]:
    """A function that starts the program with arguments of its command line."""
    started: list[app.App] = []

    def start(*arguments: str, size: tuple[int, int] = (1366, 768)) -> Program:
        made = app.build(settings.folders().make(), settings.Settings())
        started.append(made)
        qtbot.addWidget(made.window)
        made.window.resize(*size)
        made.window.show()
        made.start(app.parser().parse_args(arguments))
        return Program(made, qtbot)

    yield start
    for made in started:
        made.close()


def zone_point(window: QWidget, zone: drops.Zone) -> QPointF:
    """Return the middle of a drop zone."""
    areas = dict(zip(drops.Zone, window.zone_areas(), strict=True))
    return QPointF(areas[zone].center())


@pytest.fixture
def drop() -> Callable[..., bool]:
    """A function that drags data over a widget and lets it go, as Qt does it."""

    def let_go(
        window: QWidget, mime: QMimeData, zone: drops.Zone, *, on: QWidget | None = None
    ) -> bool:
        place = zone_point(window, zone)
        target = on or window
        copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
        none = Qt.KeyboardModifier.NoModifier
        enter = QDragEnterEvent(place.toPoint(), copy, mime, left, none)
        QApplication.sendEvent(target, enter)
        if not enter.isAccepted():
            QApplication.sendEvent(target, QDragLeaveEvent())
            return False
        QApplication.sendEvent(target, QDragMoveEvent(place.toPoint(), copy, mime, left, none))
        dropped = QDropEvent(place, copy, mime, left, none)
        QApplication.sendEvent(target, dropped)
        return dropped.isAccepted()

    return let_go
