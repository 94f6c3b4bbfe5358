"""Studies and volumes: pooled vectors, and late interaction of their slices."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import toy_collection
import toy_encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from medsearch_desktop import cases, queries
from medsearch_desktop.engine import answers, collection, search, segments, views
from medsearch_desktop.imaging import isolated

CARD = toy_encoder.ToyEncoder().card


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of unit length as a collection keeps them, rounded to 16 bits."""
    made: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return made.astype(np.float16).astype(np.float32)


def drawn(seed: int, counts: Sequence[int]) -> list[np.ndarray]:
    """Return random vectors of 16 numbers, so many for each case."""
    chance = np.random.default_rng(seed)
    return [unit(chance.normal(size=(count, 16))) for count in counts]


def write(path: Path, vectors: Sequence[np.ndarray], *, split: int | None = None) -> Path:
    """Write one case for each of `vectors`, in two segments where `split` says so."""
    numbered = list(enumerate(vectors))
    for part in (numbered[:split], numbered[split:] if split else []):
        if not part:
            continue
        with collection.CollectionWriter(path, name="c", card=CARD) as writer:
            for number, rows in part:
                refs = [cases.ImageRef(f"/{number}.nii", frame) for frame in range(len(rows))]
                images = tuple(cases.CaseImage(ref) for ref in refs)
                writer.add(cases.Case(f"case-{number}", images=images), rows, None)
            writer.commit()
    return path


def plain_late(asked: np.ndarray, rows: np.ndarray) -> float:
    """Return the score of late interaction, one pair of images after the other."""
    best = [max(float(np.dot(one, other)) for other in rows) for one in asked]
    return sum(best) / len(best)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 999),
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    asked=st.integers(1, 6),
    split=st.integers(1, 11),
)
def test_that_late_interaction_equals_a_plain_loop_in_one_segment_and_in_two(
    tmp_path_factory: pytest.TempPathFactory, seed: int, counts: list[int], asked: int, split: int
) -> None:
    folder = tmp_path_factory.mktemp("late")
    vectors, (query,) = drawn(seed, counts), drawn(seed + 1, [asked])
    write(folder / "one", vectors)
    write(folder / "two", vectors, split=split)
    wanted = {f"case-{n}": plain_late(query, rows) for n, rows in enumerate(vectors)}
    found = []
    for name in ("one", "two"):
        with collection.open_collection(folder / name) as opened:
            near = opened.late(query, opened.all_places())
            found.append([(opened.case(one.place).case_id, one.score) for one in near])
            for one in near:
                number = int(opened.case(one.place).case_id.removeprefix("case-"))
                best = (query @ vectors[number].T).max(axis=0)
                assert [image for image, _ in one.images] == list(range(counts[number]))
                assert np.allclose([score for _, score in one.images], best, atol=1e-3)
    assert [case_id for case_id, _ in found[0]] == [case_id for case_id, _ in found[1]]
    for ranked in found:
        assert dict(ranked) == pytest.approx(wanted, abs=1e-3)
        assert [score for _, score in ranked] == sorted((s for _, s in ranked), reverse=True)
    shutil.rmtree(folder)


def test_that_a_case_added_to_one_segment_or_to_another_ranks_alike(tmp_path: Path) -> None:
    vectors = drawn(3, [1, 4, 2, 1, 5, 3, 1, 2])
    (query,) = drawn(4, [6])
    write(tmp_path / "one", vectors)
    write(tmp_path / "two", vectors, split=5)
    found = []
    for name in ("one", "two"):
        with collection.open_collection(tmp_path / name) as opened:
            numbers = answers.Found([opened], [None]).of(CARD.digest)
            ranked = answers.Found([opened], [None]).late(numbers, query, 1.0)
            pooled = opened.near(views.pooled(query), "pooled", 8)
            found.append(
                [(opened.case(place).case_id, score) for (_, place), score in ranked.scored]
                + [(opened.case(near.place).case_id, near.score) for near in pooled]
            )
    assert [name for name, _ in found[0]] == [name for name, _ in found[1]]
    assert np.allclose([s for _, s in found[0]], [s for _, s in found[1]], atol=1e-6)


def test_that_the_pooled_vector_is_the_middle_of_the_images_of_a_case(tmp_path: Path) -> None:
    vectors = drawn(5, [3, 1, 2])
    with collection.open_collection(write(tmp_path / "c", vectors)) as opened:
        assert opened.manifest.counts.pooled == 2
        for place, rows in zip(opened.all_places(), vectors, strict=True):
            assert np.allclose(opened.rows_of(place, "pooled"), views.pooled(rows), atol=1e-3)


def test_that_a_case_with_one_image_has_no_pooled_row_and_is_found_alike(tmp_path: Path) -> None:
    vectors = drawn(6, [1] * 30)
    with collection.open_collection(write(tmp_path / "c", vectors)) as opened:
        assert opened.manifest.counts.pooled == 0
        assert not list((tmp_path / "c").rglob("pooled.*"))
        by_image = opened.near(vectors[4], "images", 30)
        by_whole = opened.near(vectors[4], "pooled", 30)
        assert by_whole == by_image
    mixed = [*vectors[:15], *drawn(7, [3] * 10), *vectors[15:]]
    with collection.open_collection(write(tmp_path / "mixed", mixed)) as opened:
        assert opened.manifest.counts.pooled == 10
        found = opened.near(vectors[20], "pooled", 40)
        assert len({near.place for near in found}) == 40
        assert opened.case(found[0].place).case_id == "case-30"
        assert found[0].score == pytest.approx(1, abs=1e-3)


@pytest.fixture(scope="module")
def readers() -> Iterator[isolated.Readers]:
    with isolated.Readers(1) as started:
        yield started


@pytest.fixture
def studies(tmp_path: Path) -> Iterator[collection.Collection]:
    with collection.CollectionWriter(tmp_path / "c", name="Studies", card=CARD) as writer:
        toy_collection.add_studies(writer, range(16))
        toy_collection.add(writer, range(16, 48))
        writer.commit()
    with collection.open_collection(tmp_path / "c") as opened:
        yield opened


def ask(
    among: collection.Collection, readers: isolated.Readers, *terms: queries.Term, **fields: object
) -> queries.Results:
    query = queries.Query(terms=terms, **fields)
    encoder = toy_encoder.ToyEncoder()
    return list(search.search(query, [among], lambda _: encoder, readers))[-1]


def test_that_a_study_finds_the_study_of_the_same_images_and_says_which_matched(
    studies: collection.Collection, readers: isolated.Readers
) -> None:
    results = ask(studies, readers, queries.CaseTerm("case-2"), against="images", limit=5)
    first = results.hits[0]
    assert first.case.case_id == "case-10"
    shown = {Path(match.ref.path).stem for match in first.evidence.images}
    assert shown == {"green", "cyan", "red"}
    assert {name for name, _ in first.evidence.shares} == {"images"}
    assert all(match.score == pytest.approx(1, abs=1e-3) for match in first.evidence.images)


def test_that_filters_hold_for_studies_in_every_set(
    studies: collection.Collection, readers: isolated.Readers
) -> None:
    wanted = (queries.Filter("modality", "MR"),)
    kept = studies.kept(wanted)
    red = toy_encoder.ToyEncoder().encode_texts(["red"])
    for among in segments.SETS:
        found = studies.near(red, among, 48, kept)
        assert len(found) == 24
        assert all(studies.case(near.place).facets.modality == "MR" for near in found)
    results = ask(studies, readers, queries.CaseTerm("case-2"), filters=wanted, limit=48)
    assert len(results.hits) == 23
    assert all(hit.case.facets.modality == "MR" for hit in results.hits)


def test_that_what_is_near_but_not_compared_slice_by_slice_follows_after(tmp_path: Path) -> None:
    vectors = drawn(8, [2] * (answers.LATE + 40))
    (query,) = drawn(9, [3])
    with collection.open_collection(write(tmp_path / "c", vectors)) as opened:
        found = answers.Found([opened], [None])
        ranked = found.late(found.of(CARD.digest), query, 1.0)
    assert len(ranked.scored) == len(vectors)
    scores = [score for _, score in ranked.scored]
    assert scores == sorted(scores, reverse=True)
    assert len({key for key, _ in ranked.scored}) == len(vectors)


def test_that_a_collection_without_pooled_rows_finds_studies_as_before(tmp_path: Path) -> None:
    """The sample was written before there were pooled and joined vectors."""
    sample = Path(__file__).parent / "samples" / "collection-0.1.0.zip"
    with zipfile.ZipFile(sample) as packed:
        packed.extractall(tmp_path / "old")
    with collection.open_collection(tmp_path / "old") as opened:
        assert (opened.manifest.tag_weight, opened.has_joined) == (0, False)
        red = toy_encoder.ToyEncoder().encode_texts(["red"])
        by_image = opened.near(red, "images", 20)
        for among in ("pooled", "joined"):
            assert opened.near(red, among, 20) == by_image


@pytest.mark.parametrize("name", ["pooled.faiss", "joined.rows.npy"])
def test_that_damaged_vectors_of_whole_cases_cost_no_answer(
    studies: collection.Collection, readers: isolated.Readers, name: str
) -> None:
    path = studies.path / "segments/0001" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)
    with collection.open_collection(studies.path) as opened:
        assert "in part, also by its vectors" in opened.notice
        alike = ask(opened, readers, queries.CaseTerm("case-2"), against="images", limit=5)
        assert alike.hits[0].case.case_id == "case-10"
        words = ask(opened, readers, queries.TextTerm("red"), against="images", mix=1.0, limit=3)
        assert words.hits[0].evidence.images[0].ref.path.endswith("red.png")
    assert name in collection.verify(studies.path)[0]
