"""Path, folder, ZIP or DICOMDIR -> Study or Refused(path, reason)."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from medsearch_desktop import errors
from medsearch_desktop.imaging import (
    archives,
    dicom_headers,
    dicomdir,
    files,
    growing,
    listing,
    nifti,
    nifti_pairs,
    raster,
    sniffing,
    study,
)

Answers = Iterator[study.Study | study.Refused]


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
    grow: bool = False,
    only: Collection[str] | None = None,
) -> Answers:
    """Give a Study for every study found, and a Refused for every file that none of them shows.

    Pictures and NIfTI files come as they are found; DICOM studies when all
    files have been read, for slices of one study may lie anywhere. With
    `grow` they come before that too, as far as they are known
    (`is_complete` False). Only headers are read. Each file is told to
    `announce` before it is touched; those in `skip` are passed over. With
    `only` no other file is read: each is Refused. Nothing more comes once
    `is_stopped` says so.
    """
    tops = tuple(os.path.abspath(path) for path in paths)
    opening = _Opening(tops, announce, listing.Listing(tops, skip, is_stopped), is_stopped)
    opening.grow, opening.only = grow, only
    try:
        yield from opening.answers()
    finally:
        files.close_archives()


_KINDS = {
    "dicom": "a DICOM file",
    "bare dicom": "a DICOM file",
    "nifti": "a NIfTI volume",
    "picture": "a picture",
    "zip": "an archive",
}


class _Opening:
    """One drop being opened."""

    grow = False
    only: Collection[str] | None = None

    def __init__(
        self,
        tops: tuple[str, ...],
        announce: Callable[[str], None],
        listed: listing.Listing,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._tops, self._announce = set(tops), announce
        self._listing, self._is_stopped = listed, is_stopped
        self._growing = growing.Growing(tops)
        self._budget = archives.Budget()
        self._at_last: list[study.Refused] = []
        # What the file being read is, as far as its first bytes tell.
        self._what = ""

    def answers(self) -> Answers:
        """Give all studies and refusals of the drop."""
        yield from self._of_all(self._listing.found())
        self._announce("")
        if not self._is_stopped():
            yield from self._growing.whole()
            # Not before: what was answered is not read again after a loss.
            yield from self._at_last

    def _of_all(self, found: Iterator[listing.Found]) -> Answers:
        for each in found:
            if self._is_stopped():
                return
            if isinstance(each, study.Refused):
                yield each
            else:
                yield from self._of_one(each, self._opened)

    def _of_one(self, path: str, work: Callable[[str], Answers]) -> Answers:
        """Give what `work` makes of one file, and its faults as values."""
        if self.only is not None and path not in self.only:
            yield study.Refused(path, "It was not tried: too many others ended the reader.")
            return
        if self.grow and self._growing.is_due(path):
            self._announce("")
            yield from self._growing.so_far()
        self._announce(path)
        self._what = ""
        try:
            yield from work(path)
        except errors.NotAnImageError as error:
            yield study.Refused(path, error.reason, error.what, "listed")
        except errors.UnreadableFileError as error:
            yield study.Refused(path, error.reason, self._what)
        except RecursionError:
            reason = "Its contents are nested too deeply to be true."
            yield study.Refused(path, reason, self._what)
        except MemoryError:
            reason = "It needs more memory than one file may take."
            yield study.Refused(path, reason, self._what)
        except Exception as error:  # noqa: BLE001 - one file must not cost the others
            reason = f"It could not be read ({type(error).__name__})."
            yield study.Refused(path, reason, self._what)

    def _opened(self, path: str) -> Answers:
        """Give what is in a file, an archive or a list of files."""
        is_top = path in self._tops
        if (is_top or _is_called_dicomdir(path)) and dicomdir.is_one(path):
            if is_top:
                yield from self._of_all(self._listed(path))
            else:
                reason = "It is an index: the files beside it are read without it."
                yield dicomdir.left_out(path, reason)
            return
        kind = sniffing.kind(path)
        self._what = _KINDS.get(kind, "")
        if not files.split(path)[1] and (kind == "zip" or _is_archive_behind_a_program(path, kind)):
            yield from self._inside(path)
        else:
            yield from self._read(path, kind)

    def _listed(self, path: str) -> Iterator[listing.Found]:
        """Give the files that a DICOMDIR lists; what is said of itself waits for the end."""
        for each in dicomdir.listed(path):
            name = each.path if isinstance(each, study.Refused) else each
            if name == path and isinstance(each, study.Refused):
                self._at_last.append(each)
            elif self._listing.is_new(name):
                yield each

    def _inside(self, path: str) -> Answers:
        """Give what is in the files of an archive, in the order people count in."""
        members = files.members(path)
        if document := files.document(path):
            yield study.Refused(path, f"It is {document}, which is not opened here.", document)
            return
        if not members:
            yield study.Refused(path, "The archive holds no files.", "an archive")
        for name in sorted(members, key=files.natural):
            if self._is_stopped():
                return
            inside = path + files.INSIDE + name
            if not self._listing.is_new(inside):
                continue
            if any(listing.is_of_system(part) for part in name.split("/")):
                yield listing.left_by_system(inside)
            elif fault := members[name].fault or self._budget.fault(members[name]):
                yield study.Refused(inside, fault)
            else:
                yield from self._of_one(inside, self._opened)

    def _read(self, path: str, kind: str) -> Answers:
        """Give what one file holds; raises UnreadableFileError."""
        if header_path := nifti_pairs.header_of(path):
            # Of a folder or an archive the header is given anyway.
            if path in self._tops and self._listing.is_new(header_path):
                yield from self._of_one(header_path, self._opened)
            reason = "It holds the voxels of the .hdr file beside it."
            yield study.Refused(path, reason, "a part of a NIfTI pair", "left out")
        elif kind in ("dicom", "bare dicom"):
            with files.opened(path) as (file, size):
                header = dicom_headers.read_header(path, file, size, force=kind != "dicom")
            self._growing.add(header)
        elif kind == "nifti":
            yield nifti.read_series(path)
        elif kind == "picture":
            yield raster.read_series(path)
        elif kind == "npz":
            reason = "It is a file of NumPy arrays: name one in a table, as file.npz#name[number]."
            raise errors.UnreadableFileError(path, reason)
        elif kind == "zip":
            reason = "It is an archive inside an archive: unpack it first."
            yield study.Refused(path, reason, "an archive")
        else:
            raise errors.UnreadableFileError(path, sniffing.name_of_other(path))


def _is_called_dicomdir(path: str) -> bool:
    return path.rpartition("/")[2].rpartition(os.sep)[2].upper() == "DICOMDIR"


def _is_archive_behind_a_program(path: str, kind: str) -> bool:
    """Return True for a ZIP that begins with something else, as one that unpacks itself does."""
    return not kind and path.lower().endswith((".zip", ".exe")) and zipfile.is_zipfile(path)
