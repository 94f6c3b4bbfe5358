"""search(query, collections, encoder_for, readers) -> Results: the whole flow on one page."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medsearch_desktop import errors, queries
from medsearch_desktop.engine import answers, asking, ranking, snapshot, views
from medsearch_desktop.imaging import isolated

_Asked = Literal["text", "unlike", "picture", "case"]
# What a ranking counts, by what is asked and which vectors are searched; "unlike" are words that
# take away. Chosen by measurement with the compact encoder on the 3,131 cases of vqa-med-2019,
# covid-chestxray, mednist, nifti and dicom-series. 38 texts like "CT abdomen" give hits of that
# modality and part at P@10 of 0.70 (at 0.25 for images and 1 for texts: 0.64), among joined vectors
# alone 0.93 (among images alone 0.88). The case of 300 half notes on rows the encoder was not
# trained on comes first 58 times, into the first ten 226 times (0.25 and 1: 52 and 180). Joined at
# 1 gives 0.85, but the known case first 21 times, in ten 148. Pictures against words at 0.25 gave
# 167 of 240 hits of the right modality for 12 volumes (at 0: 163, at 1: 164).
WEIGHTS: dict[tuple[_Asked, snapshot.Among], float] = {
    ("text", "images"): 0.5,
    ("text", "joined"): 0.5,
    ("text", "texts"): 0.5,
    ("unlike", "images"): 0.25,
    ("unlike", "joined"): 0.25,
    ("unlike", "texts"): 1.0,
    ("picture", "images"): 1.0,
    ("picture", "texts"): 0.25,
    ("case", "images"): 1.0,
    ("case", "texts"): 1.0,
}
WORDS_WEIGHT = 1.0


@dataclass(frozen=True)
class Step:
    """How far the answer is: `done` of `total` slices of the query's volumes are encoded."""

    done: int
    total: int


def search(
    query: queries.Query,
    collections: Sequence[snapshot.Collection],
    encoder_for: asking.EncoderFor,
    readers: isolated.Readers,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[queries.Results]:
    """Yield the answer; for volumes first a quick one, then the complete one.

    The last has `complete=True`. `encoder_for` returns the encoder of a
    collection's card or raises EncoderError: such a collection, and one whose
    vectors are damaged, is searched by words only, and a notice says so.
    Raises InputError for what cannot be read or understood, EncoderError or
    CollectionDamagedError when nothing is left to search by.
    """
    for step in steps(query, collections, encoder_for, readers):
        if isinstance(step, queries.Results):
            yield step
        elif on_progress is not None:
            on_progress(step.done, step.total)


def steps(
    query: queries.Query,
    collections: Sequence[snapshot.Collection],
    encoder_for: asking.EncoderFor,
    readers: isolated.Readers,
    *,
    ticket: int = 0,
    memory: asking.Memory | None = None,
    cancelled: Callable[[], bool] = isolated.never,
) -> Iterator[queries.Results | Step]:
    """As `search`, but yields a Step after each batch too, so that a caller can turn to others.

    Once `cancelled` it ends without an answer, or with an error that says
    that a file was not read to its end.
    """
    work = _Work(query, collections, encoder_for, memory or asking.Memory())
    work.encode(readers)
    yield from work.encode_volumes(readers, ticket, cancelled)
    if not cancelled():
        yield work.answer(ticket, complete=True)


def opened(
    paths: Sequence[str], open_one: Callable[[str], snapshot.Collection]
) -> tuple[list[snapshot.Collection], list[str]]:
    """Return the collections that can be opened, and a sentence for each that cannot.

    Raises the first error when none can.
    """
    found: list[snapshot.Collection] = []
    refused: list[errors.CollectionError] = []
    for path in paths:
        try:
            found.append(open_one(path))
        except errors.CollectionError as error:
            refused.append(error)
    if refused and not found:
        raise refused[0]
    return found, [f"Not searched: {errors.told(error)}" for error in refused]


def with_notices(
    given: Iterator[queries.Results | Step], notices: Sequence[str]
) -> Iterator[queries.Results | Step]:
    """Yield what `steps` yields, with these sentences before those of each answer."""
    for step in given:
        if isinstance(step, queries.Results) and notices:
            step = dataclasses.replace(step, notices=(*notices, *step.notices))
        yield step


class _Work:
    """One query at work: what is asked, what has been encoded, and what it took."""

    def __init__(
        self,
        query: queries.Query,
        collections: Sequence[snapshot.Collection],
        encoder_for: asking.EncoderFor,
        memory: asking.Memory,
    ) -> None:
        self._query, self._collections = query, collections
        self._took = dict.fromkeys(("total", "encode", "vectors", "words", "rank"), 0.0)
        self._vectors: dict[queries.Term, dict[str, np.ndarray]] = {}
        self._kept = [collection.kept(query.filters) for collection in collections]
        encoded = [term for term in query.terms if not isinstance(term, queries.CaseTerm)]
        asks_vectors = bool(encoded) and query.mix != 0
        with self._timed("encode"):
            self._encoders = asking.Encoders(
                collections if asks_vectors else (), encoder_for, memory
            )
        is_lost = asks_vectors and not self._encoders.digests and self._encoders.left_out
        if is_lost and all(isinstance(t, asking.PICTURED) for t in query.terms):
            raise is_lost

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = 1000 * (time.perf_counter() - began)
            self._took[stage] += spent
            self._took["total"] += spent

    def encode(self, readers: isolated.Readers) -> None:
        """Encode the words and single images of the query."""
        with self._timed("encode"):
            for term in self._query.terms:
                if isinstance(term, queries.TextTerm):
                    self._vectors[term] = self._encoders.text(term)
                elif isinstance(term, queries.ImageTerm) and self._encoders.digests:
                    with self._words_go_on():
                        self._vectors[term] = self._encoders.image(term, readers)

    @contextlib.contextmanager
    def _words_go_on(self) -> Iterator[None]:
        """Let the words of a query be answered where the last encoder fails at its pictures."""
        try:
            yield
        except errors.EncoderError:
            if not any(isinstance(term, queries.TextTerm) for term in self._query.terms):
                raise

    def encode_volumes(
        self, readers: isolated.Readers, ticket: int, cancelled: Callable[[], bool]
    ) -> Iterator[queries.Results | Step]:
        """Encode the slices of volumes batch by batch; yields a quick answer after the first."""
        volumes = [t for t in self._query.terms if isinstance(t, queries.VolumeTerm)]
        if not self._encoders.digests:
            return
        batches = {
            term: asking.volume_batches(term, self._encoders, readers, cancelled)
            for term in volumes
        }
        progress: dict[queries.VolumeTerm, tuple[int, int]] = {}
        while batches:
            for term, batch in list(batches.items()):
                step = None
                with self._timed("encode"), self._words_go_on():
                    step = next(batch, None)
                if step is None:
                    del batches[term]
                    continue
                is_first = term not in progress
                self._vectors[term], *counts = step
                progress[term] = (counts[0], counts[1])
                yield Step(*(sum(column) for column in zip(*progress.values(), strict=True)))
                if is_first and len(progress) == len(volumes) and counts[0] < counts[1]:
                    yield self.answer(ticket, complete=False)

    def answer(self, ticket: int, *, complete: bool) -> queries.Results:
        """Rank with what has been encoded so far."""
        found = answers.Found(self._collections, self._kept)
        rankings: list[ranking.Ranking] = []
        for position, term in enumerate(self._query.terms):
            if isinstance(term, queries.CaseTerm):
                rankings += self._case_rankings(term, found, is_question=position == 0)
                continue
            asked: _Asked = "picture"
            if isinstance(term, queries.TextTerm):
                asked = "text" if term.weight > 0 else "unlike"
                if self._query.mix != 1:
                    with self._timed("words"):
                        weight = term.weight * WORDS_WEIGHT
                        rankings.append(found.words(term.words, weight))
            vectors = self._vectors.get(term, {})
            for among in self._sets():
                if isinstance(term, queries.VolumeTerm) and among == "texts":
                    # A text speaks of the whole: all slices together meet it (167 hits; by the
                    # best slice 165). Images are met slice by slice, which tells where to look.
                    vectors = {digest: views.pooled(rows) for digest, rows in vectors.items()}
                rankings += self._near(found, vectors, asked, among, term.weight)
        if not any(term.weight > 0 for term in self._query.terms):
            rankings.append(found.everything())
        with self._timed("rank"):
            fused = ranking.fuse(rankings, self._query.mix)
            if self._query.min_cosine is not None:
                fused = found.at_least(self._query.min_cosine, fused)
            hits, facets, total = found.hits(fused, self._query.limit)
        if self._query.min_strength is not None:
            found.notices.append("Strengths are not calibrated: no lowest strength is applied.")
        worked_around = [one.notice for one in self._collections if one.notice]
        return queries.Results(
            ticket=ticket,
            hits=hits,
            total=total,
            facets=facets,
            complete=complete,
            fingerprint=found.fingerprint(self._query),
            took_ms=tuple((stage, round(spent, 3)) for stage, spent in self._took.items()),
            notices=tuple(dict.fromkeys((*worked_around, *self._encoders.notices, *found.notices))),
            encoder="+".join(dict.fromkeys(c.manifest.encoder.digest for c in self._collections)),
        )

    def _sets(self) -> tuple[snapshot.Among, ...]:
        if self._query.mix == 0:
            return ()
        if self._query.against == "both":
            return ("images", "texts")
        return (self._query.against,)

    def _near(
        self,
        found: answers.Found,
        vectors: dict[str, np.ndarray],
        asked: _Asked,
        among: snapshot.Among,
        weight: float,
        *,
        is_feedback: bool = False,
    ) -> Iterator[ranking.Ranking]:
        """Yield one ranking for each encoder: its cosines compare across its collections."""
        counts = weight * WEIGHTS[asked, among]
        for digest, rows in vectors.items():
            with self._timed("vectors"):
                if not len(rows):
                    continue
                numbers = found.of(digest)
                if asked in ("text", "unlike") and among == "images":
                    yield from _near_words(found, digest, rows, asked, weight)
                    continue
                if among == "images" and len(rows) > 1:
                    near = found.late(numbers, rows, counts, is_feedback=is_feedback)
                else:
                    near = found.near(numbers, rows, among, counts, is_feedback=is_feedback)
                yield near
                twins = ranking.twins(near)
                if asked == "picture" and among == "images" and counts > 0 and twins.scored:
                    yield twins

    def _case_rankings(
        self, term: queries.CaseTerm, found: answers.Found, *, is_question: bool
    ) -> Iterator[ranking.Ranking]:
        """Yield the rankings of a case term: the first term asks, later ones are thumbs.

        A case that asks for others like it is no answer; a case with a thumb
        stays among the answers.
        """
        asks = is_question and term.weight > 0
        place = found.case(term, is_answer=not asks)
        if place is None:
            return
        if not asks:
            # A thumb says most about the very case it was given to.
            yield ranking.Ranking("feedback", term.weight, ((place, 1.0),))
        for among in self._sets():
            vectors = found.vectors_of(place, among)
            is_feedback = not asks
            yield from self._near(
                found, vectors, "case", among, term.weight, is_feedback=is_feedback
            )


def _near_words(
    found: answers.Found, digest: str, rows: np.ndarray, asked: _Asked, weight: float
) -> Iterator[ranking.Ranking]:
    """Yield the rankings of images by words, which meet their tags where a collection has them.

    Cosines with and without tags do not compare: each has a ranking of its own.
    """
    joined, plain = found.of(digest, joined=True), found.of(digest, joined=False)
    if joined:
        yield found.near(joined, rows, "joined", weight * WEIGHTS[asked, "joined"])
    if plain:
        yield found.near(plain, rows, "images", weight * WEIGHTS[asked, "images"])
