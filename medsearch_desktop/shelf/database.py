"""Opening a shelf, its transactions, and closing it.

Chosen: two complete databases written in one transaction, a digest in each row, and a
seal over both files while they are closed. Rejected: one file with SQLite's own check;
backups alone. Because: integrity_check missed 5 of 40 flipped bits, and a backup is
older than the last thumb.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from sqlite_utils import Database

from medsearch_desktop import errors
from medsearch_desktop.shelf import (
    backups,
    connections,
    copies,
    formats,
    places,
    repair,
    seal,
    soundness,
)

_ON_A_SHARE = (
    "The data folder lies on a network drive or another place without shared memory: the shelf"
    " is written more slowly there, and one window at a time may use it."
)
_READ_ONLY = "the data folder cannot be written: what is kept can be looked at, nothing is added."
_UNREADABLE = (
    "{} entries of the shelf of an earlier version hold damaged fields; they are kept as they"
    " are, and a favourite is shown without them."
)
_FULL = "the disk is full: what is kept can be looked at, nothing is added."


@dataclass(frozen=True, eq=False)
class Shelf:
    """An open shelf: its file, its folder of kept pictures, and the connection.

    Every function of this package takes a Shelf and is called from one thread
    at a time. Pictures under `scratch` are passing ones: what is kept copies
    them into `pictures`. `notices` are sentences for the reader about what was
    found at opening; `refusal` says why nothing can be written, "" where it can.
    `faults` are the damages met since: with one it is to be opened again, which mends it.
    """

    path: Path
    pictures: Path
    scratch: Path
    db: Database
    notices: tuple[str, ...] = ()
    refusal: str = ""
    identity: tuple[tuple[str, int, int], ...] = ()
    faults: list[str] = field(default_factory=list)

    @property
    def is_read_only(self) -> bool:
        """Say whether the shelf can only be looked at."""
        return bool(self.refusal)

    @property
    def is_moved(self) -> bool:
        """Say whether its files are gone or others of their names: it must be opened again."""
        if self.is_read_only:
            return False
        return not set(self.identity) <= set(_identity(places.Places(self.path)))

    @property
    def is_damaged(self) -> bool:
        """Say whether damage was met while it was open: it must be opened again."""
        return bool(self.faults)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Database]:
        """Write all or nothing; in both copies on the disk when the block ends.

        Raises ShelfError where it cannot be written; nothing of it is kept then
        as far as the reader is told, and it may be tried again.
        """
        with self._sentences():
            self._refuse_unwritable()
            # Immediate: a transaction that reads first and writes then cannot be
            # refused half-way because another program wrote in between.
            self.db.conn.execute("BEGIN IMMEDIATE")
            try:
                copies.bring_forward(self.db.conn)
                yield self.db
                copies.carry(self.db.conn)
                self.db.conn.execute("COMMIT")
            except BaseException:
                self.db.conn.rollback()
                raise
            self._refuse_moved()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Database]:
        """Read; a fault of the file becomes a ShelfError."""
        with self._sentences():
            yield self.db

    def back_up(self, today: date | None = None) -> Path | None:
        """Write the backup of today where there is none; ShelfError where that fails."""
        if self.is_read_only:
            return None
        with self._sentences():
            try:
                self._refuse_moved()
                return backups.daily(self.db.conn, places.Places(self.path), today)
            except OSError as error:
                raise errors.ShelfError(str(self.path), _reason(error, self.path)) from error

    def close(self) -> None:
        """Close the files, and seal them where both are whole; it cannot be used after this.

        A seal that is still there was not broken by a write: it stays the better witness.
        """
        at = places.Places(self.path)
        may_seal = not (self.is_read_only or self.is_damaged or self.is_moved)
        may_seal = may_seal and copies.are_alike(self.db.conn)
        self.db.close()
        if may_seal and not at.seal.exists() and not seal.is_held(at) and _are_whole(at):
            seal.put_on(at)

    def _refuse_unwritable(self) -> None:
        if self.refusal:
            raise errors.ShelfError(str(self.path), self.refusal)
        try:
            self._refuse_moved()
            seal.broken(places.Places(self.path))
        except OSError as error:
            raise errors.ShelfError(str(self.path), _reason(error, self.path)) from error

    def _refuse_moved(self) -> None:
        """A file that was removed still takes writes, which nobody would find again."""
        if self.is_moved:
            raise errors.ShelfError(
                str(self.path), "its files were moved or removed while they were open."
            )

    @contextlib.contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if connections.is_corrupt(error):
                self.faults.append(f"{error}")
                # The next opening must check every row.
                with contextlib.suppress(OSError):
                    seal.broken(places.Places(self.path))
            raise errors.ShelfError(str(self.path), _reason(error, self.path)) from error


def open_shelf(path: str | os.PathLike[str], *, scratch: Path | None = None) -> Shelf:
    """Open the shelf at `path`, made, mended or brought up to date where needed.

    `scratch` is the folder of passing pictures, `scratch` beside the file by
    default. A shelf that cannot be written, by its rights or on a full disk,
    is opened for reading. Raises ShelfError with a sentence when it was
    written by a newer version, nothing of it can be read, or another program
    holds it.
    """
    at = places.Places(Path(path))
    scratch = scratch or at.main.with_name("scratch")
    try:
        at.main.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(at.main.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        # The user alone: SQLite gives its -wal and -shm files the same rights.
        for copy in (at.main, at.mirror):
            if copy is at.main or copy.exists():
                places.made_private(copy)
        return _opened(at, scratch)
    except (sqlite3.Error, OSError) as error:
        if not any(places.is_there(copy) for copy in (at.main, at.mirror)):
            raise errors.ShelfError(str(at.main), _reason(error, at.main)) from error
        if connections.is_full(error, at.main.parent):
            return _looked_at(at, scratch, _FULL)
        if _is_forbidden(error):
            return _looked_at(at, scratch, _READ_ONLY)
        raise errors.ShelfError(str(at.main), _reason(error, at.main)) from error


def now() -> str:
    """Return the time as the shelf writes it: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _opened(at: places.Places, scratch: Path) -> Shelf:
    notices = repair.made_sound(at)
    places.made_private(at.main)
    connection = connections.opened(at.main)
    try:
        # Plug-ins of sqlite-utils are other people's code; the shelf needs none.
        db = Database(connection, execute_plugins=False)
        notices = (*notices, *_bring_up_to_date(db, at))
        places.made_private(at.mirror)
        connections.attach(connection, at.mirror)
        copies.watch(connection)
        if not connections.has_log(connection):
            # Without a log, opening alone changes the file.
            seal.broken(at)
            notices = (*notices, _ON_A_SHARE)
        return Shelf(at.main, at.pictures, scratch, db, notices, "", _identity(at))
    except BaseException:
        connection.close()
        raise


def _bring_up_to_date(db: Database, at: places.Places) -> tuple[str, ...]:
    """Migrate the first copy, and make the second from it where it is new or was older."""
    damaged = 0
    is_older = formats.version_of(db.conn) < len(formats.MIGRATIONS)
    if is_older:
        seal.broken(at)
        formats.migrate(db)
        damaged = formats.unreadable(db.conn)
    if is_older or not places.is_there(at.mirror):
        places.removed(at.mirror)
        backups.copied(db.conn, at.mirror)
    return (_UNREADABLE.format(damaged),) if damaged else ()


def _looked_at(at: places.Places, scratch: Path, refusal: str) -> Shelf:
    """Open the sounder copy for reading alone."""
    try:
        found = [soundness.inspect(copy, connections.reading) for copy in (at.main, at.mirror)]
        repair.refuse_newer(*found)
        sound = [one for one in found if one.is_sound]
        if not sound:
            raise errors.ShelfError(str(at.main), f"the file is damaged ({found[0].fault}).")
        best = max(sound, key=lambda one: one.changes)
        db = Database(connections.reading(best.path), execute_plugins=False)
    except (sqlite3.Error, OSError) as error:
        raise errors.ShelfError(str(at.main), _reason(error, at.main)) from error
    return Shelf(at.main, at.pictures, scratch, db, (f"Favourites: {refusal}",), refusal)


def _identity(at: places.Places) -> tuple[tuple[str, int, int], ...]:
    """Return what tells the files and their logs from others of their names, those that are.

    A log that was removed while it was open takes writes that nobody would find again.
    """
    found: list[tuple[str, int, int]] = []
    for path in (at.main, at.mirror):
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            with contextlib.suppress(OSError):
                one = path.with_name(name).stat()
                found.append((name, one.st_dev, one.st_ino))
    return tuple(found)


def _are_whole(at: places.Places) -> bool:
    """Read both closed files anew: what was damaged while they were open gets no seal."""
    try:
        main, mirror = (
            soundness.inspect(copy, connections.as_it_lies) for copy in (at.main, at.mirror)
        )
    except (sqlite3.Error, OSError):
        return False
    return main.is_sound and mirror.is_sound and main.record == mirror.record


def _is_forbidden(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.EPERM, errno.EACCES, errno.EROFS)
    return connections.main_code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def _reason(error: Exception, path: Path) -> str:
    if connections.is_full(error, path.parent):
        return "the disk is full."
    if isinstance(error, OSError):
        return f"{error.strerror or error}."
    text = str(error)
    if "locked" in text:
        return "another program is writing to it."
    if "not a database" in text or "malformed" in text:
        return f"the file is damaged ({text})."
    return f"{text}."
