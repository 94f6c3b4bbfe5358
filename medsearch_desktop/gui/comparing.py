"""Comparing: one question asked of two editions of a collection, and what their answers share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from medsearch_desktop import errors, queries
from medsearch_desktop.gui import bridge, editions
from medsearch_desktop.worker import messages

# How many of the first hits the overlap is counted over.
TOP = 10


@dataclass(frozen=True)
class Side:
    """One edition and its answer; neither `results` nor `problem` while it is asked."""

    edition: editions.Info
    results: queries.Results | None = None
    problem: str = ""

    @property
    def is_waiting(self) -> bool:
        """Say whether the answer is under way."""
        return self.results is None and not self.problem

    @property
    def hits(self) -> tuple[queries.Hit, ...]:
        """The hits, none before the answer."""
        return self.results.hits if self.results is not None else ()


def ranks(hits: Sequence[queries.Hit]) -> dict[str, int]:
    """Return case id -> rank: editions of a collection share their cases' ids."""
    return {hit.case.case_id: hit.rank for hit in hits}


def in_common(one: Sequence[queries.Hit], other: Sequence[queries.Hit], top: int = TOP) -> int:
    """Return how many cases are among the first `top` of both answers."""
    first = {hit.case.case_id for hit in one if hit.rank <= top}
    return sum(hit.rank <= top and hit.case.case_id in first for hit in other)


def has_words(query: queries.Query) -> bool:
    """Say whether a question holds words, which are looked up in reports too."""
    return any(isinstance(term, queries.TextTerm) for term in query.terms)


def by_encoders_alone(query: queries.Query) -> queries.Query:
    """Return a question that ranks by vectors: words found in reports are the same for both."""
    return dataclasses.replace(query, mix=1.0) if has_words(query) else query


def question_for(
    query: queries.Query, edition: editions.Info, members: Sequence[editions.Info]
) -> queries.Query:
    """Return a question as it is asked of one edition: cases it names are that edition's."""
    paths = {member.path for member in members}
    terms = tuple(
        dataclasses.replace(term, collection=edition.path)
        if isinstance(term, queries.CaseTerm) and term.collection in paths
        else term
        for term in query.terms
    )
    return dataclasses.replace(query, terms=terms, collections=(edition.path,), limit=2 * TOP)


class Comparing(QObject):
    """Asks both editions beside the window's question, each in a lane of its own."""

    changed = Signal()

    def __init__(self, worker: bridge.Bridge, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker = worker
        self._sides: tuple[Side, ...] = ()
        worker.beside.connect(self._take)

    @property
    def sides(self) -> tuple[Side, ...]:
        """Left and right, () before the first question."""
        return self._sides

    @property
    def common(self) -> tuple[int, int] | None:
        """(cases in common, cases compared) of the first ten, None until both have found some."""
        if len(self._sides) != 2 or not all(side.hits for side in self._sides):
            return None
        left, right = (side.hits for side in self._sides)
        return in_common(left, right), min(TOP, max(len(left), len(right)))

    def ask(
        self, query: queries.Query, pair: Sequence[editions.Info], members: Sequence[editions.Info]
    ) -> None:
        """Ask the same question of two editions among `members`."""
        self._sides = tuple(Side(edition) for edition in pair)
        for lane, edition in enumerate(pair, 1):
            self._worker.ask_beside(lane, question_for(query, edition, members))
        self.changed.emit()

    def forget(self) -> None:
        """Drop the answers that are under way."""
        self._worker.forget_beside()
        self._sides = ()
        self.changed.emit()

    def _take(self, lane: int, came: queries.Results | messages.Failed) -> None:
        place = lane - 1
        if not 0 <= place < len(self._sides):
            return
        side = self._sides[place]
        if isinstance(came, messages.Failed):
            side = dataclasses.replace(side, problem=errors.told(came.error))
        else:
            side = dataclasses.replace(side, results=came)
        self._sides = (*self._sides[:place], side, *self._sides[place + 1 :])
        self.changed.emit()
