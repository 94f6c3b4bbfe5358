"""Rows of the training data: which may be used, what they say, and in how many ways."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from medsearch_desktop import errors

# The text of a row of which nothing is known; it takes no part in the contrast.
NOTHING_KNOWN = "image"
# Attribution alone (any version, ported or not) and the public domain dedication. A licence
# with -SA, -NC or -ND, or with words after it that we have not read, is not in this list.
_ALLOWED = re.compile(r"CC BY( [1-4]\.0)?|CC-BY(-[1-4]\.0)?|CC0|CC0[- ]1\.0")
# Words for one DICOM modality, the plainest first; each is a way to say it in a query.
MODALITY_WORDS: dict[str, tuple[str, ...]] = {
    "CT": ("CT", "CT scan", "computed tomography"),
    "MR": ("MRI", "MR", "magnetic resonance imaging"),
    "XR": ("X-ray", "radiograph", "plain film"),
    "US": ("ultrasound", "sonography"),
    "XA": ("angiogram", "angiography"),
    "RF": ("fluoroscopy", "barium study"),
    "MG": ("mammogram", "mammography"),
    "NM": ("nuclear medicine", "scintigraphy"),
}
_MODALITY_PATTERNS: tuple[tuple[str, str], ...] = (
    ("CT", r"\bct\b|computed tomog"),
    ("MR", r"\bmri?\b|magnetic|flair|\bt[12]\b|diffusion|\bdwi\b"),
    ("XR", r"x[- ]?ray|\bcxr\b|\bxr\b|radiograph|plain film"),
    ("US", r"ultraso|sonogra|\bus\b"),
    ("XA", r"angiogra"),
    ("RF", r"fluoro|barium"),
    ("MG", r"mammo"),
    ("NM", r"nuclear|scintigra"),
)
# The sources' names of a body part -> our name of it and the words one would type.
PART_WORDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "skull and contents": ("head", ("head", "brain", "skull")),
    "head": ("head", ("head", "brain", "skull")),
    "musculoskeletal": ("bone", ("bone", "joint", "limb", "musculoskeletal")),
    "gastrointestinal": ("abdomen", ("abdomen", "gastrointestinal", "belly")),
    "abd": ("abdomen", ("abdomen", "belly")),
    "lung, mediastinum, pleura": ("chest", ("chest", "lung", "thorax")),
    "chest": ("chest", ("chest", "lung", "thorax")),
    "spine and contents": ("spine", ("spine", "spinal cord", "vertebrae")),
    "genitourinary": ("urogenital", ("kidney and pelvis", "genitourinary", "urinary tract")),
    "face, sinuses, and neck": ("neck", ("face and neck", "sinuses", "neck")),
    "heart and great vessels": ("heart", ("heart", "heart and aorta", "great vessels")),
    "vascular and lymphatic": ("vessels", ("blood vessels", "vascular", "arteries")),
    "breast": ("breast", ("breast",)),
}
_OF_QUESTIONS = {"chest": "XR", "abd": "CT"}
_COLUMNS = ("path", "item_id", "patient_id", "text", "modality", "view", "body_part", "licence")


@dataclass(frozen=True)
class Row:
    """One picture of the training data with what is known about it; "" where it is not.

    `modality` and `part` are our names (keys of MODALITY_WORDS, first values
    of PART_WORDS), `plane` is the first word of the source's view, `finding`
    its diagnosis, notes or answers, `own_words` modality, view and body part
    as the source writes them.
    """

    path: Path
    item_id: str
    patient: str
    finding: str
    modality: str
    view: str
    plane: str
    part: str
    part_words: tuple[str, ...]
    licence: str
    source: str
    own_words: str = ""

    def captions(self) -> tuple[str, ...]:
        """Return the whole caption in five wordings: "CT axial chest. Diagnosis".

        The last has the source's own words of modality, view and part.
        """
        pattern = "{modality} {view} {part}"
        tags = [self._join(pattern, number) for number in range(4)] + [self.own_words]
        said = [f"{words}. {self.finding}".strip(" .") or NOTHING_KNOWN for words in tags]
        return tuple(said)

    def tags(self) -> tuple[str, ...]:
        """Return phrases of modality, part and view alone: "CT of the chest"."""
        patterns = (
            "{modality} of the {part}" if self.modality and self.part_words else "{modality}{part}",
            "{modality}, {part}, {view}",
            "{view} {part} {modality}",
            "{part} {modality}",
        )
        return tuple(
            self._join(pattern, n) or NOTHING_KNOWN for n in (0, 1) for pattern in patterns
        )

    def _join(self, pattern: str, number: int) -> str:
        modalities = MODALITY_WORDS.get(self.modality, ("",))
        parts = self.part_words or ("",)
        said = pattern.format(
            modality=modalities[number % len(modalities)],
            part=parts[number % len(parts)],
            view=self.view,
        )
        return re.sub(r"(, )+(?=,|$)|^(, )+", "", re.sub(r"\s+", " ", said).strip()).strip(" ,")


def is_allowed(licence: str) -> bool:
    """Return whether a row under this licence may train weights that we ship."""
    return _ALLOWED.fullmatch(licence.strip()) is not None


def read(data: Path, sources: tuple[str, ...]) -> tuple[list[Row], dict[str, int]]:
    """Return the allowed rows with a picture, and per source how many were left out.

    `data` holds a folder a source, each with a `manifest.csv`. Raises
    QuerySyntaxError for a source that is not there or lacks a column.
    """
    rows: list[Row] = []
    left_out: dict[str, int] = {}
    for source in sources:
        found = table(data, source)
        kept = [plain for plain in found if plain["path"] and is_allowed(plain["licence"])]
        rows += [_row(plain, source, data / source) for plain in kept]
        left_out[source] = len(found) - len(kept)
    return rows, left_out


def table(data: Path, source: str) -> list[dict[str, str]]:
    """Return the rows of a source's manifest; raises QuerySyntaxError where there is none."""
    try:
        with (data / source / "manifest.csv").open(encoding="utf-8-sig", newline="") as stream:
            found = list(csv.DictReader(stream))
    except OSError as error:
        raise errors.QuerySyntaxError(f"{source} has no manifest.csv in the data.") from error
    missing = [name for name in _COLUMNS if found and name not in found[0]]
    if missing:
        raise errors.QuerySyntaxError(f"{source}/manifest.csv lacks {', '.join(missing)}.")
    return found


def _row(plain: dict[str, str], source: str, folder: Path) -> Row:
    part, words = PART_WORDS.get(plain["body_part"].split("|")[0].lower(), ("", ()))
    view = plain["view"].strip()
    return Row(
        path=folder / plain["path"],
        item_id=plain["item_id"],
        patient=plain["patient_id"] or plain["item_id"],
        finding=_finding(plain),
        modality=modality_of(plain["modality"]) or _modality_in_words(plain),
        view=view,
        plane=view.lower().split()[0] if view else "",
        part=part,
        part_words=words,
        licence=plain["licence"],
        source=source,
        own_words=" ".join(
            word for k in ("modality", "view", "body_part") if (word := plain[k].strip())
        ),
    )


def modality_of(words: str) -> str:
    """Return our name of a modality in the source's words, "" if none is recognised."""
    for name, pattern in _MODALITY_PATTERNS:
        if re.search(pattern, words.lower()):
            return name
    return ""


def _modality_in_words(plain: dict[str, str]) -> str:
    """Return the one modality that questions with an answer other than "no" speak of.

    For VQA-RAD the body part says it: its chest images are radiographs and its
    abdominal images axial CT (Lau et al., Scientific Data 5:180251, Methods).
    "" for none or several.
    """
    text = plain["text"]
    if text.startswith("Q: "):
        if (part := plain["body_part"].lower()) in _OF_QUESTIONS:
            return _OF_QUESTIONS[part]
        said = re.sub(r"Q: [^?:]*?\??\s*A: no\b\.?", "", text, flags=re.IGNORECASE).lower()
        named = [name for name, pattern in _MODALITY_PATTERNS if re.search(pattern, said)]
        return named[0] if len(named) == 1 else ""
    return "XR" if plain["view"].lower() in ("pa", "ap", "ap supine") else ""


def _finding(plain: dict[str, str]) -> str:
    """Return what the text says is seen: notes with their labels, or the longer answers."""
    text = plain["text"].strip()
    if text.startswith("Q: "):
        answers = re.findall(r"A: (.*?)(?= Q: |$)", text)
        return " ".join(answer for answer in answers if len(answer) > 6).strip(" .")
    labels = plain.get("labels", "").split("|")
    tags = {plain["view"].lower(), plain["body_part"].lower()}
    findings = [name for name in labels if name.lower() not in tags and not modality_of(name)]
    extra = [name for name in findings if name and name.lower() not in text.lower()]
    return " ".join([text, ", ".join(extra)]).strip()
