"""Collection (a snapshot to read), CollectionWriter, Manifest."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

import medsearch_desktop
from medsearch_desktop import cases, errors
from medsearch_desktop.engine import (
    building,
    disk,
    generations,
    manifest,
    records,
    snapshot,
    views,
    words,
)
from medsearch_desktop.engine.encoders import base

Collection = snapshot.Collection
Manifest = manifest.Manifest
open_collection = generations.open_collection
verify = generations.verify

_CHECKPOINT_S = 20.0


class CollectionWriter:
    """Adds one segment to a collection, or makes a new one; one writer at a time.

    Nothing is seen by readers before `commit`. What `checkpoint` wrote is
    taken up again with `resume=True`; without it, it is dropped.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str,
        card: base.EncoderCard,
        sources: Sequence[str] = (),
        resume: bool = False,
        recipe: manifest.Recipe = manifest.UNKNOWN,
        slices: int = views.SLICES,
    ) -> None:
        """Lock the folder; raises CollectionBusyError, EncoderMismatchError or CollectionError.

        A collection that is there already keeps its name; its encoder must be
        the same, and its newest state sound. `recipe` says how to build it again,
        `slices` how many stand for a volume. `seen_as` is how pictures must be
        made ready for the encoder: as those that are there, where there are some.
        """
        self.path = Path(path)
        # Where an encoder ran is no property of the vectors it made.
        self._card = dataclasses.replace(card, device="")
        self._name, self._sources, self._recipe = name, tuple(sources), recipe
        self._tag_weight = views.TAG_WEIGHT
        self.seen_as = views.recipe_for(card, slices)
        self.notices: list[str] = []
        self._old: Collection | None = None
        self._builder: building.SegmentBuilder | None = None
        with self._told():
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = locked(self.path)
        try:
            with self._told():
                self._begin(resume)
        except BaseException:
            self.close()
            raise
        self._checkpointed = time.monotonic()

    def _begin(self, resume: bool) -> None:
        if (self.path / manifest.NAME).exists():
            self._old = generations.open_current(self.path)
            self._check_fits(self._old.manifest)
            # A case with tags would else stand before all cases that were written without.
            self._tag_weight = self._old.manifest.tag_weight
        self._recover(resume)
        self._builder = self._taken_up()
        self.resumed = self._builder.cases

    @property
    def _building(self) -> Path:
        return self.path / "building"

    def _check_fits(self, old: Manifest) -> None:
        base.check_fits(old.encoder, self._card)
        try:
            self.seen_as = views.Recipe.read(old.views)
        except ValueError:
            raise errors.CollectionError(
                f"The collection {self.path} prepares pictures by {old.views!r}, which this "
                "program does not know: build it again."
            ) from None

    def _recover(self, resume: bool) -> None:
        """Put away what an earlier writer left behind when it was killed."""
        listed = {entry.folder for entry in self._old.manifest.segments} if self._old else set()
        for folder in sorted((self.path / "segments").glob("*")):
            if f"segments/{folder.name}" in listed:
                building.drop_unlisted(folder)
            elif resume and not self._building.exists():
                # Killed between the segment's last rename and the manifest's.
                os.rename(folder, self._building)
            else:
                shutil.rmtree(folder)
        current = str(self._old.manifest.generation) if self._old else ""
        for folder in (self.path / "words").glob("*"):
            if not folder.name.isdigit() or int(folder.name) > int(current or 0):
                shutil.rmtree(folder)
        if not resume and self._building.exists():
            shutil.rmtree(self._building)

    def _taken_up(self) -> building.SegmentBuilder:
        """Return a builder at the last checkpoint; a damaged checkpoint is dropped."""
        try:
            return self._new_builder()
        except errors.CollectionDamagedError:
            shutil.rmtree(self._building)
            self.notices.append("The checkpoint was damaged: what it held is read again.")
            return self._new_builder()

    def _new_builder(self) -> building.SegmentBuilder:
        return building.SegmentBuilder(self._building, self._card.dimension, self._tag_weight)

    def holds(self, case_id: str) -> bool:
        """Tell whether the collection, or what was added so far, has this case."""
        if self._old is not None and self._old.place(case_id) is not None:
            return True
        return self._open_builder().holds(case_id)

    def add(
        self,
        case: cases.Case,
        image_vectors: np.ndarray | None,
        text_vector: np.ndarray | None,
        thumbnails: Sequence[bytes] = (),
        *,
        tag_vector: np.ndarray | None = None,
    ) -> None:
        """Add a case with one unit vector for each of its images (or None) and one for its text.

        `thumbnails` are JPEG or PNG bytes for the images in order, b"" for
        none; `tag_vector` is that of its tags as words. Raises ValueError for
        parts that do not fit, among them a case that is there already,
        CollectionError when the disk refuses.
        """
        if self._old is not None and self._old.place(case.case_id) is not None:
            raise ValueError(f"the case {case.case_id} is in the collection already")
        with self._told():
            builder = self._open_builder()
            builder.add(case, image_vectors, text_vector, thumbnails, tag_vector)
            if time.monotonic() - self._checkpointed > _CHECKPOINT_S:
                self.checkpoint()

    def checkpoint(self) -> None:
        """Make what was added survive a kill; it happens by itself every 20 s of adding."""
        with self._told():
            self._open_builder().checkpoint()
        self._checkpointed = time.monotonic()

    def commit(self) -> Manifest:
        """Publish what was added as the next generation and return its manifest.

        Files are written aside and synced, the manifest is renamed last: a
        kill at any time leaves the old generation or the new one. Afterwards
        only `close` may be called.
        """
        builder = self._open_builder()
        if builder.cases == 0 and self._old is not None:
            return self._old.manifest
        with self._told():
            published = self._publish(builder)
            self._builder = None
            self._tidy(published)
        return published

    def _publish(self, builder: building.SegmentBuilder) -> Manifest:
        old = self._old.manifest if self._old else None
        generation = (old.generation if old else 0) + 1
        entries = old.segments if old else ()
        added: tuple[manifest.SegmentEntry, ...] = ()
        builder.seal()
        if builder.cases:
            number = max((entry.number for entry in entries), default=0) + 1
            added = (builder.entry(number),)
        new = Manifest(
            name=old.name if old else self._name,
            generation=generation,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            encoder=self._card,
            views=self.seen_as.text,
            segments=(*entries, *added),
            words=self._write_words(old, generation, added),
            sources=tuple(dict.fromkeys((*(old.sources if old else ()), *self._sources))),
            tool=f"medsearch-desktop {medsearch_desktop.__version__}",
            recipe=old.recipe.joined(self._recipe) if old else self._recipe,
            tag_weight=self._tag_weight,
            pooling=views.POOLING,
        )
        for entry in added:
            target = self.path / entry.folder
            target.parent.mkdir(exist_ok=True)
            os.rename(self._building, target)
            manifest.sync_folder(target.parent)
        manifest.sync_folder(self.path)
        if old is None:
            # The collection's own name; a folder above that may not be read is the system's.
            with contextlib.suppress(OSError):
                manifest.sync_folder(self.path.absolute().parent)
        if old is not None:
            kept = self.path / generations.FOLDER
            kept.mkdir(exist_ok=True)
            manifest.write_durably(kept / f"{old.generation}.json", old.to_json().encode())
        manifest.write(self.path, new)
        return new

    def _write_words(
        self, old: Manifest | None, generation: int, added: Sequence[manifest.SegmentEntry]
    ) -> tuple[manifest.FileEntry, ...]:
        """Write the words index of the new generation: the old one's files linked, and more."""
        folder = self.path / "words" / str(generation)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        for entry in old.words if old else ():
            _link(self.path / entry.path, folder / Path(entry.path).name)
        words.write(folder, self._word_entries(added))
        files = sorted(p for p in folder.iterdir() if not p.name.endswith(".lock"))
        for path in files:
            manifest.sync_file(path)
        manifest.sync_folder(folder)
        manifest.sync_folder(folder.parent)
        under = f"words/{generation}"
        listed = tuple(manifest.entry(self.path, path, under=under) for path in files)
        _check_linked(self.path, old.words if old else (), listed)
        return listed

    def _word_entries(
        self, added: Sequence[manifest.SegmentEntry]
    ) -> Iterator[tuple[int, cases.Case, list[str]]]:
        for entry in added:
            for row, case in enumerate(building.sealed_cases(self._building)):
                keys = [words.key(k, v) for k, v in records.facet_values(case).items()]
                keys += [words.key(records.LABEL, v) for v in records.case_labels(case)]
                yield (entry.number << snapshot.ROW_BITS) + row, case, keys

    def _tidy(self, published: Manifest) -> None:
        """Remove what no generation but the last two needs; what is in use stays for later."""
        with contextlib.suppress(OSError):
            for entry in published.segments[-1:]:
                building.drop_unlisted(self.path / entry.folder)
            shutil.rmtree(self._building, ignore_errors=True)
            oldest = published.generation - 1
            # What describes a generation goes before its files do.
            for path in (self.path / generations.FOLDER).glob("*.json"):
                if path.stem.isdigit() and int(path.stem) < oldest:
                    path.unlink()
                    manifest.sync_folder(path.parent)
            for folder in (self.path / "words").iterdir():
                if folder.name.isdigit() and int(folder.name) < oldest:
                    shutil.rmtree(folder, ignore_errors=True)

    def _open_builder(self) -> building.SegmentBuilder:
        if self._builder is None:
            raise ValueError("the writer is closed or committed")
        return self._builder

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what the disk refuses into a CollectionError, DiskFullError where it is full."""
        try:
            yield
        except (OSError, sqlite3.Error, RuntimeError) as error:
            raise disk.told(self.path, error) from error
        except ValueError as error:
            # So tantivy says it; a ValueError of ours names a programmer's mistake.
            if not disk.is_full(error):
                raise
            raise disk.told(self.path, error) from error

    def close(self) -> None:
        """Unlock the collection; what was not committed or checkpointed is dropped."""
        if self._builder is not None:
            self._builder.close()
            self._builder = None
        if self._old is not None:
            self._old.close()
            self._old = None
        self._lock.close()

    def __enter__(self) -> CollectionWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _check_linked(
    root: Path, old: Sequence[manifest.FileEntry], new: Sequence[manifest.FileEntry]
) -> None:
    """Raise CollectionDamagedError where a file taken over from the old words is not as it was.

    tantivy never changes a file of an index but its two lists, which are JSON.
    """
    known = {Path(entry.path).name: entry.sha256 for entry in old}
    for entry in new:
        name = Path(entry.path).name
        if not name.endswith(".json") and known.get(name, entry.sha256) != entry.sha256:
            raise errors.CollectionDamagedError(
                str(root), f"{entry.path} differs from its checksum"
            )


def repair(path: str | os.PathLike[str]) -> generations.Repaired:
    """Go back to the newest state that is sound; raises as `generations.go_back`.

    Raises CollectionBusyError while another program writes.
    """
    folder = Path(path)
    if not folder.is_dir():
        manifest.read(folder)
    try:
        with locked(folder):
            return generations.go_back(folder)
    except OSError as error:
        raise disk.told(folder, error) from error


def locked(folder: Path) -> IO[bytes]:
    """Return the lock file of a collection, held until it is closed or the program ends."""
    file = (folder / "writer.lock").open("ab")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise errors.CollectionBusyError(str(folder)) from None
    return file
