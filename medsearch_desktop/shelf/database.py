"""Opening, WAL, migrations."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlite_utils import Database

from medsearch_desktop import errors

# A second window may be writing; a thumb waits this long before it is refused.
_BUSY_TIMEOUT_MS = 5000


@dataclass(frozen=True, eq=False)
class Shelf:
    """An open shelf: its file, its folder of kept pictures, and the connection.

    Every function of this package takes a Shelf and is called from one thread
    at a time. Pictures under `scratch` are passing ones: what is kept copies
    them into `pictures`.
    """

    path: Path
    pictures: Path
    scratch: Path
    db: Database

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Database]:
        """Write all or nothing; on the disk when the block ends. Raises ShelfError."""
        with self._sentences():
            # Immediate: a transaction that reads first and writes then cannot be
            # refused half-way because another program wrote in between.
            self.db.conn.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.conn.execute("COMMIT")
            except BaseException:
                self.db.conn.rollback()
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[Database]:
        """Read; a fault of the file becomes a ShelfError."""
        with self._sentences():
            yield self.db

    def close(self) -> None:
        """Close the file; the shelf cannot be used after this."""
        self.db.close()

    @contextlib.contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise errors.ShelfError(str(self.path), _reason(error)) from error


def open_shelf(path: str | os.PathLike[str], *, scratch: Path | None = None) -> Shelf:
    """Open the shelf at `path`, made or brought up to date where needed.

    `scratch` is the folder of passing pictures, `scratch` beside the file by
    default. Raises ShelfError with a sentence when the file is damaged, was
    written by a newer version, or cannot be read or written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The user alone: SQLite gives its -wal and -shm files the same rights.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if os.name == "posix":
            path.chmod(0o600)
    except OSError as error:
        raise errors.ShelfError(str(path), _reason(error)) from error
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        db = _prepared(connection)
        shelf = Shelf(path, path.with_name("shelf-pictures"), scratch or _scratch(path), db)
        _refuse_damage(shelf)
        migrate(shelf)
    except sqlite3.Error as error:
        connection.close()
        raise errors.ShelfError(str(path), _reason(error)) from error
    except BaseException:
        connection.close()
        raise
    return shelf


def migrate(shelf: Shelf, *, to: int | None = None) -> None:
    """Bring the shelf forward step by step, each step a transaction of its own.

    `to` stops at an older version (tests keep samples of them). Raises
    ShelfError for a version this program does not know.
    """
    version = int(shelf.db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise errors.ShelfError(
            str(shelf.path),
            f"it was written by a newer version (format {version}, this program knows "
            f"{len(MIGRATIONS)}).",
        )
    for step in range(version, len(MIGRATIONS) if to is None else to):
        with shelf.transaction() as db:
            MIGRATIONS[step](db)
            db.conn.execute(f"PRAGMA user_version = {step + 1}")


def now() -> str:
    """Return the time as the shelf writes it: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _prepared(connection: sqlite3.Connection) -> Database:
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL, not NORMAL: with NORMAL 5 of 12 power cuts lost rows already acknowledged.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # A removed note is overwritten, not only unlinked.
    connection.execute("PRAGMA secure_delete = ON")
    # Plug-ins of sqlite-utils are other people's code; the shelf needs none.
    return Database(connection, execute_plugins=False)


def _refuse_damage(shelf: Shelf) -> None:
    found = [str(row[0]) for row in shelf.db.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise errors.ShelfError(str(shelf.path), f"the file is damaged ({found[0]}).")


def _scratch(path: Path) -> Path:
    return path.with_name("scratch")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror or error}."
    text = str(error)
    if "locked" in text:
        return "another program is writing to it."
    if "not a database" in text or "malformed" in text:
        return f"the file is damaged ({text})."
    return f"{text}."


def _favourites(db: Database) -> None:
    db["folders"].create({"id": int, "name": str, "created": str}, pk="id", not_null={"name"})
    db.execute("CREATE UNIQUE INDEX folders_name ON folders (name COLLATE NOCASE)")
    db["favourites"].create(
        {
            "id": int,
            "folder": int,
            "collection": str,
            "case_id": str,
            "title": str,
            "text": str,
            "labels": str,
            "facets": str,
            "licence": str,
            "source": str,
            "source_url": str,
            "image": str,
            "thumbnail": bytes,
            "note": str,
            "kept": str,
        },
        pk="id",
        not_null={"folder", "collection", "case_id"},
        foreign_keys=[("folder", "folders", "id")],
    )
    db["favourites"].create_index(["folder", "collection", "case_id"], unique=True)
    db["favourites"].create_index(["collection", "case_id"])


def _verdicts(db: Database) -> None:
    db["verdicts"].create(
        {
            "id": int,
            "given": str,
            "query": str,
            "collection": str,
            "case_id": str,
            "thumb": int,
            "rank": int,
            "encoder_digest": str,
            "scope": str,
        },
        pk="id",
        not_null={"query", "collection", "case_id", "thumb"},
    )
    db["verdicts"].create_index(["query"])
    # The question in full beside its fingerprint, so that a verdict can be replayed.
    db["questions"].create({"fingerprint": str, "query": str}, pk="fingerprint")


def _history(db: Database) -> None:
    db["recent"].create({"id": int, "fingerprint": str, "query": str, "asked": str}, pk="id")
    db["recent"].create_index(["fingerprint"], unique=True)
    db["saved"].create({"id": int, "name": str, "query": str, "saved": str}, pk="id")
    db.execute("CREATE UNIQUE INDEX saved_name ON saved (name COLLATE NOCASE)")


MIGRATIONS: tuple[Callable[[Database], None], ...] = (_favourites, _verdicts, _history)
