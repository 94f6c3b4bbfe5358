"""SegmentBuilder: writes one segment, with checkpoints to resume from."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medsearch_desktop import cases, errors
from medsearch_desktop.engine import manifest, records, segments, vectors

_FINAL = (
    "cases.db",
    "facets.npy",
    "labels.npy",
    "images.faiss",
    "images.rows.npy",
    "texts.faiss",
    "texts.rows.npy",
    "thumbs.bin",
)
# What grows while a segment is built; a checkpoint notes their sizes in cases.db.
_RAW = ("images.f16", "images.rows", "texts.f16", "texts.rows", "thumbs.bin")
_NORM_TOLERANCE = 1e-3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cases (row INTEGER PRIMARY KEY, case_id TEXT NOT NULL UNIQUE,
  body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS vocabulary (field TEXT, code INTEGER, value TEXT NOT NULL,
  PRIMARY KEY (field, code)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoint (file TEXT PRIMARY KEY, size INTEGER NOT NULL);
"""


class SegmentBuilder:
    """Writes one segment into a folder of its own, with checkpoints to resume from."""

    def __init__(self, folder: Path, dimension: int) -> None:
        """Go on from the last checkpoint in `folder`, or begin in a new one."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._dimension = folder, dimension
        self._database = sqlite3.connect(folder / "cases.db", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)
        kept = dict(self._database.execute("SELECT file, size FROM checkpoint"))
        self._files = {name: self._reopened(name, kept.get(name, 0)) for name in _RAW}
        self._sizes = {name: kept.get(name, 0) for name in _RAW}
        self.cases = self._database.execute("SELECT count(*) FROM cases").fetchone()[0]
        self._images = 0
        self._is_broken = False
        self._database.execute("BEGIN")

    def _reopened(self, name: str, size: int) -> Any:
        path = self.folder / name
        file = path.open("ab")
        if file.tell() < size:
            file.close()
            raise errors.CollectionDamagedError(str(path), "it is shorter than at its checkpoint")
        file.truncate(size)
        return file

    def holds(self, case_id: str) -> bool:
        found = self._database.execute("SELECT 1 FROM cases WHERE case_id = ?", (case_id,))
        return found.fetchone() is not None

    def add(
        self,
        case: cases.Case,
        image_vectors: np.ndarray | None,
        text_vector: np.ndarray | None,
        thumbnails: Sequence[bytes],
    ) -> None:
        """Append a case; ValueError when its parts do not fit together."""
        if self._is_broken:
            raise ValueError("an earlier write failed; resume from the last checkpoint")
        images = self._checked(image_vectors, case.case_id)
        texts = self._checked(text_vector, case.case_id)
        if len(images) not in (0, len(case.images)) or len(texts) > 1:
            raise ValueError(
                f"{len(images)} image and {len(texts)} text vectors for {len(case.images)} images"
            )
        if len(thumbnails) > len(case.images):
            raise ValueError(f"{len(thumbnails)} thumbnails for {len(case.images)} images")
        if self.holds(case.case_id):
            raise ValueError(f"the case {case.case_id} is there already")
        # Until all parts are written the files are ahead of the database.
        self._is_broken = True
        body = records.to_plain(case, self._stored(thumbnails))
        row = self.cases
        numbers = np.arange(len(images), dtype=np.uint32)
        pairs = np.stack([np.full_like(numbers, row), numbers], axis=1)
        self._append("images.f16", images.astype(np.float16).tobytes())
        self._append("images.rows", pairs.tobytes())
        self._append("texts.f16", texts.astype(np.float16).tobytes())
        self._append("texts.rows", np.full((len(texts), 1), row, np.uint32).tobytes())
        self._database.execute(
            "INSERT INTO cases VALUES (?, ?, ?)",
            (row, case.case_id, json.dumps(body, ensure_ascii=False, separators=(",", ":"))),
        )
        self.cases += 1
        self._is_broken = False

    def _checked(self, given: np.ndarray | None, case_id: str) -> np.ndarray:
        if given is None:
            return np.empty((0, self._dimension), np.float32)
        rows = np.atleast_2d(np.asarray(given, dtype=np.float32))
        if rows.size == 0:
            return np.empty((0, self._dimension), np.float32)
        if rows.ndim != 2 or rows.shape[1] != self._dimension:
            raise ValueError(f"vectors of {case_id} are {rows.shape}, not (n, {self._dimension})")
        if not np.all(np.abs(np.linalg.norm(rows, axis=1) - 1) < _NORM_TOLERANCE):
            raise ValueError(f"vectors of {case_id} are not of unit length")
        return rows

    def _stored(self, thumbnails: Sequence[bytes]) -> list[tuple[int, int] | None]:
        places: list[tuple[int, int] | None] = []
        for picture in thumbnails:
            places.append((self._sizes["thumbs.bin"], len(picture)) if picture else None)
            self._append("thumbs.bin", picture)
        return places

    def _append(self, name: str, content: bytes) -> None:
        self._files[name].write(content)
        self._sizes[name] += len(content)

    def checkpoint(self) -> None:
        """Bring everything added so far to the disk; `--resume` starts here."""
        if self._is_broken:
            raise ValueError("an earlier write failed; resume from the last checkpoint")
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self._database.executemany(
            "INSERT OR REPLACE INTO checkpoint VALUES (?, ?)", self._sizes.items()
        )
        self._database.execute("COMMIT")
        self._database.execute("BEGIN")

    def seal(self) -> None:
        """Checkpoint, then write what readers need beside the raw files, and sync it all."""
        self.checkpoint()
        self._write_facets()
        for name, width in (("images", 2), ("texts", 1)):
            rows = np.fromfile(self.folder / f"{name}.rows", np.uint32).reshape(-1, width)
            np.save(self.folder / f"{name}.rows.npy", rows, allow_pickle=False)
            if len(rows):
                raw = np.memmap(
                    self.folder / f"{name}.f16", np.float16, "r", shape=(len(rows), self._dimension)
                )
                vectors.VectorIndex.write(self.folder / f"{name}.faiss", raw)
        self._database.execute("COMMIT")
        # Readers open the file immutable, so nothing may be left in a journal beside it.
        self._database.execute("PRAGMA journal_mode = DELETE")
        self.close()
        for name in _FINAL:
            if (self.folder / name).exists():
                manifest.sync_file(self.folder / name)
        manifest.sync_folder(self.folder)

    def _write_facets(self) -> None:
        """Write the facet codes (0: not known), the (row, code) pairs of labels, and the words."""
        codes: dict[str, dict[str, int]] = {name: {} for name in (*records.FIELDS, records.LABEL)}
        facets = np.zeros((self.cases, len(records.FIELDS)), np.uint32)
        labels: list[tuple[int, int]] = []
        self._images = 0
        for row, case in enumerate(segments.stored_cases(self._database, "")):
            self._images += len(case.images)
            for name, value in records.facet_values(case).items():
                known = codes[name]
                facets[row, records.FIELDS.index(name)] = known.setdefault(value, len(known) + 1)
            known = codes[records.LABEL]
            for value in records.case_labels(case):
                labels.append((row, known.setdefault(value, len(known) + 1)))
        pairs = np.array(labels, np.uint32).reshape(-1, 2)
        np.save(self.folder / "facets.npy", facets, allow_pickle=False)
        np.save(self.folder / "labels.npy", pairs, allow_pickle=False)
        self._database.execute("DELETE FROM vocabulary")
        self._database.executemany(
            "INSERT INTO vocabulary VALUES (?, ?, ?)",
            [(name, code, value) for name in codes for value, code in codes[name].items()],
        )

    def close(self) -> None:
        """Close the files; what was added after the last checkpoint is dropped."""
        for file in self._files.values():
            file.close()
        self._database.close()

    def entry(self, number: int) -> manifest.SegmentEntry:
        """Return the manifest's entry of the sealed segment, as it will lie in the collection."""
        under = f"segments/{number:04d}"
        found = [self.folder / name for name in _FINAL if (self.folder / name).exists()]
        images = np.load(self.folder / "images.rows.npy", allow_pickle=False)
        texts = np.load(self.folder / "texts.rows.npy", allow_pickle=False)
        return manifest.SegmentEntry(
            number=number,
            cases=self.cases,
            images=self._images,
            image_vectors=len(images),
            text_vectors=len(texts),
            files=tuple(manifest.entry(self.folder, path, under=under) for path in found),
        )


def sealed_cases(folder: Path) -> Iterator[cases.Case]:
    """Yield the cases of a sealed segment, by row."""
    database = segments.opened(folder / "cases.db")
    try:
        yield from segments.stored_cases(database, "")
    finally:
        database.close()


def drop_unlisted(folder: Path) -> None:
    """Remove what only the building of a segment needed."""
    for path in folder.iterdir():
        if path.name not in _FINAL:
            path.unlink()
