"""Progress is a line that is overwritten, or one object a line."""

from __future__ import annotations

import io
import json

from indexer import progress


def test_that_json_progress_is_one_object_a_line() -> None:
    stream = io.StringIO()
    shown = progress.Progress("json", stream)
    shown.step("Indexing", 5, 5, skipped=1)
    shown.end("All read.", 5, skipped=1)
    first, last = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["stage"], first["done"], first["total"], first["skipped"]) == (
        "Indexing",
        5,
        5,
        1,
    )
    assert (last["stage"], last["message"]) == ("done", "All read.")


def test_that_steps_in_quick_succession_are_left_out_but_not_the_last() -> None:
    stream = io.StringIO()
    shown = progress.Progress("json", stream)
    for done in range(1, 1001):
        shown.step("Indexing", done, 1000)
    lines = stream.getvalue().splitlines()
    assert len(lines) < 10
    assert json.loads(lines[-1])["done"] == 1000


def test_that_a_bar_stays_on_one_line_until_its_end() -> None:
    stream = io.StringIO()
    shown = progress.Progress("bar", stream)
    shown.step("Indexing", 10, 10, skipped=2)
    assert "10 of 10, 2 skipped" in stream.getvalue()
    assert "\n" not in stream.getvalue()
    shown.end("", 10, skipped=2)
    assert stream.getvalue().count("\n") == 1


def test_that_no_progress_writes_nothing() -> None:
    stream = io.StringIO()
    shown = progress.Progress("none", stream)
    shown.step("Indexing", 1, 1)
    shown.end("", 1)
    shown.close()
    assert stream.getvalue() == ""
