"""The towers in training: the same numbers as the files that are made of them."""

import dataclasses
from pathlib import Path

import drawn_samples
import numpy as np
import pytest

from medsearch_desktop.engine.encoders import projections
from medsearch_desktop.training import network, trunk

pytest.importorskip("torch")


@pytest.mark.parametrize(
    "heads",
    [
        {},
        {"norm": True},
        {"hidden_image": 24, "hidden_text": 20},
        {"norm": True, "hidden_image": 9},
        {"members": 3},
    ],
)
def test_that_the_stored_heads_give_the_vectors_of_training(tmp_path: Path, heads: dict):
    plan = drawn_samples.plan(tmp_path, heads=heads)
    found = drawn_samples.made(12)
    net = network.Network(plan, drawn_samples.start(), found.counts(), seed=1)
    net.standardise(found.features[0], found.captions[0])
    stored = projections.Heads(net.head_arrays())
    assert stored.dimension == 16 * heads.get("members", 1)
    assert stored.is_linear("image") == (not set(heads) - {"members"})
    texts = net.embed_texts(found.captions[0])
    assert np.abs(stored.project("text", found.captions[0]) - texts).max() < 1e-5
    last = {name: net.put(value) for name, value in net.folded().items()}
    features = network.run(trunk.BLOCKS[-1:], last, net.put(found.activations[0])).mean(dim=(2, 3))
    images = net.embed_images(found.activations[0])
    assert np.abs(stored.project("image", features.numpy()) - images).max() < 1e-5


def test_that_front_and_tail_together_are_the_whole_network(tmp_path: Path):
    import torch

    start = drawn_samples.start()
    weights = {name: torch.from_numpy(value) for name, value in start.weights.items()}
    pixels = torch.from_numpy(start.pixels)
    whole = network.run(trunk.BLOCKS, weights, pixels)
    for first_block in (0, 9, 16):
        plan = dataclasses.replace(drawn_samples.plan(tmp_path).trunk, first_block=first_block)
        before = network.run(network.front(plan), weights, pixels)
        assert torch.equal(network.run(network.tail(plan), weights, before), whole)
    assert whole.shape == (1, 1280, 7, 7)


def test_that_training_before_the_folding_starts_from_the_same_network(tmp_path: Path):
    found, start = drawn_samples.made(6), drawn_samples.start()
    vectors = []
    for is_unfolded in (False, True):
        plan = drawn_samples.plan(tmp_path, trunk={"unfolded": is_unfolded})
        net = network.Network(plan, start, found.counts(), seed=0)
        vectors.append(net.embed_images(found.activations[0]))
        name = trunk.LAST + ".weight"
        assert np.abs(net.folded()[name] - start.weights[name]).max() < 1e-5
        is_same = np.allclose(net.weights[name].detach().numpy(), start.weights[name])
        assert is_same != is_unfolded
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-4


def test_that_shortcuts_taken_alone_keep_the_mean():
    import torch

    start = drawn_samples.start()
    weights = {name: torch.from_numpy(value) for name, value in start.weights.items()}
    block = next(block for block in trunk.BLOCKS[10:] if block.is_shortcut)
    x = torch.rand(1, block_channels(weights, block), 7, 7).repeat(600, 1, 1, 1)
    torch.manual_seed(0)
    dropped = network.run([block], weights, x, drop_path=0.5)
    alone = (dropped == x).flatten(1).all(dim=1).float().mean()
    assert 0.4 < float(alone) < 0.6
    plain = network.run([block], weights, x[:1])
    assert float((dropped.mean(dim=0) - plain).abs().max()) < 0.2 * float(
        (plain - x[:1]).abs().max()
    )


def block_channels(weights: dict, block: trunk.Block) -> int:
    return int(weights[block.layers[0].name + ".weight"].shape[1])
