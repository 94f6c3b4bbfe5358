"""Titles, ages, sexes and views have one spelling."""

from __future__ import annotations

import pytest

from indexer import wording
from medsearch_desktop import cases

CHEST = cases.Facets(modality="DX", body_part="chest", view="PA")


def test_that_a_title_is_the_first_sentence_of_the_text() -> None:
    text = "severe ARDS, 3.5 cm below the carina. Person is intubated."
    assert wording.title(text, ("ARDS",), CHEST, "id") == "Severe ARDS, 3.5 cm below the carina"


def test_that_a_title_without_text_is_the_labels_then_what_it_shows_then_the_id() -> None:
    assert wording.title("", ("ARDS", "pneumonia"), CHEST, "id") == "ARDS, pneumonia"
    assert wording.title("", (), CHEST, "id") == "DX chest PA"
    assert wording.title("", (), cases.Facets(), "case-7") == "case-7"


def test_that_a_long_title_ends_at_a_word() -> None:
    title = wording.title("word " * 100, (), CHEST, "id")
    assert len(title) <= 121
    assert title.endswith("word…")


@pytest.mark.parametrize(
    ("given", "years"),
    [("61", 61), ("061Y", 61), ("18M", 1.5), ("3W", 0.06), ("45.5", 45.5), ("", None)]
    + [("adult", None), ("999", None), ("0", 0)],
)
def test_that_an_age_is_given_in_years(given: str, years: float | None) -> None:
    assert wording.age_years(given) == years


def test_that_spelling_makes_no_second_value_of_a_facet() -> None:
    first, kept = wording.facets(
        {"modality": "X-ray", "view": "AP Supine", "body_part": "CHEST", "sex": "female"}
    )
    second, kept_too = wording.facets(
        {"modality": "DX", "view": "ap supine", "body_part": "chest", "sex": "F"}
    )
    assert first == second == cases.Facets("DX", "AP supine", "chest", "F")
    assert kept == (("modality_given", "X-ray"),)
    assert kept_too == ()


def test_that_words_which_are_no_modality_are_kept_beside_an_unknown_one() -> None:
    facets, kept = wording.facets({"modality": "with contrast"})
    assert facets.modality == ""
    assert kept == (("modality_given", "with contrast"),)


def test_that_an_age_of_no_years_is_not_known_and_one_of_no_months_is() -> None:
    assert wording.age_years("0Y") is None
    assert wording.age_years("000Y") is None
    assert wording.age_years("000M") == 0
