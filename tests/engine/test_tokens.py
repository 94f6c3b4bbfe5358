"""Tokens without torch: for any text the same as open_clip's."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import small_models
from hypothesis import strategies

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import conversion, tokens, torchvision_shim

_TEXTS = (
    *conversion.TEXTS,
    "<start_of_text> in a text <END_OF_TEXT>",
    "\x00\x01\t\n\u200b\ufeff",
    "a" * 3000,
    "हिन्दी में 1234567890 ²³① ſſ Ω K İstanbul Straße",
    "\N{WOMAN}\u200d\N{STAFF OF AESCULAPIUS} 'S 'RE we'Ll x_y__z --- …",
)


@pytest.fixture(scope="module")
def theirs():
    torchvision_shim.declare_operators()
    from open_clip import tokenizer

    return tokenizer.SimpleTokenizer()


@pytest.fixture(scope="module")
def written(theirs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP's own vocabulary as a tokenizer.json."""
    path = tmp_path_factory.mktemp("clip") / "tokenizer.json"
    ranks = theirs.bpe_ranks
    merges = sorted(ranks, key=ranks.__getitem__)
    path.write_text(tokens.clip_tokenizer(dict(theirs.encoder), merges), "utf-8")
    return path


@pytest.mark.parametrize("context", [77, 12, 2])
def test_that_clip_vocabulary_gives_the_tokens_of_open_clip(theirs, written: Path, context: int):
    ours = tokens.Tokenizer(written, tokens.Reading("lower", context, 0), "x")
    for text in _TEXTS:
        assert np.array_equal(ours.ids(text), theirs([text], context_length=context).numpy())


@pytest.fixture(scope="module")
def ours(written: Path) -> tokens.Tokenizer:
    return tokens.Tokenizer(written, tokens.Reading("lower", 77, 0), "x")


# Libraries of other versions of Unicode differ in which of the free places are letters.
_FREE = ("Cn", "Co", "Cs")
_ASSIGNED = strategies.characters(exclude_categories=_FREE)


@hypothesis.given(strategies.text(_ASSIGNED, max_size=60))
def test_that_any_drawn_text_gives_the_tokens_of_open_clip(theirs, ours, text: str):
    # What looks like badly decoded UTF-8 is decoded again, and may become a free place.
    read = tokens.cleaned(text, "lower")
    hypothesis.assume(not any(unicodedata.category(letter) in _FREE for letter in read))
    assert np.array_equal(ours.ids(text), theirs([text]).numpy())


@pytest.mark.parametrize("make", [small_models.biomedclip, small_models.siglip])
def test_that_a_tokenizer_of_its_own_gives_the_tokens_of_open_clip(make, tmp_path: Path):
    torchvision_shim.declare_operators()
    import open_clip

    folder = make(tmp_path / "model")
    theirs = open_clip.get_tokenizer(f"local-dir:{folder}")
    how = theirs.clean_fn.__name__.removeprefix("_clean_")
    path = tmp_path / "tokenizer.json"
    path.write_text(theirs.tokenizer.backend_tokenizer.to_str(), "utf-8")
    reading = tokens.Reading(how, theirs.context_length, theirs.tokenizer.pad_token_id)
    ours = tokens.Tokenizer(path, reading, "x")
    for text in _TEXTS:
        assert np.array_equal(ours.ids(text), theirs([text]).numpy())


def test_that_an_unpadded_text_is_as_long_as_it_is_and_never_empty(written: Path):
    ours = tokens.Tokenizer(written, tokens.Reading("lower", 77), "x")
    assert ours.ids("ct chest").shape == (1, 4)
    assert ours.ids("").shape == (1, 2)
    assert ours.ids("word " * 5000).shape == (1, 77)


@pytest.mark.parametrize("how", tokens.CLEANINGS)
def test_that_half_a_letter_is_read_as_a_question_mark(how: str):
    assert tokens.cleaned("a \ud800 b", how) in ("a ? b", "a b")


def test_that_a_file_which_is_no_tokenizer_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="cannot be read this way"):
        tokens.Reading("upper", 77)
    path = tmp_path / "tokenizer.json"
    with path.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(errors.EncoderError, match="larger than any"):
        tokens.Tokenizer(path, tokens.Reading("lower", 77), "x")
