"""Where the files of one shelf lie, and how they are written so that they last."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """The files beside `main`, which is the shelf as the reader knows it."""

    main: Path

    @property
    def mirror(self) -> Path:
        """The second complete copy."""
        return self.main.with_name(f"{self.main.stem}-mirror.db")

    @property
    def rebuilt(self) -> Path:
        """What was put together from damaged copies, until it stands in their place."""
        return self.main.with_name(f"{self.main.stem}-rebuilt.db")

    @property
    def seal(self) -> Path:
        """Written when the shelf was closed: the digests of both copies."""
        return self.main.with_name(f"{self.main.stem}.seal")

    @property
    def backups(self) -> Path:
        """The folder of daily backups."""
        return self.main.with_name("backups")

    @property
    def pictures(self) -> Path:
        """The folder of kept pictures."""
        return self.main.with_name(f"{self.main.stem}-pictures")


def log_of(path: Path) -> Path:
    """Return the write-ahead log of a database file."""
    return path.with_name(path.name + "-wal")


def log_is_empty(path: Path) -> bool:
    """Say whether all of a database lies in its file and none in its log."""
    try:
        return log_of(path).stat().st_size == 0
    except FileNotFoundError:
        return True


def is_there(path: Path) -> bool:
    """Say whether a database file exists and is not empty."""
    try:
        return path.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def made_private(path: Path) -> None:
    """Make an empty file for the user alone (0600), or take the others' rights away."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if os.name == "posix":
        path.chmod(0o600)


def sync(path: Path) -> None:
    """Bring a file to the disk, or the names in a folder where the system can."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(fresh: Path, target: Path) -> None:
    """Give a finished file its name, in one step that a power cut cannot halve."""
    sync(fresh)
    os.replace(fresh, target)
    sync(target.parent)


def removed(path: Path) -> None:
    """Remove a database with its log; the log first, which must meet no other file."""
    path.with_name(path.name + "-wal").unlink(missing_ok=True)
    _drop_passing(path)
    path.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Move a damaged database with its log to `NAME.damaged-N`, and return that."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    _drop_passing(path)
    # The log first: beside a fresh file of the same name SQLite would play it back.
    for name in ("-wal", ""):
        if (part := path.with_name(path.name + name)).is_file():
            os.replace(part, aside.with_name(aside.name + name))
    sync(path.parent)
    return aside


def set_folder_aside(path: Path) -> None:
    """Move a folder that lies where a file belongs to `NAME.damaged-N`."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)


def set_log_aside(path: Path) -> Path:
    """Move the log of another file from beside a database to `NAME.damaged-N-wal`."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}-wal")).exists():
        number += 1
    _drop_passing(path)
    os.replace(log_of(path), aside)
    sync(path.parent)
    return aside


def _drop_passing(path: Path) -> None:
    """Remove what SQLite makes anew, shared memory, and a journal that is played back."""
    for name in ("-shm", "-journal"):
        if (file := path.with_name(path.name + name)).is_file():
            file.unlink(missing_ok=True)
