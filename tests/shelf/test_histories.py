"""Copies of a shelf that went different ways, were damaged while open, or met other files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from shelf import filled

from medsearch_desktop import errors
from medsearch_desktop.shelf import (
    database,
    digests,
    favourites,
    formats,
    history,
    places,
    seal,
    verdicts,
)


def _add(folder: Path, *names: str) -> None:
    with contextlib.closing(database.open_shelf(folder / "shelf.db")) as shelf:
        for name in names:
            favourites.add(shelf, filled.hit(name), thumbnail=b"x" * 3000)


def _names(folder: Path) -> tuple[list[str], tuple[str, ...]]:
    with contextlib.closing(database.open_shelf(folder / "shelf.db")) as shelf:
        return sorted(one.case_id for one in favourites.listed(shelf)), shelf.notices


def _flip(path: Path, words: bytes) -> None:
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(content.rfind(words))
        file.write(bytes([words[0] ^ 4]))


def test_that_a_file_damaged_while_it_was_open_gets_no_seal_and_is_mended(home: Path) -> None:
    _add(home, *(f"case-{n}" for n in range(30)))
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        favourites.add(shelf, filled.hit("later"), thumbnail=b"x")
        _flip(home / "shelf.db", b"Title of case-7")
    assert seal.compared(places.Places(home / "shelf.db")).kind is seal.Kind.MISSING
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        assert "damaged" in shelf.notices[0]
        assert "Title of case-7" in {one.title for one in favourites.listed(shelf)}
        assert len(favourites.listed(shelf)) == 31


def test_that_damage_met_while_it_is_open_is_remembered(home: Path) -> None:
    _add(home, *(f"case-{n}" for n in range(300)))
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        with (home / "shelf.db").open("r+b") as file:
            file.seek(4096 * 20)
            file.write(b"\xff" * 4096 * 200)
        with pytest.raises(errors.ShelfError, match="damaged"):
            favourites.listed(shelf)
        assert shelf.is_damaged
    found, notices = _names(home)
    assert len(found) == 300
    assert "made anew" in notices[0]


@pytest.mark.parametrize(("own", "other"), [(3, 6), (6, 3), (4, 4), (1, 2)])
@pytest.mark.parametrize("name", ["shelf.db", "shelf-mirror.db"])
def test_that_two_histories_are_merged_and_nothing_is_lost_or_doubled(
    tmp_path: Path, own: int, other: int, name: str
) -> None:
    _add(tmp_path / "a", "one", "two")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    mine, theirs = [f"a{n}" for n in range(own)], [f"b{n}" for n in range(other)]
    _add(tmp_path / "a", *mine)
    _add(tmp_path / "b", *theirs)
    shutil.copy(tmp_path / "b" / name, tmp_path / "a" / name)
    found, notices = _names(tmp_path / "a")
    assert found == sorted([*mine, *theirs, "one", "two"])
    assert "gone different ways" in notices[0]
    assert list((tmp_path / "a").glob("*.damaged-1"))
    assert _names(tmp_path / "a") == (found, ())


def test_that_an_earlier_state_brings_nothing_removed_back(home: Path, tmp_path: Path) -> None:
    _add(home, "one", "two")
    shutil.copy(home / "shelf-mirror.db", tmp_path / "older")
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        favourites.remove(shelf, "one", filled.COLLECTION, favourites.DEFAULT_FOLDER)
        favourites.add(shelf, filled.hit("three"), thumbnail=b"x")
    shutil.copy(tmp_path / "older", home / "shelf-mirror.db")
    found, notices = _names(home)
    assert found == ["three", "two"]
    assert "lacked the last changes" in notices[0]


@pytest.mark.parametrize("body", [b"[]", b"[1", b'{"shelf.db": 3}', b'"x"', b"[" * 2000, b""])
def test_that_an_odd_seal_is_a_damaged_one(home: Path, body: bytes) -> None:
    _add(home, "one")
    mark = hashlib.sha256(body).hexdigest().encode()
    (home / "shelf.seal").write_bytes(body + b"\n" + mark)
    assert _names(home)[0] == ["one"]
    assert _names(home) == (["one"], ())


def test_that_a_folder_in_the_place_of_the_seal_stops_nothing(home: Path) -> None:
    _add(home, "one")
    (home / "shelf.seal").unlink()
    (home / "shelf.seal").mkdir()
    assert _names(home)[0] == ["one"]
    assert _names(home) == (["one"], ())


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be removed there")
@pytest.mark.parametrize("end", ["-wal", "-shm"])
def test_that_nothing_is_acknowledged_into_a_log_that_was_removed(home: Path, end: str) -> None:
    _add(home, "one")
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        favourites.add(shelf, filled.hit("two"), thumbnail=b"x")
        for name in ("shelf.db", "shelf-mirror.db"):
            (home / f"{name}{end}").unlink()
        assert shelf.is_moved
        with pytest.raises(errors.ShelfError, match="moved or removed"):
            favourites.add(shelf, filled.hit("three"), thumbnail=b"x")
    assert _names(home)[0] == ["one", "two"]


def test_that_a_later_backup_adds_what_both_copies_lack(home: Path, tmp_path: Path) -> None:
    _add(home, "one")
    shutil.copytree(home, tmp_path / "older")
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        favourites.add(shelf, filled.hit("two"), thumbnail=b"x")
        shelf.back_up()
    for name in ("shelf.db", "shelf-mirror.db"):
        shutil.copy(tmp_path / "older" / name, home / name)
    found, notices = _names(home)
    assert found == ["one", "two"]
    assert any("older than shelf-000001" in notice for notice in notices)
    assert _names(home) == (["one", "two"], ())


def test_that_a_backup_put_back_beside_a_log_of_another_file_is_what_is_shown(
    home: Path, tmp_path: Path
) -> None:
    _add(home, "one", "two")
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        backup = shelf.back_up()
        favourites.remove(shelf, "one", filled.COLLECTION, favourites.DEFAULT_FOLDER)
        favourites.add(shelf, filled.hit("three"), thumbnail=b"x")
        shutil.copytree(home, tmp_path / "killed")
    killed = tmp_path / "killed"
    for name in ("shelf.db", "shelf-mirror.db", "shelf.seal"):
        (killed / name).unlink(missing_ok=True)
    assert (killed / "shelf.db-wal").stat().st_size
    shutil.copy(backup, killed / "shelf.db")
    found, notices = _names(killed)
    assert found == ["one", "two"]
    assert "log of another file" in notices[0]
    assert _names(killed) == (["one", "two"], ())


def test_that_what_only_the_backup_knew_is_found_again_in_a_folder_of_its_own(home: Path) -> None:
    _add(home, "gone", "kept", "hurt")
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        shelf.back_up()
        favourites.remove(shelf, "gone", filled.COLLECTION, favourites.DEFAULT_FOLDER)
    for name in ("shelf.db", "shelf-mirror.db"):
        with contextlib.closing(sqlite3.connect(home / name)) as db:
            db.execute("UPDATE favourites SET title = 'x' WHERE case_id = 'hurt'")
            db.commit()
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        found = {one.case_id: (one.folder, one.title) for one in favourites.listed(shelf)}
        assert "(1 favourites that only the backup knew are in 'Found again')" in shelf.notices[0]
    assert {name: folder for name, (folder, _) in found.items()} == {
        "gone": "Found again",
        "kept": "Favourites",
        "hurt": "Favourites",
    }
    assert found["hurt"][1] == "Title of hurt"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE favourites SET labels = 'not json', facets = '[1]', image = '{\"x\": 1}'",
        "UPDATE favourites SET facets = '{\"nope\": 1}', thumbnail = 'text', title = NULL",
        "UPDATE saved SET query = '['",
        "UPDATE questions SET query = '[]'",
        "UPDATE verdicts SET thumb = 'x'",
    ],
)
def test_that_an_unreadable_field_hides_nothing_else(home: Path, change: str) -> None:
    path = home / "shelf.db"
    with contextlib.closing(database.open_shelf(path)) as shelf:
        filled.fill(shelf, 3)
    for name in ("shelf.seal", "shelf-mirror.db"):
        (home / name).unlink()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(change)
        digests.renew_all(db, len(formats.MIGRATIONS))
        db.commit()
    with contextlib.closing(database.open_shelf(path)) as shelf:
        assert len(favourites.listed(shelf)) == 3
        fingerprint = filled.question("words 1").fingerprint()
        verdicts.standing(shelf, fingerprint)
        verdicts.history(shelf, fingerprint)
        verdicts.question(shelf, fingerprint)
        history.saved(shelf)
        history.save(shelf, "new", filled.question("new"))
