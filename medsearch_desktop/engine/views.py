"""Volume or ImageRef -> the 8-bit images an encoder sees; pooling back to one vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.imaging import display, isolated, study, volume

# The recipe by which stored pixels become what encoders see; collections of another recipe hold
# vectors that cannot be compared with ours.
VIEWS = "slices-24"
SLICES = 24
# A first answer to a volume comes from this many slices.
FIRST_SLICES = 3
_BATCH = 16
# Grey levels of 255 that the middle 99 % of the values of a blank picture lie within: air and
# padding at the ends of a stack, with a little noise. Chosen well below any slice of a body.
_BLANK_LEVELS = 6


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
    low, high = np.percentile(picture.reshape(-1, picture.shape[-1]), (0.5, 99.5), axis=0)
    return bool((high - low).max() <= _BLANK_LEVELS)


def slice_image(loaded: volume.Volume, plane: int) -> np.ndarray:
    """Return plane `plane` at its own window as uint8 (h, w, 3), as `render_picture` shows it.

    NIfTI slices, which are stored in any direction, are turned upright.
    """
    series = loaded.series
    if series.samples == 3:
        shown = np.asarray(loaded.voxels[plane], dtype=np.uint8)
    else:
        window = display.default_window(loaded, plane)
        grey = display.to_8bit(loaded.modality_values(plane), window, series.is_inverted)
        shown = np.repeat(grey[:, :, None], 3, axis=2)
    if ("Encoding", "NIfTI") in series.details:
        shown = display.upright(series.affine).apply(shown)
    return np.ascontiguousarray(shown)


def render(
    term: queries.ImageTerm | queries.VolumeTerm, readers: isolated.Readers
) -> Iterator[tuple[cases.ImageRef, np.ndarray]]:
    """Yield the pictures of a term, uint8 (h, w, 3), each with the image it shows.

    One for an image. For a volume SLICES of them, the first FIRST_SLICES
    spread over the whole stack. Raises UnreadableFileError.
    """
    if isinstance(term, queries.ImageTerm):
        yield term.ref, readers.render_picture(term.ref)
        return
    _, series = open_series(term, readers)
    yield from render_series(series, readers)


def render_series(
    series: study.Series,
    readers: isolated.Readers,
    count: int = SLICES,
    *,
    cancelled: Callable[[], bool] = isolated.never,
) -> Iterator[tuple[cases.ImageRef, np.ndarray]]:
    """Yield `count` slices of a series as uint8 (h, w, 3), read in batches, in `spread` order.

    Slices that cannot be read are left out; raises UnreadableFileError when
    none can. Ends early once `cancelled`.
    """
    fault: errors.UnreadableFileError | None = None
    is_any = False
    order = spread(volume_slices(series, count))
    steps = [order[:FIRST_SLICES]]
    steps += [order[k : k + _BATCH] for k in range(FIRST_SLICES, len(order), _BATCH)]
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
                yield series.slices[index], slice_image(loaded, planes[index])
    if fault is not None and not is_any:
        raise fault


def pooled(vectors: np.ndarray) -> np.ndarray:
    """Return the unit vector (1, d) in the middle of unit vectors (n, d), n at least 1."""
    middle = vectors.mean(axis=0, keepdims=True)
    length = float(np.linalg.norm(middle))
    unit: np.ndarray = middle / length if length > 1e-6 else vectors[:1]
    return unit
