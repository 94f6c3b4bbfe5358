"""Fusion of rankings."""

from __future__ import annotations

import pytest

from medsearch_desktop.engine import ranking

A, B, C, D = ((0, number) for number in range(4))


def ranked(kind: ranking.Kind, *keys: ranking.Key, weight: float = 1.0) -> ranking.Ranking:
    scored = tuple((key, 1.0 - 0.1 * place) for place, key in enumerate(keys))
    return ranking.Ranking(kind, weight, scored)


def test_that_each_ranking_adds_its_weight_over_k_plus_rank() -> None:
    fused = ranking.fuse([ranked("images", A, B), ranked("words", B, C, weight=0.5)])
    scores = {one.key: one.score for one in fused}
    assert scores[A] == pytest.approx(1 / 61)
    assert scores[B] == pytest.approx(1 / 62 + 0.5 / 61)
    assert scores[C] == pytest.approx(0.5 / 62)
    assert [one.key for one in fused] == [B, A, C]


def test_that_ranks_and_shares_tell_why_a_case_was_found() -> None:
    fused = ranking.fuse([ranked("images", A, B), ranked("texts", B), ranked("words", C, B)])
    found = next(one for one in fused if one.key == B)
    assert (found.vector_rank, found.word_rank) == (1, 2)
    assert dict(found.shares) == pytest.approx({"images": 1 / 62, "texts": 1 / 61, "words": 1 / 62})
    assert sum(share for _, share in found.shares) == pytest.approx(found.score)
    assert next(one for one in fused if one.key == C).vector_rank is None


def test_that_the_very_picture_asked_for_comes_first_whatever_other_rankings_say() -> None:
    images = ranking.Ranking("images", 1.0, ((A, 0.9999), (B, 0.98), (C, 0.97)))
    texts = ranked("texts", B, C, weight=0.25)
    assert ranking.fuse([images, texts])[0].key == B
    twins = ranking.twins(images)
    assert [key for key, _ in twins.scored] == [A]
    assert ranking.fuse([images, twins, texts])[0].key == A


def test_that_a_negative_weight_takes_away_and_finds_nothing_by_itself() -> None:
    fused = ranking.fuse([ranked("words", A, B), ranked("feedback", A, D, weight=-1.0)])
    assert [one.key for one in fused] == [B, A]
    assert fused[1].score == pytest.approx(0)


def test_that_equal_scores_are_ordered_by_key() -> None:
    fused = ranking.fuse([ranked("images", C, A), ranked("words", A, C)])
    assert [one.key for one in fused] == [A, C]


@pytest.mark.parametrize(("mix", "first"), [(0.0, C), (1.0, A)])
def test_that_a_mix_at_its_ends_counts_one_side_alone(mix: float, first: ranking.Key) -> None:
    rankings = [ranked("images", A, B), ranked("words", C, B)]
    assert ranking.fuse(rankings, mix)[0].key == first


def test_that_a_mix_joins_stretched_scores() -> None:
    rankings = [
        ranking.Ranking("images", 1.0, ((A, 0.9), (B, 0.8), (C, 0.5))),
        ranking.Ranking("words", 1.0, ((B, 12.0), (C, 2.0))),
    ]
    scores = {one.key: one.score for one in ranking.fuse(rankings, 0.6)}
    assert scores == pytest.approx({A: 0.6, B: 0.6 * 0.75 + 0.4, C: 0.0})


def test_that_merging_keeps_the_best_of_all_collections() -> None:
    found = [((0, 1), 0.5), ((1, 1), 0.9), ((0, 2), 0.5), ((1, 2), 0.1)]
    assert ranking.merged(found, 3) == (((1, 1), 0.9), ((0, 1), 0.5), ((0, 2), 0.5))
