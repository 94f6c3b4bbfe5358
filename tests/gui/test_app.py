"""The program: its command line, what is remembered, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
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
