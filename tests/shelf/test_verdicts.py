"""Thumbs stand until a later row takes them back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medsearch_desktop import cases, queries
from medsearch_desktop.shelf import database, verdicts


@pytest.fixture
def shelf(home: Path) -> Iterator[database.Shelf]:
    opened = database.open_shelf(home / "shelf.db")
    yield opened
    opened.close()


def _thumb(case_id: str, thumb: int, query: str = "q") -> queries.Verdict:
    return queries.Verdict(query, case_id, "/c", thumb, 4, "digest")


def test_that_the_last_thumb_on_a_case_stands(shelf: database.Shelf) -> None:
    verdicts.give(shelf, _thumb("a", 1))
    verdicts.give(shelf, _thumb("b", 1))
    verdicts.give(shelf, _thumb("a", -1))
    verdicts.give(shelf, _thumb("a", 1, query="another question"))
    assert verdicts.standing(shelf, "q") == {("/c", "b"): 1, ("/c", "a"): -1}


def test_that_an_undo_takes_a_thumb_back_and_deletes_no_row(shelf: database.Shelf) -> None:
    first = verdicts.give(shelf, _thumb("a", 1))
    verdicts.undo(shelf, "q", "a", "/c")
    verdicts.undo(shelf, "q", "a", "/c")
    assert verdicts.standing(shelf, "q") == {}
    assert verdicts.history(shelf, "q") == [_thumb("a", 1)]
    assert verdicts.give(shelf, _thumb("a", -1)) == first + 2
    assert verdicts.standing(shelf, "q") == {("/c", "a"): -1}


def test_that_a_verdict_remembers_rank_encoder_and_scope(shelf: database.Shelf) -> None:
    given = queries.Verdict("q", "a", "/c", -1, 17, "abc", "folder")
    verdicts.give(shelf, given)
    assert verdicts.history(shelf, "q") == [given]


def test_that_the_question_of_a_verdict_can_be_asked_again_after_its_picture_is_gone(
    shelf: database.Shelf,
) -> None:
    shelf.scratch.mkdir()
    picture = shelf.scratch / "abc.PNG"
    picture.write_bytes(b"pixels")
    asked = queries.Query((queries.ImageTerm(cases.ImageRef(str(picture))),))
    verdicts.give(shelf, _thumb("a", 1, asked.fingerprint()), asked)
    picture.unlink()
    again = verdicts.question(shelf, asked.fingerprint())
    assert again is not None
    term = again.terms[0]
    assert isinstance(term, queries.ImageTerm)
    assert Path(term.ref.path).parent == shelf.pictures
    assert Path(term.ref.path).read_bytes() == b"pixels"


def test_that_a_thumb_counts_even_where_its_picture_is_gone_already(
    shelf: database.Shelf,
) -> None:
    lost = queries.Query((queries.ImageTerm(cases.ImageRef(str(shelf.scratch / "x.png"))),))
    verdicts.give(shelf, _thumb("a", 1, lost.fingerprint()), lost)
    assert verdicts.standing(shelf, lost.fingerprint()) == {("/c", "a"): 1}
