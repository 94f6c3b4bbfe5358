"""Collection: one generation of a collection, opened for reading."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import manifest, records, segments, words

Among = segments.Among
# What an encoder made of images and texts; the other sets are made of these.
_ENCODED: tuple[Among, ...] = ("images", "texts")

FILTER_FIELDS = (*records.FIELDS, records.LABEL)
# A search that must look behind a tie, or at cases of many images, stops growing here.
_MOST_ROWS = 16_384
ROW_BITS = 32
_ROWS = (1 << ROW_BITS) - 1


@dataclass(frozen=True)
class Kept:
    """The cases that pass all filters: bool per segment, and the same as keys for the words."""

    rows: tuple[np.ndarray, ...]
    required: tuple[tuple[str, ...], ...]
    excluded: tuple[str, ...]


@dataclass(frozen=True)
class Near:
    """A case found by vectors: its score, and (image number, cosine) of its best images.

    The score is the best cosine, or that of late interaction.
    """

    place: int
    score: float
    images: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, eq=False)
class _Rows:
    """Vector rows found: scores, places of their cases, image numbers; not looked at: `bound`.

    The number is -1 where a row is of no single image.
    """

    scores: np.ndarray
    places: np.ndarray
    numbers: np.ndarray
    bound: float
    is_all: bool

    def best_cases(self, depth: int) -> list[Near]:
        """Return the best `depth` cases, each once, ties in order of the place."""
        order = np.lexsort((self.numbers, self.places, -self.scores))
        places = self.places[order]
        _, first = np.unique(places, return_index=True)
        chosen = places[np.sort(first)[:depth]]
        found: dict[int, dict[int, float]] = {place: {} for place in chosen.tolist()}
        rows = order[np.isin(places, chosen)]
        for place, number, score in zip(
            self.places[rows].tolist(),
            self.numbers[rows].tolist(),
            self.scores[rows].tolist(),
            strict=True,
        ):
            found[place].setdefault(number, score)
        return [
            Near(p, next(iter(i.values())), tuple((n, s) for n, s in i.items() if n >= 0))
            for p, i in found.items()
        ]


class Collection:
    """One generation of a collection, opened for reading.

    A `place` is the number of a case within the collection; it stays the same
    in later generations. `notice` is "", or a sentence about damage that was
    worked around. Use from one thread at a time.
    """

    def __init__(
        self, path: Path, described: manifest.Manifest, without: frozenset[str] = frozenset()
    ) -> None:
        """Map the files but those in `without`, vectors and pictures that are damaged."""
        self.path, self.manifest, self._stamp = path, described, stamp(path)
        self.notice = ""
        self._filtered: dict[tuple[queries.Filter, ...], Kept] = {}
        with contextlib.ExitStack() as opened:
            self._segments: dict[int, segments.Segment] = {}
            for entry in described.segments:
                segment = segments.Segment(path, entry, described.encoder.dimension, without)
                opened.callback(segment.close)
                self._segments[entry.number] = segment
            self.words = words.WordIndex.open(path / described.words_folder)
            self._opened = opened.pop_all()
            self._opened.callback(self.words.close)

    def close(self) -> None:
        """Close the files; the collection cannot be asked again."""
        self._opened.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_current(self) -> bool:
        """Tell whether the folder still holds the generation that was opened."""
        return stamp(self.path) == self._stamp

    @property
    def has_vectors(self) -> bool:
        """Tell whether anything in it can be found by the vectors of its images or texts."""
        every = (s.sets[name] for s in self._segments.values() for name in _ENCODED)
        return any(found.index is not None for found in every)

    @property
    def has_joined(self) -> bool:
        """Tell whether it holds vectors of cases joined with those of their tags."""
        return any(s.sets["joined"].index is not None for s in self._segments.values())

    def kept(self, filters: Sequence[queries.Filter]) -> Kept | None:
        """Return the cases that pass all `filters`, None when there are no filters.

        Raises QuerySyntaxError for a field that cannot be filtered by.
        """
        wanted = tuple(filters)
        if not wanted:
            return None
        for one in wanted:
            if one.field not in FILTER_FIELDS:
                raise errors.QuerySyntaxError(
                    f"There is no filter {one.field!r}; there are {', '.join(FILTER_FIELDS)}."
                )
        if wanted not in self._filtered:
            self._filtered[wanted] = self._filter(wanted)
        return self._filtered[wanted]

    def _filter(self, filters: tuple[queries.Filter, ...]) -> Kept:
        rows = []
        for segment in self._segments.values():
            kept = np.ones(segment.count, dtype=bool)
            for one in filters:
                kept &= segment.equal(one.field, one.value) != one.negated
            rows.append(kept)
        keys = [(words.key(one.field, one.value), one.negated) for one in filters]
        return Kept(
            tuple(rows),
            tuple((term,) for term, negated in keys if not negated),
            tuple(term for term, negated in keys if negated),
        )

    def near(
        self, vectors: np.ndarray, among: Among, depth: int, kept: Kept | None = None
    ) -> list[Near]:
        """Return at most `depth` cases by their best cosine to any of `vectors` (q, d).

        Exact, over the kept cases only. Equal cosines are ordered by place. A
        case that lacks a pooled or joined vector is found by its images.
        """
        rows = depth
        while True:
            found = self._rows_near(vectors, among, rows, kept)
            # Rows not looked at score at most `bound`, so the first `depth` are settled above it.
            cases_found = found.best_cases(depth)
            is_settled = len(cases_found) >= depth and cases_found[depth - 1].score > found.bound
            if found.is_all or is_settled or rows >= _MOST_ROWS:
                return cases_found
            rows *= 4

    def _rows_near(self, vectors: np.ndarray, among: Among, rows: int, kept: Kept | None) -> _Rows:
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        bound, is_all = -np.inf, True
        for position, segment in enumerate(self._segments.values()):
            for searched, mask in segment.searched(among):
                index, owners = searched.index, searched.owners
                if index is None:
                    continue
                if kept is not None:
                    passes = kept.rows[position][owners[:, 0]]
                    mask = passes if mask is None else mask & passes
                scores, found = index.near(vectors, rows, mask)
                if scores.shape[1] < (index.count if mask is None else int(mask.sum())):
                    is_all = False
                    bound = max(bound, float(scores[:, -1].max()))
                of_rows = owners[found.ravel()].astype(np.int64)
                places = (segment.number << ROW_BITS) + of_rows[:, 0]
                is_image = owners.shape[1] == 2
                numbers = of_rows[:, 1] if is_image else np.full(len(of_rows), -1)
                parts.append((scores.ravel(), places, numbers))
        if not parts:
            return _Rows(np.empty(0), np.empty(0, np.int64), np.empty(0), bound, True)
        scores, places, numbers = (np.concatenate(column) for column in zip(*parts, strict=True))
        return _Rows(scores, places, numbers, bound, is_all)

    def matching(self, text: str, depth: int, kept: Kept | None = None) -> list[words.Match]:
        """Return at most `depth` kept cases that hold a word of `text`, by BM25."""
        if kept is None:
            return self.words.matching(text, depth)
        return self.words.matching(text, depth, required=kept.required, excluded=kept.excluded)

    def place(self, case_id: str) -> int | None:
        """Return the place of a case, None when the collection has no such case."""
        with self._told():
            for segment in self._segments.values():
                if (row := segment.row(case_id)) is not None:
                    return (segment.number << ROW_BITS) + row
        return None

    def case(self, place: int) -> cases.Case:
        """Return the case at a place; raises CollectionDamagedError where it is none."""
        segment, row = self._at(place)
        with self._told():
            return segment.case(row)

    def vectors_of(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the image vectors (n, d) and text vectors (m, d) of a case; n or m may be 0."""
        return self.rows_of(place, "images"), self.rows_of(place, "texts")

    def rows_of(self, place: int, among: Among) -> np.ndarray:
        """Return the vectors (n, d) by which `near` finds a case, n may be 0."""
        segment, row = self._at(place)
        return segment.vectors_of(row, among)

    def late(self, vectors: np.ndarray, places: Sequence[int]) -> list[Near]:
        """Return some cases by late interaction with `vectors` (q, d), the best first.

        The score is the mean, over the q vectors, of the best cosine among the
        images of the case; cases without image vectors are left out. Source:
        Khattab and Zaharia, "ColBERT: Efficient and Effective Passage Search
        via Contextualized Late Interaction over BERT", SIGIR 2020, section 3.3.
        """
        found: list[Near] = []
        all_places = np.asarray(places, dtype=np.int64)
        for segment in self._segments.values():
            index = segment.sets["images"].index
            mine = all_places[all_places >> ROW_BITS == segment.number]
            rows, counts = segment.own_rows(mine & _ROWS, "images")
            if index is None or not len(rows):
                continue
            cosines = np.asarray(vectors, np.float32) @ index.vectors(rows).T
            numbers = segment.sets["images"].owners[rows, 1]
            ends = np.cumsum(counts)
            for place, first, last in zip(mine.tolist(), ends - counts, ends, strict=True):
                if first == last:
                    continue
                own = cosines[:, first:last]
                best = dict(
                    zip(numbers[first:last].tolist(), own.max(axis=0).tolist(), strict=True)
                )
                found.append(Near(place, float(own.max(axis=1).mean()), tuple(best.items())))
        return sorted(found, key=lambda near: (-near.score, near.place))

    def facet_counts(self, places: Sequence[int]) -> dict[str, Counter[str]]:
        """Count the values of each facet, and the labels, over some cases."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in FILTER_FIELDS}
        all_places = np.asarray(places, dtype=np.int64)
        for segment in self._segments.values():
            rows = all_places[all_places >> ROW_BITS == segment.number] & _ROWS
            for column, name in enumerate(records.FIELDS):
                _count(counts[name], segment.facets[rows, column], segment.vocabulary[name])
            is_asked = np.zeros(segment.count, dtype=bool)
            is_asked[rows] = True
            codes = segment.labels[is_asked[segment.labels[:, 0]], 1]
            _count(counts[records.LABEL], codes, segment.vocabulary[records.LABEL])
        return counts

    def all_places(self, kept: Kept | None = None) -> list[int]:
        """Return the places of all kept cases, in the order of the collection."""
        found: list[int] = []
        for position, segment in enumerate(self._segments.values()):
            rows = np.arange(segment.count) if kept is None else np.flatnonzero(kept.rows[position])
            found += ((segment.number << ROW_BITS) + rows).tolist()
        return found

    def all_cases(self) -> Iterator[cases.Case]:
        """Yield every case, in the order of the collection."""
        with self._told():
            for segment in self._segments.values():
                yield from segment.all_cases()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what a case that makes no sense raises into CollectionDamagedError."""
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError, sqlite3.Error) as error:
            reason = f"a case in cases.db cannot be understood ({type(error).__name__})"
            raise errors.CollectionDamagedError(str(self.path), reason) from error
        except RecursionError:
            reason = "a case in cases.db is nested too deep"
            raise errors.CollectionDamagedError(str(self.path), reason) from None

    def _at(self, place: int) -> tuple[segments.Segment, int]:
        return self._segments[place >> ROW_BITS], place & _ROWS


def _count(counter: Counter[str], codes: np.ndarray, names: list[str]) -> None:
    for code, count in enumerate(np.bincount(codes, minlength=1).tolist()):
        if code and count:
            counter[names[code]] += count


def stamp(path: Path) -> tuple[int, ...]:
    """Return what changes whenever another generation of the collection at `path` is published."""
    try:
        found = (path / manifest.NAME).stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
