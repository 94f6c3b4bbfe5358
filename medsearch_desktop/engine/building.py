"""SegmentBuilder: writes one segment, with checkpoints to resume from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medsearch_desktop import cases, errors
from medsearch_desktop.engine import disk, manifest, records, segments, vectors, views

_FINAL = (
    "cases.db",
    "facets.npy",
    "labels.npy",
    *(f"{name}{end}" for name in segments.SETS for end in (".faiss", ".rows.npy")),
    "thumbs.bin",
)
# What grows while a segment is built; a checkpoint notes their sizes and checksums in cases.db.
_RAW = (
    *(f"{name}{end}" for name in segments.SETS for end in (".f16", ".rows")),
    "thumbs.bin",
)
# Stands in the table of checkpoints for the rows of cases.db, which SQLite does not check.
_CASES = "cases"
_NORM_TOLERANCE = 1e-3
_CHUNK = 1 << 20

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cases (row INTEGER PRIMARY KEY, case_id TEXT NOT NULL UNIQUE,
  body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS vocabulary (field TEXT, code INTEGER, value TEXT NOT NULL,
  PRIMARY KEY (field, code)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoint (file TEXT PRIMARY KEY, size INTEGER NOT NULL,
  sha256 TEXT NOT NULL);
"""


class SegmentBuilder:
    """Writes one segment into a folder of its own, with checkpoints to resume from."""

    def __init__(self, folder: Path, dimension: int, tag_weight: float = 0.0) -> None:
        """Go on from the last checkpoint in `folder`, or begin in a new one.

        `tag_weight` is what tags count in joined vectors; 0 makes none. Raises
        CollectionDamagedError where the checkpoint is not as it was written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._dimension, self._tag_weight = folder, dimension, tag_weight
        self._files: dict[str, Any] = {}
        self._sums: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._images = 0
        self._is_broken = self._is_named = False
        self._database = sqlite3.connect(folder / "cases.db", isolation_level=None)
        try:
            self._take_up()
        except (OSError, sqlite3.Error) as error:
            self.close()
            if disk.is_full(error, folder):
                raise
            raise errors.CollectionDamagedError(str(folder), f"its checkpoint: {error}") from error
        except BaseException:
            self.close()
            raise

    def _take_up(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)
        columns = "SELECT file, size, sha256 FROM checkpoint"
        kept = {name: (size, sha) for name, size, sha in self._database.execute(columns)}
        for name in _RAW:
            self._reopen(name, *kept.get(name, (0, "")))
        self._sums[_CASES], self.cases = hashlib.sha256(), 0
        rows = "SELECT row, case_id, body FROM cases ORDER BY row"
        for row, case_id, body in self._database.execute(rows):
            self._note_case(row, case_id, body)
        if kept and (self.cases, self._sum(_CASES)) != kept.get(_CASES):
            raise errors.CollectionDamagedError(
                str(self.folder), "the cases differ from their checkpoint"
            )
        self._database.execute("BEGIN")

    def _reopen(self, name: str, size: int, expected: str) -> None:
        """Open a file for more, cut to its checkpoint, after comparing what it holds."""
        path = self.folder / name
        self._files[name] = path.open("ab")
        self._sums[name], self._sizes[name] = _summed(path, size), size
        if size and self._sum(name) != expected:
            raise errors.CollectionDamagedError(str(path), "it differs from its checkpoint")
        self._files[name].truncate(size)

    def _sum(self, name: str) -> str:
        return str(self._sums[name].hexdigest())

    def _note_case(self, row: int, case_id: str, body: str) -> None:
        self._sums[_CASES].update(f"{row} {case_id}\0{body}\0".encode("utf-8", "surrogatepass"))
        self.cases += 1

    def holds(self, case_id: str) -> bool:
        found = self._database.execute("SELECT 1 FROM cases WHERE case_id = ?", (case_id,))
        return found.fetchone() is not None

    def add(
        self,
        case: cases.Case,
        image_vectors: np.ndarray | None,
        text_vector: np.ndarray | None,
        thumbnails: Sequence[bytes],
        tag_vector: np.ndarray | None = None,
    ) -> None:
        """Append a case; ValueError when its parts do not fit together."""
        if self._is_broken:
            raise ValueError("an earlier write failed; resume from the last checkpoint")
        images = self._checked(image_vectors, case.case_id)
        texts = self._checked(text_vector, case.case_id)
        tags = self._checked(tag_vector, case.case_id)
        if len(images) not in (0, len(case.images)) or len(texts) > 1 or len(tags) > 1:
            raise ValueError(
                f"{len(images)} image, {len(texts)} text and {len(tags)} tag vectors for "
                f"{len(case.images)} images"
            )
        if len(thumbnails) > len(case.images):
            raise ValueError(f"{len(thumbnails)} thumbnails for {len(case.images)} images")
        if self.holds(case.case_id):
            raise ValueError(f"the case {case.case_id} is there already")
        # Until all parts are written the files are ahead of the database.
        self._is_broken = True
        body = records.to_plain(case, self._stored(thumbnails))
        row = self.cases
        whole = views.pooled(images) if len(images) else images
        self._append_vectors("images", row, images)
        self._append_vectors("texts", row, texts)
        self._append_vectors("pooled", row, whole if len(images) > 1 else images[:0])
        self._append_vectors("joined", row, self._joined(whole, tags))
        plain = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        self._database.execute("INSERT INTO cases VALUES (?, ?, ?)", (row, case.case_id, plain))
        self._note_case(row, case.case_id, plain)
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

    def _joined(self, whole: np.ndarray, tags: np.ndarray) -> np.ndarray:
        """Return the vector (1, d) of a case with its tags, (0, d) where one of the two lacks."""
        if not len(whole) or not len(tags) or not self._tag_weight:
            return whole[:0]
        # So many times the middle of both is their sum, up to its length, which is made 1.
        both = np.concatenate([whole, self._tag_weight * tags])
        return views.pooled(both)

    def _append_vectors(self, name: segments.Among, row: int, rows: np.ndarray) -> None:
        """Append the vectors of the case `row` to a set, each with whose it is."""
        columns = [np.full(len(rows), row), np.arange(len(rows))][: segments.SETS[name]]
        self._append(f"{name}.f16", rows.astype(np.float16).tobytes())
        self._append(f"{name}.rows", np.stack(columns, axis=1).astype(np.uint32).tobytes())

    def _append(self, name: str, content: bytes) -> None:
        self._files[name].write(content)
        self._sums[name].update(content)
        self._sizes[name] += len(content)

    def checkpoint(self) -> None:
        """Bring everything added so far to the disk; `--resume` starts here."""
        if self._is_broken:
            raise ValueError("an earlier write failed; resume from the last checkpoint")
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        if not self._is_named:
            # Or a power cut could keep the checkpoint and lose the names of the files.
            manifest.sync_folder(self.folder)
            manifest.sync_folder(self.folder.parent)
            self._is_named = True
        noted = [(name, self._sizes[name], self._sum(name)) for name in _RAW]
        noted.append((_CASES, self.cases, self._sum(_CASES)))
        self._database.executemany("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?)", noted)
        self._database.execute("COMMIT")
        self._database.execute("BEGIN")

    def seal(self) -> None:
        """Checkpoint, then write what readers need beside the raw files, and sync it all.

        Raises CollectionDamagedError where the disk gives back other bytes than were written.
        """
        self.checkpoint()
        for name in _RAW:
            if _summed(self.folder / name, self._sizes[name]).hexdigest() != self._sum(name):
                path = str(self.folder / name)
                raise errors.CollectionDamagedError(path, "it differs from what was written")
        self._write_facets()
        for name, width in segments.SETS.items():
            rows = np.fromfile(self.folder / f"{name}.rows", np.uint32).reshape(-1, width)
            if len(rows):
                np.save(self.folder / f"{name}.rows.npy", rows, allow_pickle=False)
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
            # What a full disk refuses again here was told when it was written.
            with contextlib.suppress(OSError):
                file.close()
        self._database.close()

    def entry(self, number: int) -> manifest.SegmentEntry:
        """Return the manifest's entry of the sealed segment, as it will lie in the collection."""
        under = f"segments/{number:04d}"
        found = [self.folder / name for name in _FINAL if (self.folder / name).exists()]
        counts = {n: self._sizes[f"{n}.rows"] // (4 * width) for n, width in segments.SETS.items()}
        return manifest.SegmentEntry(
            number=number,
            cases=self.cases,
            images=self._images,
            image_vectors=counts["images"],
            text_vectors=counts["texts"],
            files=tuple(manifest.entry(self.folder, path, under=under) for path in found),
            pooled_vectors=counts["pooled"],
            joined_vectors=counts["joined"],
        )


def _summed(path: Path, size: int) -> Any:
    """Return the SHA-256, to be continued, of the first `size` bytes of a file."""
    seen, left = hashlib.sha256(), size
    with path.open("rb") as file:
        while left and (chunk := file.read(min(left, _CHUNK))):
            seen.update(chunk)
            left -= len(chunk)
    if left:
        raise errors.CollectionDamagedError(str(path), "it is shorter than at its checkpoint")
    return seen


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
