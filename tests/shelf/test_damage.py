"""Damage of the shelf's files: found at opening, told, mended, and nothing kept is lost."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from shelf import filled

from medsearch_desktop import errors
from medsearch_desktop.shelf import database, favourites, places, repair, verdicts

_FLIPS = 2000 if os.environ.get("MEDSEARCH_TRIAL") else 60
_EVERY = 1 if os.environ.get("MEDSEARCH_TRIAL") else 2
_SEED = 20261122


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a shelf that was closed."""
    folder = tmp_path_factory.mktemp("closed")
    with contextlib.closing(database.open_shelf(folder / "shelf.db")) as shelf:
        filled.fill(shelf, 40)
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a shelf whose program was killed: a copy with the logs, and no seal."""
    folder = tmp_path_factory.mktemp("killed")
    with contextlib.closing(database.open_shelf(folder / "open" / "shelf.db")) as shelf:
        filled.fill(shelf, 40)
        shelf.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        filled.fill(shelf, 10, first=40)
        shutil.copytree(folder / "open", folder / "left")
    return folder / "left"


def _content(folder: Path, tmp_path: Path) -> dict:
    shutil.copytree(folder, tmp_path / "whole")
    found, notices = filled.read(tmp_path / "whole" / "shelf.db")
    assert notices == ()
    return found


def _flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    # A fifth of them in the header, which is small and matters most.
    end = min(100, len(content)) if chance.random() < 0.2 else len(content)
    content[chance.randrange(end)] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


@pytest.mark.parametrize("state", ["closed", "killed"])
def test_that_one_flipped_bit_in_any_file_loses_nothing(
    state: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(state)
    expected = _content(folder, tmp_path)
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.stat().st_size)
    chance = random.Random(f"{_SEED} {state}")
    told = dict.fromkeys((path.name for path in files), 0)
    for number in range(_FLIPS):
        work, name = tmp_path / str(number), files[number % len(files)].name
        shutil.copytree(folder, work)
        _flip(work / name, chance)
        found, notices = filled.read(work / "shelf.db")
        assert found == expected, (number, name, notices)
        assert len(notices) <= 1
        told[name] += len(notices)
        assert filled.read(work / "shelf.db") == (expected, ()), (number, name)
        shutil.rmtree(work)
    sys.stdout.write(f"{state}: {_FLIPS} flips, told by file: {told}\n")
    if state == "closed":
        # Every bit of every file is under the seal.
        assert sum(told.values()) == _FLIPS


def test_that_each_copy_is_made_anew_from_the_other_and_the_damaged_one_is_kept_aside(
    closed: Path, tmp_path: Path
) -> None:
    expected = _content(closed, tmp_path)
    for name in ("shelf.db", "shelf-mirror.db"):
        work = tmp_path / name
        shutil.copytree(closed, work)
        damaged = b"\xff" * 4096 + (work / name).read_bytes()[4096:]
        (work / name).write_bytes(damaged)
        found, notices = filled.read(work / "shelf.db")
        assert found == expected
        assert [f"{name} was damaged" in n and f"{name}.damaged-1" in n for n in notices] == [True]
        assert (work / f"{name}.damaged-1").read_bytes() == damaged
        assert filled.read(work / "shelf.db") == (expected, ())


@pytest.mark.parametrize("name", ["shelf.db", "shelf-mirror.db"])
@pytest.mark.parametrize("is_empty", [False, True])
def test_that_a_missing_or_empty_copy_is_made_anew(
    closed: Path, tmp_path: Path, name: str, is_empty: bool
) -> None:
    expected = _content(closed, tmp_path)
    shutil.copytree(closed, tmp_path / "work")
    (tmp_path / "work" / name).unlink()
    if is_empty:
        (tmp_path / "work" / name).touch()
    found, notices = filled.read(tmp_path / "work" / "shelf.db")
    assert found == expected
    assert [f"{name} was missing" in notice for notice in notices] == [True]


def _damage_rows(path: Path, table: str, column: str, where: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"UPDATE {table} SET {column} = {column} || 'x' WHERE {where}")
        db.commit()


def test_that_two_copies_damaged_in_different_rows_give_all_rows_together(
    closed: Path, tmp_path: Path
) -> None:
    expected = _content(closed, tmp_path)
    shutil.copytree(closed, tmp_path / "work")
    path = tmp_path / "work" / "shelf.db"
    _damage_rows(path, "favourites", "note", "id % 2 = 0")
    _damage_rows(path, "folders", "name", "id = 1")
    _damage_rows(path.with_name("shelf-mirror.db"), "verdicts", "query", "id < 20")
    found, notices = filled.read(path)
    assert found == expected
    assert len(notices) == 1
    assert "nothing that was kept is lost" in notices[0]
    assert "shelf.db.damaged-1 and shelf-mirror.db.damaged-1" in notices[0]
    assert filled.read(path) == (expected, ())


def test_that_a_row_damaged_in_both_copies_comes_from_the_backup_and_the_loss_is_told(
    home: Path,
) -> None:
    path = home / "shelf.db"
    with contextlib.closing(database.open_shelf(path)) as shelf:
        filled.fill(shelf, 5)
        shelf.back_up()
        expected = filled.content(shelf)
        filled.thumb(shelf, "late")
    for copy in (path, home / "shelf-mirror.db"):
        _damage_rows(copy, "favourites", "note", "id = 2")
        _damage_rows(copy, "verdicts", "query", "case_id = 'late'")
    found, notices = filled.read(path)
    assert found["favourites"] == expected["favourites"]
    assert found["verdicts"] == expected["verdicts"]
    assert "some of what was kept may be lost" in notices[0]


def test_that_a_favourite_whose_folder_is_lost_is_still_shown(home: Path) -> None:
    path = home / "shelf.db"
    with contextlib.closing(database.open_shelf(path)) as shelf:
        favourites.add(shelf, filled.hit("kept"), "Teaching", thumbnail=b"x")
    for copy in (path, home / "shelf-mirror.db"):
        _damage_rows(copy, "folders", "name", "1")
    found, _ = filled.read(path)
    assert [(f.case_id, f.folder) for f in found["favourites"]] == [("kept", "Found again 1")]


@pytest.mark.parametrize("is_sealed", [True, False])
def test_that_removed_rows_and_changed_tables_are_damage_too(
    closed: Path, tmp_path: Path, is_sealed: bool
) -> None:
    expected = _content(closed, tmp_path)
    changes = (
        "DELETE FROM verdicts WHERE id = 3",
        "INSERT INTO recent (id, fingerprint, query, asked) VALUES (999, 'f', '{}', '')",
        "DROP INDEX folders_name",
        "UPDATE state SET changes = changes + 1",
        "DELETE FROM state",
        f"PRAGMA user_version = {4 ^ 64}",
        "PRAGMA user_version = 0",
    )
    for number, change in enumerate(changes):
        work = tmp_path / str(number)
        shutil.copytree(closed, work)
        with contextlib.closing(sqlite3.connect(work / "shelf.db")) as db:
            db.execute(change)
            db.commit()
        if not is_sealed:
            (work / "shelf.seal").unlink()
        found, notices = filled.read(work / "shelf.db")
        assert found == expected, change
        assert ["damaged" in notice for notice in notices] == [True], change


def test_that_a_mirror_of_another_shelf_is_kept_aside(closed: Path, home: Path) -> None:
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        filled.thumb(shelf, "mine")
        expected = filled.content(shelf)
    shutil.copy(closed / "shelf-mirror.db", home / "shelf-mirror.db")
    found, notices = filled.read(home / "shelf.db")
    assert found == expected
    assert "another shelf" in notices[0]
    assert (home / "shelf-mirror.db.damaged-1").exists()


def test_that_files_put_back_with_their_mirror_are_taken_as_they_are(
    closed: Path, tmp_path: Path
) -> None:
    shutil.copytree(closed, tmp_path / "older")
    shutil.copytree(closed, tmp_path / "work")
    path = tmp_path / "work" / "shelf.db"
    with contextlib.closing(database.open_shelf(path)) as shelf:
        filled.thumb(shelf, "later")
    for name in ("shelf.db", "shelf-mirror.db"):
        shutil.copy(tmp_path / "older" / name, path.with_name(name))
    found, notices = filled.read(path)
    assert found == _content(closed, tmp_path)
    assert ["nothing is lost" in notice for notice in notices] == [True]


class _Kill(BaseException):
    """The program ends here."""


def _dies_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Let the program end at the n-th change of a name or sync; nothing is done after it."""
    calls = [0]

    def counted(function: Callable) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            calls[0] += 1
            if calls[0] >= number:
                raise _Kill
            return function(*args, **kwargs)

        return call

    for owner, name in ((os, "replace"), (os, "fsync"), (Path, "unlink")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    return lambda: calls[0]


@pytest.mark.parametrize("damaged", [("shelf.db",), ("shelf-mirror.db",), ("both",)])
def test_that_a_kill_at_any_step_of_mending_loses_nothing(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: tuple[str]
) -> None:
    expected = _content(closed, tmp_path)
    for number in range(1, 100, _EVERY):
        work = tmp_path / f"{number}"
        shutil.copytree(closed, work)
        if damaged == ("both",):
            _damage_rows(work / "shelf.db", "favourites", "note", "id = 2")
            _damage_rows(work / "shelf-mirror.db", "verdicts", "query", "id = 2")
        else:
            _damage_rows(work / damaged[0], "favourites", "note", "id = 2")
        with monkeypatch.context() as patched:
            _dies_at(number, patched)
            try:
                filled.read(work / "shelf.db")
                is_killed = False
            except _Kill:
                is_killed = True
        found, _ = filled.read(work / "shelf.db")
        assert found == expected, number
        assert filled.read(work / "shelf.db") == (expected, ())
        shutil.rmtree(work)
        if not is_killed:
            break
    assert not is_killed
    assert number > 4


def test_that_a_shelf_of_which_nothing_can_be_read_is_refused_and_left_alone(home: Path) -> None:
    path = home / "shelf.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(errors.ShelfError, match="damaged"):
        database.open_shelf(path)
    assert path.read_bytes() == b"no database at all" * 100


def test_that_a_newer_format_is_refused_even_beside_a_known_mirror(
    closed: Path, tmp_path: Path
) -> None:
    shutil.copytree(closed, tmp_path / "work")
    path = tmp_path / "work" / "shelf.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(errors.ShelfError, match=r"newer version \(format 99, this program knows 4"):
        database.open_shelf(path)
    assert path.read_bytes() == before


def test_that_an_unclean_end_is_followed_by_a_check_of_every_row(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(killed, tmp_path / "work")
    checked: list[str] = []
    inspect = repair.soundness.inspect

    def noting(path: Path, *rest: object) -> object:
        checked.append(path.name)
        return inspect(path, *rest)

    monkeypatch.setattr(repair.soundness, "inspect", noting)
    filled.read(tmp_path / "work" / "shelf.db")
    # At opening, and again before a seal was put on.
    assert checked == 2 * ["shelf.db", "shelf-mirror.db"]
    checked.clear()
    # Closed in order: the seal is enough.
    filled.read(tmp_path / "work" / "shelf.db")
    assert checked == []
    assert places.Places(tmp_path / "work" / "shelf.db").seal.exists()


def test_that_a_log_that_was_cut_is_made_good_by_the_other_copy(
    killed: Path, tmp_path: Path
) -> None:
    expected = _content(killed, tmp_path)
    for name in ("shelf.db-wal", "shelf-mirror.db-wal"):
        for part in (0, 10, 32, 5000):
            work = tmp_path / f"{name} {part}"
            shutil.copytree(killed, work)
            with (work / name).open("r+b") as file:
                file.truncate(part)
            found, notices = filled.read(work / "shelf.db")
            assert found == expected, (name, part)
            assert len(notices) == 1, (name, part)


def test_that_the_log_of_a_damaged_copy_goes_aside_with_it(killed: Path, tmp_path: Path) -> None:
    """Beside a fresh file of the same name it would be played back."""
    expected = _content(killed, tmp_path)
    for name in ("shelf.db", "shelf-mirror.db"):
        work = tmp_path / name
        shutil.copytree(killed, work)
        (work / name).write_bytes(b"\xff" * 100 + (work / name).read_bytes()[100:])
        assert filled.read(work / "shelf.db")[0] == expected
        log = (killed / f"{name}-wal").read_bytes()
        assert (work / f"{name}.damaged-1-wal").read_bytes() == log
        assert filled.read(work / "shelf.db") == (expected, ())


def test_that_thumbs_stand_after_their_copy_was_mended(closed: Path, tmp_path: Path) -> None:
    shutil.copytree(closed, tmp_path / "work")
    path = tmp_path / "work" / "shelf.db"
    path.write_bytes(b"\0" * 100)
    with contextlib.closing(database.open_shelf(path)) as shelf:
        filled.thumb(shelf, "after", words="words 1")
        name = filled.question("words 1").fingerprint()
        assert verdicts.standing(shelf, name)[filled.COLLECTION, "after"] == 1
        expected = filled.content(shelf)
    assert filled.read(path) == (expected, ())
