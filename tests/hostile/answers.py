"""The report of one drop after all its pixels were read, as the tests compare it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medsearch_desktop import errors
from medsearch_desktop.imaging import isolated, report, study


@dataclass(frozen=True)
class Answered:
    """What the program said about one drop: its report and the stacks that were found."""

    entries: tuple[report.Entry, ...]
    stacks: int

    def told(self) -> str:
        """Return the report as one line an entry, for the message of a failing test."""
        return "\n".join(f"{e.answer}: {e.path}: {e.what}: {e.why}" for e in self.entries)


def answered(readers: isolated.Readers, paths: Sequence[Path]) -> Answered:
    """Open the paths, read all pixels, and return the report of the drop."""
    found = [
        item
        for item in readers.open_paths(paths)
        if isinstance(item, study.Refused) or item.is_complete
    ]
    entries: list[report.Entry] = []
    for item in found:
        faults: dict[str, str] = {}
        if isinstance(item, study.Study):
            for series in item.series:
                faults |= _faults(readers, series)
        entries += [_after_reading(entry, faults) for entry in report.entries(item)]
    stacks = sum(len(item.series) for item in found if isinstance(item, study.Study))
    return Answered(tuple(entries), stacks)


def _faults(readers: isolated.Readers, series: study.Series) -> dict[str, str]:
    """Read all planes; return file -> "refused: why" or, where some can be read, "marked: why"."""
    try:
        volume = readers.load(series)
    except errors.TooLargeError as error:
        return {ref.path: f"refused: {error}" for ref in series.slices}
    except errors.UnreadableFileError as error:
        return {ref.path: f"refused: {error.reason}" for ref in series.slices}
    by_file: dict[str, list[str]] = {}
    for plane, index in enumerate(volume.indices):
        fault = volume.faults.get(plane, "")
        assert bool(fault) != bool(volume.ready[plane]), f"plane {plane} has no answer"
        by_file.setdefault(series.slices[index].path, []).append(fault)
    found = {}
    for path, said in by_file.items():
        if any(said):
            answer = "refused" if all(said) else "marked"
            found[path] = f"{answer}: {next(filter(None, said))}"
    return found


def _after_reading(entry: report.Entry, faults: dict[str, str]) -> report.Entry:
    answer, _, why = faults.get(entry.path, "").partition(": ")
    if not answer:
        return entry
    return report.Entry(entry.path, entry.what, answer, f"{entry.why} {why}".strip())  # type: ignore[arg-type]
