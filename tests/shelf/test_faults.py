"""Faults of the machine: a full disk, a drive that is read-only, shared or gone, and clocks."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from shelf import filled

from medsearch_desktop import errors
from medsearch_desktop.shelf import connections, database, favourites, verdicts

_SIZES_KB = (400, 500, 600, 700, 850, 1024, 1200, 1500, 2200, 3000, 4500, 6000)
_CAN_MOUNT = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("mount") is not None


@contextlib.contextmanager
def _mounted(folder: Path, *how: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *how, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(not _CAN_MOUNT, reason="mounts a small disk, for which it must be root")
@pytest.mark.parametrize("size_kb", _SIZES_KB if os.environ.get("MEDSEARCH_TRIAL") else (500, 1500))
def test_that_a_full_disk_loses_nothing_and_writing_goes_on_when_there_is_room(
    tmp_path: Path, size_kb: int
) -> None:
    with _mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs") as disk:
        path, ballast = disk / "shelf.db", disk / "ballast"
        ballast.write_bytes(b"x" * (size_kb * 500))
        shelf = database.open_shelf(path)
        kept: list[str] = []
        for _ in range(3):
            with pytest.raises(errors.ShelfError, match=r"full|disk"):
                _keep_more(shelf, kept)
        with contextlib.suppress(errors.ShelfError):
            shelf.back_up()
        _holds(shelf, kept)
        shelf.close()
        # Opened on the full disk: at least to look at.
        shelf = database.open_shelf(path)
        _holds(shelf, kept)
        shelf.close()
        ballast.unlink()
        shelf = database.open_shelf(path)
        _holds(shelf, kept)
        filled.thumb(shelf, "afterwards")
        assert not shelf.is_read_only
        shelf.close()


def _keep_more(shelf: database.Shelf, kept: list[str]) -> None:
    """Keep cases until the shelf refuses, and note those that it acknowledged."""
    while True:
        name = f"{len(kept)}"
        favourites.add(shelf, filled.hit(name), "A", thumbnail=b"x" * 4000)
        filled.thumb(shelf, name)
        kept.append(name)


def _holds(shelf: database.Shelf, kept: list[str]) -> None:
    found = {one.case_id for one in favourites.listed(shelf)}
    thumbs = verdicts.standing(shelf, filled.question("w").fingerprint())
    assert set(kept) <= found
    assert {(filled.COLLECTION, name) for name in kept} <= set(thumbs)


@pytest.mark.skipif(not _CAN_MOUNT, reason="mounts a small disk, for which it must be root")
def test_that_the_same_open_shelf_goes_on_after_space_is_freed(tmp_path: Path) -> None:
    with _mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=600k", "tmpfs") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 200_000)
        shelf = database.open_shelf(disk / "shelf.db")
        kept: list[str] = []
        with pytest.raises(errors.ShelfError, match="full"):
            _keep_more(shelf, kept)
        ballast.unlink()
        favourites.add(shelf, filled.hit("after"), "A", thumbnail=b"x" * 4000)
        filled.thumb(shelf, "after")
        _holds(shelf, [*kept, "after"])
        shelf.close()
        found, notices = filled.read(disk / "shelf.db")
        assert "after" in {one.case_id for one in found["favourites"]}
        assert notices == ()


def test_that_where_no_shared_memory_can_be_a_journal_is_used_and_told(home: Path) -> None:
    path = home / "shelf.db"
    (home / "shelf.db-shm").mkdir()
    (home / "shelf-mirror.db-shm").mkdir()
    with contextlib.closing(database.open_shelf(path)) as shelf:
        assert ["network drive" in notice for notice in shelf.notices] == [True]
        modes = [
            shelf.db.execute(f"PRAGMA {copy}.{name}").fetchone()[0]
            for copy in ("main", "mirror")
            for name in ("journal_mode", "synchronous", "locking_mode")
        ]
        assert modes == ["delete", 3, "normal"] * 2
        filled.fill(shelf, 3)
        expected = filled.content(shelf)
    found, notices = filled.read(path)
    assert found == expected
    assert ["network drive" in notice for notice in notices] == [True]


def test_that_a_shelf_moved_to_a_place_without_shared_memory_keeps_what_its_log_held(
    home: Path, tmp_path: Path
) -> None:
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        filled.fill(shelf, 3)
        expected = filled.content(shelf)
        shutil.copytree(home, tmp_path / "share", ignore=shutil.ignore_patterns("*-shm"))
    for name in ("shelf.db-shm", "shelf-mirror.db-shm"):
        (tmp_path / "share" / name).mkdir()
    found, notices = filled.read(tmp_path / "share" / "shelf.db")
    assert found == expected
    assert len(notices) == 1


def test_that_a_file_system_that_refuses_logs_gets_a_journal(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(sqlite3.Connection):
        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:  # type: ignore[override]
            if statement.endswith("journal_mode = WAL"):
                statement = statement.replace("= WAL", "")
            return super().execute(statement, *values)

    connect = sqlite3.connect
    monkeypatch.setattr(
        connections.sqlite3, "connect", lambda *a, **k: connect(*a, factory=Refusing, **k)
    )
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        assert ["network drive" in notice for notice in shelf.notices] == [True]
        filled.thumb(shelf, "a")


@pytest.mark.skipif(not _CAN_MOUNT, reason="mounts the folder read-only, for which it must be root")
@pytest.mark.parametrize("is_killed", [False, True])
def test_that_a_folder_mounted_read_only_can_be_looked_at(
    home: Path, tmp_path: Path, is_killed: bool
) -> None:
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        filled.fill(shelf, 4)
        expected = filled.content(shelf)
        if is_killed:
            shutil.copytree(home, tmp_path / "source")
    if not is_killed:
        shutil.copytree(home, tmp_path / "source")
    (tmp_path / "seen").mkdir()
    before = {p.name: p.read_bytes() for p in (tmp_path / "source").iterdir()}
    with _mounted(tmp_path / "seen", "--bind", str(tmp_path / "source")) as seen:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(seen)], check=True)
        with contextlib.closing(database.open_shelf(seen / "shelf.db")) as shelf:
            _can_only_be_looked_at(shelf, expected)
    assert {p.name: p.read_bytes() for p in (tmp_path / "source").iterdir()} == before


def test_that_a_file_without_the_right_to_write_can_be_looked_at(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everything, so the refusal of the system is played."""
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        filled.fill(shelf, 2)
        expected = filled.content(shelf)
    (home / "shelf.db").chmod(0o400)
    really = os.open

    def refusing(path: object, flags: int, *rest: object, **more: object) -> int:
        if str(path).endswith("shelf.db") and flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return really(path, flags, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        _can_only_be_looked_at(shelf, expected)


def _can_only_be_looked_at(shelf: database.Shelf, expected: dict) -> None:
    assert filled.content(shelf) == expected
    assert ["nothing is added" in notice for notice in shelf.notices] == [True]
    with pytest.raises(errors.ShelfError, match="nothing is added"):
        filled.thumb(shelf, "new")
    assert shelf.back_up() is None


def test_that_files_removed_while_they_were_open_take_no_more_writes(home: Path) -> None:
    shelf = database.open_shelf(home / "shelf.db")
    filled.thumb(shelf, "before")
    shutil.rmtree(home)
    assert shelf.is_moved
    with pytest.raises(errors.ShelfError, match="moved or removed"):
        filled.thumb(shelf, "after")
    shelf.close()
    assert not home.exists()


def test_that_a_shelf_held_for_writing_can_be_opened_and_read(home: Path) -> None:
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        filled.fill(shelf, 2)
        expected = filled.content(shelf)
    with contextlib.closing(sqlite3.connect(home / "shelf.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert filled.read(home / "shelf.db") == (expected, ())


def test_that_a_clock_set_back_changes_no_order(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([f"20{year}-01-01T00:00:00Z" for year in range(60, 20, -1)])
    monkeypatch.setattr(database, "now", lambda: next(times))
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        for name in ("first", "second", "third"):
            favourites.add(shelf, filled.hit(name), "A", thumbnail=b"")
        filled.thumb(shelf, "a", 1)
        filled.thumb(shelf, "b", 1)
        filled.thumb(shelf, "a", -1)
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        listed = favourites.listed(shelf)
        standing = verdicts.standing(shelf, filled.question("w").fingerprint())
    assert [one.case_id for one in listed] == ["third", "second", "first"]
    assert sorted((one.kept for one in listed), reverse=True) != [one.kept for one in listed]
    assert list(standing.items()) == [
        ((filled.COLLECTION, "b"), 1),
        ((filled.COLLECTION, "a"), -1),
    ]


_WRITER = """
import sys
from shelf import filled
from medsearch_desktop.shelf import database
shelf = database.open_shelf(sys.argv[1])
for number in range(60):
    filled.thumb(shelf, f"{sys.argv[2]}-{number}")
assert shelf.notices == (), shelf.notices
shelf.close()
"""


def test_that_two_programs_that_write_at_once_lose_nothing(home: Path) -> None:
    path = str(home / "shelf.db")
    database.open_shelf(path).close()
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, path, name]) for name in ("a", "b", "c")
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found, notices = filled.read(Path(path))
    names = {row[2] for row in found["verdicts"]}
    assert names == {f"{name}-{number}" for name in "abc" for number in range(60)}
    assert notices == ()
