"""Words within a few cases: BM25 against ten lines of its own."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsearch_desktop.shelf import scoring

_VOCABULARY = ("effusion", "chest", "nodule", "fracture", "brain")


def _reference(texts: list[list[str]], words: list[str]) -> list[float]:
    mean = sum(map(len, texts)) / len(texts)
    scores = [0.0] * len(texts)
    for word in dict.fromkeys(words):
        holding = sum(word in text for text in texts)
        weight = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        for at, text in enumerate(texts):
            often = text.count(word)
            length = 1 - 0.75 + 0.75 * len(text) / mean
            scores[at] += weight * often * 2.2 / (often + 1.2 * length)
    return scores


_TEXT = st.lists(st.sampled_from(_VOCABULARY), max_size=8)


@given(st.lists(_TEXT, min_size=1, max_size=12), st.lists(st.sampled_from(_VOCABULARY)))
def test_that_scores_are_those_of_the_formula(texts: list[list[str]], words: list[str]) -> None:
    scored = scoring.rank_within([" ".join(text) for text in texts], " ".join(words))
    if not any(texts):
        assert scored == [0.0] * len(texts)
    else:
        assert scored == pytest.approx(_reference(texts, words))


def test_that_a_word_in_most_texts_still_lifts_those_that_hold_it() -> None:
    scored = scoring.rank_within(["effusion left", "effusion right", "normal chest"], "effusion")
    assert scored[0] > 0
    assert scored[1] > 0
    assert scored[2] == 0


def test_that_case_plural_and_stop_words_make_no_difference() -> None:
    texts = ["Pleural Effusions", "fracture of the hand"]
    assert scoring.rank_within(texts, "the EFFUSION of")[0] > 0
    assert scoring.rank_within(texts, "the EFFUSION of")[1] == 0
    assert scoring.rank_within(texts, "of the") == [0.0, 0.0]


def test_that_no_texts_and_no_words_give_no_scores() -> None:
    assert scoring.rank_within([], "effusion") == []
    assert scoring.rank_within(["a text"], "") == [0.0]
