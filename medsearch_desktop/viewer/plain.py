"""Text from files made harmless for the screen: no markup, no control or direction signs, cut."""

from __future__ import annotations

import dataclasses
import html
import unicodedata
from typing import Any, TypeVar

from medsearch_desktop.imaging import study as studies

# Longer texts are cut: a header may hold a megabyte where a name should stand.
LINE_LETTERS = 300
TIP_LETTERS = 2000
TEXT_LETTERS = 20_000

# Control signs, halves of characters, private ones, separators of lines and paragraphs.
_BREAKING = {"Cc", "Cs", "Co", "Zl", "Zp"}
# Format signs, among them U+202E, which turns the order of letters. Two of them join and
# part letters within the words of several scripts and stay.
_UNSEEN, _JOINERS = "Cf", "\u200c\u200d"
_Told = TypeVar("_Told")


def line(text: str, letters: int = LINE_LETTERS) -> str:
    """Return a text as one line of at most `letters`, with single spaces."""
    return " ".join(_cleaned(text, letters, keep="").split())


def paragraph(text: str, letters: int = TEXT_LETTERS) -> str:
    """Return a text of several lines, of at most `letters`."""
    return _cleaned(text.replace("\r\n", "\n"), letters, keep="\n\t")


def tooltip(text: str) -> str:
    """Return a text as a tooltip that shows it letter by letter, whatever markup it holds.

    A tooltip turns to rich text by itself where the words look like markup.
    """
    escaped = html.escape(paragraph(text, TIP_LETTERS)).replace("\n", "<br>")
    return f"<qt>{escaped}</qt>" if text else ""


def label(text: str) -> str:
    """Return one line for a button or a menu, where "&" would name a key."""
    return line(text).replace("&", "&&")


def study(found: studies.Study) -> studies.Study:
    """Return a study whose every text can be shown as it is; paths and UIDs stay."""
    series = tuple(_series(one) for one in found.series)
    texts = ("title", "patient_name", "patient_id", "sex", "age", "date", "accession_number")
    return dataclasses.replace(_lines(found, texts), series=series)


def _series(one: studies.Series) -> studies.Series:
    cleaned = _lines(one, ("modality", "description", "body_part", "units", "laterality", "view"))
    windows = tuple(dataclasses.replace(w, name=line(w.name, 80)) for w in one.windows)
    return dataclasses.replace(
        cleaned,
        windows=windows,
        marks=tuple(line(mark) for mark in one.marks),
        details=tuple((name, line(value)) for name, value in one.details),
    )


def _lines(told: _Told, names: tuple[str, ...]) -> _Told:
    fields: dict[str, Any] = {name: line(getattr(told, name)) for name in names}
    return dataclasses.replace(told, **fields)  # type: ignore[type-var]


def _cleaned(text: str, letters: int, *, keep: str) -> str:
    cut = text[: letters + 1]
    if not cut.isprintable():
        cut = "".join(_harmless(sign, keep) for sign in cut)
    return cut if len(cut) <= letters else cut[: letters - 1] + "…"


def _harmless(sign: str, keep: str) -> str:
    kind = unicodedata.category(sign)
    if sign in keep or sign in _JOINERS:
        return sign
    if kind in _BREAKING:
        return " "
    return "" if kind == _UNSEEN else sign
