"""Problem cards: one of a kind, each with its way on, and a notice that goes by itself."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPushButton

from medsearch_desktop import errors
from medsearch_desktop.gui import problems
from medsearch_desktop.gui.problems import Kind, Problem


@pytest.fixture
def host(dressed, qtbot):
    made = problems.Problems()
    qtbot.addWidget(made)
    made.resize(400, 400)
    made.show()
    yield made
    for kind in Kind:
        made.remove(kind)


def test_that_a_newer_problem_takes_the_place_of_an_older_one_of_its_kind(host):
    for title in ("first", "second"):
        host.show_problem(Problem(Kind.ERROR, title))
    host.show_problem(Problem(Kind.WARNING, "third"))
    assert host.shown() == (Kind.ERROR, Kind.WARNING)


def test_that_an_error_says_its_sentence_and_action_and_gives_details_to_copy(host):
    error = errors.CollectionDamagedError("/c", "a file is missing.")
    host.show_error(error)
    (card,) = [child for child in host.children() if hasattr(child, "dismiss")]
    assert str(error) in card.accessibleName()
    assert error.action in card.accessibleName()
    copy = next(b for b in card.findChildren(QPushButton) if b.text() == "Copy details")
    copy.click()
    assert QGuiApplication.clipboard().text() == f"CollectionDamagedError: {error}"


def test_that_the_one_action_is_done_and_the_card_goes(host):
    done = []
    host.show_problem(Problem(Kind.WARNING, "3 files", "", "List", lambda: done.append(1)))
    next(b for b in host.findChildren(QPushButton) if b.text() == "List").click()
    assert done == [1]
    assert host.shown() == ()
    assert not host.isVisible()


def test_that_a_card_shown_by_an_action_stays(host):
    again = Problem(Kind.WARNING, "It cannot be.")
    host.show_problem(Problem(Kind.WARNING, "3", "", "Again", lambda: host.show_problem(again)))
    next(b for b in host.findChildren(QPushButton) if b.text() == "Again").click()
    assert host.shown() == (Kind.WARNING,)
    assert host._cards[Kind.WARNING].accessibleName().startswith("It cannot be.")


def test_that_a_sentence_ends_before_what_to_do_begins(host):
    error = errors.WeightsMissingError(
        "compact", "heads.onnx is not the file that SHA256SUMS names"
    )
    host.show_error(error)
    assert "SHA256SUMS names. Copy the model" in host._cards[Kind.ERROR].accessibleName()


def test_that_a_notice_closes_itself(host, qtbot, monkeypatch):
    monkeypatch.setattr(problems, "_NOTICE_MS", 30)
    host.show_problem(Problem(Kind.NOTICE, "restarted"))
    qtbot.waitUntil(lambda: host.shown() == ())


def test_that_markup_in_a_sentence_is_shown_and_not_obeyed(host):
    host.show_problem(Problem(Kind.ERROR, "<b>file</b>"))
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QLabel

    texts = [label for label in host.findChildren(QLabel) if label.text() == "<b>file</b>"]
    assert texts
    assert all(label.textFormat() == Qt.TextFormat.PlainText for label in texts)


def test_that_a_notice_with_an_action_stays_until_it_is_closed(host, qtbot, monkeypatch):
    monkeypatch.setattr(problems, "_NOTICE_MS", 10)
    host.show_problem(Problem(Kind.NOTICE, "large", "", "Read all", lambda: None))
    qtbot.wait(60)
    assert host.shown() == (Kind.NOTICE,)
