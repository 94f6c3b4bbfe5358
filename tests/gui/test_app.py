"""The program: its command line, what is remembered, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import mounts
import pytest
import toy_collection
from PySide6.QtCore import QSize

from medsearch_desktop.gui import app


def test_that_the_command_line_is_the_promised_one(tmp_path):
    options = app.parser().parse_args(
        ["a.dcm", "b", "--collection", "c", "--collection", "d", "--text", "x y", "--home", "h"]
    )
    assert [str(path) for path in options.paths] == ["a.dcm", "b"]
    assert [str(path) for path in options.collection] == ["c", "d"]
    assert (options.text, str(options.home)) == ("x y", "h")


def test_that_the_size_of_the_window_is_kept_in_an_ini_file_of_the_data_folder(program, home):
    first = program(size=(1300, 800)).window
    app.keep_geometry(first, home / "window.ini")
    assert "geometry" in (home / "window.ini").read_text("utf-8")
    second = program().window
    app.restore_geometry(second, home / "window.ini")
    assert second.size() == QSize(1300, 800)


@pytest.mark.parametrize(
    "content",
    [
        b"[window]\ngeometry=hello",
        b"[window]\ngeometry=@Variant(\\0\\0\\0\\b)",
        b"[window]\ngeometry=1, 2, 3",
        b"[window]\ngeometry=@ByteArray(nonsense)",
        b"\xff\xfe\0[",
        b"[window]\ngeometry=@ByteArray(" + b"x" * (2 << 20) + b")",
    ],
    ids=["text", "variant", "list", "bytes", "no text", "large"],
)
def test_that_a_wrong_file_of_the_windows_place_is_ignored(program, home, content):
    (home / "window.ini").write_bytes(content)
    window = program().window
    app.restore_geometry(window, home / "window.ini")
    assert window.width() > 400


def test_that_no_flipped_bit_of_the_windows_place_keeps_the_window_from_standing(program, home):
    window, file = program().window, home / "window.ini"
    app.keep_geometry(window, file)
    sound = file.read_bytes()
    for bit in range(0, 8 * len(sound), 1 if os.environ.get("MEDSEARCH_TRIAL") else 5):
        flipped = bytearray(sound)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        app.restore_geometry(window, file)


@pytest.mark.skipif(os.name != "posix", reason="pipes with a name, as POSIX has them")
def test_that_a_pipe_in_place_of_the_windows_file_is_not_waited_for(program, home):
    os.mkfifo(home / "window.ini")
    window = program().window
    app.restore_geometry(window, home / "window.ini")
    app.keep_geometry(window, home / "window.ini")
    assert (home / "window.ini").is_fifo()


def test_that_closing_twice_changes_nothing_and_leaves_no_thread(program, toys):
    before = set(threading.enumerate())
    started = program()
    started.wait_for_collections()
    started.ask("red")
    started.app.close()
    started.app.close()
    assert not [t for t in set(threading.enumerate()) - before if t.is_alive() and not t.daemon]


def test_that_a_program_closed_before_it_began_ends_clean(dressed, home, qtbot):
    from medsearch_desktop import settings

    made = app.build(settings.folders().make(), settings.Settings())
    qtbot.addWidget(made.window)
    made.close()
    made.start(app.parser().parse_args([]))
    assert made.parts is None


def test_that_old_pasted_pictures_are_swept_and_new_ones_stay(program, home):
    (home / "scratch").mkdir()
    old, new = home / "scratch" / "old.png", home / "scratch" / "new.png"
    for file in (old, new):
        file.write_bytes(b"x")
    os.utime(old, (0, 0))
    started = program()
    started.wait(lambda: not old.exists())
    assert new.exists()


def test_that_a_data_folder_that_cannot_be_made_is_one_sentence_and_status_1(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-m", "medsearch_desktop", "--home", str(tmp_path / "file" / "home")],
        capture_output=True,
        text=True,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        check=False,
    )
    assert done.returncode == 1
    assert "data folder" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["medsearch_desktop.gui.app", "medsearch_desktop.__main__"])
def test_that_the_first_window_waits_for_no_numpy_and_no_shelf(module):
    code = f"import {module}, sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "sqlite_utils", "torch", "faiss", "vtkmodules", "qtawesome"}


# The real program: asks, keeps what it finds, and says which cards were shown meanwhile.
_ASKING = """
import json, sys, time, toy_encoder
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from medsearch_desktop.gui import app, problems
cards, start = [], app.App.start
show = problems.Problems.show_problem
problems.Problems.show_problem = lambda self, p: (cards.append(p.title), show(self, p))

def started(self, options):
    start(self, options)
    end = time.monotonic() + 60
    def look():
        found = self.parts.searching.results
        if (found and found.complete) or time.monotonic() > end:
            timer.stop()
            print(json.dumps([len(found.hits) if found else None, cards]), flush=True)
            self.window.close()
    timer = self.timer = QTimer(self.window, interval=100)
    timer.timeout.connect(look)
    timer.start()

app.App.start = started
sys.exit(app.main(sys.argv[1:]))
"""


def _run(home: Path, *arguments: str, behind: list[str], code: str = _ASKING):
    return subprocess.run(
        [*behind, sys.executable, "-c", code, "--home", str(home), *arguments],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system of its own")
@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_that_a_data_folder_that_cannot_be_written_is_searched_and_told_of(toys, home, kind):
    done = _run(home, "--text", "red", behind=mounts.seen_by(home, kind))
    assert done.returncode == 0, done.stderr
    hits, cards = json.loads(done.stdout.splitlines()[-1])
    assert hits
    assert [title for title in cards if "nothing is kept" in title] == cards[:1]
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system of its own")
@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_that_without_data_a_folder_that_cannot_be_written_is_one_sentence_and_status_1(home, kind):
    behind = mounts.seen_by(home, kind)
    done = _run(home, behind=behind)
    assert done.returncode == 1
    assert "data folder" in done.stderr
    assert done.stderr.count("\n") == 1
    done = subprocess.run(
        [*behind, sys.executable, "-m", "indexer", "demo", "--home", str(home)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "inside" not in done.stderr  # a sentence of its own, not of a fault nobody foresaw


def test_that_a_fault_in_a_slot_becomes_one_card_and_the_window_goes_on(program, home):
    from medsearch_desktop import logs

    started = program()
    logs.start(home / "logs", "window")
    logs.watch(lambda kind: started.app.work.tell(started.app.show_fault, kind))
    try:
        sys.excepthook(ValueError, ValueError("MUELLER^ANNA"), None)
        threading.excepthook(
            threading.ExceptHookArgs((KeyError, KeyError("MUELLER^ANNA"), None, None))
        )
        shown = started.window.results.problems
        started.wait(shown.shown)
        assert [kind.value for kind in shown.shown()] == ["error"]
        assert "MUELLER" not in (home / "logs" / "window.log").read_text("utf-8")
    finally:
        logs.stop()


@pytest.fixture
def expected_warnings() -> list[str]:
    return ["nobody caught it"]


def test_that_what_another_start_hands_over_is_taken_as_a_drop(program, toys, pictures):
    started = program()
    started.wait_for_collections()
    taken = []
    started.parts.searching.began.connect(taken.append)
    from medsearch_desktop.gui import instance

    started.app.take(instance.Request((str(pictures / "red.png"),)))
    started.wait(lambda: started.model.hits() and started.answered())
    assert started.order()[0] in {f"case-{n}" for n in range(4, 40, 8)}
    started.app.take(instance.Request(text="green"))
    started.wait(lambda: started.answered() and len(taken) >= 2)
    other = toy_collection.write(toys.parent.parent / "other", range(8), folder=pictures)
    assert other
    started.app.take(instance.Request(collections=(str(toys.parent.parent / "other"),)))
    started.wait(lambda: started.parts.library.searched == (str(toys.parent.parent / "other"),))
