"""Segment: one immutable part of a collection, opened for reading."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from medsearch_desktop import cases
from medsearch_desktop.engine import manifest, records, vectors

THUMBS = "thumbs.bin"
_VECTOR_FILES = ("images.faiss", "images.rows.npy", "texts.faiss", "texts.rows.npy")
# Without these a segment can still be read: by words, or without its pictures.
SPARED = frozenset((THUMBS, *_VECTOR_FILES))
# No case, with the texts of all its images, is near so long.
MOST_BODY_BYTES = 64 << 20


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
        counts = [entry.image_vectors, entry.text_vectors]
        for number, name in enumerate(("images", "texts")):
            if left_out & {f"{name}.faiss", f"{name}.rows.npy"}:
                counts[number] = -1
        self.images, self.image_rows = _vectors(folder, "images", counts[0], dimension, 2)
        self.texts, self.text_rows = _vectors(folder, "texts", counts[1], dimension, 1)
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
        for rows in (self.image_rows[:, 0], self.text_rows[:, 0]):
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

    def vectors_of(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the image vectors (n, d) and the text vectors (m, d) of the case at `row`."""
        return (
            self._rows_of(self.images, self.image_rows, row),
            self._rows_of(self.texts, self.text_rows, row),
        )

    def _rows_of(self, index: vectors.VectorIndex | None, rows: np.ndarray, row: int) -> np.ndarray:
        # Rows are written case by case, so those of one case stand together.
        first, last = np.searchsorted(rows[:, 0], np.array([row, row + 1], np.uint32))
        if index is None or first == last:
            return np.empty((0, self._dimension), np.float32)
        return index.vectors(np.arange(first, last))


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


def _vectors(
    folder: Path, name: str, count: int, dimension: int, width: int
) -> tuple[vectors.VectorIndex | None, np.ndarray]:
    if count < 0:
        return None, np.empty((0, width), np.uint32)
    rows = _array(folder / f"{name}.rows.npy", (count, width))
    if count == 0:
        return None, rows
    return vectors.VectorIndex.open(folder / f"{name}.faiss", count, dimension), rows
