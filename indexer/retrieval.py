"""Retrieval measures of one pool with 95 % intervals: who is found by pictures, and by words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS, _DRAWN_AT_ONCE, _SEED = 1000, 50, 0
_BLOCK = 256

# Values (n,) and rows of weights (w, n) -> a number for each row.
Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """A measured value and its 95 % bootstrap interval over patients."""

    value: float
    low: float
    high: float


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of `values` (n,) for each row of `weights` (w, n)."""
    return np.asarray(weights @ values / weights.sum(axis=1))


def median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the median for each row of weights; between two values their middle."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[:, order], axis=1)
    half = reached[:, -1:] / 2
    low, high = (reached >= half).argmax(axis=1), (reached > half).argmax(axis=1)
    return np.asarray((values[order[low]] + values[order[high]]) / 2)


def interval(values: np.ndarray, patients: Sequence[str], statistic: Statistic) -> Interval:
    """Return a statistic of `values` (n,), n at least 1, resampled over their patients."""
    return difference(values, np.zeros_like(values), patients, statistic)


def difference(
    values: np.ndarray, before: np.ndarray, patients: Sequence[str], statistic: Statistic
) -> Interval:
    """Return by how much a statistic of `values` exceeds that of `before`, asked of the same rows.

    Both are resampled together, so that what is hard for both does not widen the interval.
    """
    names, group = np.unique(np.asarray(patients), return_inverse=True)
    draw = np.random.default_rng(_SEED)
    drawn = []
    for _ in range(_DRAWS // _DRAWN_AT_ONCE):
        picked = draw.integers(0, len(names), (_DRAWN_AT_ONCE, len(names)))
        times = np.stack([np.bincount(row, minlength=len(names)) for row in picked])
        weights = times[:, group].astype(float)
        drawn.append(statistic(values, weights) - statistic(before, weights))
    low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
    plain = np.ones((1, len(values)))
    (value,) = statistic(values, plain) - statistic(before, plain)
    return Interval(float(value), float(low), float(high))


@dataclass(frozen=True, eq=False)
class Found:
    """What each of n questions found: places in the pool, best first, -1 where there are no more.

    `ranks` are those of the question's own case, from 1, ties at their middle; NaN where the
    pool does not hold it.
    """

    first: np.ndarray
    ranks: np.ndarray


def find(
    asked: np.ndarray,
    rows: np.ndarray,
    owners: np.ndarray,
    own: np.ndarray,
    *,
    top: int,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
) -> Found:
    """Ask every question of the whole pool, exactly; a case scores by its best row.

    `asked` is (n, d) and `rows` (r, d), unit vectors; `owners` (r,) are the places 0 to m - 1 of
    the rows' cases, rising, each with at least one row. `own` (n,) is the place of the question's
    own case or -1. `groups` are the patients of questions (n,) and cases (m,) by number: a case
    of the question's own patient is no candidate.
    """
    _, starts = np.unique(owners, return_index=True)
    count = min(top, len(starts))
    first = np.full((len(asked), top), -1)
    ranks = np.full(len(asked), np.nan)
    for begin in range(0, len(asked), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        scores = np.maximum.reduceat(asked[part] @ rows.T, starts, axis=1)
        if groups is not None:
            scores[groups[0][part, None] == groups[1][None]] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        is_candidate = np.isfinite(np.take_along_axis(scores, order, axis=1))
        first[part, :count] = np.where(is_candidate, order, -1)
        ranks[part] = _ranks(scores, own[part])
    return Found(first, ranks)


def _ranks(scores: np.ndarray, own: np.ndarray) -> np.ndarray:
    mine = np.take_along_axis(scores, np.maximum(own, 0)[:, None], axis=1)
    tied = (scores == mine).sum(axis=1) - 1
    ranks = 1 + (scores > mine).sum(axis=1) + tied / 2
    return np.asarray(np.where((own < 0) | ~np.isfinite(mine[:, 0]), np.nan, ranks))


def precision(found: Found, wanted: np.ndarray, codes: np.ndarray, k: int) -> np.ndarray:
    """Return for each question the share of relevant cases among the first k that it found.

    A case is relevant whose code, of `codes` (m,), is the one `wanted` (n,) by the question.
    """
    first = found.first[:, :k]
    hits = (codes[np.maximum(first, 0)] == wanted[:, None]) & (first >= 0)
    return np.asarray(hits.sum(axis=1) / np.maximum(1, (first >= 0).sum(axis=1)))


def chance(
    wanted: np.ndarray, codes: np.ndarray, groups: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return for each question the share of relevant cases among its candidates."""
    of_code = Counter(codes.tolist())
    of_group = Counter(groups[1].tolist())
    of_both = Counter(zip(codes.tolist(), groups[1].tolist(), strict=True))
    shares = []
    for code, group in zip(wanted.tolist(), groups[0].tolist(), strict=True):
        candidates = len(codes) - of_group[group]
        shares.append((of_code[code] - of_both[code, group]) / max(1, candidates))
    return np.array(shares)


def overlap(one: Found, other: Found, k: int) -> np.ndarray:
    """Return for each question the share of cases that both answers have in their first k."""
    shares = []
    for a, b in zip(one.first[:, :k], other.first[:, :k], strict=True):
        mine, theirs = set(a[a >= 0].tolist()), set(b[b >= 0].tolist())
        shares.append(len(mine & theirs) / max(1, len(mine), len(theirs)))
    return np.array(shares)
