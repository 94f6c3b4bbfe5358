"""Digests of rows and the record over all of them, by which a shelf proves to be whole."""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Each table of what the reader keeps, with the column that names a row in every copy.
KEYS = {
    "folders": "id",
    "favourites": "id",
    "verdicts": "id",
    "questions": "fingerprint",
    "recent": "id",
    "saved": "id",
}
# The total is a sum, so that one changed row costs two additions, whatever the number of rows.
_MODULUS = 1 << 256
# A log is played in after some two hundred changes: one that is cut loses no more than these.
_REMEMBERED = 256


@dataclass(frozen=True)
class State:
    """The record over all rows of one copy.

    `shelf` names the shelf, `changes` rises by one with each transaction,
    `total` is the sum of the digests of all rows, `schema` the digest of the tables.
    """

    shelf: str
    format: int
    changes: int
    total: str
    schema: str

    def digest(self) -> str:
        """Return the digest of this record itself."""
        names = [one.name for one in dataclasses.fields(self)]
        return of_row("state", names, dataclasses.astuple(self))


def of_row(table: str, names: Sequence[str], values: Sequence[object]) -> str:
    """Return the SHA-256 of one row: its table, and each column's name, type, length and value."""
    found = hashlib.sha256(table.encode())
    for name, value in zip(names, values, strict=True):
        plain = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
        found.update(f"|{name}:{type(value).__name__}:{len(plain)}:".encode())
        found.update(plain)
    return found.hexdigest()


def columns(db: sqlite3.Connection, schema: str, table: str) -> list[str]:
    """Return the columns of a table that its digest covers."""
    rows = db.execute(f"PRAGMA {schema}.table_info({table})")
    return [str(row[1]) for row in rows if row[1] != "hash"]


def rows(
    db: sqlite3.Connection, schema: str, table: str, where: str = "", values: Sequence[object] = ()
) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield each row of a table with the digest that stands beside it and the true one."""
    names = columns(db, schema, table)
    listed = ", ".join(f'"{name}"' for name in names)
    for row in db.execute(f"SELECT {listed}, hash FROM {schema}.{table} {where}", values):
        yield dict(zip(names, row[:-1], strict=True)), row[-1], of_row(table, names, row[:-1])


def of_schema(db: sqlite3.Connection, schema: str = "main") -> str:
    """Return the digest of all tables and indices as they are written down."""
    found = db.execute(
        f"SELECT type, name, tbl_name, sql FROM {schema}.sqlite_master"
        " WHERE name NOT LIKE 'sqlite@_%' ESCAPE '@' ORDER BY type, name"
    )
    names = ("type", "name", "table", "sql")
    return hashlib.sha256("".join(of_row("schema", names, r) for r in found).encode()).hexdigest()


def added(total: str, plus: Sequence[str] = (), minus: Sequence[str] = ()) -> str:
    """Return a total with digests added and taken away."""
    changed = int(total, 16) + sum(int(d, 16) for d in plus) - sum(int(d, 16) for d in minus)
    return f"{changed % _MODULUS:064x}"


def state(db: sqlite3.Connection, schema: str = "main") -> State | None:
    """Return the record of one copy, or None where it does not agree with its own digest."""
    return _record(db, schema, 1)


def remembered(db: sqlite3.Connection, changes: int) -> State | None:
    """Return the record that a copy had after so many changes, None where it is forgotten."""
    record = _record(db, "main", 2 + changes % _REMEMBERED)
    return record if record is not None and record.changes == changes else None


def remember(db: sqlite3.Connection, record: State, schema: str = "main") -> None:
    """Keep a record as one that this copy had: it proves an older copy to be its past."""
    write_state(db, record, schema, 2 + record.changes % _REMEMBERED)


def _record(db: sqlite3.Connection, schema: str, row: int) -> State | None:
    found = db.execute(
        f"SELECT shelf, format, changes, total, schema, hash FROM {schema}.state WHERE id = ?",
        (row,),
    ).fetchone()
    if found is None:
        return None
    record = State(*found[:-1])
    return record if record.digest() == found[-1] else None


def write_state(db: sqlite3.Connection, record: State, schema: str = "main", row: int = 1) -> None:
    """Write the record of one copy, its present one or by `row` one of its past."""
    db.execute(
        f"INSERT OR REPLACE INTO {schema}.state"
        " (id, shelf, format, changes, total, schema, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row, *dataclasses.astuple(record), record.digest()),
    )


def renew_all(db: sqlite3.Connection, version: int) -> None:
    """Write the digest of every row and the record over them, as the end of a migration."""
    before = state(db)
    found: list[str] = []
    for table, key in KEYS.items():
        for row, _, digest in list(rows(db, "main", table)):
            db.execute(f"UPDATE {table} SET hash = ? WHERE {key} = ?", (digest, row[key]))
            found.append(digest)
    record = State(
        shelf=secrets.token_hex(8) if before is None else before.shelf,
        format=version,
        changes=1 if before is None else before.changes + 1,
        total=added("0", plus=found),
        schema=of_schema(db),
    )
    write_state(db, record)
