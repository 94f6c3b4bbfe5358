"""What is asked survives being written down."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsearch_desktop import cases, queries

weights = st.floats(-1, 1, allow_nan=False).map(lambda w: round(w, 3))
regions = st.none() | st.builds(
    cases.Region,
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(1, 99),
    st.integers(1, 99),
)
refs = st.builds(
    cases.ImageRef, path=st.text(min_size=1), frame=st.integers(0, 500), region=regions
)
terms = st.one_of(
    st.builds(queries.TextTerm, st.text(), weights),
    st.builds(queries.ImageTerm, refs, weights),
    st.builds(queries.VolumeTerm, st.text(), st.text(), weights),
    st.builds(queries.CaseTerm, st.text(), st.text(), weights),
)
asked = st.builds(
    queries.Query,
    terms=st.lists(terms, max_size=4).map(tuple),
    filters=st.lists(st.builds(queries.Filter, st.text(), st.text(), st.booleans())).map(tuple),
    collections=st.lists(st.text()).map(tuple),
    limit=st.integers(1, queries.MAX_LIMIT),
    against=st.sampled_from(queries.AGAINST),
    mix=st.none() | st.floats(0, 1),
)


@given(asked)
def test_that_a_query_written_as_json_comes_back_equal(query: queries.Query):
    back = queries.Query.from_dict(json.loads(json.dumps(query.to_dict())))
    assert back == query
    assert back.fingerprint() == query.fingerprint()


@given(asked, asked)
def test_that_two_queries_share_a_fingerprint_only_when_equal(
    one: queries.Query, other: queries.Query
):
    assert (one.fingerprint() == other.fingerprint()) == (one == other)


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 201}, {"mix": 1.1}, {"against": "x"}])
def test_that_an_impossible_query_is_refused_when_it_is_made(wrong: dict):
    with pytest.raises(ValueError, match="must"):
        queries.Query(**wrong)


def test_that_a_region_outside_the_image_or_empty_is_refused():
    with pytest.raises(ValueError, match="rectangle"):
        cases.Region(-1, 0, 4, 4)
    with pytest.raises(ValueError, match="rectangle"):
        cases.Region(0, 0, 0, 4)


def test_that_facets_name_only_what_is_known():
    facets = cases.Facets(modality="CT", age_years=45)
    assert facets.as_dict() == {"modality": "CT", "age": 45, "origin": "real"}


def test_that_a_thumb_is_up_or_down():
    with pytest.raises(ValueError, match="thumb"):
        queries.Verdict("q", "c", "k", 0, 1, "d")
