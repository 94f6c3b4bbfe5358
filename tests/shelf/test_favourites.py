"""Favourites outlive their collection and lie in flat folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.shelf import database, favourites

CASE = cases.Case(
    "case-1",
    title="Pleural effusion",
    text="Large effusion on the right.",
    labels=("effusion", "pleura"),
    facets=cases.Facets(modality="DX", body_part="chest", sex="F", age_years=61.5),
    provenance=cases.Provenance("CC BY 4.0", "Teaching file", "https://example.org/1"),
    images=(
        cases.CaseImage(cases.ImageRef("/files/a.png")),
        cases.CaseImage(cases.ImageRef("/files/b.png", 3, "1.2.3", cases.Region(1, 2, 3, 4))),
    ),
)
HIT = queries.Hit(CASE, "/collections/one", 1, 0.5)


@pytest.fixture
def shelf(home: Path) -> Iterator[database.Shelf]:
    opened = database.open_shelf(home / "shelf.db")
    yield opened
    opened.close()


def test_that_a_favourite_keeps_all_that_is_needed_to_show_it(shelf: database.Shelf) -> None:
    matched = queries.Evidence(images=(queries.ImageMatch(CASE.images[1].ref, 0.9),))
    hit = queries.Hit(CASE, "/collections/one", 1, 0.5, evidence=matched)
    added = favourites.add(shelf, hit, "To teach", thumbnail=b"JPEG")
    assert favourites.listed(shelf) == [added]
    assert added == favourites.Favourite(
        "case-1",
        "/collections/one",
        "To teach",
        CASE.title,
        CASE.text,
        CASE.labels,
        CASE.facets,
        CASE.provenance,
        CASE.images[1].ref,
        b"JPEG",
        "",
        added.kept,
    )


def test_that_favourites_are_there_after_the_program_was_closed(home: Path) -> None:
    shelf = database.open_shelf(home / "shelf.db")
    added = favourites.add(shelf, HIT, thumbnail=b"JPEG")
    shelf.close()
    shelf = database.open_shelf(home / "shelf.db")
    assert favourites.listed(shelf) == [added]
    shelf.close()


def test_that_a_text_only_case_is_kept_without_a_picture(shelf: database.Shelf) -> None:
    added = favourites.add(shelf, queries.Hit(cases.Case("t"), "/c", 1, 1.0), thumbnail=b"")
    assert (added.image, added.thumbnail) == (None, b"")


def test_that_keeping_a_case_again_renews_it_and_leaves_its_note(shelf: database.Shelf) -> None:
    favourites.add(shelf, HIT, thumbnail=b"old")
    favourites.note(shelf, "case-1", "/collections/one", "favourites", "Show on Monday")
    renewed = favourites.add(shelf, HIT, "FAVOURITES", thumbnail=b"new")
    assert favourites.listed(shelf) == [renewed]
    assert (renewed.thumbnail, renewed.note, renewed.folder) == (
        b"new",
        "Show on Monday",
        "Favourites",
    )


def test_that_a_case_may_lie_in_two_folders_and_leave_one(shelf: database.Shelf) -> None:
    favourites.add(shelf, HIT, "A", thumbnail=b"")
    favourites.add(shelf, HIT, "B", thumbnail=b"")
    favourites.remove(shelf, "case-1", "/collections/one", "A")
    assert favourites.folders(shelf) == [("A", 0), ("B", 1)]
    assert favourites.is_kept(shelf, "case-1", "/collections/one")
    assert favourites.kept(shelf) == {("/collections/one", "case-1")}
    favourites.remove(shelf, "case-1", "/collections/one", "B")
    assert not favourites.is_kept(shelf, "case-1", "/collections/one")


def test_that_one_case_id_in_two_collections_is_two_cases(shelf: database.Shelf) -> None:
    favourites.add(shelf, HIT, thumbnail=b"")
    assert not favourites.is_kept(shelf, "case-1", "/collections/two")


def test_that_moving_a_favourite_takes_its_note_along(shelf: database.Shelf) -> None:
    favourites.add(shelf, HIT, "A", thumbnail=b"")
    favourites.note(shelf, "case-1", "/collections/one", "A", "Mine")
    favourites.add(shelf, HIT, "B", thumbnail=b"")
    favourites.move(shelf, "case-1", "/collections/one", from_folder="A", to_folder="B")
    assert [(f.folder, f.note) for f in favourites.listed(shelf)] == [("B", "Mine")]


def test_that_a_folder_can_be_made_renamed_and_removed_with_its_cases(
    shelf: database.Shelf,
) -> None:
    favourites.create_folder(shelf, "  Chest   teaching ")
    favourites.rename_folder(shelf, "chest teaching", "Chest Teaching")
    favourites.add(shelf, HIT, "Chest teaching", thumbnail=b"")
    assert favourites.folders(shelf) == [("Chest Teaching", 1)]
    favourites.remove_folder(shelf, "Chest Teaching")
    assert favourites.folders(shelf) == []
    assert favourites.listed(shelf) == []


def test_that_a_taken_an_empty_and_an_unknown_folder_name_are_refused(
    shelf: database.Shelf,
) -> None:
    favourites.create_folder(shelf, "A")
    favourites.create_folder(shelf, "B")
    with pytest.raises(errors.FolderNameError, match="already"):
        favourites.create_folder(shelf, "a")
    with pytest.raises(errors.FolderNameError, match="already"):
        favourites.rename_folder(shelf, "A", "b")
    with pytest.raises(errors.FolderNameError, match="needs a name"):
        favourites.create_folder(shelf, "  ")
    with pytest.raises(errors.FolderNameError, match="no folder"):
        favourites.rename_folder(shelf, "C", "D")


def test_that_the_newest_favourite_comes_first(shelf: database.Shelf) -> None:
    for name in ("first", "second", "third"):
        favourites.add(shelf, queries.Hit(cases.Case(name), "/c", 1, 1.0), thumbnail=b"")
    assert [f.case_id for f in favourites.listed(shelf)] == ["third", "second", "first"]
