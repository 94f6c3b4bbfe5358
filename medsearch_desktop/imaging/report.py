"""What became of each file of a drop: one entry a file, counts in one sentence, text to copy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from medsearch_desktop.imaging import study

Answer = Literal["opened", "marked", "split", "listed", "left out", "refused"]

_DICOM = {
    "CT": "a CT image",
    "MR": "an MR image",
    "PT": "a PET image",
    "US": "an ultrasound image",
    "CR": "a radiograph",
    "DX": "a radiograph",
    "MG": "a mammogram",
    "XA": "an angiogram",
    "NM": "a nuclear medicine image",
    "SEG": "a segmentation",
    "RTDOSE": "a radiotherapy dose",
}
# What a copied report may hold of a file's name: its kind. The name itself may name a patient.
_SUFFIX = re.compile(r"(?:\.nii|\.tar)?\.[A-Za-z0-9]{1,8}$")


@dataclass(frozen=True)
class Entry:
    """One file: what it is, what was done with it, and why (whole sentences, or "")."""

    path: str
    what: str
    answer: Answer
    why: str = ""


def entries(found: study.Study | study.Refused) -> Iterator[Entry]:
    """Give an entry for each file of a study, in the order of its series, or for one refused."""
    if isinstance(found, study.Refused):
        yield Entry(found.path, found.what or "unknown", found.answer, found.reason)
        return
    stacks = Counter(series.series_uid for series in found.series)
    seen: set[str] = set()
    for series in found.series:
        answer: Answer = "marked" if series.marks else "opened"
        if stacks[series.series_uid] > 1:
            answer = "split"
        what, why = _what(found, series), " ".join(series.marks)
        for path in dict.fromkeys(ref.path for ref in series.slices):
            if path not in seen:
                seen.add(path)
                yield Entry(path, what, answer, why)


def count(listed: Iterable[Entry]) -> Counter[tuple[Answer, str]]:
    """Return how many files had which answer, and what they are; counts of parts can be added."""
    return Counter((entry.answer, entry.what) for entry in listed)


def sentence(listed: Iterable[Entry] | Counter[tuple[Answer, str]]) -> str:
    """Return the counts of entries, or of `count`, in one sentence.

    "411 of 412 files were opened (2 with a mark), 1 refused."
    """
    told = listed if isinstance(listed, Counter) else count(listed)
    counts: Counter[Answer] = Counter()
    for (answer, _), number in told.items():
        counts[answer] += number
    if not counts.total():
        return "No file was found."
    total = _files(counts.total())
    opened = counts["opened"] + counts["marked"] + counts["split"]
    parts = [f"{opened:,} of {total} {'was' if 1 in (opened, counts.total()) else 'were'} opened"]
    names: tuple[tuple[Answer, str], ...] = (
        ("marked", "with a mark"),
        ("split", "split into stacks"),
    )
    inside = [f"{counts[answer]:,} {words}" for answer, words in names if counts[answer]]
    if inside:
        parts[0] += f" ({', '.join(inside)})"
    if counts["refused"]:
        parts.append(f"{counts['refused']:,} refused")
    if counts["listed"]:
        kinds = Counter({what: n for (answer, what), n in told.items() if answer == "listed"})
        most = ", ".join(f"{number:,} {what}" for what, number in kinds.most_common(3) if number)
        parts.append(f"{counts['listed']:,} without an image ({most})")
    if counts["left out"]:
        parts.append(f"{counts['left out']:,} left out")
    return ", ".join(parts) + "."


def as_text(listed: Iterable[Entry]) -> str:
    """Return a table to copy: number and kind of each file, no name, what was done and why."""
    told = list(listed)
    lines = [sentence(told), "file\twhat\tdone\twhy"]
    for number, entry in enumerate(told, start=1):
        found = _SUFFIX.search(PurePosixPath(entry.path.replace("\\", "/")).name)
        name = f"{number}{found.group().lower() if found else ''}"
        lines.append(f"{name}\t{entry.what}\t{entry.answer}\t{entry.why}")
    return "\n".join(lines) + "\n"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _what(found: study.Study, series: study.Series) -> str:
    if found.study_uid.startswith("nifti:"):
        return "a NIfTI volume"
    if found.study_uid.startswith("picture:"):
        return "a picture"
    return _DICOM.get(series.modality, "a DICOM image")
