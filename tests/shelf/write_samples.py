"""Writes samples/shelf-N.sql: a small shelf as the program of each older format left it.

Run it once when a format is about to be followed by a newer one:
`python tests/shelf/write_samples.py 4`. The files are kept as they are from then on.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from pathlib import Path

from sqlite_utils import Database

from medsearch_desktop import queries
from medsearch_desktop.shelf import digests, formats

SAMPLES = Path(__file__).parent / "samples"
WHEN = "2026-01-02T03:04:05Z"


def write(version: int) -> None:
    """Write the sample of one format."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        formats.migrate(Database(connection, execute_plugins=False), to=version)
        _fill(connection, version)
        if version >= formats.HASHED:
            digests.renew_all(connection, version)
        connection.commit()
        lines = [*connection.iterdump(), f"PRAGMA user_version = {version};"]
    (SAMPLES / f"shelf-{version}.sql").write_text("\n".join(lines) + "\n", "utf-8")


def _fill(db: sqlite3.Connection, version: int) -> None:
    db.execute("INSERT INTO folders (id, name, created) VALUES (1, 'Für Lehre', ?)", (WHEN,))
    for number, note in ((1, "mine"), (2, "")):
        db.execute(
            "INSERT INTO favourites (id, folder, collection, case_id, title, text, labels, facets,"
            " licence, source, source_url, image, thumbnail, note, kept) VALUES (?, 1, '/c', ?,"
            " 'Title', 'Text', '[\"effusion\"]', '{}', '', '', '', '', ?, ?, ?)",
            (number, f"case-{number}", b"\x00\xffpicture", note, WHEN),
        )
    asked = queries.Query((queries.TextTerm("effusion"),))
    plain = json.dumps(asked.to_dict())
    if version >= 2:
        db.execute(
            "INSERT INTO verdicts (id, given, query, collection, case_id, thumb, rank,"
            " encoder_digest, scope) VALUES (1, ?, ?, '/c', 'case-1', 1, 2, 'd', 'all')",
            (WHEN, asked.fingerprint()),
        )
        db.execute(
            "INSERT INTO questions (fingerprint, query) VALUES (?, ?)", (asked.fingerprint(), plain)
        )
    if version >= 3:
        db.execute(
            "INSERT INTO recent (id, fingerprint, query, asked) VALUES (1, ?, ?, ?)",
            (asked.fingerprint(), plain, WHEN),
        )
        db.execute(
            "INSERT INTO saved (id, name, query, saved) VALUES (1, 'Effusions', ?, ?)",
            (plain, WHEN),
        )


if __name__ == "__main__":
    for told in sys.argv[1:]:
        write(int(told))
