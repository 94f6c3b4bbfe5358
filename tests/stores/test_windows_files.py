"""Our stores on files as Windows keeps them, and naive programs that the same layer catches."""

from __future__ import annotations

import csv
import itertools
import logging
import mmap
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import phantoms
import pytest
import toy_collection
import toy_encoder
from stores import checks, ledger, windows_files

from indexer import cli
from medsearch_desktop import errors, logs, settings
from medsearch_desktop.engine import collection
from medsearch_desktop.shelf import database

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is in use is read from /proc")


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files behave as on Windows."""
    # The engine's libraries look at the system when they are imported.
    toy_collection.write(tmp_path / "imported", range(1))
    root = tmp_path / "drive"
    root.mkdir()
    with windows_files.as_on_windows(root, monkeypatch):
        yield root


# What the layer refuses.


def test_that_an_open_file_is_neither_deleted_nor_renamed_nor_replaced(drive: Path) -> None:
    path, other = drive / "a", drive / "b"
    other.write_bytes(b"")
    with path.open("wb"):
        for call in (
            path.unlink,
            lambda: os.rename(path, drive / "c"),
            lambda: os.replace(other, path),
            lambda: shutil.rmtree(drive),
        ):
            with pytest.raises(PermissionError) as caught:
                call()
            assert caught.value.winerror == 32
    path.unlink()


def test_that_a_mapped_file_and_a_database_are_in_use(drive: Path) -> None:
    np.save(drive / "a.npy", np.arange(1000))
    array = np.load(drive / "a.npy", mmap_mode="r")
    database_file = sqlite3.connect(drive / "b.db")
    for path in (drive / "a.npy", drive / "b.db"):
        with pytest.raises(PermissionError):
            path.unlink()
    database_file.close()
    assert isinstance(array._mmap, mmap.mmap)
    del array
    (drive / "a.npy").unlink()
    (drive / "b.db").unlink()


def test_that_a_folder_with_an_open_file_is_not_renamed(drive: Path) -> None:
    (drive / "folder").mkdir()
    with (drive / "folder" / "a").open("wb"), pytest.raises(PermissionError):
        os.rename(drive / "folder", drive / "other")
    os.rename(drive / "folder", drive / "other")


def test_that_a_rename_does_not_replace(drive: Path) -> None:
    (drive / "a").write_bytes(b"a")
    (drive / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        os.rename(drive / "a", drive / "b")


def test_that_names_that_differ_by_case_are_one(drive: Path) -> None:
    (drive / "Report.txt").write_bytes(b"one")
    (drive / "REPORT.TXT").write_bytes(b"two")
    assert [path.name for path in drive.iterdir()] == ["Report.txt"]
    assert (drive / "report.txt").read_bytes() == b"two"
    assert (drive / "rePort.txt").exists()


def test_that_a_path_ends_at_260_characters(drive: Path) -> None:
    room = 259 - len(windows_files.PRETENDED) - 1
    (drive / ("a" * room)).write_bytes(b"")
    with pytest.raises(FileNotFoundError):
        (drive / ("a" * (room + 1))).write_bytes(b"")


def test_that_text_without_an_encoding_is_cp1252(drive: Path) -> None:
    (drive / "a.txt").write_text("Größe")
    assert (drive / "a.txt").read_bytes() == "Größe".encode("cp1252")
    with pytest.raises(UnicodeEncodeError):
        (drive / "b.txt").write_text("日本")
    with os.fdopen(os.open(drive / "c.txt", os.O_WRONLY | os.O_CREAT), "w") as file:
        assert file.encoding == "cp1252"


@pytest.mark.parametrize("name", ["CON", "nul", "aux.txt", "a.", "a ", "a:b", "a?b", "com1.csv"])
def test_that_reserved_names_are_refused(drive: Path, name: str) -> None:
    with pytest.raises(OSError, match="is incorrect"):
        (drive / name).write_bytes(b"")


def test_that_a_folder_is_not_opened_and_what_is_read_not_synced(drive: Path) -> None:
    with pytest.raises(PermissionError):
        os.open(drive, os.O_RDONLY)
    (drive / "a").write_bytes(b"")
    with (drive / "a").open("rb") as file, pytest.raises(OSError, match="Bad file"):
        os.fsync(file.fileno())


# What our stores make of it.


def test_that_a_shelf_lives_on_such_files(drive: Path) -> None:
    done = list(itertools.islice(ledger.deeds(5), 60))
    for start in range(0, 60, 20):
        shelf = database.open_shelf(drive / "Ärztin" / "shelf.db")
        for deed in done[start : start + 20]:
            ledger.do(shelf, deed)
        shelf.close()
    assert checks.shelf_lost(drive / "Ärztin", done) == []


def test_that_a_damaged_shelf_is_repaired_on_such_files(drive: Path) -> None:
    done = list(itertools.islice(ledger.deeds(6), 30))
    shelf = database.open_shelf(drive / "shelf.db")
    for deed in done:
        ledger.do(shelf, deed)
    shelf.close()
    content = bytearray((drive / "shelf.db").read_bytes())
    content[len(content) // 2 :: 97] = bytes(len(content[len(content) // 2 :: 97]))
    (drive / "shelf.db").write_bytes(content)
    assert checks.shelf_lost(drive, done) == []


def test_that_a_generation_in_use_stays_and_goes_later(drive: Path) -> None:
    path = drive / "Lunge & Herz"
    toy_collection.write(path, range(5))
    reader = collection.open_collection(path)
    for first in (5, 8, 11):
        toy_collection.write(path, range(first, first + 3))
        assert checks.whole(path) == first + 3
        assert len(reader.matching("square", 50)) == 5
    # The reader's words are still there, what nobody reads is gone.
    assert (path / "words" / "1").exists()
    reader.close()
    for first in (14, 17):
        toy_collection.write(path, range(first, first + 3))
    assert sorted(int(p.name) for p in (path / "words").iterdir()) == [5, 6]
    assert checks.whole(path) == 20


def test_that_a_build_broken_off_goes_on_or_is_dropped_on_such_files(drive: Path) -> None:
    card = toy_encoder.ToyEncoder().card
    path = drive / "c"
    toy_collection.write(path, range(3))
    for resume in (False, True, False):
        with collection.CollectionWriter(path, name="", card=card, resume=resume) as writer:
            toy_collection.add(writer, range(3 + writer.resumed, 9))
            writer.checkpoint()
    with collection.CollectionWriter(path, name="", card=card, resume=True) as writer:
        assert writer.resumed == 6
        with pytest.raises(errors.CollectionBusyError):
            collection.CollectionWriter(path, name="", card=card)
        writer.commit()
    assert checks.whole(path) == 9


def test_that_a_damaged_collection_goes_back_on_such_files(drive: Path) -> None:
    from medsearch_desktop.engine import generations

    path = drive / "c"
    toy_collection.write(path, range(5))
    toy_collection.write(path, range(5, 9))
    content = bytearray((path / "segments" / "0002" / "cases.db").read_bytes())
    content[5000] ^= 1
    (path / "segments" / "0002" / "cases.db").write_bytes(content)
    with collection.open_collection(path) as opened:
        assert opened.notice
        assert opened.manifest.counts.cases == 5
    generations.go_back(path)
    assert checks.whole(path) == 5


def test_that_the_choice_of_collections_keeps_names_of_any_script(drive: Path) -> None:
    from medsearch_desktop.gui import collection_list

    choice = collection_list.Choice(("/Sammlung/日本", "/Sammlung/Größe"), ("/Sammlung/日本",))
    for _ in range(2):
        collection_list.save_choice(drive / "choice.json", choice)
    assert collection_list.load_choice(drive / "choice.json") == choice


def test_that_a_pasted_picture_is_kept_once(drive: Path) -> None:
    from PySide6 import QtGui

    from medsearch_desktop.gui import drops

    picture = QtGui.QImage(40, 30, QtGui.QImage.Format.Format_RGB888)
    picture.fill(0x336699)
    kept = drops.keep_picture(picture, drive)
    assert drops.keep_picture(picture, drive) == kept
    assert [path.name for path in drive.iterdir()] == [kept.name]


def test_that_settings_are_read_as_utf_8(drive: Path) -> None:
    (drive / "settings.toml").write_text("# größer\n[search]\nlimit = 30\n", "utf-8")
    assert settings.load(drive / "settings.toml")[0].search.limit == 30


def test_that_a_log_which_another_program_reads_goes_on(
    drive: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("medsearch_desktop.stores")
    logs.start(drive / "logs", "window")
    try:
        log.info("first 日本")
        with (drive / "logs" / "window.log").open("rb"):
            for number in range(1300):
                log.info("line %d %s", number, "word " * 200)
        log.info("last")
    finally:
        logs.stop()
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert "last" in (drive / "logs" / "window.log").read_text("utf-8")


def test_that_the_indexer_builds_with_names_of_any_script_and_lists_what_it_skipped(
    drive: Path, home: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    for colour in ("red", "blue"):
        phantoms.write_picture(source / f"{colour} 日本.png", toy_collection.picture(colour))
    (source / "kaputt ğ.png").write_bytes(b"no picture")
    out = drive / "Größe"
    words = ["build", source, "--out", out, "--encoder", toy_encoder.NAME, "--quiet"]
    assert cli.main([str(word) for word in words]) == 3
    with (out / "skipped.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert [Path(line[0]).name for line in lines[1:]] == ["kaputt ğ.png"]
    assert collection.verify(out) == []
    with collection.open_collection(out) as opened:
        assert opened.manifest.counts.cases == 2
