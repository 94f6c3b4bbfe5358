"""Terms made of what is open, and their words on a chip."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QPixmap

from medsearch_desktop import cases, queries
from medsearch_desktop.gui import chips
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.viewer import plain

_DIGEST = re.compile(r"[0-9a-f]{64}")
# Only the start of long words fits on a chip.
_LABEL_LENGTH = 80
_TITLE_LETTERS = 60


def _tr(words: str) -> str:
    return QCoreApplication.translate("terms", words)


def file_of(ref: cases.ImageRef) -> str:
    """Return the file on disk that an image comes from: the archive, or the file of an array."""
    return ref.path.split("!/", 1)[0].split("#", 1)[0]


def source_of(study: studies.Study, series: studies.Series) -> str:
    """Return the path by which the engine finds a series again.

    Its archive or file; where it has many files, the innermost folder that
    holds them all: in a folder of 100,000 files the engine looks at no others.
    """
    files = list(dict.fromkeys(file_of(ref) for ref in series.slices))
    return files[0] if len(files) == 1 else os.path.commonpath(files)


def called(study: studies.Study, title: str) -> studies.Study:
    """Return a study under another title; a picture's series, named by its file, takes it too."""
    title = plain.line(title)
    series = study.series
    if study.study_uid.startswith("picture:"):
        series = tuple(dataclasses.replace(one, description=title) for one in series)
    return dataclasses.replace(study, title=title, series=series)


def term_of_series(study: studies.Study, series: studies.Series) -> queries.Term:
    """Return the term that asks by a whole series; a single image asks as an image."""
    if len(series.slices) == 1:
        return queries.ImageTerm(series.slices[0])
    return queries.VolumeTerm(source_of(study, series), series.series_uid)


def label_of_series(study: studies.Study, series: studies.Series) -> str:
    """Return a few words for a series, without anything that names a patient."""
    words = " ".join(dict.fromkeys(filter(None, (series.modality, series.body_part.lower()))))
    words = plain.line(words, _LABEL_LENGTH) or _tr("Image")
    if len(series.slices) > 1:
        return _tr("{what}, {n} slices").format(what=words, n=len(series.slices))
    return words


def label_of_slice(series: studies.Series, index: int) -> str:
    """Return a few words for one slice of a series."""
    words = " ".join(filter(None, (series.modality, _tr("slice {n}").format(n=index + 1))))
    return f"{words}/{len(series.slices)}"


def part_of(term: queries.Term, picture: QPixmap | None = None) -> chips.Part:
    """Return the chip of a term that comes from the history or the command line."""
    return chips.Part(term, label_of(term), picture)


def label_of(term: queries.Term) -> str:
    """Return the words of a term alone, with nothing else known about it."""
    if isinstance(term, queries.TextTerm):
        return plain.line(term.words, _LABEL_LENGTH)
    if isinstance(term, queries.CaseTerm):
        return _tr("Case {id}").format(id=plain.line(term.case_id, 24))
    path = Path(term.path if isinstance(term, queries.VolumeTerm) else file_of(term.ref))
    is_pasted = _DIGEST.fullmatch(path.stem)
    return _tr("Pasted picture") if is_pasted else plain.line(path.name, _LABEL_LENGTH)


def label_of_query(query: queries.Query) -> str:
    """Return one line for a question, for the menu of recent searches."""
    words = [label_of(term) for term in query.terms]
    words += [plain.line(filter_.value, _LABEL_LENGTH) for filter_ in query.filters]
    line = " + ".join(words)
    return line if len(line) <= _LABEL_LENGTH else line[: _LABEL_LENGTH - 1] + "…"


def size_in_words(size: int) -> str:
    """Return a size of memory as "5.0 GB"."""
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"


def title_of(study: studies.Study | None, series: studies.Series | None) -> str:
    """Return what the window's title says of what is open: never a name, an id or a file."""
    if study is None or series is None:
        return ""
    part = series.body_part.replace("_", " ").lower()
    words = " ".join(filter(None, (series.modality, part)))
    return plain.line(words, _TITLE_LETTERS) or _tr("Image")
