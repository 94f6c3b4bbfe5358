"""Volume or ImageRef -> the 8-bit images an encoder sees; pooling back to one vector."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import radiographs
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.imaging import display, isolated, study, volume

SLICES = 24
# What people type for a DICOM modality; those that are not here are typed as they stand.
_MODALITIES = {
    "MR": "MRI",
    "CR": "X-ray",
    "DX": "X-ray",
    "XR": "X-ray",
    "US": "ultrasound",
    "XA": "angiography",
    "RF": "fluoroscopy",
    "MG": "mammography",
    "NM": "nuclear medicine",
    "PT": "PET",
}
# "PA" and "LAO" are codes, "axial" is a word.
_LONGEST_CODE = 3
# What the vector of a case's tags counts beside that of its images. Chosen: any from 0.25 to 2
# lifts texts like "CT abdomen" alike (P@10 by modality and part, 0.88 to 0.93), and the more they
# count, the less is found by words on what an image shows (R@10 of the captions of vqa-med-2019:
# 91 without, 89 at 0.25, 85 at 0.5, 79 at 1); captions with tags in them stay at 92 up to 0.5.
TAG_WEIGHT = 0.5
# How `pooled` makes one vector of several; it stands in the manifest.
POOLING = "unit mean"
# Lung, soft tissue and bone, as the three channels of a CT (by the names of display.PRESETS).
CT_WINDOWS = (display.PRESETS[1], display.PRESETS[0], display.PRESETS[2])
# A first answer to a volume comes from this many slices.
FIRST_SLICES = 3
_BATCH = 16
# Grey levels of 255 that the middle 99 % of the values of a blank picture lie within: air and
# padding at the ends of a stack, with a little noise. Chosen well below any slice of a body.
_BLANK_LEVELS, _BLANK_POINTS = 6, 128


@dataclass(frozen=True)
class Recipe:
    """How stored pixels become what an encoder sees; it stands in a collection's manifest.

    `slices` stand for a volume. `ct_windows`: lung, soft tissue and bone are
    the channels of a CT, else all channels show its own window.
    `trims_radiographs`: `radiographs.trimmed` is applied, to every picture.

    Chosen: one rule of trimming for all modalities, by pixels alone. Rejected:
    one for each. Because one picture comes as DICOM, as a file without tags and
    as a row of a table, and must have one vector.
    """

    slices: int = SLICES
    ct_windows: bool = False
    trims_radiographs: bool = True

    @property
    def text(self) -> str:
        """Return the recipe as a manifest keeps it: "slices-24 ct-windows-3 trimmed"."""
        words = [f"slices-{self.slices}"]
        words += ["ct-windows-3"] if self.ct_windows else []
        words += ["trimmed"] if self.trims_radiographs else []
        return " ".join(words)

    @staticmethod
    def read(text: str) -> Recipe:
        """Return the recipe of a manifest; raises ValueError for one that is not known."""
        found = _RECIPE.fullmatch(text)
        if not found:
            raise ValueError(f"not a recipe of pictures: {text!r}")
        return Recipe(int(found[1]), found[2] is not None, found[3] is not None)


_RECIPE = re.compile(r"slices-(\d{1,4})( ct-windows-3)?( trimmed)?")
# The recipe of encoders that ask for no other.
VIEWS = Recipe().text


def recipe_for(card: base.EncoderCard, slices: int = SLICES) -> Recipe:
    """Return the recipe by which new collections of an encoder are built."""
    return Recipe(slices, card.ct_windows, card.trims)


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture: `shown` to people as uint8 (h, w, 3), and what an encoder sees of it.

    `windowed` gives the same picture with CT_WINDOWS as channels; it may take
    reading the image again, and raises UnreadableFileError.
    """

    shown: np.ndarray
    windowed: Callable[[], np.ndarray]

    @property
    def is_blank(self) -> bool:
        return is_blank(self.shown)

    def encoded(self, recipe: Recipe) -> np.ndarray:
        """Return uint8 (h, w, 3) for an encoder."""
        seen = self.windowed() if recipe.ct_windows else self.shown
        return np.ascontiguousarray(radiographs.trimmed(seen)) if recipe.trims_radiographs else seen


def image(ref: cases.ImageRef, readers: isolated.Readers) -> Picture:
    """Return the picture of one image; raises UnreadableFileError."""
    shown = readers.render_picture(ref)
    return Picture(shown, lambda: readers.render_picture(ref, window=CT_WINDOWS))


def tag_phrase(facets: cases.Facets) -> str:
    """Return what is known of a case in the words of a query: "CT, chest, axial".

    "" where neither modality nor body part nor view is known.
    """
    view = facets.view.strip()
    words = (
        _MODALITIES.get(facets.modality, facets.modality),
        facets.body_part.strip().lower(),
        view if len(view) <= _LONGEST_CODE else view.lower(),
    )
    return ", ".join(word for word in words if word)


def volume_slices(series: study.Series, count: int = SLICES) -> tuple[int, ...]:
    """Return the numbers of at most `count` evenly spaced slices of a series, in order.

    Each stands for an equal part of the stack, so the very ends, which often
    lie outside the body, are left out of long stacks.
    """
    total = len(series.slices)
    if total <= count:
        return tuple(range(total))
    return tuple(int((part + 0.5) * total / count) for part in range(count))


def spread(indices: Sequence[int], first: int = FIRST_SLICES) -> tuple[int, ...]:
    """Return the same indices in another order: the `first` ones lie evenly over all of them."""
    if len(indices) <= first:
        return tuple(indices)
    early = [int((part + 0.5) * len(indices) / first) for part in range(first)]
    chosen = [indices[place] for place in early]
    return (*chosen, *(index for place, index in enumerate(indices) if place not in set(early)))


def open_series(
    term: queries.VolumeTerm,
    readers: isolated.Readers,
    *,
    cancelled: Callable[[], bool] = isolated.never,
) -> tuple[study.Study, study.Series]:
    """Open the series of a term: the one it names, else the one with the most slices.

    Raises UnreadableFileError when the path holds no such series.
    """
    return longest(matching_series(term, readers, cancelled=cancelled))


def matching_series(
    term: queries.VolumeTerm,
    readers: isolated.Readers,
    *,
    cancelled: Callable[[], bool] = isolated.never,
) -> list[tuple[study.Study, study.Series]]:
    """Return every series that a term may mean, at least one; raises UnreadableFileError."""
    found: list[tuple[study.Study, study.Series]] = []
    refused = ""
    for item in readers.open_paths([term.path], cancelled=cancelled):
        if isinstance(item, study.Refused):
            refused = refused or item.reason
            continue
        if not item.is_complete:
            continue
        found += [(item, series) for series in item.series]
    if term.series_uid:
        found = [f for f in found if term.series_uid in (f[1].series_uid, f[1].key)]
    if not found:
        raise errors.UnreadableFileError(term.path, refused or "it holds no such series")
    return found


def longest(
    found: Sequence[tuple[study.Study, study.Series]],
) -> tuple[study.Study, study.Series]:
    """Return the series with the most slices, the first of several."""
    return max(found, key=lambda pair: len(pair[1].slices))


def is_blank(picture: np.ndarray) -> bool:
    """Say whether a picture (h, w, 3) is nearly of one colour, as slices beside the body are.

    An encoder finds such a picture alike to everything.
    """
    # A grid of points of a large picture tells as much as all of them, far sooner.
    step = max(1, max(picture.shape[:2]) // _BLANK_POINTS)
    seen = picture[::step, ::step].reshape(-1, picture.shape[-1])
    low, high = np.percentile(seen, (0.5, 99.5), axis=0)
    return bool((high - low).max() <= _BLANK_LEVELS)


def slice_image(
    loaded: volume.Volume, plane: int, window: display.Windows | None = None
) -> np.ndarray:
    """Return plane `plane` as uint8 (h, w, 3), as `render_picture` shows it.

    NIfTI slices, which are stored in any direction, are turned upright.
    """
    series = loaded.series
    if series.samples == 3:
        shown = np.asarray(loaded.voxels[plane], dtype=np.uint8)
    else:
        shown = display.picture(series, loaded.indices[plane], loaded.voxels[plane], window)
    if ("Encoding", "NIfTI") in series.details:
        shown = display.upright(series.affine).apply(shown)
    return np.ascontiguousarray(shown)


def slice_picture(loaded: volume.Volume, plane: int) -> Picture:
    """Return the picture of a plane that is loaded."""
    return Picture(slice_image(loaded, plane), lambda: slice_image(loaded, plane, CT_WINDOWS))


def render(
    term: queries.ImageTerm | queries.VolumeTerm, readers: isolated.Readers
) -> Iterator[tuple[cases.ImageRef, Picture]]:
    """Yield the pictures of a term, each with the image it shows.

    One for an image. For a volume SLICES of them, the first FIRST_SLICES
    spread over the whole stack. Raises UnreadableFileError.
    """
    if isinstance(term, queries.ImageTerm):
        yield term.ref, image(term.ref, readers)
        return
    _, series = open_series(term, readers)
    yield from render_series(series, readers)


def render_series(
    series: study.Series,
    readers: isolated.Readers,
    count: int = SLICES,
    *,
    cancelled: Callable[[], bool] = isolated.never,
) -> Iterator[tuple[cases.ImageRef, Picture]]:
    """Yield `count` slices of a series, read in batches, in `spread` order.

    A packed file, which is unpacked from its beginning for each batch, is
    read in one. Slices that cannot be read are left out; raises
    UnreadableFileError when none can. Ends early once `cancelled`.
    """
    fault: errors.UnreadableFileError | None = None
    is_any = False
    order = spread(volume_slices(series, count))
    first = len(order) if is_packed(series) else FIRST_SLICES
    steps = [order[:first]]
    steps += [order[k : k + _BATCH] for k in range(first, len(order), _BATCH)]
    for wanted in steps:
        if not wanted:
            continue
        try:
            loaded = readers.load(series, indices=sorted(wanted), cancelled=cancelled)
        except errors.UnreadableFileError as error:
            fault = fault or error
            continue
        if len(loaded.faults) < np.count_nonzero(~loaded.ready):
            return
        planes = {index: plane for plane, index in enumerate(loaded.indices)}
        for index in wanted:
            if loaded.ready[planes[index]]:
                is_any = True
                yield series.slices[index], slice_picture(loaded, planes[index])
    if fault is not None and not is_any:
        raise fault


def is_packed(series: study.Series) -> bool:
    """Say whether all slices lie in one file that can only be read from its beginning on."""
    return series.slices[0].path.lower().endswith(".gz")


def pooled(vectors: np.ndarray) -> np.ndarray:
    """Return the unit vector (1, d) in the middle of unit vectors (n, d), n at least 1."""
    middle = vectors.mean(axis=0, keepdims=True)
    length = float(np.linalg.norm(middle))
    unit: np.ndarray = middle / length if length > 1e-6 else vectors[:1]
    return unit
