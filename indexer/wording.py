"""One spelling for titles, ages, sexes, views and body parts."""

from __future__ import annotations

import re

from medsearch_desktop import cases

from . import modalities

_TITLE_LENGTH = 120
# A full stop ends a sentence when a space and a capital letter or a digit follow.
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"“(])")
_DICOM_AGE = re.compile(r"^(\d+(?:\.\d+)?)\s*([DWMY])?", re.IGNORECASE)
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_SEXES = {"m": "M", "male": "M", "man": "M", "f": "F", "female": "F", "woman": "F"}
_SEXES |= {"o": "O", "other": "O"}
_VIEW_CODES = frozenset(
    ("ap", "pa", "l", "ll", "rl", "lat", "lao", "rao", "lpo", "rpo", "cc", "mlo", "ml", "lm")
)
_OLDEST = 130


def title(text: str, labels: tuple[str, ...], facets: cases.Facets, fallback: str) -> str:
    """Return a title: the first sentence of the text, the labels, what it shows, or `fallback`."""
    sentence = _SENTENCE_END.split(" ".join(text.split()), maxsplit=1)[0].rstrip(".")
    what = " ".join(part for part in (facets.modality, facets.body_part, facets.view) if part)
    chosen = sentence or ", ".join(labels) or what
    if not chosen:
        return fallback
    if len(chosen) > _TITLE_LENGTH:
        chosen = chosen[:_TITLE_LENGTH].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"
    return chosen[:1].upper() + chosen[1:]


def study_title(description: str, facets: cases.Facets) -> str:
    """Return the title of a DICOM study: what it shows, then its series in the source's words."""
    what = " ".join(filter(None, (facets.modality, facets.body_part)))
    return ": ".join(filter(None, (what, description))) or "DICOM study"


def age_years(given: str) -> float | None:
    """Return an age in years: "61", "61.5", "061Y", "18M" (months), "3W"; None if it is none."""
    found = _DICOM_AGE.match(given.strip())
    if found is None:
        return None
    unit = (found[2] or "Y").upper()
    years = float(found[1]) * _YEARS[unit]
    if years == 0 and found[2] and unit == "Y":
        return None  # "0Y" and "000Y" are what anonymisers write
    return round(years, 2) if years <= _OLDEST else None


def sex(given: str) -> str:
    """Return M, F or O, or "" where nothing of the kind is said."""
    return _SEXES.get(given.strip().casefold(), "")


def view(given: str) -> str:
    """Return a view in one spelling: codes in capitals, words small ("AP supine")."""
    words = given.split()
    return " ".join(w.upper() if w.casefold() in _VIEW_CODES else w.casefold() for w in words)


def body_part(given: str) -> str:
    """Return a body part in small letters, so that CHEST and chest are one."""
    return " ".join(given.casefold().split())


def facets(fields: dict[str, str]) -> tuple[cases.Facets, tuple[tuple[str, str], ...]]:
    """Return facets in one spelling, and what was given where a code does not say it all.

    `fields` holds `modality`, `view`, `body_part`, `sex` and `age` as the source
    wrote them; absent ones are not known.
    """
    given = fields.get("modality", "").strip()
    found = cases.Facets(
        modality=modalities.code(given),
        view=view(fields.get("view", "")),
        body_part=body_part(fields.get("body_part", "")),
        sex=sex(fields.get("sex", "")),
        age_years=age_years(fields.get("age", "")),
    )
    kept = (("modality_given", given),) if given and given != found.modality else ()
    return found, kept
