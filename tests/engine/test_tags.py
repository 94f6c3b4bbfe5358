"""Tags as words: joined vectors, what they change for words, and what they leave alone."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import toy_collection
import toy_encoder

from medsearch_desktop import cases, queries
from medsearch_desktop.engine import collection, search, views
from medsearch_desktop.imaging import isolated

ENCODER = toy_encoder.ToyEncoder()
SAMPLE = Path(__file__).parent / "samples" / "collection-0.1.0.zip"


@pytest.fixture(scope="module")
def readers() -> Iterator[isolated.Readers]:
    with isolated.Readers(1) as started:
        yield started


def write(
    path: Path, colours: Sequence[str], tags: Sequence[str], *, images: int = 1, first: int = 0
) -> Path:
    """Write a case of each colour without a word of text; "" is a case without tags.

    A case has that many images, of which the last is white where there are several.
    """
    with collection.CollectionWriter(path, name=path.name, card=ENCODER.card) as writer:
        for number, (colour, tag) in enumerate(zip(colours, tags, strict=True), start=first):
            shown = [colour, *["white"] * (images - 1)]
            refs = [cases.ImageRef(f"/{number}/{name}.png") for name in shown]
            pictures = np.stack([toy_collection.picture(name) for name in shown])
            writer.add(
                cases.Case(f"{number}-{colour}-{tag}", images=tuple(map(cases.CaseImage, refs))),
                ENCODER.encode_images(pictures),
                None,
                tag_vector=ENCODER.encode_texts([tag]) if tag else None,
            )
        writer.commit()
    return path


def ask(
    readers: isolated.Readers, term: queries.Term, *paths: Path, **fields: object
) -> queries.Results:
    query = queries.Query(terms=(term,), **fields)
    with contextlib.ExitStack() as opened:
        among = [opened.enter_context(collection.open_collection(path)) for path in paths]
        return list(search.search(query, among, lambda _: ENCODER, readers))[-1]


def ids(results: queries.Results) -> list[str]:
    return [hit.case.case_id for hit in results.hits]


def test_that_words_find_a_case_by_tags_that_its_picture_does_not_show(
    tmp_path: Path, readers: isolated.Readers
) -> None:
    colours, tags = ["red", "red", "blue", "red"], ["CT", "MR", "CT", "US"]
    write(tmp_path / "tagged", colours, tags)
    write(tmp_path / "plain", colours, [""] * 4)
    asked = queries.TextTerm("red MR")
    assert ids(ask(readers, asked, tmp_path / "tagged"))[0] == "1-red-MR"
    assert ids(ask(readers, asked, tmp_path / "plain"))[0] == "0-red-"
    results = ask(readers, asked, tmp_path / "tagged")
    assert {name for name, _ in results.hits[0].evidence.shares} == {"images"}


def test_that_a_joined_vector_is_that_of_the_images_and_of_the_tags_by_their_weight(
    tmp_path: Path,
) -> None:
    write(tmp_path / "c", ["red", "blue"], ["CT", "MR"], images=3)
    with collection.open_collection(tmp_path / "c") as opened:
        assert opened.manifest.tag_weight == views.TAG_WEIGHT
        assert (opened.manifest.counts.joined, opened.manifest.counts.pooled) == (2, 2)
        place = opened.all_places()[1]
        images = views.pooled(opened.rows_of(place, "images"))
        both = images + views.TAG_WEIGHT * ENCODER.encode_texts(["MR"])
        wanted = both / np.linalg.norm(both)
        assert np.allclose(opened.rows_of(place, "joined"), wanted, atol=2e-3)


def test_that_a_study_found_by_words_tells_which_of_its_images_matched(
    tmp_path: Path, readers: isolated.Readers
) -> None:
    write(tmp_path / "c", ["red", "blue", "green"], ["CT"] * 3, images=4)
    hit = ask(readers, queries.TextTerm("blue CT"), tmp_path / "c").hits[0]
    assert hit.case.case_id == "1-blue-CT"
    best = hit.evidence.images[0]
    assert best.ref.path == "/1/blue.png"
    images = ENCODER.encode_images(toy_collection.picture("blue")[None])
    assert best.score == pytest.approx(
        float(ENCODER.encode_texts(["blue CT"])[0] @ images[0]), abs=1e-3
    )


def test_that_pictures_are_found_by_pictures_alone_whatever_their_tags(
    tmp_path: Path, readers: isolated.Readers
) -> None:
    pictures = toy_collection.write_pictures(tmp_path / "pictures")
    colours, tags = ["red", "blue", "red"] * 3, ["CT", "MR", "US"] * 3
    write(tmp_path / "tagged", colours, tags)
    write(tmp_path / "plain", colours, [""] * 9)
    red = queries.ImageTerm(cases.ImageRef(str(pictures / "red.png")))
    found = [
        [(hit.case.case_id.split("-")[0], hit.score, hit.evidence.images[0].score) for hit in hits]
        for hits in (
            ask(readers, red, tmp_path / name, against="images").hits
            for name in ("tagged", "plain")
        )
    ]
    assert found[0] == found[1]


def test_that_a_case_without_tags_is_found_by_words_beside_those_with(
    tmp_path: Path, readers: isolated.Readers
) -> None:
    write(tmp_path / "c", ["red", "blue", "green"], ["CT", "", "MR"])
    with collection.open_collection(tmp_path / "c") as opened:
        assert opened.manifest.counts.joined == 2
    results = ask(readers, queries.TextTerm("blue"), tmp_path / "c")
    assert ids(results)[0] == "1-blue-"
    assert len(results.hits) == 3
    assert results.hits[0].evidence.images[0].ref.path == "/1/blue.png"


def test_that_a_collection_without_tags_is_not_put_behind_one_with(
    tmp_path: Path, readers: isolated.Readers
) -> None:
    write(tmp_path / "tagged", ["red"] * 10, ["CT"] * 10)
    write(tmp_path / "plain", ["red"] * 10, [""] * 10, first=10)
    results = ask(
        readers, queries.TextTerm("red CT"), tmp_path / "tagged", tmp_path / "plain", limit=6
    )
    assert {Path(hit.collection).name for hit in results.hits} == {"tagged", "plain"}
    assert results.total == 20


def test_that_a_lowest_cosine_counts_tags_for_words(
    tmp_path: Path, readers: isolated.Readers
) -> None:
    write(tmp_path / "c", ["red", "red", "blue"], ["CT", "MR", "MR"])
    text = ENCODER.encode_texts(["red MR"])
    with collection.open_collection(tmp_path / "c") as opened:
        cosines = sorted(
            float((text @ opened.rows_of(place, "joined").T).max()) for place in opened.all_places()
        )
    lowest = (cosines[-1] + cosines[-2]) / 2
    results = ask(readers, queries.TextTerm("red MR"), tmp_path / "c", min_cosine=lowest)
    assert ids(results) == ["1-red-MR"]


def test_that_what_is_added_to_a_collection_without_tags_keeps_none(tmp_path: Path) -> None:
    """Or what was added would stand before all that was there, for words."""
    with zipfile.ZipFile(SAMPLE) as packed:
        packed.extractall(tmp_path / "old")
    with collection.open_collection(tmp_path / "old") as opened:
        before = opened.manifest
    added = toy_collection.write(tmp_path / "old", range(900, 910))
    assert (added.tag_weight, added.counts.joined) == (0, 0)
    assert added.counts.cases == before.counts.cases + 10
    assert added.views == before.views
    assert collection.verify(tmp_path / "old") == []


def test_that_what_is_added_later_counts_its_tags_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_collection.write(tmp_path / "c", range(4))
    weight = views.TAG_WEIGHT
    monkeypatch.setattr(views, "TAG_WEIGHT", 3 * weight)
    added = toy_collection.write(tmp_path / "c", range(8, 12))
    assert (added.tag_weight, added.counts.joined) == (weight, 8)
    with collection.open_collection(tmp_path / "c") as opened:
        rows = [opened.rows_of(place, "joined") for place in opened.all_places()]
    # Case 8 is as case 0: of one colour and modality.
    assert np.allclose(rows[0], rows[4])


def test_that_tags_without_an_image_or_of_a_wrong_length_make_no_joined_vector(
    tmp_path: Path,
) -> None:
    tag = ENCODER.encode_texts(["CT"])
    with collection.CollectionWriter(tmp_path / "c", name="c", card=ENCODER.card) as writer:
        writer.add(cases.Case("words", text="a note"), None, tag, tag_vector=tag)
        one = cases.Case("one", images=(cases.CaseImage(cases.ImageRef("/a.png")),))
        red = ENCODER.encode_images(toy_collection.picture("red")[None])
        for wrong in (tag * 2, tag[:, :8], np.repeat(tag, 2, axis=0)):
            with pytest.raises(ValueError, match="vectors"):
                writer.add(one, red, None, tag_vector=wrong)
        writer.add(one, red, None, tag_vector=tag)
        assert writer.commit().counts.joined == 1
    assert collection.verify(tmp_path / "c") == []
