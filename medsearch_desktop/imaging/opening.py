"""Path, folder, ZIP or DICOMDIR -> Study or Refused(path, reason)."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath

import pydicom
from pydicom.dataset import Dataset

from medsearch_desktop import errors
from medsearch_desktop.imaging import (
    dicom_headers,
    files,
    nifti,
    raster,
    sniffing,
    stacks,
    study,
)

# Left by systems and discs beside the images; nobody wants to hear of them.
_JUNK = {"thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx", "lockfile", "autorun.inf"}
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"


def _ignore(path: str) -> None:
    """Do nothing: the default for `announce`."""


def _never() -> bool:
    return False


def open_paths(
    paths: Sequence[str | Path],
    *,
    announce: Callable[[str], None] = _ignore,
    skip: Collection[str] = (),
    is_stopped: Callable[[], bool] = _never,
) -> Iterator[study.Study | study.Refused]:
    """Give a Study for every study found, and a Refused for every file that holds no image.

    Pictures and NIfTI files come as they are found; DICOM studies when all
    files have been read, for slices of one study may lie anywhere. Only
    headers are read. Each file is told to `announce` before it is touched;
    those in `skip` are passed over. Nothing more comes once `is_stopped` says so.
    """
    headers: dict[tuple[str, str], list[dicom_headers.Header]] = {}
    for path in _files(paths, set(skip)):
        if is_stopped():
            return
        if isinstance(path, study.Refused):
            yield path
            continue
        announce(path)
        try:
            found = _read(path)
        except errors.NotAnImageError as error:
            yield study.Refused(path, error.reason, error.what, "listed")
        except errors.UnreadableFileError as error:
            yield study.Refused(path, error.reason)
        except RecursionError:
            yield study.Refused(path, "Its contents are nested too deeply to be true.")
        except MemoryError:
            yield study.Refused(path, "It needs more memory than one file may take.")
        else:
            if isinstance(found, study.Study):
                yield found
            elif found is not None:
                key = (found.study_uid or found.path, found.series_uid)
                headers.setdefault(key, []).append(found)
    announce("")
    files.close_archives()
    yield from _studies(headers, tuple(str(path) for path in paths))


def _read(path: str) -> dicom_headers.Header | study.Study | None:
    if path.lower().endswith((".img", ".img.gz")) and _has_header_beside(path):
        return None
    kind = sniffing.kind(path)
    if kind in ("dicom", "bare dicom"):
        with files.opened(path) as (file, size):
            return dicom_headers.read_header(path, file, size, force=kind != "dicom")
    if kind == "nifti":
        return nifti.read_series(path)
    if kind == "picture":
        return raster.read_series(path)
    if kind == "npz":
        reason = "It is a file of NumPy arrays: name one in a table, as file.npz#name[number]."
        raise errors.UnreadableFileError(path, reason)
    if kind == "zip":
        raise errors.UnreadableFileError(
            path, "It is an archive inside an archive: unpack it first."
        )
    raise errors.UnreadableFileError(path, sniffing.name_of_other(path))


def _has_header_beside(path: str) -> bool:
    stem = path[: path.lower().rindex(".img")]
    archive, member = files.split(path)
    if member:
        inside = stem.partition(files.INSIDE)[2]
        return f"{inside}.hdr" in files.members(archive)
    return Path(stem + ".hdr").exists()


def _files(paths: Sequence[str | Path], skip: set[str]) -> Iterator[str | study.Refused]:
    """Give the files to read, each once, in natural order; and what cannot be entered."""
    seen: set[str] = set()
    for top in paths:
        path = os.path.abspath(top)
        if os.path.isdir(path):
            found: Iterator[str | study.Refused] = _walk(path)
        elif not os.path.exists(path) and not files.split(path)[1]:
            found = iter([study.Refused(path, "There is no such file or folder.")])
        else:
            found = _entered(path)
        for each in found:
            name = each.path if isinstance(each, study.Refused) else each
            if name not in seen and name not in skip:
                seen.add(name)
                yield each


def _walk(folder: str) -> Iterator[str | study.Refused]:
    problems: list[OSError] = []
    for where, folders, names in os.walk(folder, onerror=problems.append):
        folders[:] = sorted((f for f in folders if not _is_junk(f)), key=files.natural)
        for name in sorted(names, key=files.natural):
            path = os.path.join(where, name)
            if not _is_junk(name) and not (name.upper() == "DICOMDIR" and _is_directory(path)):
                yield from _entered(path, within_folder=True)
    for error in problems:
        reason = f"The folder cannot be read: {error.strerror}."
        yield study.Refused(str(error.filename), reason)


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def _entered(path: str, *, within_folder: bool = False) -> Iterator[str | study.Refused]:
    """Give the path itself, or what is inside an archive or listed by a DICOMDIR."""
    try:
        if not within_folder and _is_directory(path):
            yield from _listed(path)
        elif not files.split(path)[1] and sniffing.kind(path) == "zip":
            for name in sorted(files.members(path), key=files.natural):
                parts = PurePosixPath(name).parts
                if not any(_is_junk(part) for part in parts) and parts[-1].upper() != "DICOMDIR":
                    yield path + files.INSIDE + name
        else:
            yield path
    except errors.UnreadableFileError as error:
        yield study.Refused(path, error.reason)


def _is_directory(path: str) -> bool:
    """Return True for a DICOMDIR, by its name or by what it says it is."""
    if files.split(path)[1] or not os.path.isfile(path):
        return False
    with files.opened(path) as (file, _):
        head = file.read(512)
    return head[128:132] == b"DICM" and _MEDIA_DIRECTORY.encode() in head


def _listed(path: str) -> Iterator[str | study.Refused]:
    """Give the files that a DICOMDIR lists, if they lie within its folder.

    Its names are relative and may hold anything; what leads out of the
    folder, by dots, a drive or a link, is refused.
    """
    folder = os.path.realpath(os.path.dirname(path))
    try:
        found = pydicom.dcmread(path)
        records = [r for r in found.DirectoryRecordSequence if "ReferencedFileID" in r]
    except (errors.UnreadableFileError, MemoryError):
        raise
    except Exception as error:
        reason = f"Its list of files is damaged ({type(error).__name__})."
        raise errors.UnreadableFileError(path, reason) from error
    for record in records:
        parts = _file_id(record)
        target = os.path.realpath(os.path.join(folder, *parts)) if parts else folder
        named = "/".join(parts)
        if not _is_within(folder, target):
            yield study.Refused(f"{path}: {named}", "It lies outside the folder of the DICOMDIR.")
        elif actual := _existing(folder, parts):
            yield actual
        else:
            yield study.Refused(f"{path}: {named}", "The DICOMDIR lists it, but it is not there.")


def _is_within(folder: str, target: str) -> bool:
    try:
        return target != folder and os.path.commonpath([folder, target]) == folder
    except ValueError:  # another drive
        return False


def _file_id(record: Dataset) -> list[str]:
    value = record.ReferencedFileID
    parts = [value] if isinstance(value, str) else list(value or [])
    names = [str(part).replace("\\", "/") for part in parts]
    return [name for part in names for name in part.split("/") if name]


def _existing(folder: str, parts: Sequence[str]) -> str:
    """Return the file, also where the disc's names were lowered in copying; else ""."""
    for names in (parts, [part.lower() for part in parts]):
        candidate = os.path.join(folder, *names)
        if os.path.isfile(candidate):
            return candidate
    return ""


def _studies(
    headers: dict[tuple[str, str], list[dicom_headers.Header]], paths: tuple[str, ...]
) -> Iterator[study.Study | study.Refused]:
    """Give the studies, series by their number."""
    by_study: dict[str, list[list[dicom_headers.Header]]] = {}
    for (study_uid, _), group in headers.items():
        by_study.setdefault(study_uid, []).append(group)
    for study_uid, groups in by_study.items():
        series = [s for group in groups for s in stacks.series_of(group)]
        series.sort(key=lambda s: (s.number is None, s.number or 0))
        texts = groups[0][0].texts
        yield study.Study(
            study_uid=study_uid,
            series=tuple(series),
            paths=paths,
            title=texts.get("StudyDescription", ""),
            patient_name=texts.get("PatientName", "").replace("^", " ").strip(),
            patient_id=texts.get("PatientID", ""),
            sex=texts.get("PatientSex", ""),
            age=texts.get("PatientAge", ""),
            date=texts.get("StudyDate", ""),
            accession_number=texts.get("AccessionNumber", ""),
        )
