"""The shelf's thread: what cannot be written now waits in its order and is written later."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from shelf import filled

from medsearch_desktop import errors
from medsearch_desktop.gui import keeping
from medsearch_desktop.shelf import connections, database, favourites, places, verdicts

_PATIENCE_MS = 20_000


class _Reader:
    """Keeps cases and notes what comes back."""

    def __init__(self, home: Path, bot: object) -> None:
        self.shelf = keeping.Keeping(home / "shelf.db", home / "scratch")
        self.bot = bot
        self.acknowledged: list[object] = []
        self.failures: list[BaseException] = []
        self.notices: list[str] = []
        self.shelf.failed.connect(self.failures.append)
        self.shelf.noticed.connect(self.notices.append)

    def thumb(self, name: str, value: int = 1) -> None:
        self.shelf.keep(
            lambda shelf: filled.thumb(shelf, name, value),
            lambda _: self.acknowledged.append((name, value)),
        )

    def wait(self, count: int) -> None:
        self.bot.waitUntil(lambda: len(self.acknowledged) >= count, timeout=_PATIENCE_MS)

    def wait_for_failure(self) -> None:
        self.bot.waitUntil(lambda: bool(self.failures), timeout=_PATIENCE_MS)


@pytest.fixture
def reader(home: Path, qtbot: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Reader]:
    monkeypatch.setattr(keeping, "_RETRY_MS", 100)
    monkeypatch.setattr(connections, "_BUSY_TIMEOUT_MS", 200)
    made = _Reader(home, qtbot)
    yield made
    made.shelf.close()


def _rows(home: Path) -> list[tuple[str, int]]:
    with contextlib.closing(sqlite3.connect(home / "shelf.db")) as db:
        return db.execute("SELECT case_id, thumb FROM verdicts ORDER BY id").fetchall()


def test_that_what_is_done_while_another_program_holds_the_shelf_is_written_in_order_later(
    reader: _Reader, home: Path
) -> None:
    reader.thumb("first")
    reader.wait(1)
    with contextlib.closing(sqlite3.connect(home / "shelf.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        for name, value in (("a", 1), ("b", 1), ("a", -1)):
            reader.thumb(name, value)
        reader.wait_for_failure()
        # What was kept can be looked at meanwhile.
        seen: list[object] = []
        reader.shelf.run(lambda shelf: filled.content(shelf)["verdicts"], seen.append)
        reader.bot.waitUntil(lambda: bool(seen), timeout=_PATIENCE_MS)
        assert len(seen[0]) == 1
        assert len(reader.acknowledged) == 1
        other.rollback()
    reader.wait(4)
    reader.bot.waitUntil(lambda: bool(reader.notices), timeout=_PATIENCE_MS)
    assert _rows(home) == [("first", 1), ("a", 1), ("b", 1), ("a", -1)]
    # One sentence for all that waited, and one when it was written.
    assert len(reader.failures) == 1
    assert "another program is writing" in str(reader.failures[0])
    assert "written as soon as that is over" in str(reader.failures[0])
    assert len(reader.notices) == 1


def test_that_the_window_does_not_stand_still_while_a_thumb_waits(
    reader: _Reader, home: Path
) -> None:
    reader.thumb("first")
    reader.wait(1)
    with contextlib.closing(sqlite3.connect(home / "shelf.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.thread_time()
        for number in range(50):
            reader.thumb(f"{number}")
        assert time.thread_time() - begun < 0.2
        reader.wait_for_failure()
        assert reader.shelf.thread() is not None
        other.rollback()
    reader.wait(51)


def test_that_a_shelf_that_cannot_be_opened_yet_is_opened_when_it_can(
    reader: _Reader, home: Path
) -> None:
    database.open_shelf(home / "shelf.db").close()
    with contextlib.closing(sqlite3.connect(home / "shelf.db")) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        reader.thumb("a")
        reader.wait_for_failure()
        other.rollback()
    reader.wait(1)
    assert _rows(home) == [("a", 1)]


def test_that_a_drive_that_comes_back_takes_what_waited(
    reader: _Reader, home: Path, tmp_path: Path
) -> None:
    reader.thumb("before")
    reader.wait(1)
    shutil.copytree(home, tmp_path / "drive")
    shutil.rmtree(home)
    reader.thumb("after")
    reader.wait_for_failure()
    assert "gone" in str(reader.failures[0])
    assert not home.exists()
    shutil.move(tmp_path / "drive", home)
    reader.wait(2)
    assert _rows(home) == [("before", 1), ("after", 1)]


def test_that_closing_writes_what_waits_when_it_can_be_written(reader: _Reader, home: Path) -> None:
    reader.thumb("first")
    reader.wait(1)
    other = sqlite3.connect(home / "shelf.db")
    other.execute("BEGIN IMMEDIATE")
    reader.thumb("late")
    reader.wait_for_failure()
    other.rollback()
    other.close()
    reader.shelf.close()
    assert _rows(home) == [("first", 1), ("late", 1)]


def test_that_a_name_that_is_taken_is_told_and_does_not_wait(reader: _Reader) -> None:
    for _ in range(2):
        reader.shelf.keep(lambda shelf: favourites.create_folder(shelf, "A"))
    reader.wait_for_failure()
    assert isinstance(reader.failures[0], errors.FolderNameError)
    reader.thumb("a")
    reader.wait(1)


def test_that_damage_found_at_opening_is_told_once(reader: _Reader, home: Path) -> None:
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        filled.thumb(shelf, "kept")
    (home / "shelf.db").write_bytes(b"damaged" * 2000)
    seen: list[object] = []
    name = filled.question("w").fingerprint()
    reader.shelf.run(lambda shelf: verdicts.standing(shelf, name), seen.append)
    reader.bot.waitUntil(lambda: bool(seen and reader.notices), timeout=_PATIENCE_MS)
    assert seen == [{(filled.COLLECTION, "kept"): 1}]
    assert len(reader.notices) == 1
    assert "damaged" in reader.notices[0]


def test_that_a_backup_is_written_when_the_program_ends(reader: _Reader, home: Path) -> None:
    reader.thumb("a")
    reader.wait(1)
    assert not (home / "backups").exists()
    reader.shelf.close()
    assert len(list((home / "backups").iterdir())) == 1
    assert (home / "shelf.seal").exists()


def test_that_a_folder_that_becomes_writable_takes_what_waited_and_is_spoken_of_once(
    reader: _Reader, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everything, so the refusal of the system is played."""
    database.open_shelf(home / "shelf.db").close()
    tries: list[Path] = []

    def refusing(path: Path) -> None:
        tries.append(path)
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(places, "made_private", refusing)
        reader.thumb("a")
        reader.bot.waitUntil(lambda: len(tries) > 3, timeout=_PATIENCE_MS)
        assert ["nothing is added" in notice for notice in reader.notices] == [True]
        assert len(reader.failures) == 1
    reader.wait(1)
    assert _rows(home) == [("a", 1)]


def test_that_damage_met_while_the_shelf_is_open_is_mended_and_the_call_repeated(
    reader: _Reader, home: Path
) -> None:
    reader.thumb("case-1")
    reader.wait(1)
    with contextlib.closing(sqlite3.connect(home / "shelf.db")) as db:
        db.execute("DELETE FROM state")
        db.commit()
    reader.thumb("case-2")
    reader.wait(2)
    assert len(_rows(home)) == 2
    assert reader.failures == []
    assert "shelf.db was damaged" in reader.notices[0]
