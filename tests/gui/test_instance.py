"""One window a data folder, whoever starts it how often, and what comes over its socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from PySide6.QtWidgets import QApplication

from medsearch_desktop import locks
from medsearch_desktop.gui import instance

IS_TRIAL = bool(os.environ.get("MEDSEARCH_TRIAL"))
PATIENCE_S = 90.0

# The real program, without the search process and the readers, which have no part in this. It
# writes down what it is asked to open, and ends when a file says so.
_PROGRAM = """
import json, os, sys
from pathlib import Path
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from medsearch_desktop import settings
from medsearch_desktop.gui import app
from medsearch_desktop.imaging import isolated
from medsearch_desktop.worker import client

folder = Path(sys.argv[1])
client.WorkerClient.start = isolated.Readers.warm = lambda self: None

def open_(self, paths, text):
    with (folder / "opened.jsonl").open("a") as file:
        file.write(json.dumps([os.getpid(), [str(path) for path in paths], text]) + "\\n")

def look():
    if (folder / "end").exists():
        QApplication.quit()

app.App._open = open_
listen = app.App.listen

def listening(self, lock):
    listen(self, lock)
    self.ending = QTimer(self.window, interval=50)
    self.ending.timeout.connect(look)
    self.ending.start()

app.App.listen = listening
sys.exit(app.main(sys.argv[2:]))
"""


class Starts:
    """Real starts of the program in one data folder, and what became of them."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, home: Path | None = None) -> subprocess.Popen[str]:
        environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
        given = ["--home", str(home or self.home), *arguments]
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(self.folder), *given],
            env=environment, text=True, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.started.append(process)
        return process

    def opened(self) -> list[tuple[int, list[str], str]]:
        """What the windows were asked to open: their process, the paths and the words."""
        try:
            lines = (self.folder / "opened.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [tuple(json.loads(line)) for line in lines]

    def wait(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, [p.poll() for p in self.started]
            time.sleep(0.05)

    def wait_for_window(self, home: Path | None = None) -> None:
        lock = (home or self.home) / instance.LOCK
        self.wait(lambda: lock.exists() and "socket" in lock.read_text())

    def end(self) -> None:
        (self.folder / "end").touch()
        for process in self.started:
            try:
                process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


@pytest.fixture
def starts(home: Path, tmp_path: Path) -> Iterator[Starts]:
    made = Starts(home, tmp_path)
    yield made
    made.end()


def test_that_a_second_start_hands_over_and_ends_and_the_data_folder_decides_who_is_second(
    starts: Starts, tmp_path: Path
):
    first = starts.start("one.dcm")
    starts.wait_for_window()
    other = starts.start(home=tmp_path / "other")
    second = starts.start("two.dcm", "--text", "pleural effusion")
    said, wrong = second.communicate(timeout=PATIENCE_S)
    assert (second.returncode, wrong) == (0, "")
    assert said.count("\n") == 1
    assert "open already" in said
    assert starts.opened()[0] == (first.pid, ["one.dcm"], "")
    assert (first.pid, [str(tmp_path / "two.dcm")], "pleural effusion") in starts.opened()
    # Another data folder is another window.
    starts.wait_for_window(tmp_path / "other")
    assert other.poll() is None
    # The socket is there for this user alone.
    reached = stat.S_IMODE((starts.home / instance.SOCKET).lstat().st_mode)
    assert not reached & 0o077


def test_that_a_window_that_was_killed_leaves_nothing_in_the_way_of_the_next(starts: Starts):
    first = starts.start()
    starts.wait_for_window()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert (starts.home / instance.SOCKET).exists()
    left = [path for path in (starts.home / "temp").iterdir() if path.is_dir()]
    assert left
    second = starts.start("after.dcm")
    starts.wait(lambda: any(pid == second.pid for pid, *_ in starts.opened()))
    starts.wait_for_window()
    assert not left[0].exists()
    third = starts.start("third.dcm")
    assert third.wait(PATIENCE_S) == 0
    assert any(pid == second.pid and "third.dcm" in str(paths) for pid, paths, _ in starts.opened())


def test_that_a_window_that_hangs_is_told_of_and_not_doubled(starts: Starts):
    first = starts.start()
    starts.wait_for_window()
    first.send_signal(signal.SIGSTOP)
    try:
        second = starts.start("one.dcm")
        _, wrong = second.communicate(timeout=PATIENCE_S)
    finally:
        first.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert "does not answer" in wrong
    assert wrong.count("\n") == 1


@pytest.mark.parametrize("count", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_that_starts_at_one_time_make_one_window_that_is_given_all(starts: Starts, count: int):
    if count > 2 and not IS_TRIAL:
        pytest.skip("part of the long tier (MEDSEARCH_TRIAL)")
    made = [starts.start(f"{number}.dcm") for number in range(count)]
    starts.wait(lambda: len(starts.opened()) == count)
    starts.wait(lambda: sum(process.poll() is not None for process in made) == count - 1)
    assert len({pid for pid, *_ in starts.opened()}) == 1
    names = sorted(Path(path).name for _, paths, _ in starts.opened() for path in paths)
    assert names == sorted(f"{number}.dcm" for number in range(count))
    assert all(process.returncode in (None, 0) for process in made)


# The whole program, with the search process and the readers; it says when they stand.
_WHOLE = """
import signal
# Whoever started the tests may have these ignored or held back, and a program inherits that.
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP, signal.SIGTERM})
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
import sys
from PySide6.QtCore import QTimer
from medsearch_desktop.gui import app

start = app.App.start

def started(self, options):
    start(self, options)
    if "dialog" in sys.argv[1]:
        from medsearch_desktop.gui import dialogs
        QTimer.singleShot(200, lambda: dialogs.choose_files(self.window))

app.App.start = started
sys.exit(app.main(sys.argv[2:]))
"""


def _children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def _end_whole(home: Path, numbers: tuple[int, ...], kind: str) -> tuple[int, str]:
    """Start the whole program, send it signals when all of it stands; its status and stderr."""
    started = subprocess.Popen(
        [sys.executable, "-c", _WHOLE, kind, "--home", str(home)],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        log = home / "logs" / "worker.log"
        end = time.monotonic() + PATIENCE_S
        while not (log.exists() and (home / instance.SOCKET).exists() and _shelf_is_open(home)):
            assert started.poll() is None, started.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(1.0)
        children = _children(started.pid)
        assert len(children) > 1
        for number in numbers:
            os.killpg(started.pid, number) if kind == "group" else started.send_signal(number)
        _, said = started.communicate(timeout=PATIENCE_S)
    finally:
        if started.poll() is None:
            started.kill()
            started.communicate()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    return started.returncode, said


def _shelf_is_open(home: Path) -> bool:
    return (home / "shelf.db").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals, as POSIX has them")
@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ((15,), "window"),
        ((1, 1), "window"),
        ((2,), "window"),
        ((2, 2), "group"),
        ((15,), "dialog"),
    ],
)
def test_that_a_signal_to_end_is_a_clean_end(home: Path, numbers: tuple[int, ...], kind: str):
    status, said = _end_whole(home, numbers, kind)
    assert (status, said) == (128 + numbers[0], "")
    assert not list((home / "temp").iterdir())
    assert not (home / instance.SOCKET).exists()
    assert list(home.glob("shelf*seal*"))
    assert not list(home.glob("shelf*-wal"))
    assert "geometry" in (home / "window.ini").read_text("utf-8")


# what comes over the socket


@pytest.fixture
def listener(qapp: QApplication, home: Path) -> Iterator[instance.Listener]:
    lock = locks.held(home / instance.LOCK)
    assert lock is not None
    made = instance.Listener(lock, home)
    assert made.start()
    yield made
    made.close()
    lock.close()


def _sent(listener: instance.Listener, content: bytes, qtbot) -> bytes:
    """Send bytes, and return the answer once the other side has closed the connection."""
    with socket.socket(socket.AF_UNIX) as ours:
        ours.connect(listener.address)
        ours.setblocking(False)
        answer, is_closed = b"", False

        def step() -> bool:
            nonlocal content, answer, is_closed
            try:
                content = content[ours.send(content) :] if content else b""
            except BlockingIOError:
                pass
            except OSError:
                content = b""
            try:
                came = ours.recv(100)
                answer, is_closed = answer + came, not came
            except BlockingIOError:
                pass
            except OSError:
                is_closed = True
            return is_closed

        qtbot.waitUntil(step, timeout=20_000)
    return answer


def test_that_a_request_arrives_whole_also_with_names_that_are_no_unicode(listener, qtbot):
    strange = os.fsdecode(b"/f\xfclder/\xe4.dcm")
    asked = instance.Request((strange, "/b\n.nii"), "größe ✓", ("/c",))
    with qtbot.waitSignal(listener.asked) as found:
        assert _sent(listener, asked.packed(), qtbot) == b"taken"
    assert found.args == [asked]


_PLAIN = {"version": 1, "paths": [], "text": "", "collections": []}


def _framed(plain: object) -> bytes:
    content = json.dumps(plain).encode()
    return len(content).to_bytes(4, "big") + content


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        (1 << 30).to_bytes(4, "big") + b"x" * 1000,
        b"\xff" * 40_000_000,
        b"\0\0\0\0",
        b"\0\0\0\3{}}",
        _framed({**_PLAIN, "version": 2}),
        _framed({**_PLAIN, "paths": ["relative.dcm"]}),
        _framed({**_PLAIN, "paths": [3]}),
        _framed({**_PLAIN, "text": None}),
        _framed({**_PLAIN, "paths": ["/a\0b"]}),
        _framed([]),
        _framed(_PLAIN) + b"more",
        (200_000).to_bytes(4, "big") + b"[" * 200_000,
    ],
    ids=range(13),
)
def test_that_what_is_no_request_is_not_answered_and_its_connection_closed(
    listener, qtbot, content
):
    asked = []
    listener.asked.connect(asked.append)
    assert _sent(listener, content, qtbot) == b""
    assert not asked
    # The next one is served as if nothing had been.
    assert _sent(listener, _framed(_PLAIN), qtbot) == b"taken"


def test_that_who_says_nothing_or_half_a_request_is_let_go(listener, qtbot, monkeypatch):
    monkeypatch.setattr(instance, "_SILENT_MS", 50)
    assert _sent(listener, b"", qtbot) == b""
    assert _sent(listener, instance.Request(("/a",)).packed()[:-1], qtbot) == b""


def test_that_a_data_folder_with_a_long_name_listens_where_sessions_keep_their_sockets(
    qapp, home: Path, tmp_path: Path, monkeypatch
):
    runtime = Path("/tmp") / f"medsearch-test-{os.getpid()}"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    deep = tmp_path / ("long" * 25)
    deep.mkdir()
    lock = locks.held(deep / instance.LOCK)
    made = instance.Listener(lock, deep)
    try:
        assert made.start()
        assert Path(made.address).parent == runtime
        assert json.loads((deep / instance.LOCK).read_text())["socket"] == made.address
    finally:
        made.close()
        lock.close()
        runtime.rmdir()


def test_that_a_folder_that_others_may_enter_holds_no_socket(
    qapp, home: Path, tmp_path: Path, monkeypatch
):
    open_to_all = tmp_path / "r"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(open_to_all))
    deep = tmp_path / ("long" * 25)
    deep.mkdir()
    lock = locks.held(deep / instance.LOCK)
    made = instance.Listener(lock, deep)
    try:
        assert made.start()
        folder = Path(made.address).parent
        assert folder != open_to_all
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        made.close()
        lock.close()
    folder.rmdir()
