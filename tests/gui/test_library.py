"""Collections of a session: adding folders, and building the demo as a child process."""

from __future__ import annotations

import sys

import pytest
import toy_collection

from medsearch_desktop.gui import bottom_dock, demo_build, jobs, problems

_CHILD = """
import json, sys, time
for done in (1, 2):
    print(json.dumps({"stage": "images", "done": done, "total": 2, "skipped": SKIPPED,
                      "message": ""}), file=sys.stderr, flush=True)
print(LAST, file=sys.stderr, flush=True)
time.sleep(WAIT)
sys.exit(STATUS)
"""


@pytest.fixture
def child(monkeypatch):
    """A function that replaces the indexer's command by a child of a few lines."""

    def put(status=0, wait=0.0, skipped=0, last="''") -> None:
        code = _CHILD.replace("STATUS", str(status)).replace("WAIT", str(wait))
        code = code.replace("SKIPPED", str(skipped)).replace("LAST", last)
        monkeypatch.setattr(demo_build, "command", lambda: [sys.executable, "-c", code])

    return put


def build(started):
    started.window.viewer.first_run.demo_requested.emit()
    (number,) = started.window.bottom.jobs._rows
    return lambda: started.window.bottom.jobs.job(number)


def test_that_the_demo_is_built_by_a_child_and_shown_among_the_jobs(program, home, child):
    child()
    started = program()
    started.wait(lambda: started.window.viewer.first_run.isVisible())
    job = build(started)
    assert started.window.bottom.is_open
    toy_collection.write(home / "collections" / "demo", range(10))
    started.wait(lambda: job().state is jobs.State.DONE)
    assert (job().done, job().total) == (2, 2)
    started.wait(lambda: started.parts.library.searched)
    started.wait(lambda: not started.window.viewer.first_run.isVisible())


def test_that_a_build_that_fails_says_why(program, home, child):
    child(status=1, last="'The disk is full.'")
    started = program()
    job = build(started)
    started.wait(lambda: job().state is jobs.State.FAILED)
    assert job().sentence == "The disk is full."


def test_that_a_build_that_left_inputs_out_says_how_many(program, home, child):
    child(status=3, skipped=4)
    started = program()
    job = build(started)
    started.wait(lambda: job().state is jobs.State.SKIPS)
    assert "4" in job().sentence


def test_that_a_build_can_be_stopped_and_ends_with_the_window(program, home, child):
    child(wait=60)
    started = program()
    job = build(started)
    started.wait(lambda: job().total == 2)
    job().stop()
    started.wait(lambda: job().state is jobs.State.FAILED)
    assert "Stopped" in job().sentence
    started.parts.library.build_demo()
    started.wait(lambda: started.parts.library.demo.is_running)
    started.app.close()
    assert not started.parts.library.demo.is_running


def test_that_a_folder_without_a_collection_is_refused_with_a_sentence(program, home, tmp_path):
    started = program()
    (tmp_path / "pictures").mkdir(exist_ok=True)
    started.parts.library.add(tmp_path / "pictures")
    started.wait(lambda: problems.Kind.WARNING in started.window.results.problems.shown())


def test_that_an_added_folder_is_searched_with_the_others(program, toys, tmp_path):
    toy_collection.write(tmp_path / "far", range(10))
    started = program()
    started.wait_for_collections()
    started.parts.library.add(tmp_path / "far")
    started.wait(lambda: started.parts.library.searched == (str(toys), str(tmp_path / "far")))


def test_that_the_tabs_open_and_close_the_dock(program, home):
    dock = program().window.bottom
    dock.show_page(bottom_dock.LOG)
    assert dock.is_open
    dock.set_open(False)
    assert dock.height() <= 33 or not dock.is_open
