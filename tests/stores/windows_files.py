"""A layer over the files of this process that refuses and changes what Windows would.

Below one folder: what is open or mapped cannot be renamed, replaced or deleted; two names that
differ by case are one; paths end at 260 characters; text without an encoding is cp1252; reserved
names and signs are refused; folders cannot be opened and no link be made by name. What is in use
is read from /proc, so that files which SQLite, FAISS and tantivy hold count as well.
"""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import io
import os
import re
import shutil
import sqlite3
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# What stands in the place of the folder when lengths are counted: a long user name.
PRETENDED = "C:\\Users\\Maximiliane Oberhauser\\AppData\\Local\\medsearch"
_MOST_FILE, _MOST_FOLDER = 259, 247
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[1-9]|lpt[1-9])( *\..*)?")
_SIGNS = re.compile(r'[<>:"|?*\x00-\x1f\\]')
_MISSING = frozenset(
    ("fork", "getuid", "geteuid", "getgid", "fchmod", "chown", "mkfifo", "sched_getaffinity")
    + ("O_DIRECTORY", "O_NOFOLLOW", "O_SYNC", "fdatasync", "statvfs", "mknod")
)
# Packages that are told they run on Windows; readers and workers are processes of their own.
_TOLD = re.compile(
    r"(medsearch_desktop\.(shelf|engine|settings|logs|locks|imaging\.files)|indexer)\b"
)


def refused(path: str, sentence: str, winerror: int) -> PermissionError:
    """Return the error that Python raises on Windows for a file in use."""
    error = PermissionError(13, sentence, path)
    error.winerror = winerror  # type: ignore[attr-defined]
    return error


class _Os(types.ModuleType):
    """The module os, as it is on Windows."""

    name = "nt"

    def __getattr__(self, wanted: str) -> Any:
        if wanted in _MISSING:
            raise AttributeError(f"module 'os' has no attribute {wanted!r} on Windows")
        return getattr(os, wanted)


class _Sys(types.ModuleType):
    """The module sys, as it is on Windows."""

    platform = "win32"

    def __getattr__(self, wanted: str) -> Any:
        return getattr(sys, wanted)


class Layer:
    """The rules, below the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.stat = os.stat

    def is_ours(self, path: object) -> bool:
        if isinstance(path, int):
            return False
        return (os.fspath(path) + "/").startswith(self.root + "/")  # type: ignore[call-overload]

    def real(self, path: Any, most: int = _MOST_FILE) -> str:
        """Return the path of the file that a name stands for, after looking at its rules."""
        plain = os.fspath(path)
        inner = plain[len(self.root) :].strip("/")
        if len(PRETENDED) + 1 + len(inner) > most:
            raise FileNotFoundError(2, "The system cannot find the path specified", plain)
        found = self.root
        for part in filter(None, inner.split("/")):
            if part not in (".", ".."):
                self._look_at_name(part, plain)
            found = os.path.join(found, self._as_it_stands(found, part))
        return found

    def _look_at_name(self, part: str, plain: str) -> None:
        if _SIGNS.search(part) or _RESERVED.fullmatch(part) or part[-1] in ". ":
            raise OSError(22, "The filename, directory name, or volume label is incorrect", plain)

    def _as_it_stands(self, folder: str, part: str) -> str:
        try:
            names = os.listdir(folder)
        except OSError:
            return part
        if part in names:
            return part
        return next((name for name in names if name.casefold() == part.casefold()), part)

    def in_use(self) -> tuple[set[tuple[int, int]], set[str]]:
        """Return the inodes of open files, and the paths by which files are open or mapped."""
        opened: set[tuple[int, int]] = set()
        paths: set[str] = set()
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                path = os.readlink(f"/proc/self/fd/{name}")
                if path.startswith(self.root):
                    found = self.stat(path)
                    opened.add((found.st_dev, found.st_ino))
                    paths.add(path)
        with open("/proc/self/maps", "rb") as maps:
            for line in maps:
                path = os.fsdecode(line.rstrip(b"\n").partition(b"/")[2])
                if ("/" + path).startswith(self.root):
                    paths.add("/" + path)
        return opened, paths

    def refuse_used(self, path: str) -> None:
        """Raise where a file is open, or mapped under this name.

        Another name of a mapped file may go: what is mapped stays under its own.
        """
        opened, paths = self.in_use()
        with contextlib.suppress(FileNotFoundError):
            found = self.stat(path)
            if (found.st_dev, found.st_ino) in opened or path in paths:
                sentence = "The process cannot access the file because it is being used"
                raise refused(path, sentence, 32)

    def refuse_used_inside(self, path: str) -> None:
        """Raise where a file, or one inside a folder, is open or mapped."""
        if any(used.startswith(path + "/") for used in self.in_use()[1]):
            raise refused(path, "Access is denied", 5)
        self.refuse_used(path)


@contextlib.contextmanager
def as_on_windows(root: Path, patch: pytest.MonkeyPatch) -> Iterator[Layer]:
    """Put the layer over the files below `root`, and tell our packages that this is Windows."""
    layer = Layer(root.absolute())
    with patch.context() as patched:
        _files(layer, patched)
        _names(layer, patched)
        patched.setattr(shutil, "_use_fd_functions", False)
        _tell(patched)
        yield layer


def _tell(patched: pytest.MonkeyPatch) -> None:
    own_os, own_sys = _Os("os"), _Sys("sys")
    for name, module in list(sys.modules.items()):
        if _TOLD.match(name):
            for wanted, ours in (("os", own_os), ("sys", own_sys)):
                if isinstance(getattr(module, wanted, None), types.ModuleType):
                    patched.setattr(module, wanted, ours)
    patched.setitem(sys.modules, "msvcrt", _msvcrt())


def _msvcrt() -> types.ModuleType:
    made = types.ModuleType("msvcrt")

    def locking(descriptor: int, mode: int, length: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN if mode == 0 else fcntl.LOCK_EX | fcntl.LOCK_NB)

    made.__dict__.update(LK_UNLCK=0, LK_LOCK=1, LK_NBLCK=2, locking=locking)
    return made


def _files(layer: Layer, patched: pytest.MonkeyPatch) -> None:
    """Opening: by which name, and in which encoding."""
    real_open, real_os_open, real_connect = io.open, os.open, sqlite3.connect
    real_fsync = os.fsync

    def opened(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        path = file
        if isinstance(file, int):
            path = os.readlink(f"/proc/self/fd/{file}")
        if not isinstance(path, (str, os.PathLike)) or not layer.is_ours(path):
            return real_open(file, mode, *more, **named)
        names = ("buffering", "encoding", "errors", "newline", "closefd", "opener")
        named = dict(zip(names, more, strict=False)) | named
        if "b" not in mode and named.get("encoding") in (None, "locale"):
            named["encoding"] = "cp1252"
        return real_open(file if isinstance(file, int) else layer.real(file), mode, **named)

    def os_opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if isinstance(path, bytes) or not layer.is_ours(path):
            return real_os_open(path, flags, mode, dir_fd=dir_fd)
        real = layer.real(path)
        if os.path.isdir(real):
            raise refused(real, "Permission denied", 5)
        return real_os_open(real, flags, mode)

    def synced(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        real_fsync(descriptor)

    def connected(database: Any, *more: Any, **named: Any) -> Any:
        if not named.get("uri") and layer.is_ours(database):
            database = layer.real(database)
        return real_connect(database, *more, **named)

    patched.setattr(io, "open", opened)
    patched.setattr(builtins, "open", opened)
    patched.setattr(os, "open", os_opened)
    patched.setattr(os, "fsync", synced)
    patched.setattr(sqlite3, "connect", connected)


def _names(layer: Layer, patched: pytest.MonkeyPatch) -> None:
    """Naming: rename, link, delete, make."""

    def one(name: str, look: Callable[[str], None], most: int = _MOST_FILE) -> None:
        kept = getattr(os, name)

        def called(path: Any, *more: Any, **named: Any) -> Any:
            if not isinstance(path, (str, os.PathLike)) or not layer.is_ours(path):
                return kept(path, *more, **named)
            real = layer.real(path, most)
            look(real)
            return kept(real, *more, **named)

        patched.setattr(os, name, called)

    def two(name: str, look: Callable[[str, str], None]) -> None:
        kept = getattr(os, name)

        def called(source: Any, target: Any, *more: Any, **named: Any) -> Any:
            if not layer.is_ours(target):
                return kept(source, target, *more, **named)
            pair = layer.real(source), layer.real(target)
            look(*pair)
            return kept(*pair, *more, **named)

        patched.setattr(os, name, called)

    def renaming(source: str, target: str) -> None:
        layer.refuse_used_inside(source)
        if os.path.lexists(target) and source.casefold() != target.casefold():
            raise FileExistsError(17, "Cannot create a file when that file already exists", target)

    def replacing(source: str, target: str) -> None:
        layer.refuse_used_inside(source)
        if os.path.isdir(target):
            raise refused(target, "Access is denied", 5)
        layer.refuse_used(target)

    def free(path: str) -> None:
        pass

    def no_symlink(source: Any, target: Any, *more: Any, **named: Any) -> None:
        raise OSError(1314, "A required privilege is not held by the client", target)

    for name in ("unlink", "remove"):
        one(name, layer.refuse_used)
    for name in ("stat", "lstat", "chmod", "rmdir"):
        one(name, free)
    one("mkdir", free, _MOST_FOLDER)
    two("rename", renaming)
    two("replace", replacing)
    two("link", lambda source, target: None)
    patched.setattr(os, "symlink", no_symlink)
