"""Rows of the study strip: what each shows, in words."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication

from medsearch_desktop.imaging import study as studies


class Kind(enum.Enum):
    """What a row of the strip is."""

    STUDY = "study"
    HEADING = "heading"
    SERIES = "series"


@dataclass(frozen=True)
class Row:
    """A row of the strip; a heading has no series, a study row neither."""

    kind: Kind
    study: studies.Study
    series: studies.Series | None = None


def changed(before: Sequence[Row], after: Sequence[Row]) -> tuple[int, int, int]:
    """Return where two lists begin to differ, and where the rest of each is alike again."""
    olds, news = [_place(row) for row in before], [_place(row) for row in after]
    first = _alike(zip(olds, news, strict=False))
    last = _alike(zip(reversed(olds[first:]), reversed(news[first:]), strict=False))
    return first, len(olds) - last, len(news) - last


def _place(row: Row) -> tuple[Kind, str, str]:
    return row.kind, row.study.study_uid, row.series.key if row.series else ""


def _alike(pairs: Iterable[tuple[object, object]]) -> int:
    """Return how many pairs at the beginning are of two equal things."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def lines_of(row: Row) -> tuple[str, ...]:
    """Return the lines of a row: a title, and what stands below it."""
    study, series = row.study, row.series
    if series is None:
        if row.kind is Kind.HEADING:
            return (_tr("Series"), str(len(study.series)))
        second = " · ".join(filter(None, (study.patient_id, study.sex, _day(study.date))))
        first = study.series[0]
        named = " ".join(filter(None, (first.modality, first.body_part.lower())))
        return (study.title or named or _tr("Study"), second)
    number = str(series.number) if series.number is not None else series.modality
    size = f"{series.columns} × {series.rows}"
    if series.slice_thickness_mm:
        size = f"{series.slice_thickness_mm:.1f} mm"
    geometry = f"{series.modality} · {size}" if series.number is not None else size
    return (number, series.description or series.body_part or series.view, geometry)


def _day(date: str) -> str:
    """Return a DICOM date as 2000-01-31; anything else as it is."""
    is_dicom = len(date) == 8 and date.isdigit()
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if is_dicom else date


def _tr(words: str) -> str:
    return QCoreApplication.translate("StudyStrip", words)
