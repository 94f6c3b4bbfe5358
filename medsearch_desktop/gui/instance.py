"""One window a data folder: a lock, and a local socket over which a later start hands over."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from medsearch_desktop import locks

if TYPE_CHECKING:
    from PySide6.QtNetwork import QLocalServer, QLocalSocket

LOCK = "window.lock"
SOCKET = "window.socket"
_VERSION = 1
# Length (4 bytes, most significant first), then JSON. A command line is shorter than this.
_LARGEST_BYTES = 8 << 20
_TAKEN = b"taken"
# A window that stands answers within this; one that is still starting may take longer to stand.
_ANSWER_S = 3.0
_START_S = 60.0
_LOOK_S = 0.05
# What connects and says nothing is let go.
_SILENT_MS = 5000
# sun_path holds 104 (macOS) to 108 bytes; Qt first binds in a folder with a longer name beside it.
_LONGEST_PATH = 90


@dataclass(frozen=True)
class Request:
    """What a start was given: paths, words and collections, all paths absolute."""

    paths: tuple[str, ...] = ()
    text: str = ""
    collections: tuple[str, ...] = ()

    def packed(self) -> bytes:
        """Return the request as one message."""
        plain = {"version": _VERSION, "paths": self.paths, "text": self.text}
        content = json.dumps({**plain, "collections": self.collections}).encode("ascii")
        return len(content).to_bytes(4, "big") + content


def unpacked(content: bytes) -> Request | None:
    """Return the request of a message without its length; None when it is none of this version."""
    try:
        plain = json.loads(content)
        found = Request(tuple(plain["paths"]), plain["text"], tuple(plain["collections"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    places = (*found.paths, *found.collections)
    is_sound = plain.get("version") == _VERSION and all(
        isinstance(word, str) and "\0" not in word for word in (*places, found.text)
    )
    return found if is_sound and all(map(os.path.isabs, places)) else None


class HungError(Exception):
    """Another window holds the data folder and does not answer; the text is a sentence."""


def claim(home: Path, request: Request) -> IO[bytes] | None:
    """Return the lock of this data folder, or None once its window has taken the request.

    Waits while that window is still starting, and takes its place when it
    ends. Raises HungError when it does not answer, OSError where the folder
    cannot be written or knows no locks.
    """
    end = time.monotonic() + _START_S
    while True:
        if (lock := locks.held(home / LOCK)) is not None:
            lock.truncate(0)  # the address of a window that was killed
            return lock
        address = _address(home / LOCK)
        if address and _handed_over(address, request):
            return None
        if time.monotonic() > end:
            raise HungError("MedSearch Desktop is still starting and does not answer. Try again.")
        time.sleep(_LOOK_S)


def _address(lock: Path) -> str:
    """Return the socket that the holder of the lock has written down; "" before it listens."""
    try:
        plain = json.loads(lock.read_text("utf-8"))
        return str(plain["socket"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _handed_over(address: str, request: Request) -> bool:
    """Send a request; False when nobody listens there (any more), HungError without an answer."""
    from PySide6.QtNetwork import QLocalSocket

    _let_it_come_forward()
    socket = QLocalSocket()
    socket.connectToServer(address)
    if not socket.waitForConnected(int(1000 * _ANSWER_S)):
        return False
    socket.write(request.packed())
    end = time.monotonic() + _ANSWER_S
    answer = b""
    while len(answer) < len(_TAKEN) and (left := end - time.monotonic()) > 0:
        if socket.state() is not QLocalSocket.LocalSocketState.ConnectedState:
            break
        socket.waitForReadyRead(max(1, int(1000 * left)))
        answer += bytes(socket.readAll().data())
    is_gone = socket.state() is not QLocalSocket.LocalSocketState.ConnectedState
    socket.abort()
    if answer != _TAKEN and not is_gone:
        raise HungError(
            "MedSearch Desktop is open already but does not answer. Close it, or end its process."
        )
    return answer == _TAKEN


def _let_it_come_forward() -> None:
    """Allow the other process to raise its window, which Windows else forbids."""
    if sys.platform == "win32":
        import ctypes

        ctypes.windll.user32.AllowSetForegroundWindow(-1)


class Listener(QObject):
    """Takes the requests of later starts, on a socket that only this user can reach.

    What is no request of this version is not answered; its connection is closed.
    """

    asked = Signal(object)  # Request

    def __init__(self, lock: IO[bytes], home: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lock, self._home = lock, home
        self._server: QLocalServer | None = None

    @property
    def address(self) -> str:
        """The socket listened on; "" before `start` and after `close`."""
        return self._server.fullServerName() if self._server is not None else ""

    def start(self) -> bool:
        """Listen, and write the address into the lock; False where no socket can be made."""
        from PySide6.QtNetwork import QLocalServer

        server = QLocalServer(self)
        server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        for address in _addresses(self._home):
            # We hold the lock: a socket of that name was left by a window that was killed.
            QLocalServer.removeServer(address)
            if server.listen(address):
                server.newConnection.connect(self._greet)
                self._server = server
                self._note({"pid": os.getpid(), "socket": address})
                return True
        server.deleteLater()
        return False

    def close(self) -> None:
        """Listen no more; the lock is let go by its owner."""
        if self._server is not None:
            self._note({"pid": os.getpid()})
            self._server.close()
            self._server = None

    def _note(self, plain: dict[str, object]) -> None:
        with contextlib.suppress(OSError):
            self._lock.seek(0)
            self._lock.truncate(0)
            self._lock.write(json.dumps(plain).encode("ascii"))

    def _greet(self) -> None:
        while self._server is not None and self._server.hasPendingConnections():
            _Visitor(self._server.nextPendingConnection(), self)


class _Visitor(QObject):
    """One connection: a length, a request, an answer; then it is closed."""

    def __init__(self, socket: QLocalSocket, listener: Listener) -> None:
        super().__init__(listener)
        self._socket, self._listener, self._came = socket, listener, b""
        self._silence = QTimer(self, singleShot=True, interval=_SILENT_MS)
        self._silence.timeout.connect(self._turn_away)
        self._silence.start()
        socket.setReadBufferSize(_LARGEST_BYTES + 4)
        socket.readyRead.connect(self._read)
        socket.disconnected.connect(self._end)
        self._read()

    def _read(self) -> None:
        self._came += bytes(self._socket.readAll().data())
        length = int.from_bytes(self._came[:4], "big")
        if len(self._came) < 4 or (length <= _LARGEST_BYTES and len(self._came) < 4 + length):
            return
        request = unpacked(self._came[4:]) if len(self._came) == 4 + length else None
        if request is None:
            self._turn_away()
            return
        self._socket.readyRead.disconnect(self._read)
        self._listener.asked.emit(request)
        self._socket.write(_TAKEN)
        self._socket.disconnectFromServer()

    def _turn_away(self) -> None:
        self._socket.abort()

    def _end(self) -> None:
        self._silence.stop()
        self._socket.deleteLater()
        self.deleteLater()


def _addresses(home: Path) -> Iterator[str]:
    """Give where the socket may lie: in the data folder, else where sessions keep theirs."""
    owner = str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    digest = hashlib.sha256(os.fsencode(f"{owner}\0{home.resolve()}")).hexdigest()[:16]
    name = f"medsearch-{digest}"
    if sys.platform == "win32":
        yield name  # a named pipe, for this user by its access list
        return
    if _fits(home / SOCKET):
        yield str(home / SOCKET)
    for folder in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/tmp/medsearch-{owner}"):
        if folder and _fits(Path(folder, name)) and _is_private(folder):
            yield str(Path(folder, name))


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _LONGEST_PATH


def _is_private(folder: str) -> bool:
    """Say whether a folder is this user's alone; it is made where its parent allows it."""
    try:
        if not os.path.lexists(folder):
            os.mkdir(folder, 0o700)
        found = os.lstat(folder)
    except OSError:
        return False
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return is_ours and not found.st_mode & 0o077
