"""Searching: the answer is put into the data and asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import phantoms
import pytest
import toy_collection
import toy_encoder

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import asking, collection, search
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.imaging import isolated


@pytest.fixture(scope="module")
def readers() -> Iterator[isolated.Readers]:
    with isolated.Readers(1) as started:
        yield started


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_collection.write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def toys(
    tmp_path_factory: pytest.TempPathFactory, pictures: Path
) -> Iterator[collection.Collection]:
    path = tmp_path_factory.mktemp("collections") / "toys"
    toy_collection.write(path, range(80), folder=pictures)
    with collection.open_collection(path) as opened:
        yield opened


def encoder_for(card: base.EncoderCard) -> base.Encoder:
    if card.name != toy_encoder.NAME:
        raise errors.EncoderMissingError(card.name, "it is not installed")
    return toy_encoder.ToyEncoder()


@pytest.fixture
def ask(readers: isolated.Readers, toys: collection.Collection):
    def asked(*terms: queries.Term, among=None, **fields: object) -> queries.Results:
        query = queries.Query(terms=terms, **fields)
        return list(search.search(query, among or [toys], encoder_for, readers))[-1]

    return asked


def ids(results: queries.Results) -> list[str]:
    return [hit.case.case_id for hit in results.hits]


def colours(results: queries.Results) -> list[str]:
    return [hit.case.title.split()[0] for hit in results.hits]


def image(pictures: Path, colour: str, weight: float = 1.0) -> queries.ImageTerm:
    return queries.ImageTerm(cases.ImageRef(str(pictures / f"{colour}.png")), weight)


def test_that_words_find_the_case_that_holds_them(ask) -> None:
    results = ask(queries.TextTerm("red square with fracture"))
    first = results.hits[0]
    assert first.case.title == "red square"
    assert "fracture" in first.case.labels
    assert first.evidence.word_rank == 1
    assert {word for word, _ in first.evidence.words} == {"red", "square", "fracture"}
    assert first.rank == 1
    assert results.complete


def test_that_a_picture_finds_cases_of_its_colour_and_says_which_image(ask, pictures: Path) -> None:
    results = ask(image(pictures, "cyan"), limit=10)
    assert set(colours(results)) == {"cyan"}
    match = results.hits[0].evidence.images[0]
    assert match.ref.path.endswith("cyan.png")
    assert match.score == pytest.approx(1, abs=1e-3)
    assert results.hits[0].thumbnail is not None


def test_that_a_picture_finds_a_case_that_has_only_words(
    ask, pictures: Path, tmp_path: Path
) -> None:
    encoder = toy_encoder.ToyEncoder()
    with collection.CollectionWriter(tmp_path / "c", name="c", card=encoder.card) as writer:
        for colour in toy_encoder.COLOURS:
            case = cases.Case(colour, text=f"a note on {colour}")
            writer.add(case, None, encoder.encode_texts([colour]))
        writer.commit()
    with collection.open_collection(tmp_path / "c") as opened:
        results = ask(image(pictures, "blue"), among=[opened])
    assert ids(results)[0] == "blue"
    assert results.hits[0].thumbnail is None


def test_that_terms_join_and_negative_ones_take_away(ask, pictures: Path) -> None:
    both = ask(image(pictures, "red"), queries.TextTerm("fracture"), against="images", limit=5)
    joined = [h for h in both.hits if h.evidence.word_rank and h.case.title == "red square"]
    assert joined
    assert {"images", "words"} <= {name for name, _ in joined[0].evidence.shares}
    without = ask(image(pictures, "red"), queries.TextTerm("fracture", weight=-1.0), limit=9)
    assert all("fracture" not in hit.case.labels for hit in without.hits)


def test_that_only_negative_terms_still_give_the_rest(ask) -> None:
    results = ask(queries.TextTerm("fracture", weight=-1.0), limit=60)
    assert results.total == 80
    assert all("fracture" not in hit.case.labels for hit in results.hits)


def test_that_filters_hold_for_every_hit_and_cost_no_recall(ask, pictures: Path) -> None:
    wanted = (queries.Filter("label", "nodule"), queries.Filter("modality", "ct"))
    results = ask(image(pictures, "white"), filters=wanted, limit=200)
    for hit in results.hits:
        assert "nodule" in hit.case.labels
        assert hit.case.facets.modality == "CT"
    assert results.total == 8
    assert results.hits[0].case.title == "white square"


def test_that_facets_are_counted_over_all_candidates(ask) -> None:
    results = ask(queries.TextTerm("square"), limit=3)
    counts = {field: dict(values) for field, values in results.facets}
    assert results.total == 80
    assert counts["modality"] == {"CT": 40, "MR": 40}
    assert sum(counts["label"].values()) == 160
    assert len(results.hits) == 3


def test_that_a_thumb_down_sinks_a_case_and_a_thumb_up_lifts_one(ask) -> None:
    asked = queries.TextTerm("square with effusion")
    before = ids(ask(asked))
    down = ids(ask(asked, queries.CaseTerm(before[0], weight=-1.0)))
    assert before[0] not in down[:10]
    up = ids(ask(asked, queries.CaseTerm(before[9])))
    assert up.index(before[9]) < 3
    assert ids(ask(asked)) == before


def test_that_more_like_this_answers_with_others(ask, toys: collection.Collection) -> None:
    results = ask(queries.CaseTerm("case-4", str(toys.path)), limit=10)
    assert "case-4" not in ids(results)
    assert set(colours(results)[:9]) == {"red"}
    liked = ask(queries.CaseTerm("case-4"), queries.CaseTerm("case-12"))
    assert "case-12" in ids(liked)


def test_that_a_case_that_is_not_there_is_told_in_a_notice(ask) -> None:
    results = ask(queries.TextTerm("effusion"), queries.CaseTerm("gone"))
    assert any("gone" in notice for notice in results.notices)
    assert results.hits


def test_that_against_chooses_the_vectors_searched(ask, pictures: Path) -> None:
    for against in ("images", "texts"):
        results = ask(image(pictures, "green"), against=against)
        assert {name for name, _ in results.hits[0].evidence.shares} == {against}


def test_that_mix_goes_from_words_only_to_vectors_only(ask) -> None:
    text = queries.TextTerm("red fracture")
    words = ask(text, mix=0.0)
    assert all(hit.evidence.vector_rank is None for hit in words.hits)
    vectors = ask(text, mix=1.0)
    assert all(hit.evidence.word_rank is None for hit in vectors.hits)
    assert ask(text, mix=0.5).hits[0].case.title == "red square"


def test_that_min_cosine_leaves_only_what_is_near_enough(ask, pictures: Path) -> None:
    results = ask(image(pictures, "red"), against="images", min_cosine=0.9, limit=200)
    assert set(colours(results)) == {"red"}
    assert results.total == 10


def test_that_a_question_without_terms_lists_the_collection(ask) -> None:
    results = ask(filters=(queries.Filter("modality", "MR"),), limit=5)
    assert results.total == 40
    assert ids(results) == ["case-0", "case-2", "case-4", "case-6", "case-8"]


def test_that_several_collections_answer_as_one(
    ask, tmp_path: Path, pictures: Path, toys: collection.Collection
) -> None:
    toy_collection.write(tmp_path / "more", range(80, 120), folder=pictures, name="More")
    with collection.open_collection(tmp_path / "more") as more:
        results = ask(image(pictures, "red"), among=[toys, more], limit=15)
        assert set(colours(results)) == {"red"}
        assert {hit.collection for hit in results.hits} == {str(toys.path), str(more.path)}
        words = ask(queries.TextTerm("number 100"), among=[toys, more])
        assert words.hits[0].case.case_id == "case-100"


def test_that_words_still_find_when_the_encoder_is_missing(
    ask, tmp_path: Path, pictures: Path
) -> None:
    card = dataclasses.replace(toy_encoder.ToyEncoder().card, name="elsewhere")
    toy_collection.write(tmp_path / "c", range(20), card=card)
    with collection.open_collection(tmp_path / "c") as opened:
        results = ask(queries.TextTerm("fracture"), among=[opened])
        assert "fracture" in results.hits[0].case.labels
        assert any("words only" in notice for notice in results.notices)
        alike = ask(queries.CaseTerm("case-4"), among=[opened], limit=2)
        assert ids(alike)[0] == "case-12"
        with pytest.raises(errors.EncoderMissingError):
            ask(image(pictures, "red"), among=[opened])


def test_that_another_encoder_of_the_same_name_is_not_used(ask, tmp_path: Path) -> None:
    card = toy_encoder.ToyEncoder(salt="old").card
    toy_collection.write(tmp_path / "c", range(20), card=card)
    with collection.open_collection(tmp_path / "c") as opened:
        results = ask(queries.TextTerm("fracture"), among=[opened])
        assert any("was built with" in notice for notice in results.notices)
        assert all(hit.evidence.vector_rank is None for hit in results.hits)


def test_that_an_unreadable_picture_is_an_error_that_names_it(ask, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(errors.UnreadableFileError, match=r"broken\.png"):
        ask(queries.ImageTerm(cases.ImageRef(str(tmp_path / "broken.png"))))


def test_that_a_region_is_what_is_searched(ask, tmp_path: Path, toys) -> None:
    from PIL import Image

    whole = Image.new("RGB", (40, 20), toy_encoder.COLOURS["red"])
    whole.paste(toy_encoder.COLOURS["blue"], (20, 0, 40, 20))
    whole.save(tmp_path / "two.png")
    region = cases.Region(20, 0, 20, 20)
    results = ask(queries.ImageTerm(cases.ImageRef(str(tmp_path / "two.png"), region=region)))
    assert colours(results)[0] == "blue"


def test_that_the_fingerprint_follows_query_generation_and_encoder(
    ask, tmp_path: Path, pictures: Path
) -> None:
    path = tmp_path / "c"
    toy_collection.write(path, range(8))
    prints = []
    for numbers in ((), range(8, 12)):
        if numbers:
            toy_collection.write(path, numbers)
        with collection.open_collection(path) as opened:
            prints += [
                ask(queries.TextTerm("red"), among=[opened]).fingerprint,
                ask(queries.TextTerm("red"), among=[opened]).fingerprint,
                ask(queries.TextTerm("blue"), among=[opened]).fingerprint,
            ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_that_a_volume_gives_a_quick_answer_and_then_the_complete_one(
    readers: isolated.Readers, toys: collection.Collection, tmp_path: Path
) -> None:
    phantoms.write_ct_series(tmp_path / "ct", slices=30)
    query = queries.Query(terms=(queries.VolumeTerm(str(tmp_path / "ct")),))
    progress: list[tuple[int, int]] = []
    answers = list(
        search.search(
            query, [toys], encoder_for, readers, on_progress=lambda *step: progress.append(step)
        )
    )
    assert [answer.complete for answer in answers] == [False, True]
    assert progress[0] == (3, 24)
    assert progress[-1] == (24, 24)
    assert answers[-1].hits
    assert dict(answers[-1].took_ms)["total"] > 0


def test_that_a_volume_is_not_read_again_for_a_thumb(
    readers: isolated.Readers, toys: collection.Collection, tmp_path: Path
) -> None:
    phantoms.write_nifti(tmp_path / "volume.nii.gz")
    memory = asking.Memory()
    volume = queries.VolumeTerm(str(tmp_path / "volume.nii.gz"))

    def ask_again(*terms: queries.Term) -> list[queries.Results]:
        query = queries.Query(terms=terms)
        steps = search.steps(query, [toys], encoder_for, readers, memory=memory)
        return [step for step in steps if isinstance(step, queries.Results)]

    assert len(ask_again(volume)) == 2
    again = ask_again(dataclasses.replace(volume, weight=0.5), queries.CaseTerm("case-1"))
    assert len(again) == 1
    assert dict(again[0].took_ms)["encode"] < 50


def test_that_a_volume_that_is_not_there_is_an_error(ask, tmp_path: Path) -> None:
    with pytest.raises(errors.UnreadableFileError):
        ask(queries.VolumeTerm(str(tmp_path / "none")))
