"""The second copy of the shelf, written within each transaction of the first.

Chosen: a mirror database, attached, that takes the changed rows before the commit.
Rejected: a log of changes beside the shelf; a copy made after each write; page checksums.
Because: a log must be folded and a copy made after is not yet there when a write is
acknowledged; page checksums find a flipped bit and cannot mend it.
"""

from __future__ import annotations

import dataclasses
import sqlite3

from medsearch_desktop.shelf import digests


def watch(db: sqlite3.Connection) -> None:
    """Note each row that is written in the first copy, until `carry` takes it over."""
    db.execute("CREATE TEMP TABLE touched (name TEXT, key)")
    for table, key in digests.KEYS.items():
        for event, rows in (("INSERT", "NEW"), ("DELETE", "OLD"), ("UPDATE", "OLD NEW")):
            noted = "".join(
                f"INSERT INTO touched VALUES ('{table}', {row}.{key}); " for row in rows.split()
            )
            db.execute(
                f"CREATE TEMP TRIGGER touched_{table}_{event} AFTER {event} ON main.{table}"
                f" BEGIN {noted}END"
            )


def are_alike(db: sqlite3.Connection) -> bool:
    """Say whether both copies have seen the same transactions."""
    try:
        return _changes(db, "main") == _changes(db, "mirror")
    except sqlite3.Error:
        return False


def bring_forward(db: sqlite3.Connection) -> None:
    """Write what the mirror lacks: a commit may have reached the first copy alone.

    That is so where the disk became full between the two, and the window went on.
    """
    if _changes(db, "main") == _changes(db, "mirror"):
        return
    db.execute("PRAGMA defer_foreign_keys = ON")
    for table, key in digests.KEYS.items():
        same = f"SELECT 1 FROM {{}}.{table} o WHERE o.{key} = t.{key} AND o.hash IS t.hash"
        db.execute(f"DELETE FROM mirror.{table} AS t WHERE NOT EXISTS ({same.format('main')})")
        db.execute(
            f"INSERT INTO mirror.{table} SELECT * FROM main.{table} AS t"
            f" WHERE NOT EXISTS ({same.format('mirror')})"
        )
    db.execute("INSERT OR REPLACE INTO mirror.state SELECT * FROM main.state")


def carry(db: sqlite3.Connection) -> None:
    """Before the commit: digest the rows written, and write them to the mirror too."""
    touched = list(db.execute("SELECT DISTINCT name, key FROM temp.touched"))
    if not touched:
        return
    record = digests.state(db)
    if record is None:
        raise sqlite3.DatabaseError("the record of the shelf is malformed")
    # Rows come in any order: a favourite may reach the mirror before its folder.
    db.execute("PRAGMA defer_foreign_keys = ON")
    before = [_taken_out(db, table, key) for table, key in touched]
    after = [_put_in(db, table, key) for table, key in touched]
    before_all = record
    record = dataclasses.replace(
        record,
        changes=record.changes + 1,
        total=digests.added(record.total, list(filter(None, after)), list(filter(None, before))),
    )
    for schema in ("main", "mirror"):
        digests.remember(db, before_all, schema)
        digests.write_state(db, record, schema)
    db.execute("DELETE FROM temp.touched")


def _changes(db: sqlite3.Connection, schema: str) -> int:
    found = db.execute(f"SELECT changes FROM {schema}.state WHERE id = 1").fetchone()
    if found is None:
        raise sqlite3.DatabaseError("the record of the shelf is malformed")
    return int(found[0])


def _taken_out(db: sqlite3.Connection, table: str, key: object) -> str:
    """Delete a row of the mirror and return its digest, "" where there was none."""
    where = f"WHERE {digests.KEYS[table]} = ?"
    found = db.execute(f"SELECT hash FROM mirror.{table} {where}", (key,)).fetchone()
    db.execute(f"DELETE FROM mirror.{table} {where}", (key,))
    return "" if found is None else str(found[0])


def _put_in(db: sqlite3.Connection, table: str, key: object) -> str:
    """Digest a row of the first copy, give it to the mirror, and return the digest."""
    where = f"WHERE {digests.KEYS[table]} = ?"
    for _, _, digest in list(digests.rows(db, "main", table, where, (key,))):
        db.execute(f"UPDATE main.{table} SET hash = ? {where}", (digest, key))
        db.execute(f"INSERT INTO mirror.{table} SELECT * FROM main.{table} {where}", (key,))
        return digest
    return ""
