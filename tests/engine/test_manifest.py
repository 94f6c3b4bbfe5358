"""Manifests: the recipe by which a collection is built again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import toy_collection

from medsearch_desktop.engine import manifest
from medsearch_desktop.engine.manifest import Part, Recipe


@pytest.mark.parametrize(
    "more",
    [
        Part(("/b",), "csv"),
        Part(("/b",), columns="id=name"),
        Part(("/b",), slices_per_volume=3),
        Part(("/b",), limit=2),
    ],
)
def test_that_what_was_added_in_another_way_is_a_part_of_its_own(more: Part) -> None:
    assert Recipe((Part(("/a",)),)).joined(Recipe((more,))) == Recipe((Part(("/a",)), more))


def test_that_what_was_added_in_the_same_way_joins_the_last_part() -> None:
    joined = Recipe((Part(("/a",)),)).joined(Recipe((Part(("/b", "/a")),)))
    assert joined == Recipe((Part(("/a", "/b")),))


def test_that_limited_parts_stay_apart_and_the_same_part_is_kept_once() -> None:
    first, second = Part(("/a",), limit=2), Part(("/b",), limit=2)
    once = Recipe((first,)).joined(Recipe((second,)))
    assert once == Recipe((first, second))
    assert once.joined(Recipe((first,))) == once


def test_that_a_collection_of_unknown_parts_stays_of_unknown_parts() -> None:
    assert manifest.UNKNOWN.joined(Recipe((Part(("/a",)),))) == manifest.UNKNOWN
    assert Recipe((Part(("/a",)),)).joined(manifest.UNKNOWN) == manifest.UNKNOWN


@pytest.mark.parametrize(
    ("plain", "recipe"),
    [
        ({}, manifest.UNKNOWN),
        ({"inputs": [], "input_format": "auto", "columns": ""}, manifest.UNKNOWN),
        (
            {"inputs": ["/a"], "input_format": "csv", "columns": "id=x"},
            Recipe((Part(("/a",), "csv", "id=x"),)),
        ),
    ],
)
def test_that_the_single_form_of_earlier_versions_is_one_part(plain: dict, recipe: Recipe) -> None:
    assert manifest._recipe(plain) == recipe


def test_that_every_part_is_read_as_it_was_written(tmp_path: Path) -> None:
    toy_collection.write(tmp_path / "toys", range(3))
    plain = manifest.read(tmp_path / "toys")
    recipe = Recipe((Part(("/a",), "dicom", "", 5, 12), Part(("/b", "/c"), "csv", "id=x")))
    written = dataclasses.replace(plain, recipe=recipe)
    assert manifest.parse(written.to_json(), "toys").recipe == recipe


def test_that_counts_of_whole_cases_and_the_weight_of_tags_are_read_as_written(
    tmp_path: Path,
) -> None:
    plain = toy_collection.write(tmp_path / "toys", range(3))
    found = manifest.parse(plain.to_json(), "toys")
    assert (found.counts, found.tag_weight) == (plain.counts, plain.tag_weight)
    assert found.segments[0].vectors == {"images": 3, "texts": 3, "pooled": 0, "joined": 3}
    for weight in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="tags weigh"):
            dataclasses.replace(plain, tag_weight=weight)
