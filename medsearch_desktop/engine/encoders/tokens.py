"""The words of a text as the tokens of an open_clip model, by the tokenizers library; no torch."""

from __future__ import annotations

import html
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsearch_desktop import errors

CLEANINGS = ("whitespace", "lower", "canonicalize")
_MOST_BYTES = 64 << 20
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
# How CLIP cuts a text into words, before pairs of letters are merged.
_CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclass(frozen=True)
class Reading:
    """How a text is read: what is cleaned, how many tokens count, and what fills the rest.

    `cleaning` is one of CLEANINGS. With `pad`, a text is filled up to
    `context` tokens with that one; without, it is as long as it is.
    """

    cleaning: str
    context: int
    pad: int | None = None

    def __post_init__(self) -> None:
        if self.cleaning not in CLEANINGS or not 2 <= self.context <= 65536:
            raise ValueError(f"texts cannot be read this way: {self}")


class Tokenizer:
    """Token ids of texts, the same as open_clip's for the model it was made of.

    Raises EncoderError for a file that is no tokenizer.
    """

    def __init__(self, path: Path, reading: Reading, name: str) -> None:
        import tokenizers

        if path.stat().st_size > _MOST_BYTES:
            raise errors.EncoderError(name, f"{path.name} is larger than any is")
        self._reading = reading
        self._tokenizer = tokenizers.Tokenizer.from_str(path.read_text("utf-8"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(reading.context)

    def ids(self, text: str) -> np.ndarray:
        """Return int64 (1, tokens) of one text; words past the context are not read."""
        found: list[int] = self._tokenizer.encode(cleaned(text, self._reading.cleaning)).ids
        if self._reading.pad is not None:
            found += [self._reading.pad] * (self._reading.context - len(found))
        # A network takes no text without tokens: the first of the vocabulary stands for it.
        return np.array([found or [0]], np.int64)


def cleaned(text: str, how: str) -> str:
    """Return a text as open_clip cleans it before it is cut into tokens.

    Halves of letters that no text may hold alone become question marks.
    """
    import ftfy

    whole = ftfy.fix_text(encodable(text))
    plain = " ".join(html.unescape(html.unescape(whole)).split())
    if how == "lower":
        return encodable(plain.lower())
    if how == "canonicalize":
        words = plain.replace("_", " ").translate(_NO_PUNCTUATION).lower().split()
        return encodable(" ".join(words))
    return encodable(plain)


def encodable(text: str) -> str:
    """Return a text that can be written as UTF-8: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def clip_tokenizer(vocabulary: dict[str, int], merges: Sequence[tuple[str, str]]) -> str:
    """Return the tokenizer.json of a CLIP vocabulary: byte pairs with an end-of-word mark.

    `vocabulary` gives each token its id, the last two are the marks of start
    and end; `merges` are the pairs, most frequent first.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors

    start, end = sorted(vocabulary, key=lambda token: vocabulary[token])[-2:]
    model = models.BPE(
        vocab=vocabulary,
        merges=list(merges),
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
    )
    made = tokenizers.Tokenizer(model)
    words: Any = tokenizers.Regex(_CLIP_WORDS)
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.BPEDecoder(suffix="</w>")
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, vocabulary[start]), (end, vocabulary[end])],
    )
    made.add_special_tokens([start, end])
    return str(made.to_str())
