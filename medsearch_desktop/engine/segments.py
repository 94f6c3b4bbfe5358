"""Segment: one immutable part of a collection, opened for reading."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from medsearch_desktop import cases
from medsearch_desktop.engine import manifest, records, vectors

Among = Literal["images", "texts", "pooled", "joined"]

THUMBS = "thumbs.bin"
# The sets of vectors, and how many numbers say whose a row is: its case, and the image of an
# image's. Pooled rows are the middle of the images of a case that has several, joined rows the
# middle (or the one image) with the case's tags added as words.
SETS: dict[Among, int] = {"images": 2, "texts": 1, "pooled": 1, "joined": 1}
_VECTOR_FILES = tuple(f"{name}{end}" for name in SETS for end in (".faiss", ".rows.npy"))
# Without these a segment can still be read: by words, or without its pictures.
SPARED = frozenset((THUMBS, *_VECTOR_FILES))
# No case, with the texts of all its images, is near so long.
MOST_BODY_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class VectorSet:
    """The vectors of one set; row k is of case `owners[k, 0]`. `index` is None where none are."""

    index: vectors.VectorIndex | None
    owners: np.ndarray


class Segment:
    """Reads one segment of a collection; rows are case rows unless said otherwise."""

    def __init__(
        self,
        root: Path,
        entry: manifest.SegmentEntry,
        dimension: int,
        without: frozenset[str] = frozenset(),
    ) -> None:
        """Map the files; raises ValueError, OSError or sqlite3.Error where one is not right.

        `without` are paths of SPARED files that are damaged and not touched.
        """
        folder = root / entry.folder
        left_out = {Path(path).name for path in without if path.startswith(f"{entry.folder}/")}
        self.number, self.count = entry.number, entry.cases
        self._dimension = dimension
        self._thumbs = "" if THUMBS in left_out else str(folder / THUMBS)
        self.facets = _array(folder / "facets.npy", (entry.cases, len(records.FIELDS)))
        self.labels = _array(folder / "labels.npy", (None, 2))
        self.sets: dict[Among, VectorSet] = {}
        for name in SETS:
            is_left_out = bool(left_out & {f"{name}.faiss", f"{name}.rows.npy"})
            count = 0 if is_left_out else entry.vectors[name]
            self.sets[name] = _vectors(folder, name, count, dimension)
        self._not_in: dict[Among, np.ndarray | None] = {}
        self._database = opened(folder / "cases.db")
        try:
            self._read_vocabulary()
        except BaseException:
            self._database.close()
            raise

    def _read_vocabulary(self) -> None:
        """Read the words of the facets, and check that every number in the files has its place."""
        _refuse_active(self._database)
        self.vocabulary: dict[str, list[str]] = {
            name: [""] for name in (*records.FIELDS, records.LABEL)
        }
        for field, value in self._database.execute(
            "SELECT field, value FROM vocabulary ORDER BY field, code"
        ):
            self.vocabulary[field].append(str(value))
        sizes = np.array([len(self.vocabulary[name]) for name in records.FIELDS])
        fits = bool((self.facets < sizes).all())
        if len(self.labels):
            most = np.array([self.count, len(self.vocabulary[records.LABEL])])
            fits = fits and bool((self.labels < most).all())
        for found in self.sets.values():
            rows = found.owners[:, 0]
            if len(rows):
                fits = fits and int(rows[-1]) < self.count and bool((rows[1:] >= rows[:-1]).all())
        if not fits:
            raise ValueError(f"the numbers of segment {self.number} do not fit its cases")

    def close(self) -> None:
        self._database.close()

    def row(self, case_id: str) -> int | None:
        """Return the row of a case, None when it lies elsewhere."""
        found = self._database.execute("SELECT row FROM cases WHERE case_id = ?", (case_id,))
        return next((int(row) for (row,) in found), None)

    def case(self, row: int) -> cases.Case:
        """Return the case at `row`, with its thumbnails' places."""
        found = self._database.execute("SELECT body FROM cases WHERE row = ?", (row,)).fetchone()
        if found is None:
            raise ValueError(f"segment {self.number} has no case {row}")
        return records.from_plain(json.loads(found[0]), self._thumbs)

    def all_cases(self) -> Iterator[cases.Case]:
        """Yield every case, by row."""
        yield from stored_cases(self._database, self._thumbs)

    def equal(self, field: str, value: str) -> np.ndarray:
        """Return bool (cases,): whose `field` equals `value`, letter case aside."""
        wanted = value.casefold()
        codes = [c for c, v in enumerate(self.vocabulary[field]) if c and v.casefold() == wanted]
        if field == records.LABEL:
            kept = np.zeros(self.count, dtype=bool)
            kept[self.labels[np.isin(self.labels[:, 1], codes), 0]] = True
            return kept
        return np.isin(self.facets[:, records.FIELDS.index(field)], codes)

    def searched(self, among: Among) -> list[tuple[VectorSet, np.ndarray | None]]:
        """Return the sets in which every case is found by `among`, each with the rows that count.

        A case without a pooled or joined vector is found by those of its
        images. The rows are bool (rows of the set,), None where all count.
        """
        found: list[tuple[VectorSet, np.ndarray | None]] = [(self.sets[among], None)]
        if among in ("pooled", "joined"):
            owners = self.sets[among].owners
            if not len(owners):
                return [(self.sets["images"], None)]
            if among not in self._not_in:
                has = np.zeros(self.count, dtype=bool)
                has[owners[:, 0]] = True
                rest = ~has[self.sets["images"].owners[:, 0]]
                self._not_in[among] = rest if rest.any() else None
            if (others := self._not_in[among]) is not None:
                found.append((self.sets["images"], others))
        return found

    def vectors_of(self, row: int, among: Among) -> np.ndarray:
        """Return the vectors (n, d) by which the case at `row` is found among a set."""
        rows, counts = self.own_rows(np.array([row]), among)
        if not counts[0] and among in ("pooled", "joined"):
            rows, counts = self.own_rows(np.array([row]), "images")
            among = "images"
        index = self.sets[among].index
        if index is None or not counts[0]:
            return np.empty((0, self._dimension), np.float32)
        return index.vectors(rows)

    def own_rows(self, cases_rows: np.ndarray, among: Among) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of some cases in a set, one case after the other, and how many each has.

        Rows are written case by case, so those of one case stand together.
        """
        owners = self.sets[among].owners[:, 0]
        first = np.searchsorted(owners, cases_rows.astype(np.uint32), "left")
        last = np.searchsorted(owners, cases_rows.astype(np.uint32), "right")
        counts = last - first
        starts = np.repeat(first - np.cumsum(counts) + counts, counts)
        return starts + np.arange(counts.sum()), counts


def opened(path: Path) -> sqlite3.Connection:
    # The engine's one working thread uses it, but not always the thread that opened it.
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    database = sqlite3.connect(uri, uri=True, check_same_thread=False)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BODY_BYTES)
    database.execute("PRAGMA trusted_schema = OFF")
    return database


def _refuse_active(database: sqlite3.Connection) -> None:
    """Raise ValueError where reading a table would run what a stranger wrote into its schema."""
    for kind, sql, page in database.execute("SELECT type, sql, rootpage FROM sqlite_master"):
        words = str(sql or "").upper()
        is_plain = kind == "index" or (kind == "table" and page and " AS " not in words)
        if not is_plain or "GENERATED" in words:
            raise ValueError(f"cases.db holds a {kind} that is none of ours")


def stored_cases(database: sqlite3.Connection, thumbs: str) -> Iterator[cases.Case]:
    for (body,) in database.execute("SELECT body FROM cases ORDER BY row"):
        yield records.from_plain(json.loads(body), thumbs)


def _array(path: Path, shape: tuple[int | None, int]) -> np.ndarray:
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    rows, columns = shape
    fits = array.ndim == 2 and array.shape[1] == columns and rows in (None, len(array))
    if not fits or array.dtype != np.uint32:
        raise ValueError(f"{path.name} is {array.dtype} {array.shape}")
    return array


def _vectors(folder: Path, name: Among, count: int, dimension: int) -> VectorSet:
    """Return a set of `count` vectors; where there are none, its files are not looked at."""
    if count == 0:
        return VectorSet(None, np.empty((0, SETS[name]), np.uint32))
    rows = _array(folder / f"{name}.rows.npy", (count, SETS[name]))
    return VectorSet(vectors.VectorIndex.open(folder / f"{name}.faiss", count, dimension), rows)
