"""A case at full size: its original files where they lie, else its largest stored picture."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QImage

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.gui import pictures, terms
from medsearch_desktop.imaging import isolated, volume
from medsearch_desktop.imaging import study as studies

# A stored picture is a few kB; a larger length means a damaged table.
_LARGEST_BYTES = 32 << 20


@dataclass(frozen=True)
class Wanted:
    """A case to open: its title and images, the best match first, and what is stored of it."""

    title: str
    refs: tuple[cases.ImageRef, ...]
    thumbnails: tuple[cases.Thumbnail, ...] = ()
    stored: bytes = b""


@dataclass(frozen=True)
class Opened:
    """What to show: `volume` is given where the pixels came another way than from a series."""

    study: studies.Study
    series: studies.Series
    index: int
    volume: volume.Volume | None = None
    is_original: bool = True


def wanted_from_hit(hit: queries.Hit) -> Wanted:
    """Return what to open for a hit: the image that matched first, then the others."""
    matched = [match.ref for match in hit.evidence.images]
    refs = dict.fromkeys([*matched, *(image.ref for image in hit.case.images)])
    thumbnails = [image.thumbnail for image in hit.case.images if image.thumbnail]
    if hit.thumbnail is not None:
        thumbnails.insert(0, hit.thumbnail)
    return Wanted(hit.case.title, tuple(refs), tuple(dict.fromkeys(thumbnails)))


def find(wanted: Wanted, readers: isolated.Readers) -> Opened:
    """Return the case at full size; not on the main thread.

    Raises UnreadableFileError when neither a file nor a stored picture can be
    shown.
    """
    for attempt in (_original, _one_picture, _stored):
        for opened in attempt(wanted, readers):
            return opened
    where = wanted.refs[0].path if wanted.refs else wanted.title
    reason = _tr("the original is gone and no picture of it is stored.")
    if not wanted.refs:
        reason = _tr("this case has words only.")
    raise errors.UnreadableFileError(where, reason)


def stored_bytes(picture: cases.Thumbnail) -> bytes:
    """Return the bytes of a stored picture; b"" where they cannot be read."""
    if not 0 < picture.length <= _LARGEST_BYTES:
        return b""
    try:
        with Path(picture.file).open("rb") as file:
            file.seek(picture.offset)
            return file.read(picture.length)
    except OSError:
        return b""


def _original(wanted: Wanted, readers: isolated.Readers) -> Iterator[Opened]:
    """Yield the series that holds the best matching image of which the file is there."""
    there = [ref for ref in wanted.refs if Path(terms.file_of(ref)).is_file()]
    if not there:
        return
    files = list(dict.fromkeys(terms.file_of(ref) for ref in there if "#" not in ref.path))
    if not files:
        return
    found = [s for s in readers.open_paths(files) if isinstance(s, studies.Study)]
    for ref in there:
        for study in found:
            for series in study.series:
                if (index := _place(series, ref)) is not None:
                    place = study.series.index(series)
                    named = terms.called(study, _title(wanted))
                    yield Opened(named, named.series[place], index)
                    return


def _title(wanted: Wanted) -> str:
    """Return the words that tell a case of a collection from a study of the reader."""
    return _tr("Case: {}").format(wanted.title)


def _place(series: studies.Series, ref: cases.ImageRef) -> int | None:
    for index, slice_ in enumerate(series.slices):
        if slice_.path == ref.path and slice_.frame == ref.frame:
            return index
        if ref.sop_instance_uid and (slice_.sop_instance_uid, slice_.frame) == (
            ref.sop_instance_uid,
            ref.frame,
        ):
            return index
    return None


def _one_picture(wanted: Wanted, readers: isolated.Readers) -> Iterator[Opened]:
    """Yield the best matching image as a picture, where it is no file of its own."""
    for ref in wanted.refs:
        if Path(terms.file_of(ref)).is_file():
            try:
                pixels = readers.render_picture(dataclasses.replace(ref, region=None))
            except errors.UnreadableFileError:
                continue
            yield _as_study(wanted, ref, pixels, ())
            return


def _stored(wanted: Wanted, _: isolated.Readers) -> Iterator[Opened]:
    """Yield the largest stored picture, with a word about the original."""
    contents = [wanted.stored, *map(stored_bytes, wanted.thumbnails)]
    images = [QImage.fromData(content) for content in contents if content]
    images = [image for image in images if not image.isNull()]
    if not images:
        return
    largest = max(images, key=lambda image: image.width() * image.height())
    ref = wanted.refs[0] if wanted.refs else cases.ImageRef("")
    mark = _tr("The original file is gone: this is the largest picture stored of it.")
    opened = _as_study(wanted, ref, pictures.from_image(largest), (mark,))
    yield dataclasses.replace(opened, is_original=False)


def _as_study(
    wanted: Wanted, ref: cases.ImageRef, pixels: np.ndarray, marks: Sequence[str]
) -> Opened:
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
    series = studies.Series(
        key="picture",
        series_uid="",
        modality="",
        description=_title(wanted),
        number=None,
        body_part="",
        slices=(ref,),
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        samples=3,
        dtype="uint8",
        slope=(1.0,),
        intercept=(0.0,),
        marks=tuple(marks),
    )
    voxels = pixels[None]
    voxels.setflags(write=False)
    read = volume.Volume(series, voxels, (0,), np.ones(1, dtype=bool))
    study = studies.Study(f"picture:{digest}", (series,), (terms.file_of(ref),), _title(wanted))
    return Opened(study, series, 0, read)


def _tr(words: str) -> str:
    return QCoreApplication.translate("open_case", words)
