"""Recent and saved queries, and the pictures they need."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.shelf import database, history, pictures


@pytest.fixture
def shelf(home: Path) -> Iterator[database.Shelf]:
    opened = database.open_shelf(home / "shelf.db")
    opened.scratch.mkdir()
    yield opened
    opened.close()


def _words(words: str) -> queries.Query:
    return queries.Query((queries.TextTerm(words),), limit=7)


def _picture(path: Path, content: bytes = b"pixels") -> queries.Query:
    path.write_bytes(content)
    return queries.Query((queries.ImageTerm(cases.ImageRef(str(path))), queries.TextTerm("x", -1)))


def test_that_the_query_asked_last_comes_first_and_only_once(shelf: database.Shelf) -> None:
    for words in ("one", "two", "three", "one"):
        history.asked(shelf, _words(words))
    assert history.recent(shelf) == [_words("one"), _words("three"), _words("two")]
    assert history.recent(shelf, 1) == [_words("one")]


def test_that_old_recent_searches_are_forgotten_and_saved_ones_are_not(
    shelf: database.Shelf,
) -> None:
    history.save(shelf, "kept", _words("0"))
    for number in range(230):
        history.asked(shelf, _words(str(number)))
    found = history.recent(shelf, 1000)
    assert found == [_words(str(number)) for number in range(229, 29, -1)]
    history.clear_recent(shelf)
    assert history.recent(shelf) == []
    assert [saved.name for saved in history.saved(shelf)] == ["kept"]


def test_that_a_recent_search_whose_passing_picture_is_gone_is_left_out(
    shelf: database.Shelf, tmp_path: Path
) -> None:
    passing = _picture(shelf.scratch / "a.png")
    users_own = _picture(tmp_path / "b.png")
    history.asked(shelf, passing)
    history.asked(shelf, users_own)
    assert history.recent(shelf) == [users_own, passing]
    (shelf.scratch / "a.png").unlink()
    (tmp_path / "b.png").unlink()
    assert history.recent(shelf) == [users_own]


def test_that_a_saved_query_owns_a_copy_of_its_passing_picture(shelf: database.Shelf) -> None:
    kept = history.save(shelf, "Mine", _picture(shelf.scratch / "a.png"))
    (shelf.scratch / "a.png").unlink()
    assert history.saved(shelf) == [kept]
    term = kept.query.terms[0]
    assert isinstance(term, queries.ImageTerm)
    copy = Path(term.ref.path)
    assert copy.read_bytes() == b"pixels"
    assert len(copy.stem) == 64
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert kept.query.terms[1] == queries.TextTerm("x", -1)


def test_that_a_kept_picture_that_was_damaged_is_missing_until_it_is_saved_again(
    shelf: database.Shelf,
) -> None:
    kept = history.save(shelf, "Mine", _picture(shelf.scratch / "a.png")).query
    history.asked(shelf, kept)
    assert pictures.missing(shelf, kept) == []
    (copy,) = shelf.pictures.iterdir()
    copy.write_bytes(b"qixels")
    assert pictures.missing(shelf, kept) == [str(copy)]
    assert history.recent(shelf) == []
    with pytest.raises(errors.UnreadableFileError, match="gone"):
        history.save(shelf, "Other", kept)
    history.save(shelf, "Other", _picture(shelf.scratch / "a.png"))
    assert pictures.missing(shelf, kept) == []
    assert list(shelf.pictures.iterdir()) == [copy]


def test_that_a_kept_picture_that_begins_like_a_program_is_kept_without_it(
    shelf: database.Shelf,
) -> None:
    program = b"MZ" + b"x" * 126 + b"DICM" + bytes(100)
    kept = history.save(shelf, "Mine", _picture(shelf.scratch / "a.dcm", program))
    (copy,) = shelf.pictures.iterdir()
    assert copy.read_bytes() == bytes(128) + program[128:]
    assert pictures.missing(shelf, kept.query) == []


def test_that_a_picture_of_the_users_own_is_named_and_not_copied(
    shelf: database.Shelf, tmp_path: Path
) -> None:
    query = _picture(tmp_path / "own.png")
    assert history.save(shelf, "Mine", query).query == query
    assert not shelf.pictures.exists()


def test_that_one_picture_saved_twice_is_stored_once_and_goes_with_the_last(
    shelf: database.Shelf,
) -> None:
    history.save(shelf, "one", _picture(shelf.scratch / "a.png"))
    history.save(shelf, "two", _picture(shelf.scratch / "b.png"))
    assert len(list(shelf.pictures.iterdir())) == 1
    history.forget(shelf, "ONE")
    assert len(list(shelf.pictures.iterdir())) == 1
    history.forget(shelf, "two")
    assert list(shelf.pictures.iterdir()) == []


def test_that_a_query_saved_under_a_taken_name_replaces_the_other(shelf: database.Shelf) -> None:
    history.save(shelf, "Name", _words("one"))
    history.save(shelf, " name ", _words("two"))
    assert [(s.name, s.query) for s in history.saved(shelf)] == [("name", _words("two"))]


def test_that_a_query_without_a_name_or_without_its_picture_is_not_saved(
    shelf: database.Shelf,
) -> None:
    with pytest.raises(errors.FolderNameError):
        history.save(shelf, " ", _words("x"))
    gone = _picture(shelf.scratch / "a.png")
    (shelf.scratch / "a.png").unlink()
    with pytest.raises(errors.UnreadableFileError, match="gone"):
        history.save(shelf, "x", gone)


def test_that_a_query_this_version_cannot_ask_is_left_out(shelf: database.Shelf) -> None:
    history.asked(shelf, _words("known"))
    shelf.db["recent"].insert(
        {"id": 99, "fingerprint": "f", "query": '{"terms": [{"kind": "smell"}]}', "asked": ""}
    )
    assert history.recent(shelf) == [_words("known")]
