"""The formats of the shelf: its tables, and the steps from each format to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from sqlite_utils import Database

from medsearch_desktop.shelf import digests

# The first format whose rows carry digests and that has a second copy.
HASHED = 4


def version_of(db: sqlite3.Connection) -> int:
    """Return the format of a shelf; 0 for an empty file."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: Database, *, to: int | None = None) -> None:
    """Bring a shelf forward step by step, each step a transaction of its own.

    `to` stops at an older format, as tests need it. A format newer than this
    program knows is left as it is.
    """
    for step in range(version_of(db.conn), len(MIGRATIONS) if to is None else to):
        db.conn.execute("BEGIN IMMEDIATE")
        try:
            MIGRATIONS[step](db)
            if step + 1 >= HASHED:
                digests.renew_all(db.conn, step + 1)
            db.conn.execute(f"PRAGMA user_version = {step + 1}")
            db.conn.execute("COMMIT")
        except BaseException:
            db.conn.rollback()
            raise


def unreadable(db: sqlite3.Connection) -> int:
    """Return how many favourites and questions hold fields that are no JSON."""
    found = db.execute(
        "SELECT (SELECT count(*) FROM favourites WHERE NOT (ifnull(json_valid(labels), 0)"
        " AND ifnull(json_valid(facets), 0) AND (ifnull(image, '') = '' OR json_valid(image))))"
        " + (SELECT count(*) FROM saved WHERE NOT ifnull(json_valid(query), 0))"
        " + (SELECT count(*) FROM questions WHERE NOT ifnull(json_valid(query), 0))"
    )
    return int(found.fetchone()[0])


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


def _hashes(db: Database) -> None:
    for table in digests.KEYS:
        db.execute(f"ALTER TABLE {table} ADD COLUMN hash TEXT")
    db.execute(
        "CREATE TABLE state (id INTEGER PRIMARY KEY, shelf TEXT, format INTEGER,"
        " changes INTEGER, total TEXT, schema TEXT, hash TEXT)"
    )


MIGRATIONS: tuple[Callable[[Database], None], ...] = (_favourites, _verdicts, _history, _hashes)
