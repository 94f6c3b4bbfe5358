"""Builds everything once and passes it down; no globals."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSettings, QSize, Qt, QTimer
from PySide6.QtWidgets import QApplication

import medsearch_desktop
from medsearch_desktop import settings
from medsearch_desktop.gui import background, keeping, main_window, problems, theme

if TYPE_CHECKING:
    from medsearch_desktop.gui import session

# A pasted picture that nothing kept needs stays this long in the scratch folder.
_SCRATCH_DAYS = 30


@dataclass
class App:
    """The window and what it runs on; `close` ends all of it, in order.

    `parts` is None until `start`: the window stands before numpy, the readers
    and the worker's client are imported.
    """

    window: main_window.MainWindow
    work: background.Background
    shelf: keeping.Keeping
    folders: settings.Folders
    chosen: settings.Settings
    parts: session.Parts | None = None
    is_closed: bool = False

    def start(self, options: argparse.Namespace) -> None:
        """Furnish the window and begin the work that it does not wait for."""
        from medsearch_desktop.gui import drops, session

        if self.is_closed:
            return
        self.parts = session.furnish(self.window, self.work, self.shelf, self.folders, self.chosen)
        self.parts.readers.warm()
        self.parts.worker.start()
        self.parts.library.load(tuple(options.collection))
        scratch = self.folders.scratch
        self.work.run(lambda: _sweep(scratch), then=lambda _: None, failed=lambda error: None)
        if options.text:
            self.parts.asking.ask_words(options.text)
        if options.paths:
            zone = drops.Zone.ADD if options.text else drops.Zone.FIND
            self.parts.intake.take(drops.Dropped(paths=tuple(options.paths)), zone)

    def close(self) -> None:
        """Stop the worker, the readers, the threads and the shelf; twice changes nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        if self.parts is not None:
            self.parts.library.close()
            self.parts.worker.close()
            self.parts.readers.close()
        self.work.close()
        self.shelf.close()


def parser() -> argparse.ArgumentParser:
    """Return the command line of the window."""
    made = argparse.ArgumentParser(
        prog="medsearch",
        description="Opens radiology studies and shows the most similar cases of a collection.",
    )
    made.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="opened as a drop")
    made.add_argument(
        "--collection", action="append", default=[], type=Path, metavar="DIR", help="searched"
    )
    made.add_argument("--text", default="", metavar="WORDS", help="fills the search box and asks")
    made.add_argument("--home", type=Path, metavar="DIR", help="the data folder")
    made.add_argument("--version", action="version", version=medsearch_desktop.__version__)
    return made


def build(folders: settings.Folders, chosen: settings.Settings) -> App:
    """Return the whole program, not yet shown; needs a QApplication that is dressed."""
    work = background.Background()
    shelf = keeping.Keeping(folders.shelf, folders.scratch)
    return App(main_window.MainWindow(work), work, shelf, folders, chosen)


def restore_geometry(window: main_window.MainWindow, file: Path) -> None:
    """Show the window where it was closed, or as large as fits."""
    kept = QSettings(str(file), QSettings.Format.IniFormat)
    geometry = kept.value("window/geometry")
    if geometry is not None and window.restoreGeometry(geometry):
        return
    room = window.screen().availableSize()
    window.resize(QSize(min(1920, room.width()), min(1080, room.height())))


def keep_geometry(window: main_window.MainWindow, file: Path) -> None:
    """Write where the window stands."""
    kept = QSettings(str(file), QSettings.Format.IniFormat)
    kept.setValue("window/geometry", window.saveGeometry())
    kept.sync()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the window until it is closed; returns the exit status."""
    settings.offline()
    options = parser().parse_args(argv)
    if options.home is not None:
        os.environ["MEDSEARCH_HOME"] = str(options.home.expanduser().absolute())
    folders = settings.folders()
    try:
        folders.make()
    except OSError as error:
        sys.stderr.write(f"The data folder cannot be made: {error}\n")
        return 1
    chosen, notices = settings.load(folders.settings)
    QApplication.setHighDpiScaleFactorRoundingPolicy(
        Qt.HighDpiScaleFactorRoundingPolicy.PassThrough
    )
    application = QApplication(sys.argv[:1])
    application.setApplicationName(settings.APPLICATION)
    theme.apply(application, chosen.viewer.scale_percent)
    app = build(folders, chosen)
    file = folders.home / "window.ini"
    restore_geometry(app.window, file)
    app.window.closing.connect(lambda: keep_geometry(app.window, file))
    application.aboutToQuit.connect(app.close)
    app.window.show()
    for notice in notices:
        app.window.results.problems.show_problem(problems.Problem(problems.Kind.NOTICE, notice))
    # After the first paint: the window stands before processes are started.
    QTimer.singleShot(0, lambda: _begin(app, options))
    status = application.exec()
    app.close()
    return status


def _begin(app: App, options: argparse.Namespace) -> None:
    from medsearch_desktop import logs

    logs.start(app.folders.logs, "window")
    app.start(options)


def _sweep(scratch: Path) -> None:
    """Remove pasted pictures that are older than 30 days."""
    oldest = time.time() - _SCRATCH_DAYS * 86_400
    for file in scratch.iterdir():
        if file.is_file() and file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)
