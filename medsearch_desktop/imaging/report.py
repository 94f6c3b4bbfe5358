"""What became of each file of a drop: one entry a file, counts in one sentence, text to copy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from medsearch_desktop.imaging import study

# What an entry is that stands for all files behind the point where opening was stopped.
NOT_LOOKED_AT = "not looked at"

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
# What a copied report may hold of a file's name: its kind, where we know it. Any other ending
# may be a part of a patient's name or a date ("Doe.John").
_SUFFIX = re.compile(
    r"(?:\.(?:nii|hdr|img|tar|mnc|nrrd))?\.gz$"
    r"|\.(?:dcm|dicom|ima|nii|hdr|img|mha|mhd|nrrd|mnc|mgh|mgz|npz|npy"
    r"|png|jpg|jpeg|tif|tiff|gif|bmp|webp|heic|jxl|jp2|svg|eps|psd"
    r"|zip|tar|7z|rar|iso|exe|pdf|doc|docx|xls|xlsx|odt|txt|rtf|csv|xml|json|html|htm|mp4|avi)$",
    re.IGNORECASE,
)


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

    "411 of 412 files were opened (2 with a mark), 1 refused." Where opening was
    stopped: "Stopped: 256 of 256 files looked at were opened; the others were not
    looked at."
    """
    told = Counter(listed if isinstance(listed, Counter) else count(listed))
    was_stopped = told.pop(("left out", NOT_LOOKED_AT), 0) > 0
    counts: Counter[Answer] = Counter()
    for (answer, _), number in told.items():
        counts[answer] += number
    if not counts.total():
        return "Stopped: no file was looked at." if was_stopped else "No file was found."
    total = _files(counts.total())
    opened = counts["opened"] + counts["marked"] + counts["split"]
    if was_stopped:
        total = f"{total} looked at"
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
    said = ", ".join(parts)
    return f"Stopped: {said}; the others were not looked at." if was_stopped else f"{said}."


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
