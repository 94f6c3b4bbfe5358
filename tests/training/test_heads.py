"""Training of the heads on features with a known answer."""

import numpy as np
import pytest

from medsearch_desktop.engine.encoders import compact
from medsearch_desktop.training import heads

_SMALL = heads.Settings(
    members=2, width=16, hidden_image=32, hidden_text=0, epochs=40, batch=64, dropout=0.0, views=1
)


def _samples(n: int = 120) -> heads.Samples:
    """Images and texts that are two views of six hidden kinds and of themselves."""
    draw = np.random.default_rng(3)
    kind = np.arange(n) % 6
    hidden = np.concatenate([np.eye(6)[kind] * 3, draw.normal(size=(n, 6))], axis=1)
    seen = (hidden @ draw.normal(size=(12, 40))).astype(np.float32)
    told = (hidden @ draw.normal(size=(12, 24))).astype(np.float32)
    told /= np.linalg.norm(told, axis=1, keepdims=True)
    noise = draw.normal(size=seen.shape, scale=0.1).astype(np.float32)
    return heads.Samples(
        images=np.stack([seen, seen + noise]),
        captions=np.stack([told, told]),
        tags=told[None],
        findings=told,
        has_finding=np.ones(n, bool),
        has_words=np.arange(n) > 0,
        classes={"modality": kind, "part": np.full(n, -1)},
    )


def test_that_texts_find_their_images_after_training():
    samples = _samples()
    trained = compact.Heads(heads.train(samples, np.arange(100), _SMALL))
    texts = trained.project("text", samples.findings[:100])
    scores = texts @ trained.project("image", samples.images[0, :100]).T
    ranks = (scores > np.diag(scores)[:, None]).sum(axis=1)
    assert trained.dimension == 32
    assert (ranks[1:] < 10).mean() > 0.9


def test_that_one_seed_gives_the_same_arrays_and_another_gives_others():
    samples = _samples(60)
    first, again = (heads.train(samples, np.arange(50), _SMALL) for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)
    other = heads.train(samples, np.arange(50), heads.Settings(**{**vars(_SMALL), "seed": 9}))
    assert (first["image.0.0.weight"] != other["image.0.0.weight"]).any()


def test_that_rows_left_out_do_not_change_the_heads():
    samples = _samples(60)
    first = heads.train(samples, np.arange(50), _SMALL)
    samples.images[:, 50:] = 1e3
    again = heads.train(samples, np.arange(50), _SMALL)
    assert all((first[name] == again[name]).all() for name in first)


def test_that_storing_half_the_digits_keeps_the_cosines(monkeypatch: pytest.MonkeyPatch):
    samples = _samples(60)
    stored = compact.Heads(heads.train(samples, np.arange(50), _SMALL))
    monkeypatch.setattr(heads, "STORED", np.float32)
    exact = compact.Heads(heads.train(samples, np.arange(50), _SMALL))
    a = stored.project("image", samples.images[0])
    b = exact.project("image", samples.images[0])
    assert np.abs(a @ a.T - b @ b.T).max() < 2e-3


def test_that_the_progress_counts_the_members():
    told: list[tuple[str, int, int]] = []
    heads.train(_samples(60), np.arange(50), _SMALL, progress=lambda *step: told.append(step))
    assert told == [("heads", 0, 2), ("heads", 1, 2)]
