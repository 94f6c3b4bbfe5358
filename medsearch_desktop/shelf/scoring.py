"""Words within a few cases in memory: the shown results or a folder of favourites."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import rank_bm25

_WORD = re.compile(r"\w+", re.UNICODE)
# Words that say nothing about a case; "no" and "without" do.
_STOP = frozenset(
    ("a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "is", "it", "of", "on")
    + ("or", "the", "to", "was", "were", "with")
)


def rank_within(texts: Sequence[str], words: str) -> list[float]:
    """Return the BM25 score of each text for the words; 0 where none of them stands.

    Case and a plural's s make no difference. Word weights come from these
    texts alone, by log(1 + (N - n + 0.5) / (n + 0.5)), as the index on disk
    weighs them: it stays above 0 for a word that most texts hold, which
    rank_bm25's own weight does not in so small a set.
    """
    tokens = [_tokens(text) for text in texts]
    wanted = list(dict.fromkeys(_tokens(words)))
    if not wanted or not any(tokens):
        return [0.0] * len(texts)
    model = rank_bm25.BM25Okapi(tokens, k1=1.2, b=0.75)
    for word in wanted:
        holding = sum(word in found for found in model.doc_freqs)
        model.idf[word] = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
    return [float(score) for score in model.get_scores(wanted)]


def _tokens(text: str) -> list[str]:
    return [_singular(w) for w in _WORD.findall(text.casefold()) if w not in _STOP]


def _singular(word: str) -> str:
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
