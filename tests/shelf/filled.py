"""A shelf with something of everything on it, and all of it as plain values to compare."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from medsearch_desktop import cases, queries
from medsearch_desktop.shelf import database, favourites, history, verdicts

COLLECTION = "/collections/one"


def hit(name: str) -> queries.Hit:
    """Return a case as a search would, told by its name."""
    case = cases.Case(name, title=f"Title of {name}", text="seen on the left " * 5)
    return queries.Hit(case, COLLECTION, 1, 1.0)


def question(words: str) -> queries.Query:
    """Return a question of words."""
    return queries.Query((queries.TextTerm(words),))


def thumb(shelf: database.Shelf, name: str, value: int = 1, words: str = "w") -> int:
    """Give a thumb on a case for a question of words."""
    asked = question(words)
    verdict = queries.Verdict(asked.fingerprint(), name, COLLECTION, value, 3, "digest")
    return verdicts.give(shelf, verdict, asked)


def fill(shelf: database.Shelf, count: int, first: int = 0) -> None:
    """Keep cases with notes, give thumbs, save and ask."""
    for number in range(first, first + count):
        name = f"case-{number}"
        favourites.add(shelf, hit(name), f"Folder {number % 3}", thumbnail=b"%d" % number * 200)
        if number % 4 == 0:
            favourites.note(shelf, name, COLLECTION, f"Folder {number % 3}", "mine")
        thumb(shelf, name, 1 - 2 * (number % 2), f"words {number % 5}")
        history.asked(shelf, question(f"words {number}"))
        history.save(shelf, f"Search {number % 7}", question(f"words {number}"))


def content(shelf: database.Shelf) -> dict[str, Any]:
    """Return all that the reader kept."""
    found = {
        table: sorted(shelf.db.execute(f"SELECT {columns} FROM {table}").fetchall(), key=repr)
        for table, columns in {
            "folders": "id, name",
            "verdicts": "id, query, case_id, thumb, rank",
            "questions": "fingerprint, query",
            "recent": "id, query",
            "saved": "name, query",
        }.items()
    }
    return found | {"favourites": favourites.listed(shelf)}


def read(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Open a shelf, return its content and what it said at opening, and close it."""
    with contextlib.closing(database.open_shelf(path)) as shelf:
        return content(shelf), shelf.notices
