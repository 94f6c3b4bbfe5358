"""Recent and saved queries."""

from __future__ import annotations

import json
from dataclasses import dataclass

from medsearch_desktop import errors, queries
from medsearch_desktop.shelf import database, pictures

# More than anyone scrolls through; older ones are forgotten.
_RECENT_KEPT = 200


@dataclass(frozen=True)
class Saved:
    """A query under a name; `saved` is UTC in ISO 8601."""

    name: str
    query: queries.Query
    saved: str


def asked(shelf: database.Shelf, query: queries.Query) -> None:
    """Remember that a query was asked; one asked before moves to the front."""
    with shelf.transaction() as db:
        fingerprint = query.fingerprint()
        db["recent"].delete_where("fingerprint = ?", [fingerprint])
        newest = db["recent"].insert(
            {
                "id": _next_id(shelf),
                "fingerprint": fingerprint,
                "query": json.dumps(query.to_dict()),
                "asked": database.now(),
            }
        )
        db["recent"].delete_where("id <= ?", [newest.last_pk - _RECENT_KEPT])


def recent(shelf: database.Shelf, limit: int = 20) -> list[queries.Query]:
    """Return the queries asked last, newest first.

    Left out are those whose passing picture is gone: they cannot be asked again.
    """
    found: list[queries.Query] = []
    with shelf.reading() as db:
        for (plain,) in db.execute("SELECT query FROM recent ORDER BY id DESC"):
            if len(found) == limit:
                break
            query = _query(plain)
            if query is not None and not pictures.missing(shelf, query):
                found.append(query)
    return found


def clear_recent(shelf: database.Shelf) -> None:
    """Forget what was asked; saved queries stay."""
    with shelf.transaction() as db:
        db["recent"].delete_where()


def save(shelf: database.Shelf, name: str, query: queries.Query) -> Saved:
    """Keep a query under a name, with copies of its scratch pictures.

    One of the same name is replaced. Raises FolderNameError for an empty name,
    UnreadableFileError when a picture is gone, ShelfError when it cannot be copied.
    """
    cleaned = " ".join(name.split())
    if not cleaned:
        raise errors.FolderNameError(name, "a saved search needs a name.")
    if gone := pictures.missing(shelf, query):
        raise errors.UnreadableFileError(gone[0], "the picture of this search is gone.")
    kept = Saved(cleaned, pictures.kept(shelf, query), database.now())
    with shelf.transaction() as db:
        db["saved"].delete_where("name = ? COLLATE NOCASE", [cleaned])
        db["saved"].insert(
            {"name": kept.name, "query": json.dumps(kept.query.to_dict()), "saved": kept.saved}
        )
    pictures.sweep(shelf)
    return kept


def saved(shelf: database.Shelf) -> list[Saved]:
    """Return the saved queries in order of name."""
    with shelf.reading() as db:
        rows = list(db.execute("SELECT name, query, saved FROM saved ORDER BY name COLLATE NOCASE"))
    found = [(str(name), _query(plain), str(when)) for name, plain, when in rows]
    return [Saved(name, query, when) for name, query, when in found if query is not None]


def forget(shelf: database.Shelf, name: str) -> None:
    """Remove a saved query and the pictures that nothing else needs."""
    with shelf.transaction() as db:
        db["saved"].delete_where("name = ? COLLATE NOCASE", [" ".join(name.split())])
    pictures.sweep(shelf)


def _next_id(shelf: database.Shelf) -> int:
    return int(shelf.db.execute("SELECT coalesce(max(id), 0) + 1 FROM recent").fetchone()[0])


def _query(plain: str) -> queries.Query | None:
    """Return a stored query, or None for one that this version cannot ask."""
    try:
        return queries.Query.from_dict(json.loads(plain))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
