"""What must be so after any fault: shelves and collections looked at from outside."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from stores import ledger

from medsearch_desktop.engine import collection
from medsearch_desktop.shelf import database

IS_TRIAL = bool(os.environ.get("MEDSEARCH_TRIAL"))
MANIFEST = "manifest.json"


def cases_of(path: Path) -> list[str]:
    """Return the ids of a collection's cases, each also found by its words and its vector."""
    with collection.open_collection(path) as opened:
        assert getattr(opened, "notice", "") == ""
        ids = [case.case_id for case in opened.all_cases()]
        assert opened.manifest.counts.cases == len(ids)
        found = opened.matching("square", len(ids) + 10)
        assert sorted(opened.case(match.place).case_id for match in found) == sorted(ids)
        for case_id in ids[:: max(1, len(ids) // 5)]:
            place = opened.place(case_id)
            assert place is not None
            pictures, texts = opened.vectors_of(place)
            assert len(pictures) == len(texts) == 1
            assert opened.near(texts, "texts", 1)[0].score > 0.99
    return ids


def whole(path: Path) -> int:
    """Return how many cases a collection has, 0 where there is none; it must be whole."""
    if not (path / MANIFEST).exists():
        return 0
    found = cases_of(path)
    assert found == [f"case-{number}" for number in range(len(found))]
    assert collection.verify(path) == []
    return len(found)


def shelf_lost(
    folder: Path, done: Sequence[ledger.Deed], begun: ledger.Deed | None = None
) -> list[str]:
    """Open the shelf in a folder and return what it lost of what was done."""
    shelf = database.open_shelf(folder / "shelf.db")
    try:
        assert shelf.db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return ledger.lost(shelf, done, begun)
    finally:
        shelf.close()


def begun_only(lines: Sequence[dict]) -> ledger.Deed | None:
    """Return the deed that was begun and not said to be done."""
    begun = None
    for line in lines:
        if "begun" in line:
            begun = line["begun"]
        elif "done" in line:
            begun = None
    return begun


def table(title: str, rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table; its first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    print("\n  ".join(["", title, *lines]))  # noqa: T201
