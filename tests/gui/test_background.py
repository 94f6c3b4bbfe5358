"""Background: plain functions on threads, results on the main thread."""

from __future__ import annotations

import threading

import pytest

from medsearch_desktop.gui import background


@pytest.fixture
def work(qapp):
    made = background.Background()
    yield made
    made.close()


def test_that_a_result_arrives_on_the_main_thread_and_the_work_does_not_run_there(work, qtbot):
    seen = []
    work.run(
        threading.current_thread,
        then=lambda ran_on: seen.extend((ran_on, threading.current_thread())),
        failed=seen.append,
    )
    qtbot.waitUntil(lambda: len(seen) == 2)
    assert seen[0] is not threading.main_thread()
    assert seen[1] is threading.main_thread()


def test_that_an_error_of_the_work_reaches_failed(work, qtbot):
    errors = []
    work.run(lambda: 1 // 0, then=errors.append, failed=errors.append)
    qtbot.waitUntil(lambda: bool(errors))
    assert isinstance(errors[0], ZeroDivisionError)


def test_that_items_of_a_stream_arrive_in_order_before_its_end(work, qtbot):
    seen = []
    work.stream(
        lambda: iter("abc"), each=seen.append, then=lambda _: seen.append("end"), failed=seen.append
    )
    qtbot.waitUntil(lambda: "end" in seen)
    assert seen == ["a", "b", "c", "end"]


def test_that_nothing_is_delivered_after_the_close(qapp, qtbot):
    seen, go = [], threading.Event()
    made = background.Background()
    made.run(go.wait, then=seen.append, failed=seen.append)
    go.set()
    made.close()
    made.run(lambda: 1, then=seen.append, failed=seen.append)
    qtbot.wait(50)
    assert seen == []


def test_that_a_single_thread_finishes_everything_before_its_last_work(qapp):
    done = []
    made = background.Background(threads=1)
    for number in range(20):
        made.run(lambda n=number: done.append(n), then=lambda _: None, failed=lambda _: None)
    made.finish(lambda: done.append("last"))
    assert done == [*range(20), "last"]
