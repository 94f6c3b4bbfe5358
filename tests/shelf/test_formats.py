"""Older formats of the shelf, from kept samples: brought forward whole, or left as they were."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from shelf import filled, write_samples
from sqlite_utils import Database

from medsearch_desktop import errors, queries
from medsearch_desktop.shelf import (
    database,
    favourites,
    formats,
    history,
    places,
    soundness,
    verdicts,
)

_NEWEST = len(formats.MIGRATIONS)
_SAMPLES = range(1, _NEWEST + 1)


def _restored(version: int, path: Path) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript((write_samples.SAMPLES / f"shelf-{version}.sql").read_text("utf-8"))
    return path


def _holds_the_sample(shelf: database.Shelf, version: int) -> None:
    asked = queries.Query((queries.TextTerm("effusion"),))
    kept = favourites.listed(shelf, "Für Lehre")
    assert [(one.case_id, one.note) for one in kept] == [("case-2", ""), ("case-1", "mine")]
    assert {one.thumbnail for one in kept} == {b"\x00\xffpicture"}
    thumbs = {("/c", "case-1"): 1} if version >= 2 else {}
    assert verdicts.standing(shelf, asked.fingerprint()) == thumbs
    assert verdicts.question(shelf, asked.fingerprint()) == (asked if version >= 2 else None)
    assert history.recent(shelf) == ([asked] if version >= 3 else [])
    assert [one.name for one in history.saved(shelf)] == (["Effusions"] if version >= 3 else [])


def test_that_there_is_a_sample_of_each_format() -> None:
    names = sorted(path.name for path in write_samples.SAMPLES.iterdir())
    assert names == [f"shelf-{version}.sql" for version in _SAMPLES]


@pytest.mark.parametrize("version", _SAMPLES)
def test_that_a_sample_of_each_format_is_brought_forward_and_doubled(
    home: Path, version: int
) -> None:
    path = _restored(version, home / "shelf.db")
    for _ in range(2):
        with contextlib.closing(database.open_shelf(path)) as shelf:
            _holds_the_sample(shelf, version)
            assert formats.version_of(shelf.db.conn) == _NEWEST
            is_newest_without_its_mirror = version == _NEWEST and not (home / "shelf.seal").exists()
            assert len(shelf.notices) == int(is_newest_without_its_mirror)
    for copy in (path, home / "shelf-mirror.db"):
        found = soundness.inspect(copy)
        assert found.is_sound, found
        assert found.format == _NEWEST


def test_that_each_step_gives_the_tables_that_a_new_shelf_has(home: Path) -> None:
    with contextlib.closing(database.open_shelf(home / "new.db")) as shelf:
        expected = _tables(shelf.db.conn)
    for version in _SAMPLES:
        path = _restored(version, home / f"{version}.db")
        with contextlib.closing(database.open_shelf(path)) as shelf:
            assert _tables(shelf.db.conn) == expected


def _tables(db: sqlite3.Connection) -> list[tuple[str, list[tuple[str, str]]]]:
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        (name, [(row[1], row[2]) for row in db.execute(f"PRAGMA table_info({name})")])
        for name in sorted(names)
    ]


@pytest.mark.parametrize("version", range(1, _NEWEST))
def test_that_a_kill_at_any_statement_of_a_migration_leaves_the_old_or_the_new(
    home: Path, tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _restored(version, tmp_path / "shelf.db")
    snapshots: list[Path] = []
    migrate = formats.migrate

    def watched(db: Database) -> None:
        def snap(_: str) -> None:
            snapshots.append(tmp_path / f"{len(snapshots)}")
            shutil.copytree(home, snapshots[-1])

        db.conn.set_trace_callback(snap)
        migrate(db)
        db.conn.set_trace_callback(None)

    shutil.copy(path, home / "shelf.db")
    with monkeypatch.context() as patched:
        patched.setattr(formats, "migrate", watched)
        database.open_shelf(home / "shelf.db").close()
    assert len(snapshots) > 30
    for snapshot in snapshots[::4]:
        found = soundness.inspect(snapshot / "shelf.db")
        assert found.is_sound
        assert version <= found.format <= _NEWEST
        with contextlib.closing(database.open_shelf(snapshot / "shelf.db")) as shelf:
            _holds_the_sample(shelf, version)


def test_that_a_newer_shelf_is_refused_read_only_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(database.open_shelf(home / "shelf.db")) as shelf:
        filled.fill(shelf, 1)
    for copy in (home / "shelf.db", home / "shelf-mirror.db"):
        with contextlib.closing(sqlite3.connect(copy)) as db:
            db.execute(f"PRAGMA user_version = {_NEWEST + 20}")
    with pytest.raises(errors.ShelfError, match="newer version"):
        database.open_shelf(home / "shelf.db")

    def refusing(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(places, "made_private", refusing)
    with pytest.raises(errors.ShelfError, match="newer version"):
        database.open_shelf(home / "shelf.db")


def test_that_an_older_shelf_that_is_damaged_is_refused_and_left_alone(home: Path) -> None:
    """It has no second copy yet."""
    path = _restored(3, home / "shelf.db")
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(errors.ShelfError, match="damaged"):
        database.open_shelf(path)
    assert path.read_bytes() == content
