"""Two encoders compared: the same question in two lanes, and what the answers share."""

from __future__ import annotations

import dataclasses

import pytest
import toy_collection
import toy_encoder
from PySide6.QtCore import Qt

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.gui import collection_list, compare_rows, comparing, problems
from medsearch_desktop.worker import messages


def hits(*names: str) -> tuple[queries.Hit, ...]:
    return tuple(
        queries.Hit(cases.Case(name, title=f"Case {name}"), "/c", rank, 1.0)
        for rank, name in enumerate(names, 1)
    )


def test_that_the_overlap_counts_cases_among_the_first_ten_of_both():
    one, other = hits(*"abcdefghijk"), hits(*"kjbaxyzuvwc")
    # k is 11th in one, c 11th in the other: neither counts.
    assert comparing.in_common(one, other) == comparing.in_common(other, one) == 3
    assert comparing.in_common(one, ()) == 0


def test_that_a_row_says_by_words_where_the_case_stands_in_the_other_answer():
    hit = hits("a", "b")[1]
    assert compare_rows.other_words(hit, 2, 20) == "Same rank there"
    assert compare_rows.other_words(hit, 7, 20) == "Rank 7 there"
    assert compare_rows.other_words(hit, None, 20) == "Not among the first 20 there"
    assert compare_rows.other_words(hit, None, 0) == ""


def test_that_rows_read_aloud_hold_rank_title_and_the_other_rank(dressed):
    rows = compare_rows.RowsModel()
    rows.set_rows(hits("a", "b"), {"b": 1})
    role = Qt.ItemDataRole.AccessibleTextRole
    assert rows.index(1).data(role) == "Rank 2, Case b, Report, Rank 1 there"
    assert "Not among" in rows.index(0).data(role)
    rows.set_rows(hits("a"), None)
    assert rows.index(0).data(role) == "Rank 1, Case a, Report"


def test_that_a_case_of_the_question_is_that_of_the_edition_asked():
    pair = [collection_list.CollectionInfo(p, "c", 1, "e") for p in ("/c", "/c@x")]
    terms = (queries.CaseTerm("7", "/c"), queries.CaseTerm("8", "/far"))
    asked = comparing.question_for(queries.Query(terms=terms), pair[1], pair)
    assert asked.terms == (queries.CaseTerm("7", "/c@x"), queries.CaseTerm("8", "/far"))
    assert asked.collections == ("/c@x",)


def test_that_words_found_in_reports_do_not_hide_where_encoders_differ():
    words = queries.Query(terms=(queries.TextTerm("effusion"),))
    assert comparing.by_encoders_alone(words).mix == 1.0
    case = queries.Query(terms=(queries.CaseTerm("7", "/c"),))
    assert comparing.by_encoders_alone(case) == case


def test_that_words_of_reports_count_in_a_comparison_once_it_is_asked_for(program, two):
    started = program()
    started.wait_for_collections()
    dialog = compared(started, two[0])
    dialog.words.setText("red")
    dialog.ask_words()
    started.wait(lambda: dialog.comparing.common is not None)
    assert all(hit.evidence.word_rank is None for hit in dialog.comparing.sides[0].hits)
    assert dialog.counts_words.isVisible()
    dialog.counts_words.click()
    started.wait(lambda: dialog.comparing.common is not None)
    assert any(hit.evidence.word_rank for hit in dialog.comparing.sides[0].hits)
    dialog.close()


@pytest.fixture
def two(toys):
    """A second edition of the toys that holds only every second case."""
    card = dataclasses.replace(toy_encoder.ToyEncoder().card, limits="Another.")
    other = toys.with_name("toys@other")
    toy_collection.write(other, range(0, 40, 2), card=card)
    return toys, other


def compared(started, base):
    started.parts.choosing.show_comparison(str(base))
    return started.parts.choosing._comparison


def test_that_the_windows_question_is_asked_of_both_and_its_answer_stays(program, two):
    started = program()
    started.wait_for_collections()
    started.ask("red square")
    before = started.order()
    dialog = compared(started, two[0])
    started.wait(lambda: dialog.comparing.common is not None)
    left, right = dialog.comparing.sides
    assert {hit.collection for hit in left.hits} == {str(two[0])}
    assert {hit.collection for hit in right.hits} == {str(two[1])}
    n, count = dialog.comparing.common
    assert dialog.overlap.text() == f"{n} of {count} in common"
    assert started.order() == before
    assert not started.parts.searching.is_busy
    dialog.close()


def test_that_other_words_are_asked_of_both_and_a_chosen_case_is_chosen_in_both(program, two):
    started = program()
    started.wait_for_collections()
    dialog = compared(started, two[0])
    assert dialog.comparing.sides == ()
    dialog.words.setText("blue")
    dialog.ask_words()
    started.wait(lambda: dialog.comparing.common is not None)
    left, right = (column.view for column in dialog.columns)
    right.setCurrentIndex(right.rows.index(0))
    chosen = dialog.comparing.sides[1].hits[0].case.case_id
    assert left.currentIndex().row() == left.rows.row_of(chosen)
    opened = []
    dialog.open_requested.connect(opened.append)
    started.bot.keyClick(right, Qt.Key.Key_Return)
    assert [hit.case.case_id for hit in opened] == [chosen]
    dialog.close()


def test_that_an_answer_without_cases_is_not_counted_as_nothing_in_common(program, toys):
    card = dataclasses.replace(toy_encoder.ToyEncoder().card, name="gone", digest="0" * 64)
    toy_collection.write(toys.with_name("toys@gone"), range(40), card=card)
    started = program()
    started.wait_for_collections()
    dialog = compared(started, toys)
    dialog.words.setText("red")
    dialog.ask_words()
    started.wait(lambda: all(side.results for side in dialog.comparing.sides))
    assert dialog.overlap.text() == ""
    assert "gone" in dialog.columns[1].notices.text()
    dialog.close()


def test_that_answers_to_an_older_comparison_are_dropped(program, two):
    started = program()
    started.wait_for_collections()
    dialog = compared(started, two[0])
    heard = []
    started.parts.worker.beside.connect(lambda lane, came: heard.append((lane, came.ticket)))
    for words in ("red", "green", "blue"):
        dialog.words.setText(words)
        dialog.ask_words()
    wanted = dict(started.parts.worker._lanes)
    started.wait(lambda: dialog.comparing.common is not None)
    assert dict(heard) == wanted
    assert {ticket for _, ticket in heard} == set(wanted.values())
    dialog.close()


def test_that_one_side_that_fails_is_a_sentence_and_the_other_is_shown(program, two):
    started = program()
    started.wait_for_collections()
    dialog = compared(started, two[0])
    dialog.words.setText("red")
    dialog.ask_words()
    started.wait(lambda: dialog.comparing.common is not None)
    ticket = started.parts.worker._lanes[2]
    error = errors.EncoderMissingError("other", "it is not installed")
    started.parts.worker.beside.emit(2, messages.Failed(ticket, error))
    assert "not installed" in dialog.columns[1].state.text()
    assert dialog.comparing.sides[0].hits
    dialog.close()


def test_that_without_two_editions_the_way_to_them_is_offered(program, toys):
    started = program()
    started.wait_for_collections()
    started.parts.choosing.show_comparison()
    assert problems.Kind.NOTICE in started.window.results.problems.shown()
