"""Measures of retrieval against counting by hand."""

import numpy as np
import pytest

from medsearch_desktop.training import metrics


def test_that_all_rows_of_one_patient_are_in_one_part():
    patients = [f"p{number % 20}" for number in range(100)]
    parts = metrics.folds(patients, 3, seed=1)
    assert set(parts) == {0, 1, 2}
    for name in set(patients):
        assert len({part for part, p in zip(parts, patients, strict=True) if p == name}) == 1


def test_that_the_same_seed_gives_the_same_parts():
    patients = [f"p{number}" for number in range(50)]
    assert (metrics.folds(patients, 3, 4) == metrics.folds(patients[::-1], 3, 4)[::-1]).all()
    assert (metrics.folds(patients, 3, 4) != metrics.folds(patients, 3, 5)).any()


def test_that_a_tie_stands_at_its_middle():
    scores = np.array([[0.5, 0.9, 0.1], [0.3, 0.3, 0.3], [0.2, 0.1, 0.9]])
    assert metrics.ranks(scores).tolist() == [2.0, 2.0, 1.0]
    assert metrics.recall(metrics.ranks(scores), 1) == pytest.approx(1 / 3)


def test_that_precision_counts_the_relevant_among_the_first():
    gallery = np.eye(3)
    queries = np.array([[0.9, 0.4, 0.1]])
    same = np.array([[True, False, True]])
    first, three = metrics.precision(queries, gallery, same, (1, 3))
    assert first.tolist() == [1.0]
    assert three.tolist() == [pytest.approx(2 / 3)]


def test_that_the_interval_holds_the_mean_and_narrows_with_patients():
    draw = np.random.default_rng(0)
    few, many = draw.random(40), draw.random(4000)
    low, high = metrics.interval(few, [f"p{n}" for n in range(40)], seed=0)
    assert low < few.mean() < high
    low_many, high_many = metrics.interval(many, [f"p{n}" for n in range(4000)], seed=0)
    assert high_many - low_many < (high - low) / 3


def test_that_the_interval_of_any_statistic_agrees_with_that_of_the_mean():
    values = np.random.default_rng(0).random(200)
    patients = [f"p{n // 2}" for n in range(200)]
    direct = metrics.interval(values, patients, seed=3)
    found = metrics.interval_of(lambda rows: float(values[rows].mean()), patients, seed=3)
    assert found == pytest.approx(direct)


def test_that_the_logistic_fit_finds_the_slope_that_made_the_answers():
    draw = np.random.default_rng(0)
    scores = draw.uniform(-1, 1, 20000)
    wanted = draw.random(20000) < 1 / (1 + np.exp(-(4 * scores - 1)))
    slope, offset = metrics.logistic(scores, wanted)
    assert slope == pytest.approx(4, abs=0.2)
    assert offset == pytest.approx(-1, abs=0.1)


def test_that_scores_which_part_the_answers_cleanly_have_a_finite_slope():
    slope, offset = metrics.logistic(np.array([-1.0, -0.5, 0.5, 1.0]), np.array([0, 0, 1, 1]) > 0)
    assert np.isfinite([slope, offset]).all()
    assert slope > 0
