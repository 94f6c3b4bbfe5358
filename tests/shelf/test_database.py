"""The shelf's file: rights, versions, damage, power and kills."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.shelf import database, favourites, formats

_WRITER = """
import itertools, sys
from medsearch_desktop import cases, queries
from medsearch_desktop.shelf import database, favourites, formats, verdicts
shelf = database.open_shelf(sys.argv[1])
for i in itertools.count():
    hit = queries.Hit(cases.Case(f"case-{i}", title="t" * 200), "/c", 1, 1.0)
    favourites.add(shelf, hit, f"folder {i % 3}", thumbnail=b"x" * 5000)
    verdicts.give(shelf, queries.Verdict("q", f"case-{i}", "/c", 1, i, "d"))
    print(i, flush=True)
"""


def _hit(case_id: str) -> queries.Hit:
    return queries.Hit(cases.Case(case_id), "/c", 1, 1.0)


def test_that_a_shelf_belongs_to_its_user_alone(home: Path) -> None:
    shelf = database.open_shelf(home / "shelf.db")
    favourites.add(shelf, _hit("a"), thumbnail=b"x")
    shelf.back_up()
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in home.iterdir()}
    inside = [stat.S_IMODE(p.stat().st_mode) for p in (home / "backups").iterdir()]
    shelf.close()
    open_files = [
        name + end for name in ("shelf.db", "shelf-mirror.db") for end in ("", "-wal", "-shm")
    ]
    assert modes == dict.fromkeys(open_files, 0o600) | {"backups": 0o700}
    assert inside == [0o600]
    assert stat.S_IMODE((home / "shelf.seal").stat().st_mode) == 0o600


def test_that_each_write_reaches_the_disk_before_it_is_acknowledged(home: Path) -> None:
    shelf = database.open_shelf(home / "shelf.db")
    pragma = {
        name: shelf.db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    }
    shelf.close()
    assert pragma == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
    }


def test_that_a_migration_which_fails_leaves_the_shelf_as_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home / "shelf.db"
    shelf = database.open_shelf(path)
    favourites.add(shelf, _hit("kept"), thumbnail=b"x")
    shelf.close()

    def broken(db: database.Database) -> None:
        db["favourites"].drop()
        db.execute("CREATE TABLE folders (id)")

    with monkeypatch.context() as patched:
        patched.setattr(formats, "MIGRATIONS", (*formats.MIGRATIONS, broken))
        with pytest.raises(errors.ShelfError):
            database.open_shelf(path)
    shelf = database.open_shelf(path)
    assert [kept.case_id for kept in favourites.listed(shelf)] == ["kept"]
    shelf.close()


def test_that_a_folder_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(errors.ShelfError, match="cannot be used"):
        database.open_shelf(tmp_path / "file" / "shelf.db")


def test_that_a_shelf_held_by_another_program_is_refused_with_a_sentence(home: Path) -> None:
    shelf = database.open_shelf(home / "shelf.db")
    shelf.db.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(home / "shelf.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(errors.ShelfError, match="another program is writing"):
        favourites.add(shelf, _hit("a"), thumbnail=b"")
    other.rollback()
    other.close()
    favourites.add(shelf, _hit("a"), thumbnail=b"")
    assert favourites.is_kept(shelf, "a", "/c")
    shelf.close()


def test_that_a_failed_write_leaves_nothing_half_done(home: Path) -> None:
    shelf = database.open_shelf(home / "shelf.db")

    def half() -> None:
        with shelf.transaction() as db:
            db["folders"].insert({"name": "half", "created": ""})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert favourites.folders(shelf) == []
    shelf.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills by SIGKILL")
def test_that_a_kill_loses_nothing_that_was_acknowledged(home: Path) -> None:
    path = home / "shelf.db"
    for round_ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            acknowledged = [int(writer.stdout.readline()) for _ in range(20 + 7 * round_)]
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged += [int(line) for line in writer.stdout]
        shelf = database.open_shelf(path)
        kept = {found.case_id for found in favourites.listed(shelf)}
        thumbs = {row[0] for row in shelf.db.execute("SELECT case_id FROM verdicts")}
        shelf.close()
        expected = {f"case-{i}" for i in acknowledged}
        assert expected <= kept
        assert expected <= thumbs


def test_that_a_copy_of_the_closed_file_is_a_whole_shelf(home: Path, tmp_path: Path) -> None:
    shelf = database.open_shelf(home / "shelf.db")
    favourites.add(shelf, _hit("a"), thumbnail=b"x")
    shelf.close()
    shutil.copy(home / "shelf.db", tmp_path / "copy.db")
    copy = database.open_shelf(tmp_path / "copy.db")
    assert favourites.is_kept(copy, "a", "/c")
    copy.close()


def test_that_a_full_disk_refuses_the_write_and_keeps_what_was_there(home: Path) -> None:
    shelf = database.open_shelf(home / "shelf.db")
    favourites.add(shelf, _hit("before"), thumbnail=b"x")
    pages = shelf.db.execute("PRAGMA page_count").fetchone()[0]
    shelf.db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(errors.ShelfError, match="full"):
        favourites.add(shelf, _hit("after"), thumbnail=b"x" * 50_000)
    assert [kept.case_id for kept in favourites.listed(shelf)] == ["before"]
    shelf.close()
