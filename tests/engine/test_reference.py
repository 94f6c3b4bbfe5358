"""The vectors of one drawn picture and one text tell a model's files from others."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import toy_encoder

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import base, reference

KEPT = reference.Vectors("0" * 64, (1.0, 0.0, 0.0), (0.6, 0.8, 0.0))
CARD = base.EncoderCard("a", "compact", "0" * 64, 3, ("images", "texts"))


def test_that_the_drawn_picture_is_the_same_everywhere() -> None:
    drawn = reference.picture()
    assert (drawn.shape, drawn.dtype.name) == ((192, 256, 3), "uint8")
    assert hashlib.sha256(drawn.tobytes()).hexdigest().startswith("645e004d3e1525bc")
    assert drawn.std() > 20


def test_that_what_was_kept_is_read_again(tmp_path: Path) -> None:
    assert reference.read(tmp_path, "a") is None
    seen = reference.seen(toy_encoder.ToyEncoder())
    reference.write(tmp_path, seen)
    assert reference.read(tmp_path, "a") == seen
    found = reference.compare(seen, seen, CARD)
    assert found.picture == pytest.approx(1)
    assert found.text == pytest.approx(1)
    assert not found.problem


@pytest.mark.parametrize(
    ("precision", "turned", "fits"),
    [
        ("fp32", 0.03, True),
        ("fp32", 0.06, False),
        ("int8", 0.15, True),
        ("int8", 0.25, False),
        ("fp16", 0.06, True),
    ],
)
def test_that_a_coarser_precision_may_turn_a_vector_further(
    precision: str, turned: float, fits: bool
) -> None:
    now = replace(KEPT, picture=(1.0, turned, 0.0))
    problem = reference.compare(KEPT, now, replace(CARD, precision=precision)).problem
    assert (problem == "") == fits
    assert fits or "reference picture is not the one stored" in problem


def test_that_another_length_and_a_missing_kind_are_told() -> None:
    longer = replace(KEPT, picture=(1.0, 0.0, 0.0, 0.0))
    assert (
        "has 4 numbers, the one stored with it 3" in reference.compare(KEPT, longer, CARD).problem
    )
    silent = replace(KEPT, text=())
    assert "vector of a text has 0" in reference.compare(KEPT, silent, CARD).problem
    assert reference.compare(silent, silent, CARD).text is None


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"version": 1}', "PICTURE_OF_WORDS", "NOT_FINITE", "OTHER_VERSION"],
)
def test_that_a_file_that_cannot_be_understood_gets_a_sentence(
    tmp_path: Path, content: str
) -> None:
    kept = {"version": 1, "digest": "0", "text_read": reference.TEXT, "picture": [1.0], "text": []}
    written = {
        "PICTURE_OF_WORDS": json.dumps(kept | {"picture": ["a"]}),
        "NOT_FINITE": json.dumps(kept | {"picture": [float("nan")]}),
        "OTHER_VERSION": json.dumps(kept | {"version": 2}),
    }
    (tmp_path / reference.FILE).write_text(written.get(content, content), "utf-8")
    with pytest.raises(errors.EncoderError, match=r"reference\.json"):
        reference.read(tmp_path, "a")
