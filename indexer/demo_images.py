"""Real medical images that ordinary Python packages carry: found, folded, copied, described."""

from __future__ import annotations

import csv
import gzip
import importlib.metadata
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import nibabel
import numpy as np
import pydicom
from nibabel import parrec
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from medsearch_desktop import cases, errors, settings
from medsearch_desktop.engine import views
from medsearch_desktop.imaging import isolated, study

from . import demo_words, drawn_files, sources

TABLE = "demo/images.csv"
MOST_IMAGES = 4
SMALLEST_SIDE = 64
# Pictures are compared at this size; encodings of one picture are alike, neighbours are not.
_PROBE_SIDE = 64
# Lossy copies of the pictures in our table reach 0.995 or more, other pictures at most 0.95.
_SAME = 0.98


@dataclass(frozen=True)
class Row:
    """One series of our table: the package and file it comes from, and its other encodings."""

    distribution: str
    path: str
    twins: tuple[str, ...]
    given: demo_words.Given
    licence: str
    source_url: str


@dataclass(frozen=True, eq=False)
class _Seen:
    """A series that is in the collection already, by its first picture."""

    case_id: str
    probe: np.ndarray


def rows() -> tuple[Row, ...]:
    """Return our table of images and licences."""
    with settings.resource(TABLE).open(encoding="utf-8", newline="") as file:
        return tuple(_row(line) for line in csv.DictReader(file))


def _row(line: dict[str, str]) -> Row:
    return Row(
        distribution=line["distribution"],
        path=line["path"],
        twins=_parts(line["twins"]),
        given=demo_words.Given(
            title=line["title"],
            modality=line["modality"],
            body_part=line["body_part"],
            note=line["note"],
            quotes=_parts(line["quotes"]),
        ),
        licence=line["licence"],
        source_url=line["source_url"],
    )


def _parts(field: str) -> tuple[str, ...]:
    return tuple(part for part in field.split("|") if part)


def found(folder: Path, readers: isolated.Readers) -> Iterator[cases.Case | sources.Skipped]:
    """Yield a case for each real series; its file is copied below `folder`, to outlive packages.

    Other encodings of the same picture are counted (`extra` holds "files"),
    not shown again. What a missing package would hold is skipped.
    """
    seen: list[_Seen] = []
    for row in rows():
        try:
            yield _case(row, folder, readers, seen)
        except errors.UnreadableFileError as error:
            yield sources.Skipped(error.path, error.reason)


def _case(
    row: Row, folder: Path, readers: isolated.Readers, seen: list[_Seen]
) -> cases.Case | sources.Skipped:
    original = located(row.distribution, row.path)
    if original is None:
        reason = f"The Python package {row.distribution}, which holds it, is not installed."
        return sources.Skipped(f"{row.distribution}/{row.path}", reason)
    case_id = f"real/{row.distribution}/{PurePosixPath(row.path).name}"
    path = _kept(original, folder / "real" / row.distribution)
    found = readers.open_paths([path])
    opened = next(o for o in found if isinstance(o, study.Refused) or o.is_complete)
    if isinstance(opened, study.Refused):
        return sources.Skipped(opened.path, opened.reason)
    series = opened.series[0]
    if min(series.rows, series.columns) < SMALLEST_SIDE:
        return sources.Skipped(str(path), f"It is smaller than {SMALLEST_SIDE} pixels a side.")
    probe = _probe(_probed(series), readers)
    twin = next((s for s in seen if _is_same(s.probe, probe)), None)
    if twin is not None:
        return sources.Skipped(str(path), f"It is the picture of {twin.case_id} again.")
    seen.append(_Seen(case_id, probe))
    copies = sum(_is_twin(row, name, probe, readers) for name in _twins(row, original))
    header = None if _is_bare(path, row) else _header(path)
    words = (
        demo_words.of_table(row.given)
        if header is None
        else demo_words.of_header(header, row.given)
    )
    chosen = views.volume_slices(series, MOST_IMAGES)
    return cases.Case(
        case_id=case_id,
        title=words.title,
        text=words.text,
        facets=words.facets,
        provenance=cases.Provenance(row.licence, _source(row.distribution), row.source_url),
        images=tuple(cases.CaseImage(series.slices[index]) for index in chosen),
        study=case_id,
        extra=(*words.extra, ("files", str(1 + copies))),
    )


def _source(distribution: str) -> str:
    return f"{distribution} {importlib.metadata.version(distribution)}"


def located(distribution: str, path: str) -> Path | None:
    """Return where a file of an installed package lies, or None; the package is not imported."""
    try:
        place = Path(str(importlib.metadata.distribution(distribution).locate_file(path)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return place if place.is_file() else None


def _twins(row: Row, original: Path) -> list[Path]:
    """Return the other files that our table names; patterns are within one folder."""
    named: list[Path] = []
    for twin in row.twins:
        distribution, _, pattern = twin.rpartition(":")
        distribution = distribution or row.distribution
        try:
            base = importlib.metadata.distribution(distribution).locate_file("")
        except importlib.metadata.PackageNotFoundError:
            continue
        named += sorted(Path(str(base)).glob(pattern))
    return [path for path in dict.fromkeys(named) if path != original]


def _is_twin(row: Row, path: Path, probe: np.ndarray, readers: isolated.Readers) -> bool:
    """Say whether a file holds the row's picture, or a crop or resized copy of its series."""
    try:
        if _is_same(probe, _probe(cases.ImageRef(str(path)), readers)):
            return True
        first = _header(located(row.distribution, row.path) or path)
        return bool(_header(path).SeriesInstanceUID == first.SeriesInstanceUID)
    except errors.UnreadableFileError:
        return False


def _probed(series: study.Series) -> cases.ImageRef:
    """Return the image by which a series is compared: the first frame, or a volume's middle."""
    return series.slices[len(series.slices) // 2 if series.is_volume else 0]


def _probe(ref: cases.ImageRef, readers: isolated.Readers) -> np.ndarray:
    """Return a small grey picture with mean 0 and length 1, flat when it is blank."""
    shown = readers.render_picture(ref, max_side=_PROBE_SIDE).astype(np.float64).mean(axis=2)
    shown -= shown.mean()
    return np.asarray(shown / max(float(np.linalg.norm(shown)), 1e-9))


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and float((one * other).sum()) >= _SAME


def _is_bare(path: Path, row: Row) -> bool:
    """Say whether the file describes itself too little for words (NIfTI, or our own wrapping)."""
    return path.suffix != ".dcm" or row.path.endswith(".ima.gz")


def _header(path: Path) -> Dataset:
    # These files are chosen by us and come with packages we run; users' files go to a reader.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, stop_before_pixels=True, force=True)


def _kept(original: Path, folder: Path) -> Path:
    """Return the path of a copy in `folder`, in a format that our readers know."""
    folder.mkdir(parents=True, exist_ok=True)
    if original.suffix == ".PAR":
        convert, copy = _as_nifti, folder / f"{original.stem}.nii.gz"
    elif original.name.endswith(".ima.gz"):
        convert, copy = _as_dicom, folder / f"{original.name.removesuffix('.ima.gz')}.dcm"
    else:
        copy = folder / original.name
        if not copy.exists() or copy.stat().st_size != original.stat().st_size:
            shutil.copyfile(original, copy)
        return copy
    if not copy.exists():
        part = folder / f"part-{copy.name}"
        convert(original, part)
        part.replace(copy)
    return copy


def _as_nifti(original: Path, copy: Path) -> None:
    """Write the first volume of a Philips PAR/REC pair as NIfTI, with its affine."""
    with original.open(encoding="latin-1") as file:
        header = parrec.PARRECHeader.from_fileobj(file)
    proxy = parrec.PARRECArrayProxy(str(original.with_suffix(".REC")), header, mmap=False)
    values = np.asarray(proxy)[..., 0].astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, header.get_affine()), copy)


def _as_dicom(original: Path, copy: Path) -> None:
    """Wrap 256 x 256 big-endian 16-bit values, which have no header, as a secondary capture."""
    values = np.frombuffer(gzip.decompress(original.read_bytes()), ">u2").reshape(256, 256)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = drawn_files.stable_uid(original.name, "instance")
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    wrapped = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    wrapped.SOPClassUID = meta.MediaStorageSOPClassUID
    wrapped.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    wrapped.StudyInstanceUID = drawn_files.stable_uid(original.name, "study")
    wrapped.SeriesInstanceUID = drawn_files.stable_uid(original.name, "series")
    wrapped.PatientName = wrapped.PatientID = ""
    wrapped.Modality = "MR"
    wrapped.ConversionType = "WSD"
    drawn_files.add_grey(wrapped, values)
    low, high = np.percentile(values, (1, 99.8))
    wrapped.WindowCenter, wrapped.WindowWidth = round((low + high) / 2), round(high - low)
    wrapped.save_as(copy, enforce_file_format=True)
