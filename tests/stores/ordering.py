"""A disk that keeps only what was synced: what a power cut may leave, told from the calls.

Where no file system can be mounted this stands for one. Each call that names, renames, unlinks or
syncs through `os` is a moment at which the power may go. What is left then is made up by chance:
of each folder's names those last synced, and any of the changes since; of each file's content
what was last synced, what it holds now, or a part of it. SQLite syncs by calls that nobody sees
here, so its files are taken as they are.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_CALLS = ("fsync", "replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir")
_SQLITE = (".db", ".db-wal", ".db-shm", ".db-journal")
ROOT = 0


@dataclass
class _File:
    """One file, whatever its names: its content now, and as it was last synced."""

    now: bytes
    synced: bytes | None = None
    is_sqlite: bool = False


@dataclass
class _Moment:
    """The tree at one moment: names of each folder (now and synced) and all files by number."""

    folders: dict[int, dict[str, int]] = field(default_factory=dict)
    synced: dict[int, dict[str, int]] = field(default_factory=dict)
    files: dict[int, _File] = field(default_factory=dict)


class Disk:
    """Watches a folder and can write what a power cut would have left of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers: dict[tuple[int, bool], int] = {}
        self._next = ROOT
        self.moment = _Moment()
        self._looking = False
        self._scan()
        # What was there before the test began is on the disk.
        self.moment.synced = {k: dict(v) for k, v in self.moment.folders.items()}
        for file in self.moment.files.values():
            file.synced = file.now

    def _scan(self) -> None:
        """Look at the tree as it is; a number of a file that is gone is not given again."""
        seen: dict[tuple[int, bool], int] = {}
        folders: dict[int, dict[str, int]] = {}
        self._walk(self.root, seen, folders)
        self._numbers = seen
        self.moment.folders = folders

    def _walk(
        self, folder: Path, seen: dict[tuple[int, bool], int], folders: dict[int, dict[str, int]]
    ) -> int:
        own = self._number(folder, seen, is_folder=True)
        names = folders.setdefault(own, {})
        for entry in sorted(folder.iterdir()):
            if entry.is_dir():
                names[entry.name] = self._walk(entry, seen, folders)
                continue
            number = self._number(entry, seen, is_folder=False)
            names[entry.name] = number
            file = self.moment.files.setdefault(number, _File(b""))
            file.now = entry.read_bytes()
            file.is_sqlite = file.is_sqlite or entry.name.endswith(_SQLITE)
        return own

    def _number(self, path: Path, seen: dict[tuple[int, bool], int], *, is_folder: bool) -> int:
        key = (path.stat().st_ino, is_folder)
        if key not in seen:
            if key in self._numbers:
                seen[key] = self._numbers[key]
            else:
                seen[key] = self._next
                self._next += 1
        return seen[key]

    def note_sync(self, descriptor: int) -> None:
        """Take a file's content, or a folder's names, as being on the disk."""
        self._scan()
        found = os.fstat(descriptor)
        for is_folder in (True, False):
            number = self._numbers.get((found.st_ino, is_folder))
            if number is None:
                continue
            if is_folder and number in self.moment.folders:
                self.moment.synced[number] = dict(self.moment.folders[number])
            elif not is_folder and number in self.moment.files:
                self.moment.files[number].synced = self.moment.files[number].now

    def left(self, target: Path, chance: random.Random) -> None:
        """Write what a power cut at this moment may leave into the folder `target`."""
        self._scan()
        contents: dict[int, bytes] = {}
        self._leave(ROOT, target, chance, contents)

    def _leave(
        self, number: int, target: Path, chance: random.Random, contents: dict[int, bytes]
    ) -> None:
        target.mkdir(parents=True)
        now = self.moment.folders.get(number, {})
        synced = self.moment.synced.get(number, {})
        for name in sorted(set(now) | set(synced)):
            chosen = now.get(name)
            if now.get(name) != synced.get(name) and not self._is_sqlite(name):
                chosen = chance.choice((now.get(name), synced.get(name)))
            if chosen is None:
                continue
            if chosen in self.moment.files:
                if chosen not in contents:
                    contents[chosen] = _content(self.moment.files[chosen], chance)
                (target / name).write_bytes(contents[chosen])
            else:
                self._leave(chosen, target / name, chance, contents)

    def _is_sqlite(self, name: str) -> bool:
        return name.endswith(_SQLITE)


def _content(file: _File, chance: random.Random) -> bytes:
    if file.is_sqlite or file.synced == file.now:
        return file.now
    torn = file.now[: chance.randrange(len(file.now) + 1)]
    return chance.choice((file.synced or b"", file.now, torn, bytes(len(file.now))))


@contextlib.contextmanager
def watched(root: Path, at_each: Callable[[Disk], None]) -> Iterator[Disk]:
    """Watch the calls of this process below `root`; `at_each` is called before each of them."""
    disk = Disk(root)
    kept = {name: getattr(os, name) for name in _CALLS}
    is_ours = [False]

    def watching(name: str) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            if is_ours[0]:
                return kept[name](*given, **named)
            is_ours[0] = True
            try:
                at_each(disk)
                result = kept[name](*given, **named)
                if name == "fsync":
                    disk.note_sync(given[0])
                else:
                    disk._scan()
                return result
            finally:
                is_ours[0] = False

        return called

    for name in _CALLS:
        setattr(os, name, watching(name))
    try:
        yield disk
    finally:
        for name in _CALLS:
            setattr(os, name, kept[name])
