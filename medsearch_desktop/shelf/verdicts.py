"""Thumbs with undo."""

from __future__ import annotations

import json

from medsearch_desktop import queries
from medsearch_desktop.shelf import database, pictures

# What an undo writes in the place of a thumb.
_NEITHER = 0


def give(
    shelf: database.Shelf, verdict: queries.Verdict, question: queries.Query | None = None
) -> int:
    """Write a thumb and return the number of its row; a later thumb on the same case counts.

    `question` is the query without its thumbs: it is kept once beside its
    fingerprint, with a copy of its scratch pictures, so that the verdict can
    be replayed.
    """
    kept = None if question is None else pictures.kept(shelf, question)
    with shelf.transaction() as db:
        if kept is not None:
            db["questions"].insert(
                {"fingerprint": verdict.query, "query": json.dumps(kept.to_dict())},
                ignore=True,
            )
        return int(
            db["verdicts"]
            .insert(
                {
                    "given": database.now(),
                    "query": verdict.query,
                    "collection": verdict.collection,
                    "case_id": verdict.case_id,
                    "thumb": verdict.thumb,
                    "rank": verdict.rank,
                    "encoder_digest": verdict.encoder_digest,
                    "scope": verdict.scope,
                }
            )
            .last_pk
        )


def undo(shelf: database.Shelf, query: str, case_id: str, collection: str) -> None:
    """Take back what stands on a case for a query, by a later row; none is deleted.

    `query` is the fingerprint of the question without its thumbs. Nothing is
    written where no thumb stands.
    """
    with shelf.transaction() as db:
        last = db.execute(
            "SELECT thumb, rank, encoder_digest, scope FROM verdicts WHERE query = ?"
            " AND collection = ? AND case_id = ? ORDER BY id DESC LIMIT 1",
            (query, collection, case_id),
        ).fetchone()
        if last is None or last[0] == _NEITHER:
            return
        db["verdicts"].insert(
            {
                "given": database.now(),
                "query": query,
                "collection": collection,
                "case_id": case_id,
                "thumb": _NEITHER,
                "rank": last[1],
                "encoder_digest": last[2],
                "scope": last[3],
            }
        )


def standing(shelf: database.Shelf, query: str) -> dict[tuple[str, str], int]:
    """Return the thumb (+1 or -1) of each (collection, case id) that stands for a query.

    In the order the thumbs were given.
    """
    with shelf.reading() as db:
        rows = db.execute(
            "SELECT collection, case_id, thumb FROM verdicts WHERE id IN"
            " (SELECT max(id) FROM verdicts WHERE query = ? GROUP BY collection, case_id)"
            " AND thumb IN (1, -1) ORDER BY id",
            (query,),
        )
        return {(str(collection), str(case)): int(thumb) for collection, case, thumb in rows}


def history(shelf: database.Shelf, query: str) -> list[queries.Verdict]:
    """Return every thumb ever given for a query, oldest first, undone ones included."""
    with shelf.reading() as db:
        rows = db.execute(
            "SELECT query, case_id, collection, thumb, rank, encoder_digest, scope"
            " FROM verdicts WHERE query = ? AND thumb IN (1, -1) ORDER BY id",
            (query,),
        )
        return [queries.Verdict(*row) for row in rows]


def question(shelf: database.Shelf, query: str) -> queries.Query | None:
    """Return the query that a fingerprint stands for, or None where it was not kept."""
    with shelf.reading() as db:
        found = db.execute("SELECT query FROM questions WHERE fingerprint = ?", (query,)).fetchone()
    try:
        return None if found is None else queries.Query.from_dict(json.loads(found[0]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
