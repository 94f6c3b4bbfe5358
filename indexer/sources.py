"""Inputs on disk -> Case or Skipped: pictures, DICOM trees, NIfTI volumes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from medsearch_desktop import cases, errors
from medsearch_desktop.engine import views
from medsearch_desktop.imaging import files as opened_files
from medsearch_desktop.imaging import isolated, study

from . import wording

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
NIFTI = (".nii", ".nii.gz")
# Series that hold marks or words about images, and no image to look at.
_NOT_IMAGES = frozenset(
    ("SEG", "SR", "PR", "KO", "REG", "FID", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "DOC")
)

# So many processes read files. More wait for one another or for the disk, and each takes memory.
MOST_WORKERS = 8
WORKERS = min(MOST_WORKERS, max(2, os.cpu_count() or 1))

# As long as numbers of patients, examinations and dates are, and numbers of sequences are not.
_LONG_NUMBER = re.compile(r"\d{5,}")
_LETTERS = re.compile(r"[^\W\d_]+")
# From this length on a part of a name is removed inside longer words too ("SmithHead").
_UNLIKELY_BY_CHANCE = 5


@dataclass(frozen=True)
class Skipped:
    """An input that became no case, and why: `reason` is a whole sentence."""

    path: str
    reason: str


class Opens(Protocol):
    """What opens paths in a process of its own; `isolated.Readers` does."""

    def open_paths(self, paths: list[str | Path]) -> Iterator[study.Study | study.Refused]: ...


@dataclass(frozen=True)
class Reading:
    """How inputs are read: by which processes, and how many slices stand for a volume."""

    readers: isolated.Readers
    slices_per_volume: int


def files(root: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files below `root` with one of the suffixes, in order of path.

    `root` may be one file. Hidden files and folders are passed over.
    """
    if not root.is_dir():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(suffixes) and not name.startswith("."):
                yield Path(folder, name)


def pictures(root: Path) -> Iterator[cases.Case | Skipped]:
    """Yield a case for each picture below `root`; a folder in between is its label."""
    for path in files(root, PICTURES):
        if not path.is_file():
            yield Skipped(str(path), "There is no such file.")
            continue
        yield _case_of_file(str(path), root, (cases.CaseImage(cases.ImageRef(str(path))),))


def volumes(root: Path, reading: Reading) -> Iterator[cases.Case | Skipped]:
    """Yield a case for each NIfTI file below `root`."""
    for path in files(root, NIFTI):
        for found in reading.readers.open_paths([path]):
            if isinstance(found, study.Refused):
                if found.answer != "left out":
                    yield Skipped(found.path, found.reason)
            elif found.is_complete:
                yield _case_of_file(str(path), root, images(found, reading.slices_per_volume))


def studies(root: Path, reading: Reading) -> Iterator[cases.Case | Skipped]:
    """Yield a case for each study below `root`: DICOM grouped by study, others one a file."""
    for found in reading.readers.open_paths([root]):
        if isinstance(found, study.Refused):
            if found.answer != "left out":
                yield Skipped(found.path, found.reason)
        elif not found.is_complete:
            continue
        elif is_dicom(found):
            yield case_of_study(found, reading.slices_per_volume, _name(root))
        else:
            yield _case_of_file(found.paths[0], root, images(found, reading.slices_per_volume))


def _case_of_file(path: str, root: Path, shown: tuple[cases.CaseImage, ...]) -> cases.Case:
    """Return the case of a picture or volume below `root`, which may be an archive.

    Its id is the path from `root` on, that of a volume without the suffix. The
    folder that a picture lies in is its label.
    """
    inner = _inner(path, root)
    is_picture = inner.suffix.lower() in PICTURES
    name = str(inner) if is_picture else str(inner).removesuffix(".gz").removesuffix(".nii")
    stem = inner.stem if is_picture else PurePosixPath(name).name
    title = " ".join(stem.replace("_", " ").split())
    folder = inner.parent.name
    # An archive is a place and no label: its name inside a path ends with the separator's mark.
    is_label = is_picture and folder and not folder.endswith(opened_files.INSIDE[0])
    return cases.Case(
        case_id=name,
        title=title[:1].upper() + title[1:],
        labels=(folder,) if is_label else (),
        provenance=cases.Provenance(source=_name(root)),
        images=shown,
    )


def _inner(path: str, root: Path) -> PurePosixPath:
    """Return the path from `root` on; the name alone where `root` is the file itself."""
    if root.is_dir():
        return PurePosixPath(Path(path).relative_to(root).as_posix())
    archive, member = opened_files.split(path)
    return PurePosixPath(member or Path(archive).name)


def images(opened: study.Study, slices: int) -> tuple[cases.CaseImage, ...]:
    """Return the images that stand for a study: all of a small series, `slices` of a volume."""
    shown = [s for s in opened.series if s.modality not in _NOT_IMAGES]
    return tuple(
        cases.CaseImage(series.slices[index], text=anonymous(series.description, opened))
        for series in shown
        for index in views.volume_slices(series, slices)
    )


def case_of_study(opened: study.Study, slices: int, source: str) -> cases.Case | Skipped:
    """Return the case of a DICOM study; nothing in it names the patient.

    The id is a digest of the Study Instance UID, the patient's is one of the
    Patient ID: whoever knows an ID can see whether it is there, and nobody
    can read it back otherwise.
    """
    shown = [s for s in opened.series if s.modality not in _NOT_IMAGES]
    chosen = images(opened, slices)
    if not chosen:
        kinds = ", ".join(sorted({s.modality for s in opened.series})) or "nothing"
        first = next((ref.path for s in opened.series for ref in s.slices), opened.paths[0])
        return Skipped(first, f"It holds no images ({kinds}).")
    main = max(shown, key=lambda s: len(s.slices))
    facets, given = wording.facets(
        {
            "modality": main.modality,
            "body_part": main.body_part,
            "view": main.view,
            "sex": opened.sex,
            # Years are for those who have one; "000Y" is what anonymisers write.
            "age": "" if opened.age.startswith("000Y") else opened.age,
        }
    )
    described = dict.fromkeys(anonymous(s.description, opened) for s in shown)
    text = ". ".join(filter(None, described))
    return cases.Case(
        case_id=digest("study", opened.study_uid),
        title=wording.study_title(anonymous(main.description, opened), facets),
        text=text,
        facets=facets,
        provenance=cases.Provenance(source=source),
        images=chosen,
        patient=digest("patient", opened.patient_id) if opened.patient_id else "",
        study=digest("study", opened.study_uid),
        extra=given,
    )


def anonymous(description: str, opened: study.Study) -> str:
    """Return a description without what names the patient or the examination.

    Descriptions are free text, and some places write names and numbers into
    them. Taken out, ignoring case: each part of the patient's name of three
    letters or more (two in scripts without capitals, whose names are short),
    the Patient ID, the accession number, and numbers of five digits or more.
    """
    left = description
    for secret in _secrets(opened):
        found = re.escape(secret)
        if len(secret) < _UNLIKELY_BY_CHANCE:
            found = rf"(?<![^\W_]){found}(?![^\W_])"
        left = re.sub(found, " ", left, flags=re.IGNORECASE)
    left = _LONG_NUMBER.sub(" ", left)
    if left == description:
        return description
    return " ".join(left.split()).strip(" ,;:^_-/")


def _secrets(opened: study.Study) -> list[str]:
    """Return the names and numbers to take out, the longest first."""
    parts = [
        part
        for part in _LETTERS.findall(opened.patient_name)
        if len(part) >= (2 if part.upper() == part.lower() else 3)
    ]
    numbers = [value.strip() for value in (opened.patient_id, opened.accession_number)]
    return sorted(filter(None, (*parts, *numbers)), key=len, reverse=True)


def one(path: Path, reading: Reading) -> tuple[cases.CaseImage, ...] | Skipped:
    """Return the images of one path of a table: a picture, DICOM file or folder, or volume."""
    if path.suffix.lower() in PICTURES:
        return (cases.CaseImage(cases.ImageRef(str(path))),)
    found: list[cases.CaseImage] = []
    for opened in reading.readers.open_paths([path]):
        if isinstance(opened, study.Refused):
            if opened.answer == "refused":
                return Skipped(opened.path, opened.reason)
        elif opened.is_complete:
            found += images(opened, reading.slices_per_volume)
    return tuple(found) or Skipped(str(path), "It holds no images.")


def is_dicom(opened: study.Study) -> bool:
    """Say whether a study came out of DICOM files."""
    return any(ref.sop_instance_uid for series in opened.series for ref in series.slices[:1])


def digest(kind: str, uid: str) -> str:
    """Return a name for a UID or id that says nothing of it."""
    return f"{kind}-{hashlib.sha256(f'{kind} {uid}'.encode()).hexdigest()[:20]}"


def require(path: Path) -> Path:
    """Return the path, absolute; raises UnreadableFileError when it is not there."""
    if not path.exists():
        raise errors.UnreadableFileError(str(path), "there is no such file or folder.")
    return path.absolute()


def _name(root: Path) -> str:
    return root.name if root.is_dir() else root.parent.name
