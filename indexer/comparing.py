"""Two collections of the same cases by two encoders: the same questions, asked of both."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsearch_desktop import cases, errors
from medsearch_desktop.engine import collection, views
from medsearch_desktop.engine.encoders import base

from . import progress, questions, retrieval

# By tags is told apart: a caption often holds the very words of its case's tags.
IMAGES, TEXTS, TAGGED = "image to image", "text to image", "text to image with tags"
# What a case must share with the question to be relevant: words for it, and the facets.
RELEVANCE = (
    ("modality", ("modality",)),
    ("modality and body part", ("modality", "body_part")),
    ("modality, body part and view", ("modality", "body_part", "view")),
)
# Fewer questions than this say nothing, and no interval can be drawn over them.
_FEWEST = 5

EncoderFor = Callable[[base.EncoderCard], base.Encoder]


class NothingComparableError(errors.CollectionError):
    """Two collections have too little in common to be compared."""

    action = "Embed one of them again with `reembed`, and compare it with that."


@dataclass(frozen=True)
class Measure:
    """One measure of both encoders, and by how much the second exceeds the first."""

    mode: str
    relevance: str
    metric: str
    questions: int
    chance: float
    values: tuple[retrieval.Interval, retrieval.Interval]
    difference: retrieval.Interval


@dataclass(frozen=True, eq=False)
class Answers:
    """What the questions of one mode found on both sides; `asked` are their numbers."""

    mode: str
    asked: np.ndarray
    found: tuple[retrieval.Found, retrieval.Found]
    overlap: np.ndarray
    interval: retrieval.Interval


@dataclass(frozen=True, eq=False)
class Comparison:
    """All that came of it; `only_in` counts the cases that one collection has alone."""

    sides: tuple[questions.Side, questions.Side]
    pool: tuple[cases.Case, ...]
    questions: questions.Questions
    answers: tuple[Answers, ...]
    measures: tuple[Measure, ...]
    only_in: tuple[int, int]
    top: int
    notices: tuple[str, ...] = ()


def compare(
    paths: tuple[Path, Path],
    table: questions.Table | None,
    encoder_for: EncoderFor,
    shown: progress.Progress,
    top: int = 10,
) -> Comparison:
    """Ask both collections the same questions, exactly, and measure what they find.

    The questions are those of `table`, or the cases themselves. An image
    question is the middle of a case's image vectors; cases of its own patient
    are no candidates. A text question is a case's text; its one right answer
    is that case, among the whole pool. Encoders are loaded only for a table.
    Raises CollectionError, and what an encoder raises.
    """
    with contextlib.ExitStack() as opened:
        both = [opened.enter_context(collection.open_collection(path)) for path in paths]
        notices = tuple(one.notice for one in both if one.notice)
        listed = [{case.case_id: case for case in one.all_cases()} for one in both]
        common = [case for name, case in listed[0].items() if name in listed[1]]
        stored = [questions.Stored(one, common) for one in both]
        in_pool = np.flatnonzero(stored[0].has_images & stored[1].has_images)
        if len(in_pool) < _FEWEST:
            raise NothingComparableError(
                f"{paths[0]} and {paths[1]} hold {len(in_pool)} cases with pictures in common."
            )
        pool = tuple(common[number] for number in in_pool)
        if table is None:
            given, asked = questions.own(common, in_pool), [one.asked() for one in stored]
        else:
            encoders = [_fitting(one, encoder_for) for one in both]
            recipes = [views.Recipe.read(one.manifest.views) for one in both]
            given, asked = questions.of_table(table, pool, encoders, recipes, shown)
        first, second = (
            questions.Side(
                path, one.manifest, kept.pictured(in_pool), kept.tagged(in_pool), *vectors_of
            )
            for path, one, kept, vectors_of in zip(paths, both, stored, asked, strict=True)
        )
        only_in = (len(listed[0]) - len(common), len(listed[1]) - len(common))
    return _measured(Comparison((first, second), pool, given, (), (), only_in, top, notices), shown)


def _fitting(opened: collection.Collection, encoder_for: EncoderFor) -> base.Encoder:
    encoder = encoder_for(opened.manifest.encoder)
    base.check_fits(opened.manifest.encoder, encoder.card)
    return encoder


def _measured(given: Comparison, shown: progress.Progress) -> Comparison:
    answers: list[Answers] = []
    measures: list[Measure] = []
    modes = (_by_images, _by_texts, _by_texts_with_tags)
    for number, ask in enumerate(modes):
        answered = ask(given)
        if answered is not None:
            answers.append(answered[0])
            measures += answered[1]
        shown.step("Asking", number + 1, len(modes))
    if not answers:
        raise NothingComparableError(
            f"Fewer than {_FEWEST} questions have a picture or a text that both encoders take."
        )
    return dataclasses.replace(given, answers=tuple(answers), measures=tuple(measures))


def _by_images(given: Comparison) -> tuple[Answers, list[Measure]] | None:
    first, second = given.sides
    asked = np.flatnonzero(~np.isnan(first.images[:, 0]) & ~np.isnan(second.images[:, 0]))
    if len(asked) < _FEWEST:
        return None
    patients = _Patients(given)
    groups = patients.numbers(given.questions.cases)[asked], patients.numbers(given.pool)
    one, other = (
        retrieval.find(
            side.images[asked],
            side.pictured.rows,
            side.pictured.owners,
            given.questions.own[asked],
            top=max(10, given.top),
            groups=groups,
        )
        for side in given.sides
    )
    measures: list[Measure] = []
    for words, facets in RELEVANCE:
        codes = _codes((*given.questions.cases, *given.pool), facets)
        wanted, of_pool = codes[asked], codes[len(given.questions.cases) :]
        # What is not known is neither right nor wrong: it is not asked and no candidate.
        known, kept = np.flatnonzero(wanted >= 0), np.flatnonzero(of_pool >= 0)
        if min(len(known), len(kept)) < _FEWEST:
            continue
        among = groups[0][known], groups[1][kept]
        chance = float(retrieval.chance(wanted[known], of_pool[kept], among).mean())
        both = [_among_known(side, asked[known], kept, among) for side in given.sides]
        for k in (1, 10):
            before, after = (
                retrieval.precision(found, wanted[known], of_pool[kept], k) for found in both
            )
            named, who = (IMAGES, words, f"P@{k}"), patients.names(asked[known])
            measures.append(_measure(named, chance, before, after, who, retrieval.mean))
    return _answers(given, IMAGES, asked, (one, other)), measures


def _among_known(
    side: questions.Side,
    asked: np.ndarray,
    kept: np.ndarray,
    groups: tuple[np.ndarray, np.ndarray],
) -> retrieval.Found:
    """Ask the images of some questions of some cases of the pool, numbered anew."""
    gallery = side.pictured
    is_kept = np.isin(gallery.owners, kept)
    owners = np.searchsorted(kept, gallery.owners[is_kept])
    nobody = np.full(len(asked), -1)
    return retrieval.find(
        side.images[asked], gallery.rows[is_kept], owners, nobody, top=10, groups=groups
    )


def _by_texts(given: Comparison) -> tuple[Answers, list[Measure]] | None:
    return _by_words(given, TEXTS, tuple(side.pictured for side in given.sides))


def _by_texts_with_tags(given: Comparison) -> tuple[Answers, list[Measure]] | None:
    galleries = tuple(side.tagged for side in given.sides if side.tagged is not None)
    return _by_words(given, TAGGED, galleries) if len(galleries) == len(given.sides) else None


def _by_words(
    given: Comparison, mode: str, galleries: Sequence[questions.Gallery]
) -> tuple[Answers, list[Measure]] | None:
    first, second = given.sides
    asked = np.flatnonzero(~np.isnan(first.texts[:, 0]) & ~np.isnan(second.texts[:, 0]))
    if len(asked) < _FEWEST:
        return None
    one, other = (
        retrieval.find(
            side.texts[asked],
            gallery.rows,
            gallery.owners,
            given.questions.own[asked],
            top=max(10, given.top),
        )
        for side, gallery in zip(given.sides, galleries, strict=True)
    )
    answers = _answers(given, mode, asked, (one, other))
    known = np.flatnonzero(~np.isnan(one.ranks))
    if len(known) < _FEWEST:
        return answers, []
    who, own = _Patients(given).names(asked[known]), "the text's own case"
    before, after, pool = one.ranks[known], other.ranks[known], len(given.pool)
    among = min(1.0, 10 / pool)
    return answers, [
        _measure((mode, own, "R@10"), among, before <= 10, after <= 10, who, retrieval.mean),
        _measure((mode, own, "MdR"), (pool + 1) / 2, before, after, who, retrieval.median),
    ]


def _answers(
    given: Comparison,
    mode: str,
    asked: np.ndarray,
    found: tuple[retrieval.Found, retrieval.Found],
) -> Answers:
    shares = retrieval.overlap(*found, given.top)
    who = _Patients(given).names(asked)
    return Answers(mode, asked, found, shares, retrieval.interval(shares, who, retrieval.mean))


def _measure(
    named: tuple[str, str, str],
    chance: float,
    before: np.ndarray,
    after: np.ndarray,
    patients: Sequence[str],
    statistic: retrieval.Statistic,
) -> Measure:
    one, other = before.astype(float), after.astype(float)
    return Measure(
        *named,
        len(one),
        chance,
        (
            retrieval.interval(one, patients, statistic),
            retrieval.interval(other, patients, statistic),
        ),
        retrieval.difference(other, one, patients, statistic),
    )


class _Patients:
    """The patients of questions and pool; a case of no known patient is one of its own."""

    def __init__(self, given: Comparison) -> None:
        self._asked = given.questions.cases
        names = dict.fromkeys(self._name(case) for case in (*self._asked, *given.pool))
        self._numbers = {name: number for number, name in enumerate(names)}

    @staticmethod
    def _name(case: cases.Case) -> str:
        return f"patient {case.patient}" if case.patient else f"case {case.case_id}"

    def numbers(self, of: Sequence[cases.Case]) -> np.ndarray:
        return np.array([self._numbers[self._name(case)] for case in of])

    def names(self, asked: np.ndarray) -> list[str]:
        return [self._name(self._asked[number]) for number in asked]


def _codes(of: Sequence[cases.Case], facets: Sequence[str]) -> np.ndarray:
    """Return a number for each combination of facets, -1 where one is not known."""
    known: dict[tuple[str, ...], int] = {}
    codes = []
    for case in of:
        found = case.facets.as_dict()
        values = tuple(str(found.get(name, "")).casefold() for name in facets)
        codes.append(known.setdefault(values, len(known)) if all(values) else -1)
    return np.array(codes)
