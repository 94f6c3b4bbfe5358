"""Locks, clocks, pulled drives, read-only folders and old formats: a sentence, and no loss."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import phantoms
import pytest
import toy_collection
import toy_encoder
from stores import checks, ledger, mounts

from medsearch_desktop import errors, queries, settings
from medsearch_desktop.engine import collection
from medsearch_desktop.imaging import isolated, study
from medsearch_desktop.shelf import database, favourites, history
from medsearch_desktop.worker import client, messages

SAMPLES = Path(__file__).with_name("samples")
LOCKED_S = 30.0 if checks.IS_TRIAL else 1.0
_PATIENCE_S = 60.0

# A program that holds the lock of a shelf until it is told to let go.
_HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
held.execute("ROLLBACK")
held.close()
print("free", flush=True)
"""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Callable[[], None]]:
    """Let another process hold the shelf's lock; the value lets it go."""
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"

    def let_go() -> None:
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "free\n"

    try:
        yield let_go
    finally:
        other.stdin.close()
        other.wait()
        other.stdout.close()


def kept_shelf(folder: Path, count: int = 20) -> list[ledger.Deed]:
    """Make a shelf with some deeds done and close it; return the deeds."""
    done = list(itertools.islice(ledger.deeds(9), count))
    with contextlib.closing(database.open_shelf(folder / "shelf.db")) as shelf:
        for deed in done:
            ledger.do(shelf, deed)
    return done


def test_that_a_locked_shelf_refuses_with_a_sentence_reads_on_and_goes_on_later(
    tmp_path: Path,
) -> None:
    done = kept_shelf(tmp_path)
    star = ["star", 90, "Favourites", 1]
    with contextlib.closing(database.open_shelf(tmp_path / "shelf.db")) as shelf:
        if not checks.IS_TRIAL:
            shelf.db.execute("PRAGMA busy_timeout = 100")
        refused, began = 0, time.monotonic()
        with locked(tmp_path / "shelf.db") as let_go:
            while time.monotonic() - began < LOCKED_S:
                with pytest.raises(errors.ShelfError, match="another program"):
                    ledger.do(shelf, star)
                refused += 1
                assert ledger.lost(shelf, done) == []
            let_go()
            ledger.do(shelf, star)
        assert ledger.lost(shelf, [*done, star]) == []
    checks.table(
        "A lock held by another process",
        [("held", "refused with a sentence", "lost"), (f"{LOCKED_S:.0f} s", str(refused), "0")],
    )


def test_that_a_shelf_that_is_locked_at_the_start_is_opened_or_refused_with_a_sentence(
    tmp_path: Path,
) -> None:
    done = kept_shelf(tmp_path)
    with locked(tmp_path / "shelf.db") as let_go:
        with contextlib.suppress(errors.ShelfError):
            database.open_shelf(tmp_path / "shelf.db").close()
        let_go()
    assert checks.shelf_lost(tmp_path, done) == []


def test_that_a_clock_set_back_changes_no_order_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = kept_shelf(tmp_path)
    monkeypatch.setattr(database, "now", lambda: "1999-12-31T23:59:59Z")
    with contextlib.closing(database.open_shelf(tmp_path / "shelf.db")) as shelf:
        later = [
            ["star", 91, "Favourites", 1],
            ["thumb", "question 1", 4, -1],
            ["thumb", "question 1", 4, 1],
            ["ask", "question 7"],
        ]
        for deed in later:
            ledger.do(shelf, deed)
        assert ledger.lost(shelf, [*done, *later]) == []
        assert favourites.listed(shelf)[0].case_id == "case-91"
        assert history.recent(shelf)[0] == ledger.question("question 7")
    assert checks.shelf_lost(tmp_path, [*done, *later]) == []


def test_that_files_of_tomorrow_hide_no_newer_generation(tmp_path: Path) -> None:
    path = tmp_path / "c"
    toy_collection.write(path, range(5))
    tomorrow = time.time() + 86_400
    for file in path.rglob("*"):
        os.utime(file, (tomorrow, tomorrow))
    with collection.open_collection(path) as reader:
        toy_collection.write(path, range(5, 8))
        assert not reader.is_current()
    assert checks.whole(path) == 8


class Window:
    """The window's end of a search process."""

    def __init__(self, home: Path) -> None:
        self.heard: queue.Queue[messages.FromWorker] = queue.Queue()
        self.losses = 0
        self.client = client.WorkerClient(home, self.heard.put, on_lost=self._lost)

    def _lost(self) -> None:
        self.losses += 1

    def ask(self, ticket: int, path: Path, words: str = "red") -> messages.FromWorker:
        """Ask and return the complete answer or the failure."""
        asked = queries.Query(terms=(queries.TextTerm(words),), collections=(str(path),))
        self.client.send(messages.Search(ticket, asked))
        while True:
            told = self.heard.get(timeout=_PATIENCE_S)
            if isinstance(told, messages.Failed) and told.ticket == ticket:
                return told
            is_answer = isinstance(told, messages.Answer) and told.results.complete
            if is_answer and told.results.ticket == ticket:
                return told


@pytest.fixture
def window(home: Path) -> Iterator[Window]:
    made = Window(home)
    yield made
    made.client.close()


def is_told(answer: messages.FromWorker) -> bool:
    """Tell whether a question was answered, or failed with a sentence."""
    if isinstance(answer, messages.Failed):
        return isinstance(answer.error, errors.MedsearchError) and bool(str(answer.error))
    return isinstance(answer, messages.Answer)


@contextlib.contextmanager
def stick(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Give a drive and what pulls it: unmounted in use where root may, else removed."""
    at = tmp_path / "stick"
    if mounts.refused_tmpfs():
        at.mkdir()
        yield at, lambda: shutil.rmtree(at)
        return
    with mounts.tmpfs(at, 64 << 10):
        yield at, lambda: mounts.pull(at)


@pytest.mark.slow
def test_that_a_pulled_drive_ends_no_search_process_without_a_word(
    window: Window, tmp_path: Path
) -> None:
    with stick(tmp_path) as (at, pull):
        toy_collection.write(at / "c", range(30))
        toy_collection.write(tmp_path / "other", range(10))
        assert isinstance(window.ask(1, at / "c"), messages.Answer)
        pull()
        answer = window.ask(2, at / "c")
        assert is_told(answer)
        # And the other collections are searched as before.
        assert isinstance(window.ask(3, tmp_path / "other"), messages.Answer)
        assert window.losses == 0


@pytest.mark.slow
def test_that_a_file_cut_short_under_a_search_is_told_and_searching_goes_on(
    window: Window, tmp_path: Path
) -> None:
    """A mapped page that is gone kills its process: the window is told and goes on."""
    path = tmp_path / "c"
    toy_collection.write(path, range(2000))
    toy_collection.write(tmp_path / "other", range(10))
    assert isinstance(window.ask(1, path), messages.Answer)
    for file in path.rglob("*"):
        if file.is_file() and file.suffix in (".faiss", ".idx", ".term", ".npy"):
            os.truncate(file, 0)
    assert is_told(window.ask(2, path, "green"))
    assert isinstance(window.ask(3, tmp_path / "other"), messages.Answer)


@pytest.mark.slow
def test_that_a_study_on_a_pulled_drive_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with stick(tmp_path) as (at, pull), isolated.Readers(1) as readers:
        phantoms.write_ct_series(at / "ct", slices=12)
        opened = list(readers.open_paths([at / "ct"]))[-1]
        assert isinstance(opened, study.Study)
        series = opened.series[0]
        assert readers.load(series, indices=[0]).ready[0]
        pull()
        with pytest.raises(errors.UnreadableFileError) as caught:
            readers.load(series)
        assert str(caught.value)
        found = list(readers.open_paths([at / "ct"]))
        assert found
        assert all(isinstance(one, study.Refused) and one.reason for one in found)


def test_that_a_pulled_shelf_refuses_with_a_sentence(tmp_path: Path) -> None:
    with stick(tmp_path) as (at, pull):
        kept_shelf(at)
        shelf = database.open_shelf(at / "shelf.db")
        pull()
        for deed in (["star", 92, "Favourites", 1], ["save", "search 1", "question 1", 2]):
            with contextlib.suppress(errors.MedsearchError):
                ledger.do(shelf, deed)
        with contextlib.suppress(errors.MedsearchError):
            ledger.held(shelf)
        shelf.close()


def test_that_a_collection_in_a_read_only_folder_is_searched_and_not_written(
    window: Window, tmp_path: Path
) -> None:
    mounts.need_tmpfs()
    path = tmp_path / "c"
    toy_collection.write(path, range(12))
    with mounts.read_only(path):
        assert checks.whole(path) == 12
        assert isinstance(window.ask(1, path), messages.Answer)
        card = toy_encoder.ToyEncoder().card
        with pytest.raises(errors.CollectionError) as caught:
            collection.CollectionWriter(path, name="", card=card)
        assert str(path) in str(caught.value)
    toy_collection.write(path, range(12, 14))
    assert checks.whole(path) == 14


def test_that_the_indexer_says_in_one_sentence_that_a_folder_is_read_only(
    tmp_path: Path, home: Path
) -> None:
    mounts.need_tmpfs()
    path = tmp_path / "c"
    toy_collection.write(path, range(12))
    phantoms.write_picture(tmp_path / "in" / "a.png")
    words = ["add", path, tmp_path / "in", "--home", home, "--quiet"]
    with mounts.read_only(path):
        done = subprocess.run(
            [sys.executable, "-m", "indexer", *map(str, words)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(path) in done.stderr
    assert checks.whole(path) == 12


def test_that_a_read_only_shelf_shows_what_it_holds_or_says_why_not(tmp_path: Path) -> None:
    mounts.need_tmpfs()
    folder = tmp_path / "home"
    folder.mkdir()
    done = kept_shelf(folder)
    with mounts.read_only(folder):
        opened = database.open_shelf(folder / "shelf.db", scratch=tmp_path / "scratch")
        with contextlib.closing(opened) as shelf:
            assert ledger.lost(shelf, done) == []
            with pytest.raises(errors.ShelfError):
                ledger.do(shelf, ["star", 93, "Favourites", 1])
            with pytest.raises(errors.ShelfError):
                ledger.do(shelf, ["save", "search 9", "question 1", 1])
    assert checks.shelf_lost(folder, done) == []


def test_that_settings_and_logs_in_a_read_only_folder_stop_no_start(tmp_path: Path) -> None:
    mounts.need_tmpfs()
    from medsearch_desktop import logs

    folder = tmp_path / "home"
    folder.mkdir()
    with mounts.read_only(folder):
        logs.start(folder / "logs", "window")
        logs.stop()
        assert settings.load(folder / "settings.toml") == (settings.Settings(), ())


def test_that_a_shelf_without_shared_memory_keeps_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network share refuses the memory that a write-ahead log needs; so does this folder."""
    done = list(itertools.islice(ledger.deeds(12), 30))
    for name in ("shelf.db-shm", "shelf-mirror.db-shm"):
        (tmp_path / name).mkdir()
    for start in (0, 15):
        with contextlib.closing(database.open_shelf(tmp_path / "shelf.db")) as shelf:
            mode = shelf.db.execute("PRAGMA main.journal_mode").fetchone()[0]
            assert mode != "wal"
            assert shelf.db.execute("PRAGMA main.synchronous").fetchone()[0] >= 2
            for deed in done[start : start + 15]:
                ledger.do(shelf, deed)
    assert checks.shelf_lost(tmp_path, done) == []


# Old formats: samples that earlier versions of this program wrote, kept as they were.


def unpacked(name: str, target: Path) -> Path:
    with zipfile.ZipFile(SAMPLES / f"{name}.zip") as sample:
        sample.extractall(target)
    return target


def test_that_a_collection_of_format_1_is_opened_and_added_to(tmp_path: Path) -> None:
    path = unpacked("collection-format-1", tmp_path / "c")
    assert checks.whole(path) == 10
    toy_collection.write(path, range(10, 14))
    assert checks.whole(path) == 14


def test_that_a_damaged_file_of_a_collection_of_format_1_is_found(tmp_path: Path) -> None:
    path = unpacked("collection-format-1", tmp_path / "c")
    content = bytearray((path / "segments" / "0002" / "cases.db").read_bytes())
    content[9000] ^= 4
    (path / "segments" / "0002" / "cases.db").write_bytes(content)
    assert any("cases.db" in line for line in collection.verify(path))
    with (
        contextlib.suppress(errors.CollectionDamagedError),
        collection.open_collection(path) as opened,
    ):
        assert opened.notice
        assert opened.manifest.counts.cases == 6


def test_that_a_shelf_of_format_3_is_brought_forward_with_all_it_holds(tmp_path: Path) -> None:
    folder = unpacked("shelf-format-3", tmp_path / "home")
    given = (deed for deed in ledger.deeds(11) if deed[0] != "save")
    done = list(itertools.islice(given, 40))
    assert checks.shelf_lost(folder, done) == []
    with contextlib.closing(sqlite3.connect(folder / "shelf.db")) as found:
        assert found.execute("PRAGMA user_version").fetchone()[0] >= 3
    assert checks.shelf_lost(folder, done) == []


def test_that_a_kill_while_a_shelf_is_brought_forward_loses_nothing(tmp_path: Path) -> None:
    given = (deed for deed in ledger.deeds(11) if deed[0] != "save")
    done = list(itertools.islice(given, 40))
    program = (
        "import sys; from medsearch_desktop.shelf import database as d; d.open_shelf(sys.argv[1])"
    )
    for kill in range(12 if checks.IS_TRIAL else 2):
        folder = unpacked("shelf-format-3", tmp_path / str(kill))
        opening = subprocess.Popen(
            [sys.executable, "-c", program, str(folder / "shelf.db")],
            cwd=Path(__file__).parents[2],
        )
        # It begins to write about here: what SQLite makes first is a file beside.
        deadline = time.monotonic() + 10
        while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.004 * kill)
        opening.kill()
        opening.wait()
        assert checks.shelf_lost(folder, done) == []
