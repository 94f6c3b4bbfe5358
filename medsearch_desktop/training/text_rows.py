"""Words without a picture: captions that say modality or part, and prompts of the classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medsearch_desktop.training import rows

# What a caption says of the body part, our name first. A caption that names several parts says
# none: which of them the picture shows is not known.
_PART_PATTERNS: tuple[tuple[str, str], ...] = (
    ("head", r"brain|cerebr|cranial|skull|intracran|hippocamp|ventricular system"),
    ("chest", r"chest|thora|lung|pulmon|mediastin|pleura|bronch"),
    ("abdomen", r"abdom|liver|hepat|gallbladder|biliary|pancrea|spleen|bowel|colon|gastr|stomach"),
    ("spine", r"spine|spinal|vertebra|lumbar|disc herniation"),
    ("urogenital", r"kidney|renal|ureter|bladder(?<!gallbladder)|prostat|uter|ovar|pelvis"),
    ("neck", r"\bneck\b|thyroid|sinus(?:es|itis)|maxill|larynx|parotid"),
    ("heart", r"cardiac|heart|ventricle|atri(?:al|um)|myocard|coronary"),
    ("vessels", r"aneurysm|arteriovenous|carotid|femoral artery|venogra"),
    ("breast", r"breast|mammo"),
    ("bone", r"femur|tibia|humer|knee|hip joint|shoulder|ankle|wrist|fractur|elbow"),
)


@dataclass(frozen=True)
class Words:
    """A text without a picture, with the modality and part it says; "" where it says none."""

    text: str
    modality: str
    part: str


def read(data: Path, source: str) -> list[Words]:
    """Return the texts of a source which may be used and say a modality or a part.

    Raises QuerySyntaxError for a source that is not there or lacks a column.
    """
    table = rows.table(data, source)
    allowed = (plain["text"].strip() for plain in table if rows.is_allowed(plain["licence"]))
    said = (Words(text, rows.modality_of(text), part_of(text)) for text in allowed if text)
    return [words for words in said if words.modality or words.part]


def part_of(text: str) -> str:
    """Return our name of the one body part that a text names, "" for none or several."""
    named = [name for name, pattern in _PART_PATTERNS if re.search(pattern, text.lower())]
    return named[0] if len(named) == 1 else ""


def prompts(found: Sequence[rows.Row]) -> list[Words]:
    """Return the words one would type for the modalities and parts of these rows."""
    modalities = sorted({row.modality for row in found if row.modality})
    parts = {row.part: row.part_words for row in found if row.part}
    made = [Words(word, name, "") for name in modalities for word in rows.MODALITY_WORDS[name]]
    made += [Words(word, "", name) for name in sorted(parts) for word in parts[name]]
    return made
