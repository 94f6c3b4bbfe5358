"""The words index against a BM25 of a few lines."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsearch_desktop import cases
from medsearch_desktop.engine import words

VOCABULARY = [f"w{n}x" for n in range(40)]


def texts(count: int = 300) -> list[str]:
    pick = random.Random(5)
    weights = [1 / (n + 1) for n in range(40)]
    return [
        " ".join(pick.choices(VOCABULARY, weights, k=pick.randint(3, 40))) for _ in range(count)
    ]


def write(folder: Path, given_texts: list[str], at: int = 0) -> None:
    entries = []
    for number, text in enumerate(given_texts, start=at):
        kind = "ct" if number % 2 else "mr"
        entries.append((number, cases.Case(f"c{number}", text=text), [f"modality={kind}"]))
    words.write(folder, entries)


@pytest.fixture
def index(tmp_path: Path) -> words.WordIndex:
    write(tmp_path / "words", texts())
    return words.WordIndex.open(tmp_path / "words")


def bm25(query: str, documents: list[str], k1: float = 1.2, b: float = 0.75) -> dict[int, float]:
    """Score documents by BM25 with a length of few significant bits, as Lucene stores it."""
    counts = [Counter(document.split()) for document in documents]
    mean = sum(sum(c.values()) for c in counts) / len(counts)
    scores: dict[int, float] = {}
    for word in set(query.split()):
        holding = sum(word in c for c in counts)
        idf = math.log(1 + (len(counts) - holding + 0.5) / (holding + 0.5))
        for number, c in enumerate(counts):
            if c[word]:
                length = sum(c.values())
                tf = c[word] * (k1 + 1) / (c[word] + k1 * (1 - b + b * length / mean))
                scores[number] = scores.get(number, 0) + idf * tf
    return scores


@pytest.mark.parametrize("query", ["w3x", "w0x w7x", "w1x w12x w30x", "w39x w39x w5x"])
def test_that_scores_are_those_of_bm25(index: words.WordIndex, query: str) -> None:
    # Lengths up to 40 words are stored exactly, so the scores agree to rounding.
    expected = bm25(query, texts())
    found = index.matching(query, 300)
    assert {match.place for match in found} == set(expected)
    for match in found:
        assert match.score == pytest.approx(expected[match.place], rel=1e-4)


@pytest.mark.slow
def test_that_one_and_fifty_additions_rank_alike(index: words.WordIndex, tmp_path: Path) -> None:
    whole = texts()
    for part in range(50):
        write(tmp_path / "parts", whole[part * 6 : part * 6 + 6], at=part * 6)
    parts = words.WordIndex.open(tmp_path / "parts")
    for query in ("w0x", "w2x w9x", "w1x w12x w30x"):
        assert parts.matching(query, 40) == index.matching(query, 40)


def test_that_equal_scores_are_ordered_by_place_also_where_the_list_is_cut(tmp_path: Path) -> None:
    write(tmp_path / "words", ["effusion"] * 500)
    index = words.WordIndex.open(tmp_path / "words")
    assert [match.place for match in index.matching("effusion", 20)] == list(range(20))


def test_that_the_parts_of_the_words_add_up_to_the_score(index: words.WordIndex) -> None:
    found = index.matching("w1x w12x w30x", 10)
    parts = index.parts("w1x w12x w30x", [match.place for match in found])
    for match in found:
        assert sum(score for _, score in parts[match.place]) == pytest.approx(match.score, rel=1e-5)


def test_that_filters_keep_the_best_of_what_passes(index: words.WordIndex) -> None:
    everything = index.matching("w0x w7x", 300)
    found = index.matching("w0x w7x", 20, required=[["modality=ct"]])
    wanted = [match for match in everything if match.place % 2 == 1][:20]
    assert [m.place for m in found] == [m.place for m in wanted]
    assert [m.score for m in found] == pytest.approx([m.score for m in wanted])
    assert all(m.place % 2 == 0 for m in index.matching("w0x", 300, excluded=["modality=ct"]))


def test_that_word_forms_letter_case_and_accents_do_not_matter(tmp_path: Path) -> None:
    write(tmp_path / "words", ["Bilateral pleural EFFUSIONS", "Ménière disease", "nothing"])
    index = words.WordIndex.open(tmp_path / "words")
    assert [m.place for m in index.matching("effusion", 5)] == [0]
    assert [m.place for m in index.matching("meniere", 5)] == [1]
    assert index.parts("Effusion of pleura", [0])[0][0][0] == "Effusion"


def test_that_stop_words_alone_find_nothing(index: words.WordIndex) -> None:
    assert index.matching("of the and", 10) == []


def test_that_modality_words_find_the_code(tmp_path: Path) -> None:
    case = cases.Case("a", facets=cases.Facets(modality="MR", body_part="head"))
    words.write(tmp_path / "words", [(7, case, [])])
    index = words.WordIndex.open(tmp_path / "words")
    for text in ("MRI", "magnetic resonance", "mr of the head"):
        assert [m.place for m in index.matching(text, 5)] == [7]


@settings(max_examples=150, deadline=None)
@given(text=st.one_of(st.text(), st.text(alphabet='+-"()[]{}:~^*?\\/ANDORT w0x.')))
def test_that_nothing_a_user_types_is_taken_for_syntax(shared: words.WordIndex, text: str) -> None:
    shared.parts(text, [match.place for match in shared.matching(text, 5)])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> words.WordIndex:
    folder = tmp_path_factory.mktemp("words")
    write(folder / "words", texts(50))
    return words.WordIndex.open(folder / "words")


def test_that_a_folder_that_is_no_index_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="meta"):
        words.WordIndex.open(tmp_path)
