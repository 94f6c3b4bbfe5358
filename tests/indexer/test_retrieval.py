"""Retrieval measures: against plain loops, and intervals over patients."""

from __future__ import annotations

import numpy as np
import pytest

from indexer import retrieval
from medsearch_desktop.training import metrics


def _unit(count: int, seed: int, dimension: int = 8) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _nobody(count: int) -> np.ndarray:
    return np.full(count, -1)


def test_that_a_case_scores_by_its_best_row():
    rows = np.array([[1, 0], [0, 1], [0.8, 0.6]], np.float32)
    found = retrieval.find(
        np.array([[0, 1]], np.float32), rows, np.array([0, 0, 1]), np.array([1]), top=2
    )
    assert found.first.tolist() == [[0, 1]]
    assert found.ranks.tolist() == [2]


def test_that_all_lists_and_ranks_are_those_of_a_plain_loop():
    asked, rows = _unit(600, 1), _unit(120, 2)
    owners = np.sort(np.random.default_rng(3).integers(0, 40, 120))
    owners = np.unique(owners, return_inverse=True)[1]
    own = np.random.default_rng(4).integers(0, owners.max() + 1, 600)
    found = retrieval.find(asked, rows, owners, own, top=10)
    for number in range(0, 600, 37):
        best = [
            max(float(row @ asked[number]) for row in rows[owners == case])
            for case in range(owners.max() + 1)
        ]
        order = sorted(range(len(best)), key=lambda case: -best[case])
        assert found.first[number].tolist() == order[:10]
        assert found.ranks[number] == 1 + order.index(own[number])


def test_that_ties_rank_at_their_middle():
    rows = np.ones((5, 1), np.float32)
    found = retrieval.find(rows[:1], rows, np.arange(5), np.array([0]), top=1)
    assert found.ranks.tolist() == [3]


def test_that_a_case_of_the_questions_own_patient_is_no_candidate():
    rows = _unit(6, 5)
    patients = np.array([0, 0, 1, 1, 2, 2])
    found = retrieval.find(rows, rows, np.arange(6), _nobody(6), top=6, groups=(patients, patients))
    for number, first in enumerate(found.first.tolist()):
        shown = [place for place in first if place >= 0]
        assert len(shown) == 4
        assert not {patients[place] for place in shown} & {patients[number]}


def test_that_precision_counts_relevant_cases_among_those_that_were_found():
    found = retrieval.Found(np.array([[0, 1, 2], [2, -1, -1]]), np.full(2, np.nan))
    shares = retrieval.precision(found, np.array([7, 7]), np.array([7, 8, 7]), 3)
    assert shares.tolist() == [pytest.approx(2 / 3), 1]


def test_that_chance_is_the_share_of_relevant_candidates():
    codes, patients = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 2])
    shares = retrieval.chance(codes, codes, (patients, patients))
    assert shares.tolist() == [0.5, 0.5, pytest.approx(2 / 3), 0]


def test_that_the_precision_is_that_of_the_measures_of_training():
    rows, codes = _unit(50, 6), np.arange(50) % 3
    everyone = (np.full(50, -1), np.arange(50))
    found = retrieval.find(rows, rows, np.arange(50), _nobody(50), top=10, groups=everyone)
    ours = retrieval.precision(found, codes, codes, 10)
    (theirs,) = metrics.precision(rows, rows, codes[:, None] == codes[None], (10,))
    assert ours == pytest.approx(theirs)


def test_that_an_interval_holds_its_value_and_widens_when_patients_are_few():
    values = np.random.default_rng(7).random(200)
    alone = retrieval.interval(values, [f"p{n}" for n in range(200)], retrieval.mean)
    few = retrieval.interval(values, [f"p{n // 20}" for n in range(200)], retrieval.mean)
    assert alone.low < alone.value < alone.high
    assert alone.value == pytest.approx(values.mean())
    assert few.value == alone.value


def test_that_an_interval_repeats_itself():
    values, who = np.arange(30.0), [f"p{n // 2}" for n in range(30)]
    one = retrieval.interval(values, who, retrieval.median)
    assert one == retrieval.interval(values, who, retrieval.median)
    assert one.value == 14.5


def test_that_the_difference_of_equal_answers_is_nothing_at_all():
    values, who = np.random.default_rng(8).random(40), [f"p{n // 3}" for n in range(40)]
    assert retrieval.difference(values, values, who, retrieval.mean) == retrieval.Interval(0, 0, 0)


def test_that_a_difference_that_all_patients_share_has_a_narrow_interval():
    values, who = np.random.default_rng(9).random(40), [f"p{n // 3}" for n in range(40)]
    found = retrieval.difference(values + 0.25, values, who, retrieval.mean)
    assert (found.low, found.value, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_that_the_overlap_counts_cases_that_both_answers_hold():
    one = retrieval.Found(np.array([[0, 1, 2, 3]]), np.empty(1))
    other = retrieval.Found(np.array([[3, 9, 1, -1]]), np.empty(1))
    assert retrieval.overlap(one, other, 4).tolist() == [0.5]
    assert retrieval.overlap(one, other, 1).tolist() == [0]
