"""Samples with a known answer: six kinds, seen in activations and said in sentence vectors."""

import dataclasses
from pathlib import Path

import numpy as np

from medsearch_desktop.training import recipe, samples, trunk

KINDS = 6


def start(seed: int = 0) -> trunk.Pretrained:
    """Weights of the true shapes, drawn."""
    draw = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}
    gains: dict[str, np.ndarray] = {}
    for name, shape in _shapes().items():
        scale = np.sqrt(2 / np.prod(shape[1:]))
        weights[name + ".weight"] = draw.normal(0, scale, shape).astype(np.float32)
        weights[name + ".bias"] = draw.normal(0, 0.01, shape[0]).astype(np.float32)
        gains[name] = draw.uniform(0.5, 2, shape[0]).astype(np.float32)
    pixels = draw.uniform(-1, 1, (1, 3, 224, 224)).astype(np.float32)
    return trunk.Pretrained(weights, gains, pixels, np.empty((1, 1280), np.float32))


def _shapes() -> dict[str, tuple[int, int, int, int]]:
    shapes: dict[str, tuple[int, int, int, int]] = {"_conv_stem": (32, 3, 3, 3)}
    channels, number = 32, 0
    for blocks, kernel, _stride, expansion, out in trunk.STAGES:
        for _ in range(blocks):
            prefix, wide = f"_blocks.{number}.", channels * expansion
            if expansion > 1:
                shapes[prefix + "_expand_conv"] = (wide, channels, 1, 1)
            shapes[prefix + "_depthwise_conv"] = (wide, 1, kernel, kernel)
            shapes[prefix + "_project_conv"] = (out, wide, 1, 1)
            channels, number = out, number + 1
    return {**shapes, trunk.LAST: (1280, channels, 1, 1)}


def plan(tmp_path: Path, **tables: dict[str, object]) -> recipe.Recipe:
    """A small recipe that trains the last convolution only; `tables` change its keys."""
    made = recipe.Recipe(
        name="small",
        place=tmp_path,
        data=tmp_path,
        out=tmp_path / "model",
        sources=("drawn",),
        pins={},
        trunk=recipe.Trunk(
            first_block=16,
            epochs=6,
            batch=24,
            views=1,
            learning_rate=1e-3,
            heads_learning_rate=1e-2,
        ),
        heads=recipe.Heads(width=16, dropout=0.0, learning_rate=1e-2, batch=24),
        figures=recipe.Figures(folds=2, seeds=(0, 1)),
    )
    return dataclasses.replace(
        made,
        **{
            name: dataclasses.replace(getattr(made, name), **changed)
            for name, changed in tables.items()
        },
    )


def _features(seen: np.ndarray) -> np.ndarray:
    """Return (views, n, 1280): what the last convolution of `start` makes of (views, n, 320)."""
    weights = start().weights
    last = weights[trunk.LAST + ".weight"][:, :, 0, 0]
    found = np.clip(seen @ last.T + weights[trunk.LAST + ".bias"], 0, 6)
    return np.asarray(found, np.float32)


def made(n: int = 72) -> samples.Samples:
    """Two rows a patient; row i is of kind i % 6, in which modality and part are hidden."""
    draw = np.random.default_rng(3)
    kind = np.arange(n) % KINDS
    hidden = np.concatenate([np.eye(KINDS)[kind] * 3, draw.normal(size=(n, 6))], axis=1)
    seen = np.maximum(hidden @ draw.normal(size=(12, 320)), 0)
    activations = np.repeat(seen[:, :, None], 49, axis=2).reshape(n, 320, 7, 7)
    activations = activations + draw.normal(0, 0.1, (2, *activations.shape))
    told = (hidden @ draw.normal(size=(12, 384))).astype(np.float32)
    told /= np.linalg.norm(told, axis=1, keepdims=True)
    classes = {"modality": kind % 2, "part": kind % 3, "plane": np.full(n, -1)}
    first = {name: np.unique(values, return_index=True)[1] for name, values in classes.items()}
    return samples.Samples(
        patients=tuple(f"p{row // 2}" for row in range(n)),
        activations=activations.astype(np.float16),
        features=_features(activations.mean(axis=(3, 4))),
        captions=np.stack([told] * 4),
        tags=np.stack([told] * 8),
        findings=told,
        has_finding=np.ones(n, bool),
        has_words=np.arange(n) > 0,
        classes=classes,
        prompts={name: told[first[name]] for name in ("modality", "part")},
        alone=told[:12],
        alone_classes={name: classes[name][:12] for name in ("modality", "part")},
    )
