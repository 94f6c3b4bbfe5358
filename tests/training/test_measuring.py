"""What is measured on the rows left out, and its summary, against counting by hand."""

import drawn_samples
import numpy as np
import pytest

from medsearch_desktop.training import measuring, summary

_FOUND = drawn_samples.made()


def _vectors(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_that_no_patient_is_on_both_sides_of_a_fold():
    folds = measuring.folds(_FOUND, 3, seed=1)
    patients = np.array(_FOUND.patients)
    for fold in folds:
        assert not set(patients[fold.inside]) & set(patients[fold.outside])
    assert sorted(np.concatenate([fold.outside for fold in folds])) == list(range(len(_FOUND)))


def test_that_perfect_vectors_reach_everything_and_drawn_ones_reach_chance():
    fold = measuring.folds(_FOUND, 3, 1)[0]
    told = _vectors(_FOUND.captions[0])
    values = measuring.measured(_FOUND, fold, told, _vectors)
    assert (values["caption"] == 1).all()
    assert (values["finding"] == 1).all()
    drawn = _vectors(np.random.default_rng(0).normal(size=(len(_FOUND), 384)))
    values = measuring.measured(_FOUND, fold, drawn, _vectors)
    chances = measuring.chances(_FOUND, fold)
    assert chances["caption"] == len(fold.groups["told"])
    assert values["modality P@10"].mean() == pytest.approx(chances["modality P@10"], abs=0.15)


def test_that_modality_part_and_view_count_only_where_all_three_agree():
    fold = measuring.folds(_FOUND, 3, 1)[0]
    kinds = np.arange(len(_FOUND)) % drawn_samples.KINDS
    values = measuring.neighbours(_FOUND, fold, _vectors(np.eye(drawn_samples.KINDS)[kinds]))
    assert (values["modality and part P@1"] == 1).all()
    assert len(values["modality, part and view P@1"]) == 0


def test_that_calibrated_cosines_say_more_for_more_alike():
    fold = measuring.folds(_FOUND, 3, 1)[0]
    kinds = np.arange(len(_FOUND)) % drawn_samples.KINDS
    seen = _vectors(np.eye(drawn_samples.KINDS)[kinds] + 0.3)
    found = measuring.calibration(_FOUND, fold, seen, lambda words: seen[: len(words)])
    assert found["image_slope"] > 0
    likely = 1 / (1 + np.exp(-(found["image_slope"] + found["image_offset"])))
    assert likely > 0.9


def _plain(shift: float = 0.0) -> dict:
    """Two folds and two whole seeds of one measure of each sort, and a seed that is not whole."""
    draw = np.random.default_rng(7)
    ranks = draw.integers(1, 40, (2, 2, 30)) + shift
    shares = (draw.random((2, 2, 30)) < 0.5).astype(float)
    runs = [
        {
            "seed": seed,
            "fold": fold,
            "values": {
                "caption": ranks[seed, fold].tolist(),
                "modality P@1": shares[seed, fold].tolist(),
            },
        }
        for seed in (0, 1)
        for fold in (0, 1)
    ]
    groups = {"told": list(range(30)), "modality and part": list(range(30))}
    fold = {"patients": groups, "chance": {"caption": 30.0, "modality P@1": 0.5}, "raw": {}}
    return {
        "data": "d",
        "settings": {"figures": {"folds": 2}},
        "folds": [fold, fold],
        "runs": [*runs, {"seed": 2, "fold": 0, "values": {}}],
    }


def test_that_figures_are_means_over_whole_seeds():
    plain = _plain()
    found = {figure.name: figure for figure in summary.figures(plain)}
    ranks = np.array([run["values"]["caption"] for run in plain["runs"][:4]]).reshape(2, 60)
    assert found["caption R@10"].value == pytest.approx((ranks <= 10).mean())
    assert found["caption MdR"].value == pytest.approx(np.median(ranks, axis=1).mean())
    assert found["caption R@10"].chance == pytest.approx(10 / 30)
    assert len(found["modality P@1"].seeds) == 2
    assert found["caption MdR"].low <= found["caption MdR"].value <= found["caption MdR"].high


def test_that_a_gain_is_counted_query_by_query():
    gained = {one.name: one for one in summary.gains(_plain(), _plain(shift=5))}
    assert gained["caption MdR"].value == pytest.approx(-5)
    assert gained["caption MdR"].high < 0
    assert gained["caption R@10"].low > 0
    assert gained["modality P@1"].value == 0


def test_that_figures_of_other_folds_are_not_compared():
    assert summary.gains(_plain(), {**_plain(), "data": "other"}) == []
