"""The two copies of the shelf: alike after each write, old or new after each kill."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shelf import filled

from medsearch_desktop import errors
from medsearch_desktop.shelf import copies, database, favourites, history, verdicts

_EVERY = 1 if os.environ.get("MEDSEARCH_TRIAL") else 5
_TABLES = ("folders", "favourites", "verdicts", "questions", "recent", "saved", "state")
_FRAME = 24 + 4096


@pytest.fixture
def shelf(home: Path) -> Iterator[database.Shelf]:
    opened = database.open_shelf(home / "shelf.db")
    yield opened
    opened.close()


_STEPS: tuple[Callable[[database.Shelf], object], ...] = (
    lambda shelf: favourites.add(shelf, filled.hit("new"), "New folder", thumbnail=b"x" * 9000),
    lambda shelf: favourites.note(shelf, "case-0", filled.COLLECTION, "Folder 0", "other"),
    lambda shelf: favourites.move(
        shelf, "case-1", filled.COLLECTION, from_folder="Folder 1", to_folder="Folder 2"
    ),
    lambda shelf: favourites.remove_folder(shelf, "Folder 2"),
    lambda shelf: filled.thumb(shelf, "case-1", -1),
    lambda shelf: verdicts.undo(
        shelf, filled.question("words 1").fingerprint(), "case-1", filled.COLLECTION
    ),
    lambda shelf: history.save(shelf, "Search 1", filled.question("renewed")),
    lambda shelf: history.asked(shelf, filled.question("words 1")),
    lambda shelf: history.clear_recent(shelf),
)


def test_that_after_each_write_both_copies_hold_the_same_rows(shelf: database.Shelf) -> None:
    filled.fill(shelf, 6)
    for step in _STEPS:
        step(shelf)
        for table in _TABLES:
            ours, theirs = (
                sorted(shelf.db.execute(f"SELECT * FROM {copy}.{table}").fetchall(), key=repr)
                for copy in ("main", "mirror")
            )
            assert ours == theirs, table
            assert ours or table in ("recent",), table


def test_that_a_step_that_changes_nothing_counts_as_no_change(shelf: database.Shelf) -> None:
    filled.fill(shelf, 2)
    before = shelf.db.execute("SELECT changes FROM state").fetchone()
    favourites.remove(shelf, "not there", "/c", "Folder 0")
    assert shelf.db.execute("SELECT changes FROM state").fetchone() == before


def test_that_a_kill_at_any_statement_leaves_the_old_or_the_new(
    shelf: database.Shelf, home: Path, tmp_path: Path
) -> None:
    """A kill leaves the files as they are: they are copied at each statement."""
    filled.fill(shelf, 6)
    taken = 0
    for step in _STEPS:
        old, snapshots = filled.content(shelf), []

        def snap(_: str, snapshots: list[Path] = snapshots) -> None:
            nonlocal taken
            taken += 1
            if taken % _EVERY == 0:
                snapshots.append(tmp_path / f"{taken}")
                shutil.copytree(home, snapshots[-1])

        shelf.db.conn.set_trace_callback(snap)
        step(shelf)
        shelf.db.conn.set_trace_callback(None)
        new = filled.content(shelf)
        for snapshot in snapshots:
            found, notices = filled.read(snapshot / "shelf.db")
            assert found in (old, new), snapshot
            assert notices == ()
            shutil.rmtree(snapshot)
    assert taken > 100


def test_that_a_kill_within_a_commit_leaves_the_old_or_the_new(
    shelf: database.Shelf, home: Path, tmp_path: Path
) -> None:
    """A commit adds pages to the log of one copy, then to that of the other."""
    filled.fill(shelf, 3)
    logs = [home / "shelf.db-wal", home / "shelf-mirror.db-wal"]
    for number, step in enumerate(_STEPS[:5]):
        old, sizes = filled.content(shelf), [log.stat().st_size for log in logs]
        shutil.copytree(home, before := tmp_path / f"before {number}")
        step(shelf)
        shutil.copytree(home, after := tmp_path / f"after {number}")
        new = filled.content(shelf)
        ends = [log.stat().st_size for log in logs]
        assert all(end > size for end, size in zip(ends, sizes, strict=True))
        for cut in (0, 1):
            for end in range(sizes[cut], ends[cut] + 1, _FRAME // 2):
                work = tmp_path / "work"
                shutil.copytree(after, work)
                if cut == 0:
                    shutil.copy(before / logs[1].name, work / logs[1].name)
                with (work / logs[cut].name).open("r+b") as file:
                    file.truncate(end)
                found, _ = filled.read(work / "shelf.db")
                # The first copy is written first: once it is whole, the new stands.
                assert found == new if cut == 1 or end == ends[0] else found in (old, new)
                shutil.rmtree(work)


def test_that_a_commit_that_reached_one_copy_alone_is_carried_on_by_the_next(
    shelf: database.Shelf, home: Path
) -> None:
    """So it is after the disk became full between the two."""
    filled.fill(shelf, 4)
    older = home / "older.db"
    shelf.db.execute("VACUUM mirror INTO ?", (str(older),))
    favourites.remove_folder(shelf, "Folder 1")
    favourites.add(shelf, filled.hit("late"), "Late", thumbnail=b"x")
    shelf.db.execute("ATTACH DATABASE ? AS older", (str(older),))
    shelf.db.execute("PRAGMA foreign_keys = OFF")
    for table in _TABLES:
        shelf.db.execute(f"DELETE FROM mirror.{table}")
        shelf.db.execute(f"INSERT INTO mirror.{table} SELECT * FROM older.{table}")
    shelf.db.execute("DETACH DATABASE older")
    shelf.db.execute("PRAGMA foreign_keys = ON")
    assert not copies.are_alike(shelf.db.conn)
    filled.thumb(shelf, "case-3")
    for table in _TABLES:
        ours, theirs = (
            sorted(shelf.db.execute(f"SELECT * FROM {copy}.{table}").fetchall(), key=repr)
            for copy in ("main", "mirror")
        )
        assert ours == theirs, table


def test_that_a_refused_block_leaves_both_copies_as_they_were(shelf: database.Shelf) -> None:
    filled.fill(shelf, 2)
    before = filled.content(shelf)
    with pytest.raises(errors.FolderNameError):
        favourites.create_folder(shelf, "Folder 0")

    def half() -> None:
        with shelf.transaction() as db:
            db["folders"].insert({"name": "half", "created": ""})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert filled.content(shelf) == before
    filled.thumb(shelf, "case-1")
    counted = shelf.db.execute("SELECT count(*) FROM mirror.folders").fetchone()[0]
    assert counted == len(before["folders"])


def test_that_a_write_reaches_the_disk_in_both_copies_before_it_is_acknowledged(
    shelf: database.Shelf,
) -> None:
    found = [
        shelf.db.execute(f"PRAGMA {copy}.{name}").fetchone()[0]
        for copy in ("main", "mirror")
        for name in ("journal_mode", "synchronous", "secure_delete")
    ]
    assert found == ["wal", 2, 1] * 2


def test_that_a_thumb_costs_little_of_the_processor(shelf: database.Shelf) -> None:
    filled.fill(shelf, 30)
    costs = []
    for number in range(20):
        begun = time.thread_time()
        filled.thumb(shelf, f"case-{number}")
        costs.append(time.thread_time() - begun)
    assert sorted(costs)[len(costs) // 2] < 0.05


def test_that_another_reader_of_the_file_sees_what_is_kept(
    shelf: database.Shelf, home: Path
) -> None:
    filled.fill(shelf, 1)
    uri = f"{(home / 'shelf.db').as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as other:
        assert other.execute("SELECT case_id FROM favourites").fetchall() == [("case-0",)]
