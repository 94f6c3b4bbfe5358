"""Fusion of rankings by reciprocal rank, one place a case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["images", "texts", "words", "feedback"]
# A case of one of the collections asked: (number of the collection, place in it).
Key = tuple[int, int]

# Reciprocal rank fusion: each ranking adds weight / (K + rank). Source: Cormack, Clarke and
# Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
# SIGIR 2009, with their K.
K = 60
# How many cases of each ranking take part.
DEPTH = 200
# The same picture, allowing for fp16 rows; another JPEG quality of it already lies below.
_TWIN_COSINE = 0.999


@dataclass(frozen=True)
class Ranking:
    """Cases found by one index for one term, best first, each case once.

    A negative weight makes the cases lose what they would have gained.
    """

    kind: Kind
    weight: float
    scored: tuple[tuple[Key, float], ...]


@dataclass(frozen=True)
class Fused:
    """A case with its fused score; ranks count from 1 and are None where it was not found.

    `shares` are the parts of the score by kind of ranking, largest first.
    """

    key: Key
    score: float
    vector_rank: int | None
    word_rank: int | None
    shares: tuple[tuple[str, float], ...]


def merged(found: Iterable[tuple[Key, float]], depth: int = DEPTH) -> tuple[tuple[Key, float], ...]:
    """Return the best `depth` of cases found in several collections; ties in order of the key."""
    return tuple(sorted(found, key=lambda pair: (-pair[1], pair[0]))[:depth])


def fuse(rankings: Sequence[Ranking], mix: float | None = None) -> list[Fused]:
    """Join rankings into one, best first; equal scores are ordered by key.

    Only cases of a ranking with a positive weight, or with weight 0, are
    candidates. With `mix` None ranks are fused; else the scores of each
    ranking are stretched to 0..1, vectors count `mix` and words 1 - `mix`.
    """
    parts: dict[Key, dict[str, float]] = {}
    ranks: dict[str, dict[Key, int]] = {"vectors": {}, "words": {}}
    for ranking in rankings:
        if ranking.weight >= 0:
            for key, _ in ranking.scored:
                parts.setdefault(key, {})
    weights = _mixed_weights(rankings, mix)
    for ranking, weight in zip(rankings, weights, strict=True):
        gains = _by_rank(ranking) if mix is None else _by_score(ranking)
        for rank, ((key, _), gain) in enumerate(zip(ranking.scored, gains, strict=True), start=1):
            if key not in parts:
                continue
            shares = parts[key]
            shares[ranking.kind] = shares.get(ranking.kind, 0.0) + weight * gain
            if ranking.weight > 0 and ranking.kind != "feedback":
                best = ranks["words" if ranking.kind == "words" else "vectors"]
                best[key] = min(rank, best.get(key, rank))
    fused = [_fused(key, shares, ranks) for key, shares in parts.items()]
    return sorted(fused, key=lambda one: (-one.score, one.key))


def twins(ranking: Ranking) -> Ranking:
    """Return the part of a ranking by cosine that shows the very picture asked for.

    It counts once more, so that a picture which lies in the collection finds
    itself first, whatever other rankings say.
    """
    same = tuple(pair for pair in ranking.scored if pair[1] >= _TWIN_COSINE)
    return Ranking(ranking.kind, ranking.weight, same)


def _fused(key: Key, shares: dict[str, float], ranks: Mapping[str, Mapping[Key, int]]) -> Fused:
    ordered = sorted(shares.items(), key=lambda share: (-share[1], share[0]))
    return Fused(
        key,
        sum(share for _, share in ordered),
        ranks["vectors"].get(key),
        ranks["words"].get(key),
        tuple(ordered),
    )


def _by_rank(ranking: Ranking) -> list[float]:
    return [1 / (K + rank) for rank in range(1, len(ranking.scored) + 1)]


def _by_score(ranking: Ranking) -> list[float]:
    if not ranking.scored:
        return []
    high, low = ranking.scored[0][1], ranking.scored[-1][1]
    return [(score - low) / (high - low) if high > low else 1.0 for _, score in ranking.scored]


def _mixed_weights(rankings: Sequence[Ranking], mix: float | None) -> list[float]:
    """Return the weights; with `mix`, those of vectors add up to it, those of words to the rest."""
    if mix is None:
        return [ranking.weight for ranking in rankings]
    sums = {True: 0.0, False: 0.0}
    for ranking in rankings:
        if ranking.kind != "feedback":
            sums[ranking.kind == "words"] += abs(ranking.weight)
    weights = []
    for ranking in rankings:
        is_words = ranking.kind == "words"
        share = (1 - mix) if is_words else mix
        total = 1.0 if ranking.kind == "feedback" else sums[is_words] or 1.0
        weights.append(ranking.weight * (1.0 if ranking.kind == "feedback" else share) / total)
    return weights
