"""Which reader an input needs, and every input of a build in turn."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from medsearch_desktop import cases

from . import sources, tables

Format = Literal["auto", "csv", "files", "dicom", "nifti"]
FORMATS: tuple[Format, ...] = ("auto", "csv", "files", "dicom", "nifti")


@dataclass(frozen=True)
class Inputs:
    """What is read: paths, their format, and the columns of tables."""

    paths: tuple[Path, ...]
    format: Format = "auto"
    columns: dict[str, str] = field(default_factory=dict)


def read(
    inputs: Inputs, reading: sources.Reading, *, known: Sequence[str] = ()
) -> Iterator[cases.Case | sources.Skipped]:
    """Yield the cases of all inputs; an id that came before, or is `known`, is skipped.

    A picture or volume whose id came before out of another input is another
    file: its id gets the names of the folders of its input before it.
    """
    seen = set(known)
    files: set[str] = set()
    for path in inputs.paths:
        for found in _read(path, inputs, reading):
            if isinstance(found, cases.Case):
                if not _is_unicode(found):
                    shown = str(found.images[0].ref.path if found.images else path)
                    yield sources.Skipped(
                        shown.encode("utf-8", "replace").decode(),
                        "Its name or words are not Unicode; rename the file.",
                    )
                    continue
                is_new_file = _is_file(found) and _file(found) not in files
                if found.case_id in seen and is_new_file:
                    found = dataclasses.replace(found, case_id=_free_id(found, path, seen))
                if found.case_id in seen:
                    yield sources.Skipped(
                        found.images[0].ref.path if found.images else str(path),
                        f"A case of the id {found.case_id!r} came before.",
                    )
                    continue
                seen.add(found.case_id)
                if is_new_file:
                    files.add(_file(found))
            yield found


def _is_file(case: cases.Case) -> bool:
    """Say whether a case is one picture or volume, named by its path alone."""
    return bool(case.images) and not case.study and not case.text


def _file(case: cases.Case) -> str:
    return os.path.realpath(case.images[0].ref.path)


def _free_id(case: cases.Case, source: Path, seen: set[str]) -> str:
    """Return the id with as many folder names of its input before it as make it a new one."""
    folders = (source if source.is_dir() else source.parent).parts
    for count in range(1, len(folders)):
        named = "/".join((*folders[-count:], case.case_id))
        if named not in seen:
            return named
    return case.case_id


def _is_unicode(case: cases.Case) -> bool:
    """Say whether a case can be written as UTF-8: POSIX file names may hold any bytes."""
    try:
        "".join((case.case_id, *(image.ref.path for image in case.images))).encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(
    path: Path, inputs: Inputs, reading: sources.Reading
) -> Iterator[cases.Case | sources.Skipped]:
    kind = _kind(path) if inputs.format == "auto" else inputs.format
    if kind == "csv":
        return tables.read(_table(path), inputs.columns, reading)
    if kind == "files":
        return sources.pictures(path)
    if kind == "nifti":
        return sources.volumes(path, reading)
    return sources.studies(path, reading)


def _kind(path: Path) -> Format:
    """Return the format of a path by its name, or that of a folder by what lies in it.

    A folder of mixed content is read as `dicom`, which takes every kind of file.
    """
    name = path.name.lower()
    if path.is_dir():
        if (path / "manifest.csv").is_file():
            return "csv"
        kinds = {_kind(file) for file in sources.files(path, ("",))}
        return kinds.pop() if len(kinds) == 1 else "dicom"
    if name.endswith((".csv", ".tsv")):
        return "csv"
    if name.endswith(sources.PICTURES):
        return "files"
    return "nifti" if name.endswith(sources.NIFTI) else "dicom"


def _table(path: Path) -> Path:
    return path / "manifest.csv" if path.is_dir() else path


def count(inputs: Inputs) -> int | None:
    """Return how many inputs there are, or None where only reading them all would tell.

    Tables are read to their end, so that a fault in one is found before the
    work begins: raises TableError.
    """
    total = 0
    for path in inputs.paths:
        kind = _kind(path) if inputs.format == "auto" else inputs.format
        if kind == "csv":
            total += sum(1 for _ in tables.rows(_table(path), inputs.columns))
        elif kind == "dicom":
            return None
        else:
            suffixes = sources.PICTURES if kind == "files" else sources.NIFTI
            total += sum(1 for _ in sources.files(path, suffixes))
    return total
