"""Whether one copy of the shelf is whole, and which of its rows are where it is not."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medsearch_desktop.shelf import connections, digests, formats, places

Row = dict[str, Any]
# Places of SQLite's file header (its "Database File Format", 1.3) where our files hold zeros:
# cache size and vacuum; incremental vacuum, application id and the reserved bytes.
_ZEROS = (slice(48, 56), slice(64, 92))
_HEADER_BYTES = 100


@dataclass(frozen=True)
class Finding:
    """What was found in one copy; `fault` is "" for a sound one.

    `record` is None below the format that has it, and where it is damaged.
    """

    path: Path
    fault: str = ""
    format: int = 0
    record: digests.State | None = None
    is_missing: bool = False
    is_newer: bool = False

    @property
    def is_sound(self) -> bool:
        """Say whether all of it may be trusted."""
        return not self.fault and not self.is_missing

    @property
    def changes(self) -> int:
        """How many transactions it has seen; 0 where that is not known."""
        return 0 if self.record is None else self.record.changes


@dataclass
class Salvage:
    """The sound rows of a damaged copy: table -> key -> row with its digest as "hash"."""

    rows: dict[str, dict[object, Row]] = field(
        default_factory=lambda: {table: {} for table in digests.KEYS}
    )
    # The keys of all rows that were met, damaged ones too.
    met: dict[str, set[object]] = field(
        default_factory=lambda: {table: set() for table in digests.KEYS}
    )

    def count(self) -> int:
        """Return how many rows there are."""
        return sum(len(found) for found in self.rows.values())

    def add(self, other: Salvage) -> int:
        """Take the rows that are not here yet; return how many."""
        before = self.count()
        for table, found in other.rows.items():
            self.rows[table] = found | self.rows[table]
            self.met[table] |= other.met[table]
        return self.count() - before

    def add_older(self, backup: Salvage) -> list[Row]:
        """Take from a backup what was met here damaged; return the favourites never met here.

        They were removed since, or lay where nothing can be read.
        """
        cases = {(r["collection"], r["case_id"]) for r in self.rows["favourites"].values()}
        unknown: list[Row] = []
        for table, rows in backup.rows.items():
            for key, row in rows.items():
                # Of these, none is removed by the reader.
                if key in self.met[table] or table in ("verdicts", "questions"):
                    self.rows[table].setdefault(key, row)
                elif table == "favourites" and (row["collection"], row["case_id"]) not in cases:
                    unknown.append(row)
                elif table == "saved":
                    self.rows[table].setdefault(key, row)
        return unknown

    def total(self) -> str:
        """Return the sum of the digests, as a record holds it."""
        found = [row["hash"] for rows in self.rows.values() for row in rows.values()]
        return digests.added("0", plus=found)


def inspect(
    path: Path, connect: Callable[[Path], sqlite3.Connection] = connections.opened
) -> Finding:
    """Check all of one copy. Raises sqlite3.Error where it cannot be asked at this time."""
    if not places.is_there(path):
        return Finding(path, is_missing=True)
    try:
        if fault := _header_fault(path):
            return Finding(path, fault)
        with contextlib.closing(connect(path)) as db:
            db.text_factory = _text
            # One moment of the file: another window may be writing.
            db.execute("BEGIN")
            return _inspected(path, db)
    except sqlite3.Error as error:
        if not connections.is_damage(error):
            raise
        return Finding(path, f"{error}")
    except (OSError, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, PermissionError):
            raise
        return Finding(path, f"{error}")


def salvage(
    path: Path, connect: Callable[[Path], sqlite3.Connection] = connections.opened
) -> Salvage:
    """Return every row of a damaged copy that agrees with its digest."""
    found = Salvage()
    if not places.is_there(path):
        return found
    with contextlib.suppress(sqlite3.Error), contextlib.closing(connect(path)) as db:
        db.text_factory = _text
        for table in digests.KEYS:
            # From both ends: reading stops at a damaged page.
            for order in ("ORDER BY rowid", "ORDER BY rowid DESC"):
                with contextlib.suppress(sqlite3.Error, ValueError, OverflowError):
                    _read(db, table, order, found)
    return found


def _inspected(path: Path, db: sqlite3.Connection) -> Finding:
    version = formats.version_of(db)
    tables = {str(row[0]) for row in db.execute("SELECT name FROM sqlite_master")}
    record = _record(db) if "state" in tables else None
    if _is_newer(version, record):
        return Finding(path, "newer", version, record, is_newer=True)
    found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(1)")]
    if found != ["ok"]:
        return Finding(path, found[0], version, record)
    if version == 0 and not tables:
        return Finding(path, is_missing=True)
    if version < formats.HASHED and "state" not in tables:
        return Finding(path, "" if version else "it is no shelf", version)
    return Finding(path, _fault(db, version, record), version, record)


def _record(db: sqlite3.Connection) -> digests.State | None:
    try:
        return digests.state(db)
    except (sqlite3.Error, TypeError, ValueError):
        return None


def _fault(db: sqlite3.Connection, version: int, record: digests.State | None) -> str:
    """Return what is wrong with a copy of a format that has digests, "" for nothing."""
    if record is None or record.format != version:
        return "its record is damaged"
    if digests.of_schema(db) != record.schema:
        return "its tables are damaged"
    total: list[str] = []
    for table in digests.KEYS:
        for _, written, digest in digests.rows(db, "main", table):
            if written != digest:
                return f"a row of {table} is damaged"
            total.append(digest)
    return "" if digests.added("0", plus=total) == record.total else "rows are missing"


def _is_newer(version: int, record: digests.State | None) -> bool:
    if version <= len(formats.MIGRATIONS):
        return False
    # One flipped bit in the number is damage, and the record tells the true one.
    return record is None or record.format == version or (record.format ^ version).bit_count() > 1


def _header_fault(path: Path) -> str:
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return "it is cut short"
    # Ways of writing that we use: by journal or by log. Another number may open, read-only.
    if header[18:20] not in (b"\x01\x01", b"\x02\x02"):
        return "its header is damaged"
    return "its header is damaged" if any(any(header[part]) for part in _ZEROS) else ""


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _read(db: sqlite3.Connection, table: str, order: str, found: Salvage) -> None:
    for row, written, digest in digests.rows(db, "main", table, order):
        key = row[digests.KEYS[table]]
        found.met[table].add(key)
        if written == digest:
            found.rows[table][key] = row | {"hash": digest}
