"""Retrieval measures of trained heads on patients they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_RESAMPLED = 1000
# Of the logistic fit: as much as one pair says against a slope of one.
_PULL = 1e-2


def folds(patients: Sequence[str], count: int, seed: int) -> np.ndarray:
    """Return (n,) fold numbers 0 to count - 1; all rows of one patient are in one fold."""
    names = sorted(set(patients))
    order = np.random.default_rng(seed).permutation(len(names))
    of_patient = {names[index]: place % count for place, index in enumerate(order)}
    return np.array([of_patient[name] for name in patients])


def ranks(scores: np.ndarray) -> np.ndarray:
    """Return (n,) ranks from 1 of column i in row i of (n, n) scores; ties count half."""
    own = np.diag(scores)[:, None]
    tied = (scores == own).sum(axis=1) - 1
    return np.asarray(1 + (scores > own).sum(axis=1) + tied / 2)


def recall(found: np.ndarray, k: int) -> float:
    """Return the share of ranks that lie in the first k."""
    return float((found <= k).mean())


def precision(
    queries: np.ndarray, gallery: np.ndarray, same: np.ndarray, ks: Sequence[int]
) -> list[np.ndarray]:
    """Return for each k the (n,) shares of relevant rows among the first k of the gallery.

    `queries` is (n, d), `gallery` (m, d), both unit vectors; `same` is (n, m), which is relevant.
    """
    order = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")
    relevant = np.take_along_axis(same, order, axis=1)
    return [relevant[:, :k].mean(axis=1) for k in ks]


def interval(values: np.ndarray, patients: Sequence[str], seed: int) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of `values`, resampled over patients."""
    names, group = np.unique(np.asarray(patients), return_inverse=True)
    sums = np.bincount(group, weights=values, minlength=len(names))
    sizes = np.bincount(group, minlength=len(names))
    draw = np.random.default_rng(seed)
    means = []
    for _ in range(_RESAMPLED):
        picked = draw.integers(0, len(names), len(names))
        means.append(sums[picked].sum() / sizes[picked].sum())
    return _middle(means)


def interval_of(
    statistic: Callable[[np.ndarray], float], patients: Sequence[str], seed: int
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval over patients of any statistic of row numbers."""
    names, group = np.unique(np.asarray(patients), return_inverse=True)
    rows = [np.flatnonzero(group == number) for number in range(len(names))]
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(_RESAMPLED):
        picked = draw.integers(0, len(names), len(names))
        found.append(statistic(np.concatenate([rows[at] for at in picked])))
    return _middle(found)


def logistic(scores: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """Return slope and offset by which 1 / (1 + exp(-(slope * score + offset))) is likeliest.

    `scores` is (n,), `wanted` (n,) booleans. By Newton's method; a little
    pull to zero keeps scores that part the two cleanly from running away.
    """
    x = np.stack([scores, np.ones_like(scores)]).astype(np.float64)
    pull = np.diag([_PULL, _PULL])
    found = np.zeros(2)
    for _ in range(50):
        likely = 1 / (1 + np.exp(-np.clip(found @ x, -30, 30)))
        slope = x @ (wanted - likely) - pull @ found
        bend = (x * (likely * (1 - likely))) @ x.T + pull
        step = np.linalg.solve(bend, slope)
        found = found + step
        if np.abs(step).max() < 1e-8:
            break
    return float(found[0]), float(found[1])


def _middle(resampled: list[float]) -> tuple[float, float]:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(low), float(high)
