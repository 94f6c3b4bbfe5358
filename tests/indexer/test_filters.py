"""Filter expressions become filters, or a sentence."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import filters
from medsearch_desktop import errors, queries


def test_that_equalities_are_joined_by_and() -> None:
    assert filters.parse("modality=CT and not label=normal AND body_part = Chest") == (
        queries.Filter("modality", "CT"),
        queries.Filter("label", "normal", negated=True),
        queries.Filter("body_part", "Chest"),
    )


def test_that_a_value_with_commas_spaces_or_and_can_be_asked_for() -> None:
    assert filters.parse("body_part=lung, mediastinum, pleura and view=axial") == (
        queries.Filter("body_part", "lung, mediastinum, pleura"),
        queries.Filter("view", "axial"),
    )
    assert filters.parse('body_part="skull and contents"') == (
        queries.Filter("body_part", "skull and contents"),
    )


def test_that_modality_words_are_mapped_as_in_a_build() -> None:
    assert filters.parse("modality=X-ray") == (queries.Filter("modality", "DX"),)
    assert filters.parse("modality=nothing known") == (queries.Filter("modality", "nothing known"),)


def test_that_unequal_is_a_negated_filter_and_not_unequal_is_none() -> None:
    assert filters.parse("sex!=M") == (queries.Filter("sex", "M", negated=True),)
    assert filters.parse("not sex!=M") == (queries.Filter("sex", "M"),)


@pytest.mark.parametrize(
    "expression",
    ["", "   ", "age>=60", "modality in (CT, MR)", "modality=CT or sex=M", "colour=red"]
    + ["modality=", "modality=CT and", "and modality=CT", "modality=CT view=PA"],
)
def test_that_what_is_not_understood_is_refused_with_a_sentence(expression: str) -> None:
    with pytest.raises(errors.QuerySyntaxError):
        filters.parse(expression)


@given(st.text(max_size=60))
def test_that_any_words_give_filters_or_a_sentence(expression: str) -> None:
    with contextlib.suppress(errors.QuerySyntaxError):
        assert filters.parse(expression)


_VALUES = st.text(st.characters(exclude_characters='"', categories=["L", "N", "P", "Zs"]))


@given(
    st.lists(
        st.tuples(st.sampled_from(["view", "label", "source"]), _VALUES, st.booleans()),
        min_size=1,
        max_size=4,
    )
)
def test_that_quoted_values_are_read_back(wanted: list[tuple[str, str, bool]]) -> None:
    wanted = [(field, value.strip(), no) for field, value, no in wanted if value.strip()]
    if not wanted:
        return
    expression = " and ".join(f'{"not " * no}{field}="{value}"' for field, value, no in wanted)
    assert filters.parse(expression) == tuple(queries.Filter(*one) for one in wanted)
