"""Collection: one generation of a collection, opened for reading, and its checks."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import manifest, records, segments, words

Among = Literal["images", "texts"]

FILTER_FIELDS = (*records.FIELDS, records.LABEL)
# A search that must look behind a tie, or at cases of many images, stops growing here.
_MOST_ROWS = 16_384
ROW_BITS = 32


@dataclass(frozen=True)
class Kept:
    """The cases that pass all filters: bool per segment, and the same as keys for the words."""

    rows: tuple[np.ndarray, ...]
    required: tuple[tuple[str, ...], ...]
    excluded: tuple[str, ...]


@dataclass(frozen=True)
class Near:
    """A case found by vectors: its best cosine, and (image number, cosine) of its best images."""

    place: int
    score: float
    images: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, eq=False)
class _Rows:
    """Vector rows found: scores, places of their cases, image numbers; not looked at: `bound`."""

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
        return [Near(p, next(iter(i.values())), tuple(i.items())) for p, i in found.items()]


class Collection:
    """One generation of a collection, opened for reading.

    A `place` is the number of a case within the collection; it stays the same
    in later generations. Use from one thread at a time.
    """

    def __init__(self, path: Path, described: manifest.Manifest, stamp: tuple[int, ...]) -> None:
        self.path, self.manifest, self._stamp = path, described, stamp
        self._filtered: dict[tuple[queries.Filter, ...], Kept] = {}
        with contextlib.ExitStack() as opened:
            self._segments: dict[int, segments.Segment] = {}
            for entry in described.segments:
                segment = segments.Segment(path, entry, described.encoder.dimension)
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
        return _stamp(self.path) == self._stamp

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

        Exact, over the kept cases only. Equal cosines are ordered by place.
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
            index, owners = segment.images, segment.image_rows
            if among == "texts":
                index, owners = segment.texts, segment.text_rows
            if index is None:
                continue
            mask = None if kept is None else kept.rows[position][owners[:, 0]]
            scores, found = index.near(vectors, rows, mask)
            if scores.shape[1] < (index.count if mask is None else int(mask.sum())):
                is_all = False
                bound = max(bound, float(scores[:, -1].max()))
            of_rows = owners[found.ravel()]
            places = (segment.number << ROW_BITS) + of_rows[:, 0].astype(np.int64)
            parts.append((scores.ravel(), places, of_rows[:, -1]))
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
        for segment in self._segments.values():
            if (row := segment.row(case_id)) is not None:
                return (segment.number << ROW_BITS) + row
        return None

    def case(self, place: int) -> cases.Case:
        """Return the case at a place."""
        segment, row = self._at(place)
        return segment.case(row)

    def vectors_of(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the image vectors (n, d) and text vectors (m, d) of a case; n or m may be 0."""
        segment, row = self._at(place)
        return segment.vectors_of(row)

    def facet_counts(self, places: Sequence[int]) -> dict[str, Counter[str]]:
        """Count the values of each facet, and the labels, over some cases."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in FILTER_FIELDS}
        all_places = np.asarray(places, dtype=np.int64)
        for segment in self._segments.values():
            rows = all_places[all_places >> ROW_BITS == segment.number] & 0xFFFFFFFF
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
        for segment in self._segments.values():
            yield from segment.all_cases()

    def _at(self, place: int) -> tuple[segments.Segment, int]:
        return self._segments[place >> ROW_BITS], place & 0xFFFFFFFF


def _count(counter: Counter[str], codes: np.ndarray, names: list[str]) -> None:
    for code, count in enumerate(np.bincount(codes, minlength=1).tolist()):
        if code and count:
            counter[names[code]] += count


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = (path / manifest.NAME).stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def open_collection(path: str | os.PathLike[str]) -> Collection:
    """Open the current generation of the collection in the folder `path`.

    Sizes of all files and the checksums of the small ones are compared first.
    Raises CollectionDamagedError that names the file, or CollectionError when
    the folder holds none.
    """
    folder = Path(path)
    while True:
        stamp = _stamp(folder)
        described = manifest.read(folder)
        try:
            for problem in manifest.check_files(folder, described):
                raise errors.CollectionDamagedError(str(folder), problem)
            return Collection(folder, described, stamp)
        except errors.CollectionDamagedError:
            # A writer may have removed this generation after publishing newer ones.
            if _stamp(folder) == stamp:
                raise
        except (OSError, ValueError, KeyError, sqlite3.Error) as error:
            if _stamp(folder) == stamp:
                raise errors.CollectionDamagedError(str(folder), str(error)) from error


def verify(path: str | os.PathLike[str]) -> list[str]:
    """Check every file, count and case of a collection; return a sentence for each problem.

    Raises CollectionError when the folder holds no collection at all.
    """
    folder = Path(path)
    described = manifest.read(folder)
    problems = list(manifest.check_files(folder, described, all_hashes=True))
    if problems:
        return problems
    try:
        with open_collection(folder) as opened:
            listed = sum(1 for _ in opened.all_cases())
            for name, count in (("cases.db", listed), ("the words index", opened.words.count())):
                if count != described.counts.cases:
                    problems.append(f"{name} has {count} cases instead of {described.counts.cases}")
    except errors.CollectionError as error:
        problems.append(str(error))
    return problems
