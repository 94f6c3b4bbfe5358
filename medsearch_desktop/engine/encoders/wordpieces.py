"""The tokenizer of a BERT text tower, out of its tokenizer.json or vocab.txt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import base, folders

FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")
_MOST_BYTES = 16 << 20
# An embedding table is padded to a multiple of this at most; a larger gap is another vocabulary.
_MOST_PADDING = 128


class WordPieces:
    """Turns texts into token numbers, cut at `most` tokens.

    `words` is the number of rows of the tower's embedding table. Raises
    WeightsMissingError where neither file is there, and EncoderError for a
    tokenizer that is none of word pieces or of another vocabulary.
    """

    def __init__(self, folder: Path, words: int, most: int, name: str) -> None:
        for file in FILES:
            folders.check_file(folder, file, _MOST_BYTES, name)
        with base.told(name):
            self._tokenizer: Any = _read(folder, name)
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(most)
        known = self._tokenizer.get_vocab_size()
        if not words - _MOST_PADDING <= known <= words:
            raise errors.EncoderError(
                name,
                f"its tokenizer knows {known} words, its weights {words}: they are of two models",
            )

    def batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return int64 (n, t) token numbers and the mask of those that count, t the longest."""
        rows = [found.ids for found in self._tokenizer.encode_batch(list(texts))]
        longest = max(len(row) for row in rows)
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        return ids, mask


def _read(folder: Path, name: str) -> Any:
    import tokenizers

    if (folder / "tokenizer.json").is_file():
        plain = folders.read_json(folder / "tokenizer.json", name)
        kinds = [(plain.get(part) or {}).get("type") for part in ("model", "normalizer")]
        if kinds != ["WordPiece", "BertNormalizer"]:
            raise errors.EncoderError(name, "its tokenizer.json is no tokenizer of word pieces")
        return tokenizers.Tokenizer.from_str(json.dumps(plain))
    if not (folder / "vocab.txt").is_file():
        raise errors.WeightsMissingError(name, "tokenizer.json or vocab.txt is missing")
    lines = (folder / "vocab.txt").read_text("utf-8").splitlines()
    is_lower = True
    if (folder / "tokenizer_config.json").is_file():
        described = folders.read_json(folder / "tokenizer_config.json", name)
        is_lower = described.get("do_lower_case", True) is not False
    numbers = {line: number for number, line in enumerate(lines)}
    return tokenizers.BertWordPieceTokenizer(numbers, lowercase=is_lower)
