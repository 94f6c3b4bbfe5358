"""Jobs and log: what runs, what was skipped, and lines to copy."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QGuiApplication

from medsearch_desktop.gui import jobs


@pytest.fixture
def pane(dressed, qtbot):
    made = jobs.JobsPane()
    qtbot.addWidget(made)
    return made


def test_that_running_jobs_are_counted_until_they_end(pane, qtbot):
    counts = []
    pane.count_changed.connect(counts.append)
    number = pane.add(jobs.Job("Building", total=10))
    pane.change(number, done=5)
    pane.change(number, state=jobs.State.DONE)
    assert counts == [1, 1, 0]
    assert pane.job(number).done == 5


def test_that_stop_reaches_the_job_and_a_finished_one_can_be_removed(pane):
    stopped = []
    number = pane.add(jobs.Job("Building", stop=lambda: stopped.append(1)))
    row = pane._rows[number]
    row._button.click()
    assert stopped == [1]
    pane.change(number, state=jobs.State.FAILED)
    row._button.click()
    assert pane.job(number) is None


def test_that_the_oldest_finished_job_makes_room_and_a_running_one_does_not(pane):
    running = pane.add(jobs.Job("runs"))
    for number in range(30):
        made = pane.add(jobs.Job(f"job {number}"))
        pane.change(made, state=jobs.State.DONE)
    assert pane.job(running) is not None
    assert len(pane._rows) == 10


def test_that_the_log_is_cut_at_5000_lines_and_copied_as_text(dressed, qtbot):
    log = jobs.LogPane()
    qtbot.addWidget(log)
    log.add_all([(f"file {n}", "no image") for n in range(6000)])
    assert log.model.rowCount() == 5000
    assert log.model.line(0).what == "file 1000"
    log.copy()
    lines = QGuiApplication.clipboard().text().splitlines()
    assert len(lines) == 5000
    assert lines[-1].split("\t")[1:] == ["file 5999", "no image"]
