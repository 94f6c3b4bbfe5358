"""What one copy of a shelf holds and another lacks, added to it: by what rows say, not by number.

Chosen: the union of both, the other file kept aside. Rejected: the copy with more changes
alone. Because: a count tells no history, and rows that were acknowledged were deleted.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable
from typing import Any

from medsearch_desktop.shelf import digests, formats, soundness

_VERDICT = (
    "given",
    "query",
    "collection",
    "case_id",
    "thumb",
    "rank",
    "encoder_digest",
    "scope",
)


def add(db: sqlite3.Connection, found: soundness.Salvage) -> int:
    """Add what `found` holds and the shelf open in `db` lacks; return how many things.

    One transaction. Nothing is taken away and nothing doubled: favourites are
    told by their folder's name, collection and case, and of a favourite that
    both hold, both notes are kept; of two saved searches of one name, that of `db`.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        added = _add_favourites(db, found)
        added += _add_named(db, "questions", "fingerprint", found.rows["questions"].values())
        added += _add_named(db, "saved", "name", found.rows["saved"].values())
        added += _add_in_order(db, "verdicts", "given", _VERDICT, found)
        added += _add_in_order(db, "recent", "asked", ("fingerprint",), found)
        if added:
            digests.renew_all(db, len(formats.MIGRATIONS))
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise
    return added


def is_past(db: sqlite3.Connection, record: digests.State, older: soundness.Salvage) -> bool:
    """Say whether a copy with this record is an earlier state of the shelf open in `db`.

    It is where the shelf remembers that record as its own, or has all of its rows.
    """
    if digests.remembered(db, record.changes) == record:
        return True
    for table, key in digests.KEYS.items():
        held = dict(db.execute(f"SELECT {key}, hash FROM {table}"))
        if any(held.get(k) != row["hash"] for k, row in older.rows[table].items()):
            return False
    return True


def _add_favourites(db: sqlite3.Connection, found: soundness.Salvage) -> int:
    added, folders = 0, {}
    for number, row in found.rows["folders"].items():
        added += _add_named(db, "folders", "name", [row])
        folders[number] = _folder(db, str(row["name"]))
    for row in found.rows["favourites"].values():
        folder = folders.get(row["folder"])
        if folder is None:
            name = f"Found again {row['folder']}"
            _add_named(db, "folders", "name", [{"name": name, "created": ""}])
            folder = _folder(db, name)
        added += _add_favourite(db, row | {"folder": folder})
    return added


def _add_favourite(db: sqlite3.Connection, row: soundness.Row) -> int:
    there = db.execute(
        "SELECT id, note FROM favourites WHERE folder = ? AND collection = ? AND case_id = ?",
        (row["folder"], row["collection"], row["case_id"]),
    ).fetchone()
    if there is None:
        _insert(db, "favourites", row)
        return 1
    ours, theirs = str(there[1] or ""), str(row["note"] or "")
    if theirs in ours:
        return 0
    note = theirs if ours in theirs else f"{ours}\n{theirs}"
    db.execute("UPDATE favourites SET note = ? WHERE id = ?", (note, there[0]))
    return 1


def _add_named(db: sqlite3.Connection, table: str, name: str, rows: Iterable[soundness.Row]) -> int:
    """Add the rows whose name is not there, in the table's own way to compare names."""
    before = db.total_changes
    for row in rows:
        same = f"SELECT 1 FROM {table} WHERE {name} = ? COLLATE NOCASE"
        if db.execute(same, (row[name],)).fetchone() is None:
            _insert(db, table, row)
    return db.total_changes - before


def _add_in_order(
    db: sqlite3.Connection,
    table: str,
    when: str,
    natural: tuple[str, ...],
    found: soundness.Salvage,
) -> int:
    """Add rows whose order counts: after the last row before them in time."""

    def of(row: soundness.Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in natural)

    held = [row for row, _, _ in digests.rows(db, "main", table, "ORDER BY id")]
    known = {of(row) for row in held}
    others = sorted(found.rows[table].items(), key=lambda one: str(one[0]).zfill(20))
    lacking = [row for _, row in others if of(row) not in known]
    if not lacking:
        return 0
    in_order = heapq.merge(held, lacking, key=lambda row: str(row[when]))
    db.execute(f"DELETE FROM {table}")
    for row in in_order:
        _insert(db, table, row)
    return len(lacking)


def _folder(db: sqlite3.Connection, name: str) -> int:
    found = db.execute("SELECT id FROM folders WHERE name = ? COLLATE NOCASE", (name,)).fetchone()
    return int(found[0])


def _insert(db: sqlite3.Connection, table: str, row: soundness.Row) -> None:
    """Insert a row under the next number of this shelf."""
    # The fingerprint of a question is its key, and no number.
    names = [n for n in row if n not in ("id", "hash")]
    listed, marks = ", ".join(f'"{n}"' for n in names), ", ".join("?" * len(names))
    db.execute(f"INSERT INTO {table} ({listed}) VALUES ({marks})", [row[name] for name in names])
