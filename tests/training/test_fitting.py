"""Training on samples with a known answer."""

from pathlib import Path

import drawn_samples
import numpy as np
import pytest

from medsearch_desktop.training import fitting, measuring

pytest.importorskip("torch")


def _fit(
    tmp_path: Path, found=None, picked=None, seed: int = 0, said: list | None = None, **tables
):
    found = found or drawn_samples.made()
    plan = drawn_samples.plan(tmp_path, **tables)
    picked = np.arange(len(found)) if picked is None else picked
    log = (lambda line: None) if said is None else said.append
    return fitting.fit(plan, found, picked, drawn_samples.start(), seed=seed, log=log)


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"trunk": {"ema": 0.9, "disturbed": 0.5}},
        {"trunk": {"average": 2}},
        {"heads": {"members": 3, "epochs": 6, "hidden_text": 24, "disturbed": 0.5}},
        {"heads": {"epochs": 20}, "trunk": {"epochs": 0}},
        {"trunk": {"hard_negatives": 0.5}, "losses": {"same_part": 1.0, "same_view": 0.5}},
        {"texts": {"findings": 0.3, "tags": 0.3, "text_only": 0.5, "captions": "x", "wordings": 4}},
    ],
)
def test_that_texts_find_pictures_of_patients_not_trained_on(tmp_path: Path, tables: dict):
    found = drawn_samples.made()
    fold = measuring.folds(found, 3, 0)[0]
    net = _fit(tmp_path, found, fold.inside, **tables)
    images = net.embed_images(found.activations[0])
    values = measuring.measured(found, fold, images, net.embed_texts)
    assert values["modality and part P@1"].mean() > 0.9
    assert (values["caption"] <= 10).mean() > 0.8
    assert values["prompted modality"].mean() > 0.65


def test_that_one_seed_gives_the_same_weights_and_another_gives_others(tmp_path: Path):
    first, again, other = (_fit(tmp_path, seed=seed) for seed in (4, 4, 5))
    for name, weight in first.weights.items():
        assert (weight == again.weights[name]).all()
    assert (first.weights["image.0.0.weight"] != other.weights["image.0.0.weight"]).any()


def test_that_rows_left_out_do_not_change_the_weights(tmp_path: Path):
    found = drawn_samples.made()
    first = _fit(tmp_path, found, np.arange(50))
    found.activations[:, 50:] = 7
    found.captions[:, 50:] = 0.1
    found.features[:, 50:] = 9
    again = _fit(tmp_path, found, np.arange(50))
    assert all((first.weights[name] == again.weights[name]).all() for name in first.weights)


def test_that_a_rate_of_zero_leaves_the_image_network_as_it_was(tmp_path: Path):
    start = drawn_samples.start()
    net = _fit(tmp_path, trunk={"learning_rate": 0.0})
    assert all((value == start.weights[name]).all() for name, value in net.folded().items())
    trained = _fit(tmp_path)
    assert any((value != start.weights[name]).any() for name, value in trained.folded().items())


def test_that_averaged_orders_lie_between_the_single_ones(tmp_path: Path):
    one = _fit(tmp_path)
    two = _fit(tmp_path, trunk={"average": 2})
    name = "text.0.0.bias"
    assert (one.weights[name] != two.weights[name]).any()
    assert float((one.weights[name] - two.weights[name]).abs().max()) < 0.1


def test_that_the_log_has_a_line_for_each_epoch(tmp_path: Path):
    said: list[str] = []
    _fit(tmp_path, said=said, trunk={"epochs": 2, "average": 2})
    assert [line.partition(":")[0] for line in said] == [
        "order 1, epoch 1 of 2",
        "order 1, epoch 2 of 2",
        "order 2, epoch 1 of 2",
        "order 2, epoch 2 of 2",
    ]
    assert "contrast" in said[0]
