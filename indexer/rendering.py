"""A case -> its pictures and thumbnails, read in other processes by a few threads."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import views
from medsearch_desktop.imaging import isolated

from . import sources, stored_thumbnails

# Large enough for the largest card on a fine screen; it is all that is left to look at where
# the original is gone.
_THUMBNAIL_SIDE = 448
_THUMBNAIL_QUALITY = 85
# So many cases are read while others are encoded, as long as their pictures take no more memory:
# an encoder takes whole batches, and what reads must not stand still meanwhile.
_AHEAD, _AHEAD_BYTES = 64, 256 << 20

_Read = TypeVar("_Read")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case with the pictures of its images, as an encoder sees them, and their thumbnails.

    `stored` counts the pictures that are thumbnails of a collection, their originals being gone.
    """

    case: cases.Case
    pictures: tuple[np.ndarray, ...]
    thumbnails: tuple[bytes, ...]
    skipped: tuple[sources.Skipped, ...] = ()
    stored: int = 0


def prepared(
    found: Iterator[cases.Case | sources.Skipped],
    readers: isolated.Readers,
    threads: int,
    recipe: views.Recipe = views.Recipe(),  # noqa: B008 - frozen
) -> Generator[Prepared | sources.Skipped, None, None]:
    """Yield each case with its pictures, in order, others being read ahead.

    An image that cannot be read is left out and listed; a case that loses all
    its images is skipped. Blank slices are left out where others are not.
    """
    ahead: deque[Future[Prepared | sources.Skipped]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="reading")
    try:
        for one in found:
            ahead.append(pool.submit(_prepare, one, readers, recipe))
            while len(ahead) > _AHEAD or (len(ahead) > 2 * threads and _held(ahead) > _AHEAD_BYTES):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _held(ahead: deque[Future[Prepared | sources.Skipped]]) -> int:
    """Return the bytes of the pictures that wait to be taken."""
    done = [future for future in ahead if future.done() and future.exception() is None]
    found = [future.result() for future in done]
    return sum(
        picture.nbytes for one in found if isinstance(one, Prepared) for picture in one.pictures
    )


def thumbnail(picture: np.ndarray) -> bytes:
    """Return a picture (h, w, 3) as JPEG bytes, shrunk to at most 448 pixels a side."""
    image = Image.fromarray(picture)
    image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), Image.Resampling.BOX, reducing_gap=None)
    if np.array_equal(picture[..., 0], picture[..., 1]) and np.array_equal(
        picture[..., 0], picture[..., 2]
    ):
        image = image.convert("L")
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_THUMBNAIL_QUALITY)
    return content.getvalue()


def _prepare(
    found: cases.Case | sources.Skipped, readers: isolated.Readers, recipe: views.Recipe
) -> Prepared | sources.Skipped:
    if isinstance(found, sources.Skipped):
        return found
    kept: list[cases.CaseImage] = []
    pictures: list[_Seen] = []
    skipped: list[sources.Skipped] = []
    stored = 0
    for image, read in _pictures(found.images, readers):
        picture = _seen(read, recipe)
        if isinstance(picture, sources.Skipped) and image.thumbnail is not None:
            # A case out of a collection whose original is gone.
            kept_picture = stored_thumbnails.picture(image, readers)
            stored += kept_picture is not None
            if kept_picture is not None:
                same = functools.partial(_same, kept_picture)
                picture = _seen(views.Picture(kept_picture, same), recipe)
        if isinstance(picture, sources.Skipped):
            skipped.append(picture)
        else:
            kept.append(image)
            pictures.append(picture)
    if found.images and not kept:
        return skipped[0]
    kept, pictures = _without_blank(kept, pictures)
    return Prepared(
        dataclasses.replace(found, images=tuple(kept)),
        tuple(picture.seen for picture in pictures),
        tuple(
            stored_thumbnails.content(image) or thumbnail(picture.shown)
            for image, picture in zip(kept, pictures, strict=True)
        ),
        tuple(skipped),
        stored,
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """One picture as people see it, and as an encoder does."""

    shown: np.ndarray
    seen: np.ndarray


def _seen(read: views.Picture | sources.Skipped, recipe: views.Recipe) -> _Seen | sources.Skipped:
    """Return a picture by its recipe, for which its file may have to be read again."""
    if isinstance(read, sources.Skipped):
        return read
    seen = _told(lambda: read.encoded(recipe))
    return seen if isinstance(seen, sources.Skipped) else _Seen(read.shown, seen)


def _told(read: Callable[[], _Read]) -> _Read | sources.Skipped:
    """Return what is read, or why it cannot be."""
    try:
        return read()
    except errors.UnreadableFileError as error:
        return sources.Skipped(error.path, error.reason)
    except errors.TooLargeError as error:
        return sources.Skipped(error.path, str(error))


def _same(picture: np.ndarray) -> np.ndarray:
    """Return a thumbnail as its own picture by windows: what it was made of is gone."""
    return picture


def _without_blank(
    images: list[cases.CaseImage], pictures: list[_Seen]
) -> tuple[list[cases.CaseImage], list[_Seen]]:
    """Return images and pictures without the blank ones, unchanged where all are blank."""
    if len(images) < 2:
        return images, pictures
    shown = [number for number, picture in enumerate(pictures) if not views.is_blank(picture.shown)]
    if not shown:
        return images, pictures
    return [images[number] for number in shown], [pictures[number] for number in shown]


def _pictures(
    images: tuple[cases.CaseImage, ...], readers: isolated.Readers
) -> Iterator[tuple[cases.CaseImage, views.Picture | sources.Skipped]]:
    """Yield each image with its picture, images of one file read together."""
    by_path: dict[str, list[cases.CaseImage]] = {}
    for image in images:
        by_path.setdefault(image.ref.path, []).append(image)
    together: dict[cases.ImageRef, views.Picture] = {}
    for path, of_path in by_path.items():
        if len(of_path) > 1:
            together |= _slices(path, {image.ref for image in of_path}, readers)
    for image in images:
        if image.ref in together:
            yield image, together.pop(image.ref)
            continue
        yield image, _told(functools.partial(views.image, image.ref, readers))


def _slices(
    path: str, wanted: set[cases.ImageRef], readers: isolated.Readers
) -> dict[cases.ImageRef, views.Picture]:
    """Return the pictures of some slices of one file, which is decoded once; {} if it fails."""
    try:
        _, series = views.open_series(queries.VolumeTerm(path), readers)
        indices = [at for at, ref in enumerate(series.slices) if ref in wanted]
        if not indices:
            return {}
        loaded = readers.load(series, indices=indices)
    except (errors.UnreadableFileError, errors.TooLargeError):
        return {}
    return {
        series.slices[index]: views.slice_picture(loaded, plane)
        for plane, index in enumerate(loaded.indices)
        if loaded.ready[plane]
    }
