"""One question and its thumbs: asking, re-ranking, undo; the answers come back as signals."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from medsearch_desktop import queries
from medsearch_desktop.gui import bridge, keeping
from medsearch_desktop.worker import messages

_log = logging.getLogger(__name__)

# (collection, case id) -> +1 or -1, in the order given.
Thumbs = dict[tuple[str, str], int]


@dataclass(frozen=True)
class Step:
    """What an undo goes back to: the thumbs and the answer before one thumb."""

    case: tuple[str, str]
    thumbs: tuple[tuple[tuple[str, str], int], ...]
    results: queries.Results | None


@dataclass(frozen=True)
class Answered:
    """An answer as it is to be shown.

    `before` is the answer it re-ranks, for the arrows of rank; None for a
    fresh question. `thumbs` stand for the question.
    """

    results: queries.Results
    before: queries.Results | None
    thumbs: Thumbs


def bare(query: queries.Query) -> queries.Query:
    """Return the question that thumbs belong to: filters and length only cut its answer."""
    return dataclasses.replace(query, filters=(), limit=20)


class Searching(QObject):
    """Holds the question at hand; a thumb asks it again with one more case in it."""

    began = Signal(object)  # queries.Query
    answered = Signal(object)  # Answered
    progressed = Signal(object)  # messages.Progress
    failed = Signal(object)  # errors.MedsearchError
    ended = Signal()  # nothing is being asked any more

    def __init__(
        self, worker: bridge.Bridge, shelf: keeping.Keeping, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._bridge, self._shelf = worker, shelf
        self._question: queries.Query | None = None
        self._thumbs: Thumbs = {}
        self._steps: list[Step] = []
        self._results: queries.Results | None = None
        self._before: queries.Results | None = None
        self._asking = 0
        self._is_busy = False
        self._digests: dict[str, str] = {}
        worker.arrived.connect(self._take)
        worker.progressed.connect(self.progressed)
        worker.failed.connect(self._fail)
        worker.prepared.connect(self._note_encoder)

    @property
    def worker(self) -> bridge.Bridge:
        """Where questions are asked."""
        return self._bridge

    @property
    def question(self) -> queries.Query | None:
        """The question without its thumbs, or None before the first."""
        return self._question

    @property
    def results(self) -> queries.Results | None:
        """The answer that is shown."""
        return self._results

    @property
    def thumbs(self) -> Thumbs:
        """The thumbs that stand for the question."""
        return dict(self._thumbs)

    @property
    def can_undo(self) -> bool:
        """Say whether a thumb of this session can be taken back."""
        return bool(self._steps)

    @property
    def is_busy(self) -> bool:
        """Say whether an answer is under way."""
        return self._is_busy

    def ask(self, query: queries.Query) -> None:
        """Ask a new question; thumbs that stand for it from before take part."""
        keeps = self._question is not None and bare(query) == bare(self._question)
        self._question, self._before = query, None
        self._asking += 1
        self._is_busy = True
        self._bridge.forget()
        self.began.emit(query)
        if keeps:
            self._steps = []
            self._send()
            return
        self._thumbs, self._steps, self._results = {}, [], None
        number, name = self._asking, bare(query).fingerprint()

        def begin(thumbs: Thumbs) -> None:
            if number == self._asking:
                self._thumbs = dict(thumbs)
                self._send()

        self._shelf.run(lambda shelf: _standing(shelf, name), begin, lambda _: begin({}))
        self._shelf.keep(lambda shelf: _asked(shelf, query))

    def thumb(self, hit: queries.Hit, value: int) -> None:
        """Give a thumb (+1 or -1), or take back the one that stands (0 or the same again)."""
        if self._question is None:
            return
        case = (hit.collection, hit.case.case_id)
        standing = self._thumbs.get(case, 0)
        value = 0 if value == standing else value
        if value == standing:
            return
        self._steps.append(Step(case, tuple(self._thumbs.items()), self._results))
        self._thumbs.pop(case, None)
        if value:
            self._thumbs[case] = value
        self._keep(case, value, hit.rank)
        self._ask_again(before=self._results)

    def undo(self) -> None:
        """Go back to the order before the last thumb."""
        if not self._steps:
            return
        step = self._steps.pop()
        self._thumbs = dict(step.thumbs)
        self._keep(step.case, self._thumbs.get(step.case, 0), 0)
        if step.results is None or not step.results.complete:
            self._ask_again(before=None)
            return
        self._bridge.forget()
        self._is_busy = False
        self._results, self._before = step.results, None
        self.answered.emit(Answered(step.results, None, self.thumbs))
        self.ended.emit()

    def stop(self) -> None:
        """Leave the question unanswered; what is shown stays."""
        self._asking += 1
        self._bridge.forget()
        self._is_busy = False
        self.ended.emit()

    def clear(self) -> None:
        """Forget the question and its answer."""
        self._question, self._results, self._before = None, None, None
        self._thumbs, self._steps = {}, []
        self.stop()

    def _ask_again(self, before: queries.Results | None) -> None:
        self._before = before
        self._is_busy = True
        self._asking += 1
        self.began.emit(self._question)
        self._send()

    def _send(self) -> None:
        assert self._question is not None
        feedback = tuple(
            queries.CaseTerm(case_id, collection, float(thumb))
            for (collection, case_id), thumb in self._thumbs.items()
        )
        terms = (*self._question.terms, *feedback)
        self._bridge.ask(dataclasses.replace(self._question, terms=terms))

    def _take(self, results: queries.Results) -> None:
        self._results = results
        self.answered.emit(Answered(results, self._before, self.thumbs))
        if results.complete:
            self._is_busy = False
            self.ended.emit()

    def _fail(self, failure: messages.Failed) -> None:
        if failure.ticket is not None:
            self._is_busy = False
            self.ended.emit()
        self.failed.emit(failure.error)

    def _note_encoder(self, prepared: messages.Prepared) -> None:
        self._digests[prepared.collection] = prepared.encoder_digest
        _log.debug("prepared, %d cases", prepared.cases)

    def _keep(self, case: tuple[str, str], thumb: int, rank: int) -> None:
        assert self._question is not None
        question = bare(self._question)
        name = question.fingerprint()
        collection, case_id = case
        if thumb == 0:
            self._shelf.keep(lambda shelf: _undo(shelf, name, case_id, collection))
            return
        digest = self._digests.get(collection, "")
        verdict = queries.Verdict(name, case_id, collection, thumb, rank, digest)
        self._shelf.keep(lambda shelf: _give(shelf, verdict, question))


# The shelf is imported on its own thread: sqlite-utils has no place in the start of the window.


def _standing(shelf: object, name: str) -> Thumbs:
    from medsearch_desktop.shelf import verdicts

    return verdicts.standing(shelf, name)


def _asked(shelf: object, query: queries.Query) -> None:
    from medsearch_desktop.shelf import history

    history.asked(shelf, query)


def _undo(shelf: object, name: str, case_id: str, collection: str) -> None:
    from medsearch_desktop.shelf import verdicts

    verdicts.undo(shelf, name, case_id, collection)


def _give(shelf: object, verdict: queries.Verdict, question: queries.Query) -> None:
    from medsearch_desktop.shelf import verdicts

    verdicts.give(shelf, verdict, question)
