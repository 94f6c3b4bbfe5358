"""Fixtures, and guards that fail a test on what nobody expected."""

from __future__ import annotations

import gc
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from medsearch_desktop import settings

# The long tier (`make trial`) asks every property far more often.
hypothesis.settings.register_profile("trial", max_examples=1000, deadline=None)
hypothesis.settings.register_profile("test", deadline=None)
hypothesis.settings.load_profile("trial" if os.environ.get("MEDSEARCH_TRIAL") else "test")

settings.offline()

# A runner in the background may have these ignored, and every program it starts would be deaf.
for _number in {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}:
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh data folder, named by MEDSEARCH_HOME."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("MEDSEARCH_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def pack() -> Path:
    """The public radiology test pack, or a skip with the reason."""
    folder = os.environ.get("MEDSEARCH_TEST_DATA")
    if not folder:
        pytest.skip("needs the public radiology test pack: MEDSEARCH_TEST_DATA is not set")
    path = Path(folder)
    if not (path / "README.md").is_file():
        pytest.skip(f"needs the public radiology test pack: {path} does not hold it")
    return path


@pytest.fixture
def expected_warnings() -> list[str]:
    """Regular expressions of log records at WARNING or above that the test provokes."""
    return []


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def _no_unexpected_warning(expected_warnings: list[str]) -> Iterator[None]:
    handler = _Records()
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)
    lines = [
        line
        for line in handler.lines
        if not any(re.search(pattern, line) for pattern in expected_warnings)
    ]
    assert not lines, f"unexpected log records: {lines}"


@pytest.fixture(autouse=True)
def _no_leaked_thread() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while True:
        left = [t for t in threading.enumerate() if t not in before and t.is_alive()]
        # Dummy threads are native ones (Qt's, an encoder's pool) that once called into Python.
        left = [t for t in left if not isinstance(t, threading._DummyThread)]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert not left, f"threads left behind: {[t.name for t in left]}"


@pytest.fixture(autouse=True)
def _no_inet_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse internet sockets: the product opens and listens on none."""
    create = socket.socket.__init__

    def guarded(self: socket.socket, family: int = -1, *args: object, **kwargs: object) -> None:
        if family in (-1, socket.AF_INET, socket.AF_INET6) and "fileno" not in kwargs:
            raise AssertionError("an internet socket was opened")
        create(self, family, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "__init__", guarded)


@pytest.fixture(autouse=True)
def _no_leaked_widget_or_timer(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail on top-level widgets and running timers that outlive a test of the window."""
    if "qtbot" not in request.fixturenames and "qapp" not in request.fixturenames:
        yield
        return
    from PySide6 import QtCore, QtWidgets

    application = request.getfixturevalue("qapp")
    before = {id(w) for w in QtWidgets.QApplication.topLevelWidgets()}
    yield
    # qtbot closes its widgets after this fixture; those it knows are not leaks.
    owned = {id(ref()) for ref, *_ in getattr(request.node, "qt_widgets", [])}
    application.processEvents()
    application.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
    gc.collect()
    left = [
        type(w).__name__
        for w in QtWidgets.QApplication.topLevelWidgets()
        if id(w) not in before and id(w) not in owned and w.parent() is None
    ]
    assert not left, f"top-level widgets left behind: {left}"
    timers = [t for t in application.findChildren(QtCore.QTimer) if t.isActive()]
    assert not timers, f"running timers left behind: {timers}"


@pytest.fixture(scope="session", autouse=True)
def _spawned_children_find_the_tests() -> None:
    """Let spawned processes import tests/toy_encoder.py."""
    here = str(Path(__file__).parent)
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    if here not in sys.path:
        sys.path.insert(0, here)
