"""Rankings of the opened collections -> hits with evidence, and facets counted."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence

import numpy as np

from medsearch_desktop import cases, queries
from medsearch_desktop.engine import ranking, snapshot, views

# How many matched images and words a hit tells, and how many values a facet.
_IMAGES = 3
_WORDS = 8
_VALUES = 50
# How many cases near to a volume are compared with it slice by slice.
LATE = 100

Facets = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]


class Found:
    """What one query finds in the opened collections, and why."""

    def __init__(
        self,
        collections: Sequence[snapshot.Collection],
        kept: Sequence[snapshot.Kept | None],
    ) -> None:
        self._collections, self._kept = collections, kept
        self._images: dict[ranking.Key, dict[int, float]] = {}
        self._best: dict[ranking.Key, float] = {}
        self._unseen: dict[ranking.Key, list[np.ndarray]] = {}
        self._asked: list[tuple[tuple[int, ...], np.ndarray, snapshot.Among]] = []
        self._texts: list[str] = []
        self._no_answers: set[ranking.Key] = set()
        self.notices: list[str] = []

    def words(self, text: str, weight: float) -> ranking.Ranking:
        """Return the ranking of the cases that hold a word of `text`."""
        if weight > 0:
            self._texts.append(text)
        matches = [
            ((number, match.place), match.score)
            for number, collection in enumerate(self._collections)
            for match in collection.matching(text, ranking.DEPTH, self._kept[number])
        ]
        return ranking.Ranking("words", weight, ranking.merged(matches))

    def of(self, digest: str, *, joined: bool | None = None) -> tuple[int, ...]:
        """Return the numbers of the collections of one encoder, whose cosines compare.

        With `joined` only of those that keep joined vectors, or of those that do not.
        """
        return tuple(
            number
            for number, collection in enumerate(self._collections)
            if collection.manifest.encoder.digest == digest
            and joined in (None, collection.has_joined)
        )

    def near(
        self,
        numbers: tuple[int, ...],
        vectors: np.ndarray,
        among: snapshot.Among,
        weight: float,
        *,
        is_feedback: bool = False,
    ) -> ranking.Ranking:
        """Return the ranking by best cosine to `vectors` in some collections of one encoder."""
        found: list[tuple[ranking.Key, float]] = []
        is_evidence = weight > 0 and not is_feedback
        if is_evidence:
            self._asked.append((numbers, vectors, among))
        for number in numbers:
            collection = self._collections[number]
            for near in collection.near(vectors, among, ranking.DEPTH, self._kept[number]):
                key = (number, near.place)
                found.append((key, near.score))
                if is_evidence:
                    self._note(key, near)
                    if among == "joined" and not near.images:
                        self._unseen.setdefault(key, []).append(vectors)
        return ranking.Ranking(_kind(among, is_feedback), weight, ranking.merged(found))

    def late(
        self,
        numbers: tuple[int, ...],
        vectors: np.ndarray,
        weight: float,
        *,
        is_feedback: bool = False,
    ) -> ranking.Ranking:
        """Return the ranking of cases like one of several images, whose `vectors` (q, d) are these.

        The first LATE of those near by one of the images, or as a whole, are
        ordered by late interaction; others follow as they are.
        """
        is_silent = is_feedback or weight <= 0
        near = [
            self.near(numbers, vectors, "images", 1.0, is_feedback=is_silent),
            self.near(numbers, views.pooled(vectors), "pooled", 1.0, is_feedback=is_silent),
        ]
        candidates = [one.key for one in ranking.fuse(near)][: ranking.DEPTH]
        found: list[tuple[ranking.Key, float]] = []
        for number in numbers:
            places = [place for owner, place in candidates[:LATE] if owner == number]
            for case in self._collections[number].late(vectors, places):
                found.append(((number, case.place), case.score))
                if not is_silent:
                    self._note((number, case.place), case)
        first = ranking.merged(found)
        lowest = first[-1][1] if first else 0.0
        rest = tuple((key, lowest) for key in candidates[LATE:])
        return ranking.Ranking(_kind("images", is_feedback), weight, first + rest)

    def _note(self, key: ranking.Key, near: snapshot.Near) -> None:
        best = max((near.score, *(score for _, score in near.images)))
        self._best[key] = max(best, self._best.get(key, -1.0))
        images = self._images.setdefault(key, {})
        for image, score in near.images:
            images[image] = max(score, images.get(image, -1.0))

    def everything(self) -> ranking.Ranking:
        """Return all kept cases in the order of their collections, for a query that asks nothing.

        A query whose terms all have negative weights takes away from this.
        """
        keys = [
            (number, place)
            for number, collection in enumerate(self._collections)
            for place in collection.all_places(self._kept[number])
        ]
        return ranking.Ranking("words", 0.0, tuple((key, 0.0) for key in keys))

    def case(self, term: queries.CaseTerm, *, is_answer: bool) -> ranking.Key | None:
        """Return where the case of a term lies; None, with a notice, when it lies nowhere."""
        for number, collection in enumerate(self._collections):
            if term.collection and not _is_same(term.collection, collection):
                continue
            if (place := collection.place(term.case_id)) is not None:
                if not is_answer:
                    self._no_answers.add((number, place))
                return number, place
        self.notices.append(no_such_case(term))
        return None

    def vectors_of(self, key: ranking.Key, among: snapshot.Among) -> dict[str, np.ndarray]:
        """Return the stored vectors of a case, by the digest of their encoder."""
        collection = self._collections[key[0]]
        return {collection.manifest.encoder.digest: collection.rows_of(key[1], among)}

    def at_least(self, cosine: float, fused: Sequence[ranking.Fused]) -> list[ranking.Fused]:
        """Return the cases whose best cosine to what was asked is at least `cosine`."""
        return [one for one in fused if self._cosine(one.key, cosine) >= cosine]

    def _cosine(self, key: ranking.Key, enough: float) -> float:
        best = self._best.get(key, -1.0)
        if best >= enough:
            return best
        number, place = key
        for numbers, vectors, among in self._asked:
            if number in numbers:
                rows = self._collections[number].rows_of(place, among)
                best = max(best, float((vectors @ rows.T).max(initial=-1.0)))
        return best

    def hits(
        self, fused: Sequence[ranking.Fused], limit: int
    ) -> tuple[tuple[queries.Hit, ...], Facets, int]:
        """Return the first `limit` hits, the facets over all candidates, and their number."""
        answers = [one for one in fused if one.key not in self._no_answers]
        shown = answers[:limit]
        for one in shown:
            self._see(one.key)
        words = self._matched_words([one.key for one in shown])
        hits = tuple(
            self._hit(one, rank, words.get(one.key, ())) for rank, one in enumerate(shown, start=1)
        )
        return hits, self._facets([one.key for one in answers]), len(answers)

    def _see(self, key: ranking.Key) -> None:
        """Find which images of a case, that was found as a whole, are what was asked for."""
        number, place = key
        for vectors in self._unseen.get(key, ()):
            for near in self._collections[number].late(vectors, [place]):
                self._note(key, near)

    def _hit(
        self, one: ranking.Fused, rank: int, words: tuple[tuple[str, float], ...]
    ) -> queries.Hit:
        number, place = one.key
        collection = self._collections[number]
        case = collection.case(place)
        best = sorted(self._images.get(one.key, {}).items(), key=lambda item: (-item[1], item[0]))
        matched = tuple(
            queries.ImageMatch(case.images[image].ref, round(score, 6))
            for image, score in best[:_IMAGES]
        )
        evidence = queries.Evidence(one.vector_rank, one.word_rank, words, matched, one.shares)
        return queries.Hit(
            case=case,
            collection=str(collection.path),
            rank=rank,
            score=one.score,
            evidence=evidence,
            thumbnail=_thumbnail(case, [image for image, _ in best]),
        )

    def _matched_words(
        self, keys: Sequence[ranking.Key]
    ) -> dict[ranking.Key, tuple[tuple[str, float], ...]]:
        sums: dict[ranking.Key, Counter[str]] = {key: Counter() for key in keys}
        for number, collection in enumerate(self._collections):
            places = [place for owner, place in keys if owner == number]
            for text in self._texts:
                for place, parts in collection.words.parts(text, places).items():
                    for word, part in parts:
                        sums[number, place][word] += part  # type: ignore[assignment]
        return {
            key: tuple((word, float(part)) for word, part in counted.most_common(_WORDS))
            for key, counted in sums.items()
        }

    def _facets(self, keys: Sequence[ranking.Key]) -> Facets:
        sums: dict[str, Counter[str]] = {}
        for number, collection in enumerate(self._collections):
            places = [place for owner, place in keys if owner == number]
            for field, counter in collection.facet_counts(places).items():
                sums.setdefault(field, Counter()).update(counter)
        return tuple(
            (field, tuple(sorted(counter.items(), key=lambda c: (-c[1], c[0]))[:_VALUES]))
            for field, counter in sums.items()
            if counter
        )

    def fingerprint(self, query: queries.Query) -> str:
        """Return 32 hexadecimal digits over the query, the generations and the encoders."""
        parts = [query.fingerprint()]
        for collection in self._collections:
            described = collection.manifest
            parts += [described.name, str(described.generation), described.encoder.digest]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _kind(among: snapshot.Among, is_feedback: bool) -> ranking.Kind:
    if is_feedback:
        return "feedback"
    return "texts" if among == "texts" else "images"


def no_such_case(term: queries.CaseTerm) -> str:
    """Return the notice for a case that is asked by and lies nowhere."""
    return f"The case {term.case_id} is in none of the collections searched."


def _is_same(path: str, collection: snapshot.Collection) -> bool:
    return os.path.realpath(path) == os.path.realpath(collection.path)


def _thumbnail(case: cases.Case, best: Sequence[int]) -> cases.Thumbnail | None:
    """Return the thumbnail of the image that matched best, else of the first that has one."""
    order: list[int] = [*best[:1], *range(len(case.images))]
    for number in order:
        if (thumbnail := case.images[number].thumbnail) is not None:
            return thumbnail
    return None
