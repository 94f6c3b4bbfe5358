"""Paths dropped -> the files below them, each once, and what is left out or cannot be entered."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence

from medsearch_desktop.imaging import files, study

# Left by systems and discs beside the images; nobody wants to look at them.
_OF_SYSTEMS = {"thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx", "lockfile", "autorun.inf"}
# After so many names it is asked whether anybody still waits.
_NAMES_AT_ONCE = 512

Found = str | study.Refused


class Listing:
    """Gives the files below some paths, folder by folder, in the order people count in.

    Links are not followed: one that leads out of the dropped folder is
    refused. Pipes, sockets and devices are never opened. Nothing more comes
    once `is_stopped` says so.
    """

    def __init__(
        self,
        paths: Sequence[str],
        skip: Collection[str] = (),
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._paths, self._skip, self._is_stopped = paths, set(skip), is_stopped
        self._seen: set[str] = set()
        self._folders: set[tuple[int, int]] = set()

    def found(self) -> Iterator[Found]:
        """Give every file once: its path, or a Refused that says why it is not read."""
        for top in self._paths:
            for each in self._below(os.path.abspath(top)):
                if self._is_stopped():
                    return
                if self.is_new(each.path if isinstance(each, study.Refused) else each):
                    yield each

    def is_new(self, path: str) -> bool:
        """Return True the first time that a path is asked about, and never for what is skipped."""
        if path in self._seen or path in self._skip:
            return False
        self._seen.add(path)
        return True

    def _below(self, top: str) -> Iterator[Found]:
        try:
            mode = os.stat(top).st_mode
        except (OSError, ValueError) as error:
            if files.split(top)[1]:
                yield top
            else:
                yield study.Refused(top, _absent(error))
            return
        if stat.S_ISDIR(mode):
            yield from self._walk(top)
        elif stat.S_ISREG(mode):
            yield top
        else:
            yield _special(top, mode)

    def _walk(self, top: str) -> Iterator[Found]:
        root = os.path.realpath(top)
        waiting = [(top, False)]
        while waiting and not self._is_stopped():
            folder, is_hidden = waiting.pop()
            try:
                inside = self._entries(folder)
            except OSError as error:
                reason = f"The folder cannot be read: {error.strerror}."
                yield study.Refused(folder, reason, "a folder")
                continue
            below = []
            while inside:
                entry = inside.pop()
                hidden = is_hidden or is_of_system(entry.name)
                if entry.is_dir(follow_symlinks=False) and not _is_link(entry, root):
                    below.append((entry.path, hidden))
                else:
                    yield _file(entry, root, is_hidden=hidden)
            waiting += reversed(below)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """Return what lies in a folder, the first one last; nothing for one that was walked."""
        info = os.stat(folder)
        key = (info.st_dev, info.st_ino)
        if key in self._folders and info.st_ino:
            return []
        self._folders.add(key)
        found = list[os.DirEntry[str]]()
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number % _NAMES_AT_ONCE == 0 and self._is_stopped():
                    return []
                found.append(entry)
        found.sort(key=lambda entry: files.natural(entry.name), reverse=True)
        return found


def is_of_system(name: str) -> bool:
    """Return True for the name of a file or folder that a system left or hides."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def left_by_system(path: str) -> study.Refused:
    """Return the answer for a file that a system left, or that lies in a hidden folder."""
    reason = "It is hidden, or was left by a system beside the images."
    return study.Refused(path, reason, "a system file", "left out")


def _file(entry: os.DirEntry[str], root: str, *, is_hidden: bool) -> Found:
    """Return the path of a regular file, or why what is there is not read."""
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode) or stat.S_ISDIR(mode):
            return _link(entry.path, root)
    except OSError as error:
        return study.Refused(entry.path, _absent(error))
    if is_hidden:
        return left_by_system(entry.path)
    return entry.path if stat.S_ISREG(mode) else _special(entry.path, mode)


def _is_link(entry: os.DirEntry[str], root: str) -> bool:
    """Return True for a folder that stands for another one, which on Windows is no symlink."""
    if os.name != "nt":
        return False
    attributes = getattr(entry.stat(follow_symlinks=False), "st_file_attributes", 0)
    return bool(attributes & getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0x400))


def _link(path: str, root: str) -> study.Refused:
    target = os.path.realpath(path)
    if not is_within(root, target):
        reason = "It is a link that leads out of the opened folder, so it is not followed."
        return study.Refused(path, reason, "a link")
    if not os.path.exists(target):
        return study.Refused(path, "It is a link to a file that is not there.", "a link")
    reason = "It is a link to what lies in the same folder and is read there."
    return study.Refused(path, reason, "a link", "left out")


def is_within(folder: str, target: str) -> bool:
    """Return True when `target` is the folder or lies below it; both are real paths."""
    try:
        return os.path.commonpath([folder, target]) == folder
    except ValueError:  # another drive
        return False


def _special(path: str, mode: int) -> study.Refused:
    what = files.special(mode)
    return study.Refused(path, f"It is {what}, not a regular file: it is never opened.", what)


def _absent(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        return "There is no such file or folder."
    return f"The system says: {error.strerror}."
