"""Daily backups of the shelf, and the way back from them."""

from __future__ import annotations

import contextlib
from datetime import date
from pathlib import Path

import pytest
from shelf import filled

from medsearch_desktop import errors
from medsearch_desktop.shelf import backups, database, places


def _names(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "backups").iterdir())


def test_that_there_is_one_backup_a_day_and_three_are_kept(home: Path) -> None:
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        for day in (1, 1, 2, 3, 3, 4):
            shelf.back_up(date(2030, 1, day))
    assert _names(home) == [f"shelf-00000{n}-2030-01-0{n}.db" for n in (2, 3, 4)]


def test_that_a_clock_set_back_stops_no_backup_and_drops_no_newer_one(home: Path) -> None:
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        shelf.back_up(date(2040, 5, 5))
        filled.fill(shelf, 2)
        for day in (1, 2, 3):
            assert shelf.back_up(date(2030, 1, day)) is not None
    assert _names(home) == [f"shelf-00000{n}-2030-01-0{n - 1}.db" for n in (2, 3, 4)]
    newest = backups.newest_sound(places.Places(home / "shelf.db"))
    assert newest is not None
    assert newest.name == "shelf-000004-2030-01-03.db"


def test_that_a_shelf_whose_copies_are_both_gone_comes_back_from_the_newest_sound_backup(
    home: Path,
) -> None:
    path = home / "shelf.db"
    with contextlib.closing(database.open_shelf(path)) as shelf:
        filled.fill(shelf, 6)
        expected = filled.content(shelf)
        shelf.back_up(date(2030, 1, 1))
        filled.thumb(shelf, "late")
        shelf.back_up(date(2030, 1, 2))
    (home / "backups" / "shelf-000002-2030-01-02.db").write_bytes(b"damaged" * 1000)
    for name in ("shelf.db", "shelf-mirror.db"):
        (home / name).unlink()
    found, notices = filled.read(path)
    assert found == expected
    assert ["restored from shelf-000001-2030-01-01.db" in n for n in notices] == [True]
    assert filled.read(path) == (expected, ())


def test_that_a_shelf_gone_without_a_backup_is_said_to_be_gone(home: Path) -> None:
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        filled.fill(shelf, 1)
    for name in ("shelf.db", "shelf-mirror.db"):
        (home / name).unlink()
    found, notices = filled.read(home / "shelf.db")
    assert found["favourites"] == []
    assert ["are gone" in notice for notice in notices] == [True]


def test_that_a_backup_that_fails_leaves_the_others_and_says_why(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        shelf.back_up(date(2030, 1, 1))

        def full(path: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(places, "sync", full)
        with pytest.raises(errors.ShelfError, match="the disk is full"):
            shelf.back_up(date(2030, 1, 2))
        monkeypatch.undo()
        assert _names(home) == ["shelf-000001-2030-01-01.db"]
