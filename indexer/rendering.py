"""A case -> its pictures and thumbnails, read in other processes by a few threads."""

from __future__ import annotations

import dataclasses
import io
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import views
from medsearch_desktop.imaging import isolated

from . import sources

# Large enough for the largest card on a fine screen; it is all that is left to look at where
# the original is gone.
_THUMBNAIL_SIDE = 448
_THUMBNAIL_QUALITY = 85


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case with the pictures of its images, uint8 (h, w, 3), and their thumbnails."""

    case: cases.Case
    pictures: tuple[np.ndarray, ...]
    thumbnails: tuple[bytes, ...]
    skipped: tuple[sources.Skipped, ...] = ()


def prepared(
    found: Iterator[cases.Case | sources.Skipped], readers: isolated.Readers, threads: int
) -> Generator[Prepared | sources.Skipped, None, None]:
    """Yield each case with its pictures, in order, a few being read ahead.

    An image that cannot be read is left out and listed; a case that loses all
    its images is skipped. Blank slices are left out where others are not.
    """
    ahead: deque[Future[Prepared | sources.Skipped]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="reading")
    try:
        for one in found:
            ahead.append(pool.submit(_prepare, one, readers))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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
    found: cases.Case | sources.Skipped, readers: isolated.Readers
) -> Prepared | sources.Skipped:
    if isinstance(found, sources.Skipped):
        return found
    kept: list[cases.CaseImage] = []
    pictures: list[np.ndarray] = []
    skipped: list[sources.Skipped] = []
    for image, picture in _pictures(found.images, readers):
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
        tuple(pictures),
        tuple(thumbnail(picture) for picture in pictures),
        tuple(skipped),
    )


def _without_blank(
    images: list[cases.CaseImage], pictures: list[np.ndarray]
) -> tuple[list[cases.CaseImage], list[np.ndarray]]:
    """Return images and pictures without the blank ones, unchanged where all are blank."""
    if len(images) < 2:
        return images, pictures
    shown = [number for number, picture in enumerate(pictures) if not views.is_blank(picture)]
    if not shown:
        return images, pictures
    return [images[number] for number in shown], [pictures[number] for number in shown]


def _pictures(
    images: tuple[cases.CaseImage, ...], readers: isolated.Readers
) -> Iterator[tuple[cases.CaseImage, np.ndarray | sources.Skipped]]:
    """Yield each image with its picture, images of one file read together."""
    by_path: dict[str, list[cases.CaseImage]] = {}
    for image in images:
        by_path.setdefault(image.ref.path, []).append(image)
    together: dict[cases.ImageRef, np.ndarray] = {}
    for path, of_path in by_path.items():
        if len(of_path) > 1:
            together |= _slices(path, {image.ref for image in of_path}, readers)
    for image in images:
        if image.ref in together:
            yield image, together.pop(image.ref)
            continue
        try:
            yield image, readers.render_picture(image.ref)
        except errors.UnreadableFileError as error:
            yield image, sources.Skipped(error.path, error.reason)
        except errors.TooLargeError as error:
            yield image, sources.Skipped(error.path, str(error))


def _slices(
    path: str, wanted: set[cases.ImageRef], readers: isolated.Readers
) -> dict[cases.ImageRef, np.ndarray]:
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
        series.slices[index]: views.slice_image(loaded, plane)
        for plane, index in enumerate(loaded.indices)
        if loaded.ready[plane]
    }
