"""Builds everything once and passes it down; no globals."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

from PySide6.QtCore import (
    QByteArray,
    QMessageLogContext,
    QSettings,
    QSize,
    QSocketNotifier,
    Qt,
    QTimer,
    QtMsgType,
    qInstallMessageHandler,
)
from PySide6.QtWidgets import QApplication

import medsearch_desktop
from medsearch_desktop import errors, settings
from medsearch_desktop.gui import background, instance, keeping, main_window, problems, theme

if TYPE_CHECKING:
    from medsearch_desktop.gui import session

_log = logging.getLogger(__name__)

# A pasted picture that nothing kept needs stays this long in the scratch folder.
_SCRATCH_DAYS = 30
# What asks a program to end: its user, its session, its terminal. Windows has no SIGHUP.
_ENDING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)
)


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
    listener: instance.Listener | None = None
    is_closed: bool = False

    def start(self, options: argparse.Namespace) -> None:
        """Furnish the window and begin the work that it does not wait for."""
        from medsearch_desktop.gui import session

        if self.is_closed:
            return
        self.parts = session.furnish(self.window, self.work, self.shelf, self.folders, self.chosen)
        self.parts.readers.warm()
        self.parts.worker.start()
        self.parts.library.load(tuple(options.collection))
        self.work.run(self._tidy, then=lambda _: None, failed=lambda error: None)
        self._open(options.paths, options.text)

    def listen(self, lock: IO[bytes]) -> None:
        """Take what later starts of the program hand over."""
        if not self.is_closed:
            self.listener = instance.Listener(lock, self.folders.home, self.window)
            self.listener.asked.connect(self.take)
            self.listener.start()

    def take(self, request: instance.Request) -> None:
        """Come to the front, and take what another start of the program was given."""
        if self.parts is None or self.is_closed:
            return
        self.window.setWindowState(self.window.windowState() & ~Qt.WindowState.WindowMinimized)
        self.window.raise_()
        self.window.activateWindow()
        if request.collections:
            self.parts.library.load(tuple(map(Path, request.collections)))
        self._open([Path(path) for path in request.paths], request.text)

    def show_fault(self, kind: str) -> None:
        """Say that something went wrong which nobody foresaw; the window goes on."""
        if self.is_closed:
            return
        error = errors.MedsearchError(f"Something went wrong inside: {kind}.")
        self.window.results.problems.show_error(error)

    def close(self) -> None:
        """Stop the worker, the readers, the threads and the shelf; twice changes nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        if self.listener is not None:
            self.listener.close()
        if self.parts is not None:
            self.parts.library.close()
            self.parts.installed.close()
            self.parts.worker.close()
            self.parts.readers.close()
        self.work.close()
        self.shelf.close()

    def _open(self, paths: Sequence[Path], text: str) -> None:
        """Ask by words and open paths, as a drop on the viewer does."""
        from medsearch_desktop.gui import drops

        if text:
            self.parts.asking.ask_words(text)
        if paths:
            zone = drops.Zone.ADD if text else drops.Zone.FIND
            self.parts.intake.take(drops.Dropped(paths=tuple(paths)), zone)

    def _tidy(self) -> None:
        self.folders.narrow()
        _sweep(self.folders.scratch)


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
    with contextlib.suppress(TypeError, ValueError, RuntimeError, MemoryError):
        geometry = _kept_geometry(file)
        if geometry is not None and window.restoreGeometry(geometry):
            return
    room = window.screen().availableSize()
    window.resize(QSize(min(1920, room.width()), min(1080, room.height())))


def _kept_geometry(file: Path) -> QByteArray | None:
    # Qt waits for ever on a pipe, reads a file of any size, and tells wrong values by their type.
    if not settings.is_small_file(file):
        return None
    geometry = QSettings(str(file), QSettings.Format.IniFormat).value("window/geometry")
    return geometry if isinstance(geometry, QByteArray) else None


def keep_geometry(window: main_window.MainWindow, file: Path) -> None:
    """Write where the window stands; what is no file of ours there is let be."""
    if os.path.lexists(file) and not settings.is_small_file(file):
        return
    kept = QSettings(str(file), QSettings.Format.IniFormat)
    kept.setValue("window/geometry", window.saveGeometry())
    kept.sync()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the window until it is closed; returns the exit status.

    A signal that asks to end ends it as closing the window does: 128 and its number.
    """
    settings.private()
    settings.offline()
    options = parser().parse_args(argv)
    with _Endings() as endings:
        return _start(options, endings)


def _start(options: argparse.Namespace, endings: _Endings) -> int:
    if options.home is not None:
        os.environ["MEDSEARCH_HOME"] = str(options.home.expanduser().absolute())
    folders = settings.folders()
    notices: list[str] = []
    try:
        folders.make()
    except OSError as error:
        problem = f"The data folder cannot be written: {error.strerror or error}."
        if not folders.hold_data:
            _say(sys.stderr, f"{problem} Choose another one with --home: {folders.home}")
            return 1
        notices.append(f"{problem} You can look and search; nothing is kept.")
    try:
        with _alone(folders, _request(options)) as lock, settings.temporary(folders):
            return _run(options, folders, notices, lock, endings)
    except _HandedOverError:
        _say(sys.stdout, "MedSearch Desktop is open already: it was handed over to that window.")
        return 0
    except instance.HungError as error:
        _say(sys.stderr, str(error))
        return 1


def _say(stream: TextIO | None, sentence: str) -> None:
    if stream is not None:  # a program without a terminal has none on Windows
        stream.write(f"{sentence}\n")


class _Endings:
    """Makes of the signals that ask for an end a clean one; those that are ignored stay so."""

    def __init__(self) -> None:
        self.status = 0
        self._before: dict[int, Any] = {}
        self._pipe: tuple[Any, ...] = ()
        self._notifier: QSocketNotifier | None = None

    def __enter__(self) -> _Endings:
        for number in _ENDING:
            # Python's own handler has none to give back that another library has set.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._met)
        return self

    def __exit__(self, *_: object) -> None:
        if self._notifier is not None:
            self._notifier.setEnabled(False)
            signal.set_wakeup_fd(-1)
            for end in self._pipe:
                os.close(end) if isinstance(end, int) else end.close()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _met(self, number: int, _: object) -> None:
        self.status = 128 + number
        if self._notifier is None:  # no event loop yet that could end
            raise SystemExit(self.status)

    def wake(self, end: Callable[[], object]) -> None:
        """Have the event loop call `end` at a signal: Python is told of one only when it runs."""
        if os.name == "posix":
            self._pipe = os.pipe()
            for number in self._pipe:
                os.set_blocking(number, False)
            reading, writing = self._pipe
        else:
            import socket

            self._pipe = socket.socketpair()
            for one in self._pipe:
                one.setblocking(False)
            reading, writing = (one.fileno() for one in self._pipe)
        self._notifier = QSocketNotifier(reading, QSocketNotifier.Type.Read)

        def met() -> None:
            self._notifier.setEnabled(False)
            end()

        self._notifier.activated.connect(met)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        if self.status:  # asked a moment ago, when nothing could be woken yet
            QTimer.singleShot(0, met)


class _HandedOverError(Exception):
    pass


@contextlib.contextmanager
def _alone(folders: settings.Folders, request: instance.Request) -> Iterator[IO[bytes] | None]:
    """Hold the lock of the data folder; None where it cannot be written or knows no locks."""
    try:
        lock = instance.claim(folders.home, request)
        if lock is None:
            raise _HandedOverError
    except OSError:
        lock = None
    with lock or contextlib.nullcontext():
        yield lock


def _request(options: argparse.Namespace) -> instance.Request:
    return instance.Request(
        tuple(str(path.expanduser().absolute()) for path in options.paths),
        options.text,
        tuple(str(path.expanduser().absolute()) for path in options.collection),
    )


def _run(
    options: argparse.Namespace,
    folders: settings.Folders,
    notices: list[str],
    lock: IO[bytes] | None,
    endings: _Endings,
) -> int:
    """Show the window, and furnish it after its first paint; returns the exit status."""
    chosen, wrong = settings.load(folders.settings)
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
    endings.wake(lambda: (app.window.close(), application.exit(endings.status)))
    app.window.show()
    for notice in (*wrong, *notices):
        app.window.results.problems.show_problem(problems.Problem(problems.Kind.NOTICE, notice))
    # After the first paint: the window stands before processes are started.
    QTimer.singleShot(0, lambda: _begin(app, options, lock))
    status = application.exec()
    app.close()
    _end_logs()
    return endings.status or status


def _begin(app: App, options: argparse.Namespace, lock: IO[bytes] | None) -> None:
    from medsearch_desktop import logs

    logs.start(app.folders.logs, "window")
    logs.watch(lambda kind: app.work.tell(app.show_fault, kind))
    # A session's journal keeps what programs write to stderr: Qt's words go to the log instead.
    qInstallMessageHandler(_note_message)
    try:
        app.start(options)
    finally:  # a window that is not whole still comes forward, and is not opened twice
        if lock is not None:
            app.listen(lock)


def _end_logs() -> None:
    from medsearch_desktop import logs

    qInstallMessageHandler(None)
    logs.stop()


def _note_message(kind: QtMsgType, _: QMessageLogContext, message: str) -> None:
    """Log what Qt says, redacted as all that is logged; its last words are for the terminal too."""
    _log.info("Qt says: " + message)
    if kind is QtMsgType.QtFatalMsg:
        _say(sys.stderr, message)


def _sweep(scratch: Path) -> None:
    """Remove pasted pictures that are older than 30 days."""
    oldest = time.time() - _SCRATCH_DAYS * 86_400
    for file in scratch.iterdir():
        if file.is_file() and file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)
