"""Connections to the shelf's files, on file systems with and without shared memory."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sqlite3
from pathlib import Path

# A second window may be writing; a thumb waits this long before it is refused.
_BUSY_TIMEOUT_MS = 5000
# Pages after which a log is played into its file: 1 MB, some two hundred thumbs.
_LOG_PAGES = 250
# SQLite's words for a log that cannot have shared memory: main codes of its result codes.
_WITHOUT_MEMORY = frozenset(
    (
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    )
)
# What says something about the machine or another program, and nothing about the file.
_PASSING = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_CANTOPEN,
    )
)
# Faults of reading that come from the file, among those of writing, locking and memory.
_UNREADABLE = frozenset(
    (
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_IOERR_CORRUPTFS,
    )
)
# Below this SQLite cannot make the 32 kB of shared memory and a page of each log.
_FEW_BYTES = 128 << 10


def opened(path: Path) -> sqlite3.Connection:
    """Open a file of the shelf to read and write, by a write-ahead log where that is possible."""
    connection = _connected(path)
    try:
        if not _writes_ahead(connection, "main", path.parent):
            connection.close()
            _give_up_log(path)
            connection = _connected(path)
            _sync_journals(connection, "main")
        connection.execute("PRAGMA foreign_keys = ON")
        # A removed note is overwritten, not only unlinked.
        connection.execute("PRAGMA secure_delete = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def attach(connection: sqlite3.Connection, mirror: Path) -> None:
    """Open the second copy beside the first, in the same connection."""
    connection.execute("ATTACH DATABASE ? AS mirror", (str(mirror),))
    if not _writes_ahead(connection, "mirror", mirror.parent):
        connection.execute("DETACH DATABASE mirror")
        _give_up_log(mirror)
        connection.execute("ATTACH DATABASE ? AS mirror", (str(mirror),))
        _sync_journals(connection, "mirror")
    connection.execute("PRAGMA secure_delete = ON")


def has_log(connection: sqlite3.Connection) -> bool:
    """Say whether writes go by a write-ahead log."""
    return bool(connection.execute("PRAGMA main.journal_mode").fetchone()[0] == "wal")


def reading(path: Path) -> sqlite3.Connection:
    """Open a file of the shelf that cannot be written, as it lies there."""
    # With its log where there is one; SQLite refuses that where no log can be made.
    for how in ("mode=ro", "immutable=1"):
        uri = f"{path.absolute().as_uri()}?{how}"
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            connection.close()
            if how == "immutable=1" or is_damage(error):
                raise
        else:
            return connection
    raise AssertionError("not reached")


def as_it_lies(path: Path) -> sqlite3.Connection:
    """Open a closed file to read alone, without its log and without leaving one."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)


def is_damage(error: sqlite3.Error) -> bool:
    """Say whether an error of SQLite speaks of the file and not of the machine."""
    if main_code(error) == sqlite3.SQLITE_IOERR:
        return getattr(error, "sqlite_errorcode", 0) in _UNREADABLE
    return main_code(error) not in _PASSING


def is_corrupt(error: sqlite3.Error) -> bool:
    """Say whether an error shows that the content of an open file is damaged."""
    if main_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return True
    if main_code(error) == sqlite3.SQLITE_IOERR:
        return is_damage(error)
    # Those of Python's own module have no code.
    return main_code(error) == 0 and any(w in str(error) for w in ("malformed", "decode to UTF-8"))


def main_code(error: BaseException) -> int:
    """Return the main result code of an error of SQLite, 0 where it has none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_full(error: BaseException, folder: Path) -> bool:
    """Say whether it was a full disk that stood in the way."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if main_code(error) == sqlite3.SQLITE_FULL:
        return True
    try:
        return shutil.disk_usage(folder).free < _FEW_BYTES
    except OSError:
        return False


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    # What is noted between writes never goes to a folder of passing files.
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _writes_ahead(connection: sqlite3.Connection, schema: str, folder: Path) -> bool:
    """Begin a write-ahead log; False where the file system has no shared memory for it."""
    try:
        mode = connection.execute(f"PRAGMA {schema}.journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            return False
        connection.execute(f"SELECT count(*) FROM {schema}.sqlite_master").fetchone()
        # FULL, not NORMAL: with NORMAL 5 of 12 power cuts lost rows already acknowledged.
        connection.execute(f"PRAGMA {schema}.synchronous = FULL")
        # A log that was played in is cut: on a full disk it would hold the room for the next.
        connection.execute(f"PRAGMA {schema}.journal_size_limit = 0")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        _begin_once(connection)
    except sqlite3.OperationalError as error:
        if main_code(error) not in _WITHOUT_MEMORY or is_full(error, folder):
            raise
        return False
    return True


def _begin_once(connection: sqlite3.Connection) -> None:
    """Begin a transaction and leave it: memory may be shared to read and not to write."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
    except sqlite3.OperationalError as error:
        # Held by another program, it was writable for that one.
        if main_code(error) != sqlite3.SQLITE_BUSY:
            raise
    finally:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")


def _give_up_log(path: Path) -> None:
    """Bring what a log holds into its file, and leave that with journals that are deleted."""
    with contextlib.closing(_connected(path)) as connection:
        # Held alone, a log needs no shared memory.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()


def _sync_journals(connection: sqlite3.Connection, schema: str) -> None:
    # EXTRA: the end of a journal is on the disk too when a write is acknowledged.
    connection.execute(f"PRAGMA {schema}.synchronous = EXTRA")
