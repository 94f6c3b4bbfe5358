"""Read, encode, write, resume."""

from __future__ import annotations

import contextlib
import csv
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medsearch_desktop import cases, errors
from medsearch_desktop.engine import collection, disk, manifest, vectors
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.imaging import isolated

from . import encoding, inputs, progress, rendering, sources

# A batch is encoded before its pictures take more memory than this.
_BATCH_BYTES = 256 << 20
# Enough cases for a covariance of 768 numbers.
_SAMPLE = 4000
SKIPPED = "skipped.csv"
# What a build that was broken off leaves in its folder, beside the manifest that is not there.
_OURS = frozenset(("building", "segments", "words", "generations", "writer.lock", SKIPPED))


class NothingUsableError(errors.CollectionError):
    """No input of a build became a case."""

    action = "Read skipped.csv, correct the inputs and run the command again."


@dataclass(frozen=True)
class Options:
    """How a collection is written: where, under what name, and how much at a time.

    `workers` are the processes that read; `batch_size` None is what suits the encoder.
    """

    out: Path
    name: str = ""
    workers: int = sources.WORKERS
    batch_size: int | None = None
    slices_per_volume: int = 24
    limit: int | None = None
    resume: bool = False
    recipe: manifest.Recipe = manifest.UNKNOWN


@dataclass
class Report:
    """What a build did; `cases` counts the whole collection after it.

    `stored` of its images were encoded from thumbnails, their originals being gone.
    `effective_dimension` says over how many directions all image vectors spread.
    """

    out: str
    name: str = ""
    generation: int = 0
    cases: int = 0
    added: int = 0
    images: int = 0
    stored: int = 0
    resumed: int = 0
    skipped: list[sources.Skipped] = field(default_factory=list)
    encoder: str = ""
    effective_dimension: float | None = None
    notices: list[str] = field(default_factory=list)
    interrupted: bool = False
    took_s: float = 0.0


Cases = Callable[[sources.Reading], Iterator[cases.Case | sources.Skipped]]


def refuse_taken(out: Path, *, resume: bool) -> None:
    """Raise CollectionError when a new collection cannot be made in a folder."""
    if (out / manifest.NAME).exists() and not resume:
        raise errors.CollectionError(
            f"{out} holds a collection already; use `add` to put more into it."
        )
    if out.exists() and not out.is_dir():
        raise errors.CollectionError(f"{out} is a file; a collection is a folder.")
    if out.is_dir() and not (out / manifest.NAME).exists():
        foreign = sorted(p.name for p in out.iterdir() if p.name not in _OURS)
        if foreign:
            raise errors.CollectionError(
                f"{out} is not empty (it holds {foreign[0]}); choose a folder of its own."
            )


def write(
    found: Cases,
    named: Sequence[str],
    encoder: base.Encoder,
    options: Options,
    shown: progress.Progress,
    *,
    total: int | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """Write the cases that `found` yields into the collection of `options` and publish it.

    `named` are the inputs as the manifest lists them. When `stop` is set the
    build ends after the batch at hand with a checkpoint, unpublished, and
    says `interrupted`. A collection that is there is added to. Raises
    CollectionError and what an encoder raises.
    """
    began = time.monotonic()
    report = Report(str(options.out), encoder=encoder.card.name)
    with contextlib.ExitStack() as opened:
        writer = opened.enter_context(_writer(named, encoder, options))
        disk.require(options.out, None if total is None else total - writer.resumed)
        report.notices += writer.notices
        keep = options.resume or (options.out / manifest.NAME).exists()
        listed = opened.enter_context(_Skips(options.out / SKIPPED, keep=keep))
        readers = isolated.Readers(options.workers)
        opened.callback(readers.close)
        reading = sources.Reading(readers, options.slices_per_volume)
        encoded = encoding.Encoding(encoder)
        opened.callback(encoded.close)
        size = options.batch_size or encoding.batch_size(encoder.card)
        job = _Job(writer, encoded, options, size, report, listed, shown, total)
        wanted = job.wanted(found(reading), stop or threading.Event())
        pictures = rendering.prepared(wanted, readers, options.workers, writer.seen_as)
        try:
            with contextlib.closing(pictures):
                job.run(pictures)
            _end(writer, report, stop)
        except errors.DiskFullError as error:
            raise errors.DiskFullError(error.path, error.free, job.needed()) from error
    report.notices += base.taken_notices(encoder)
    report.took_s = round(time.monotonic() - began, 2)
    return report


def _end(writer: collection.CollectionWriter, report: Report, stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        writer.checkpoint()
        report.interrupted = True
    else:
        _publish(writer, report)


def _writer(
    named: Sequence[str], encoder: base.Encoder, options: Options
) -> collection.CollectionWriter:
    try:
        return collection.CollectionWriter(
            options.out,
            name=options.name or options.out.absolute().name,
            card=encoder.card,
            sources=named,
            resume=options.resume,
            recipe=options.recipe,
            slices=options.slices_per_volume,
        )
    except OSError as error:
        raise disk.told(options.out, error) from error


def _publish(writer: collection.CollectionWriter, report: Report) -> None:
    if report.added + report.resumed == 0 and (writer.path / manifest.NAME).exists():
        standing = manifest.read(writer.path)
        report.name, report.generation = standing.name, standing.generation
        report.cases = standing.counts.cases
        report.notices.append("Nothing new was found in the inputs; the collection is as it was.")
        return
    if report.added + report.resumed == 0 and report.skipped:
        first = report.skipped[0]
        raise NothingUsableError(
            f"None of the {len(report.skipped)} inputs could be used; the first, {first.path}: "
            f"{first.reason}"
        )
    if report.added + report.resumed == 0:
        raise NothingUsableError("There was nothing to read in the inputs.")
    published = writer.commit()
    report.name, report.generation = published.name, published.generation
    report.cases = published.counts.cases
    with collection.open_collection(writer.path) as opened:
        report.effective_dimension = effective_dimension(opened)


def effective_dimension(opened: collection.Collection) -> float | None:
    """Return over how many directions the image vectors spread, by a sample where there are many.

    None where there are fewer than two.
    """
    places = opened.all_places()
    step = max(1, len(places) // _SAMPLE)
    rows = [opened.rows_of(place, "images") for place in places[::step]]
    found = np.concatenate(rows) if rows else np.empty((0, 1))
    return round(float(vectors.effective_dimension(found)), 1) if len(found) > 1 else None


class _Skips:
    """Writes skipped.csv, one line as soon as an input is skipped; known lines once."""

    def __init__(self, path: Path, *, keep: bool) -> None:
        self._folder = path.parent
        self._known: set[tuple[str, str]] = set()
        with self._told():
            self._open(path, keep=keep)

    def _open(self, path: Path, *, keep: bool) -> None:
        is_there = keep and path.exists()
        if is_there:
            with path.open(encoding="utf-8", newline="") as file:
                self._known = {(line[0], line[1]) for line in csv.reader(file) if len(line) == 2}
        self._file = path.open(
            "a" if is_there else "w", encoding="utf-8", errors="backslashreplace", newline=""
        )
        self._lines = csv.writer(self._file)
        if not is_there:
            self._lines.writerow(("path", "reason"))

    def __enter__(self) -> _Skips:
        return self

    def __exit__(self, *_: object) -> None:
        # What a full disk refuses again here was told when it was written.
        with contextlib.suppress(OSError):
            self._file.close()

    def add(self, skipped: sources.Skipped) -> None:
        if (skipped.path, skipped.reason) not in self._known:
            with self._told():
                self._lines.writerow((skipped.path, skipped.reason))
                self._file.flush()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise disk.told(self._folder, error) from error


@dataclass
class _Job:
    """The part of a build that runs in the main thread: cases into batches, vectors to the disk."""

    writer: collection.CollectionWriter
    vectors: encoding.Encoding
    options: Options
    batch_size: int
    report: Report
    listed: _Skips
    shown: progress.Progress
    total: int | None

    def wanted(
        self, found: Iterator[cases.Case | sources.Skipped], stop: threading.Event
    ) -> Iterator[cases.Case | sources.Skipped]:
        """Yield what is to be read: up to the limit, without what the collection holds."""
        for number, one in enumerate(found):
            if stop.is_set() or number == self.options.limit:
                return
            if isinstance(one, cases.Case) and self.writer.holds(one.case_id):
                if self.options.resume:
                    self.report.resumed += 1
                    continue
                path = one.images[0].ref.path if one.images else ""
                yield sources.Skipped(path, f"The case {one.case_id!r} is there already.")
                continue
            yield one

    def run(self, pictures: Iterator[rendering.Prepared | sources.Skipped]) -> None:
        """Encode and write all that comes, a batch at a time."""
        batch: list[rendering.Prepared] = []
        for one in pictures:
            if isinstance(one, sources.Skipped):
                self._skip(one)
                continue
            batch.append(one)
            held = [picture for case in batch for picture in case.pictures]
            if max(len(held), len(batch)) >= self.batch_size or (
                sum(picture.nbytes for picture in held) > _BATCH_BYTES
            ):
                self._begin(batch)
                batch = []
        self._begin(batch)
        while encoded := self.vectors.take():
            self._write(encoded)

    def needed(self) -> int:
        """Return about how many bytes the rest of the build needs, 0 where nobody knows."""
        if self.total is None:
            return 0
        done = self.report.added + self.report.resumed + len(self.report.skipped)
        return round(disk.PEAK * disk.CASE_BYTES * max(1, self.total - done))

    def _skip(self, skipped: sources.Skipped) -> None:
        self.report.skipped.append(skipped)
        self.listed.add(skipped)

    def _begin(self, batch: Sequence[rendering.Prepared]) -> None:
        if batch:
            self.vectors.give(batch)
        while self.vectors.is_full:
            self._write(self.vectors.take())

    def _write(self, encoded: Sequence[encoding.Encoded]) -> None:
        for one in encoded:
            prepared = one.prepared
            self.writer.add(
                prepared.case, one.images, one.text, prepared.thumbnails, tag_vector=one.tags
            )
            self.report.added += 1
            self.report.images += len(prepared.pictures)
            self.report.stored += prepared.stored
            for skipped in prepared.skipped:
                self._skip(skipped)
        done = self.report.added + self.report.resumed
        self.shown.step(
            "Indexing",
            done + len(self.report.skipped),
            self.total,
            skipped=len(self.report.skipped),
        )


def reader(given: inputs.Inputs) -> Cases:
    """Return what reads the inputs once it is told by which processes."""
    return lambda reading: inputs.read(given, reading)
