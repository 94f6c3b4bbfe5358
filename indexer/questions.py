"""What two collections of the same cases are asked: their own cases, or the rows of a table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsearch_desktop import cases
from medsearch_desktop.engine import collection, manifest, vectors, views
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.imaging import isolated

from . import progress, rendering, sources, stored_thumbnails, tables


@dataclass(frozen=True, eq=False)
class Gallery:
    """Vectors (r, d) that are looked through, and the place in the pool of each row's case."""

    rows: np.ndarray
    owners: np.ndarray


@dataclass(frozen=True, eq=False)
class Side:
    """One collection as far as both hold it: vectors of the pool, and those of the questions.

    `tagged` are the pool's vectors with the cases' tags in them, None where
    the collection keeps none. `images` and `texts` have a row for each
    question, NaN where it has none.
    """

    path: Path
    described: manifest.Manifest
    pictured: Gallery
    tagged: Gallery | None
    images: np.ndarray
    texts: np.ndarray

    @property
    def effective_dimension(self) -> float:
        """Over how many directions the image vectors of the pool really spread."""
        return float(vectors.effective_dimension(self.pictured.rows))


@dataclass(frozen=True, eq=False)
class Questions:
    """What is asked: cases, and the place of each in the pool or -1.

    `pictures` are JPEG or PNG bytes of each, () where the cases' own thumbnails show them.
    """

    cases: tuple[cases.Case, ...]
    own: np.ndarray
    pictures: tuple[bytes, ...] = ()
    skipped: tuple[sources.Skipped, ...] = ()

    def picture(self, number: int) -> bytes:
        """Return a picture of a question, b"" where there is none."""
        if self.pictures:
            return self.pictures[number]
        images = self.cases[number].images
        return stored_thumbnails.content(images[0]) if images else b""


@dataclass(frozen=True)
class Table:
    """A table of questions, and how it is read."""

    path: Path
    columns: str = ""
    workers: int = sources.WORKERS


class Stored:
    """The vectors of some cases as one collection stores them."""

    def __init__(self, opened: collection.Collection, wanted: Sequence[cases.Case]) -> None:
        found = [opened.place(case.case_id) for case in wanted]
        self._places = [place for place in found if place is not None]
        self._opened, self._dimension = opened, opened.manifest.encoder.dimension
        self._images = [opened.rows_of(place, "images") for place in self._places]
        self.has_images = np.array([len(images) > 0 for images in self._images], dtype=bool)

    def pictured(self, chosen: np.ndarray) -> Gallery:
        """Return the image rows of the chosen cases."""
        return _gallery([self._images[number] for number in chosen])

    def tagged(self, chosen: np.ndarray) -> Gallery | None:
        """Return the rows with tags of the chosen cases, None where no case has one."""
        if not self._opened.manifest.counts.joined:
            return None
        return _gallery([self._opened.rows_of(self._places[n], "joined") for n in chosen])

    def asked(self) -> tuple[np.ndarray, np.ndarray]:
        """Return one image and one text vector for each case, NaN where it has none."""
        texts = [self._opened.rows_of(place, "texts") for place in self._places]
        return (
            _stacked([views.pooled(r) if len(r) else None for r in self._images], self._dimension),
            _stacked([r[:1] if len(r) else None for r in texts], self._dimension),
        )


def _gallery(rows: Sequence[np.ndarray]) -> Gallery:
    owners = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
    return Gallery(np.concatenate(rows), owners)


def _stacked(rows: Sequence[np.ndarray | None], dimension: int) -> np.ndarray:
    nothing = np.full((1, dimension), np.nan, np.float32)
    return np.concatenate([nothing if row is None else row for row in rows] or [nothing[:0]])


def own(common: Sequence[cases.Case], in_pool: np.ndarray) -> Questions:
    """Return the cases themselves as questions; `in_pool` are the numbers of those in the pool."""
    places = np.full(len(common), -1)
    places[in_pool] = np.arange(len(in_pool))
    return Questions(tuple(common), places)


def of_table(
    given: Table,
    pool: Sequence[cases.Case],
    encoders: Sequence[base.Encoder],
    recipes: Sequence[views.Recipe],
    shown: progress.Progress,
) -> tuple[Questions, list[tuple[np.ndarray, np.ndarray]]]:
    """Read the questions of a table and encode each by every encoder.

    `recipes` say how each collection shows pictures to its encoder.
    """
    images: list[list[np.ndarray | None]] = [[] for _ in encoders]
    texts: list[list[np.ndarray | None]] = [[] for _ in encoders]
    for recipe in dict.fromkeys(recipes):
        kept: list[cases.Case] = []
        pictures: list[bytes] = []
        skipped: list[sources.Skipped] = []
        for one in _prepared(given, recipe):
            if isinstance(one, sources.Skipped):
                skipped.append(one)
                continue
            kept.append(one.case)
            pictures.append(one.thumbnails[0] if one.thumbnails else b"")
            for number, encoder in enumerate(encoders):
                if recipes[number] == recipe:
                    images[number].append(_image_vector(encoder, one.pictures))
                    texts[number].append(_text_vector(encoder, one.case.text))
            shown.step("Encoding questions", len(kept) + len(skipped), skipped=len(skipped))
    asked = [
        (_stacked(i, e.card.dimension), _stacked(t, e.card.dimension))
        for i, t, e in zip(images, texts, encoders, strict=True)
    ]
    places = {case.case_id: place for place, case in enumerate(pool)}
    own = np.array([places.get(case.case_id, -1) for case in kept], dtype=np.int64)
    return Questions(tuple(kept), own, tuple(pictures), tuple(skipped)), asked


def _prepared(given: Table, recipe: views.Recipe) -> Iterator[rendering.Prepared | sources.Skipped]:
    with contextlib.closing(isolated.Readers(given.workers)) as readers:
        reading = sources.Reading(readers, recipe.slices)
        found = tables.read(given.path, tables.columns(given.columns), reading)
        yield from rendering.prepared(found, readers, given.workers, recipe)


def _image_vector(encoder: base.Encoder, pictures: Sequence[np.ndarray]) -> np.ndarray | None:
    if not pictures or "images" not in encoder.card.abilities:
        return None
    return views.pooled(base.picture_vectors(encoder, pictures))


def _text_vector(encoder: base.Encoder, text: str) -> np.ndarray | None:
    if not text or "texts" not in encoder.card.abilities:
        return None
    return base.text_vectors(encoder, [text])
