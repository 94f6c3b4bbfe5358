"""Headers of DICOM files as they are read -> studies that grow, and the whole ones at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from medsearch_desktop.imaging import dicom_headers, duplicates, stacks, study

# The first studies are given after so many files or seconds, or when their folder was
# read; then each time after twice as many, so that all of it costs no more than two readings.
_FIRST_FILES, _FIRST_S = 128, 1.5

_COPY = "It is a copy of another file of this drop, which is shown."
_UNLIKE = (
    "It carries the identifier of another image of this drop in another encoding, and the two "
    "were not compared: the other one is shown."
)
_OTHER_MOMENT = "It belongs to a series of which other images, or those of one moment, are shown."

_Groups = dict[str, list[dicom_headers.Header]]


class Growing:
    """Collects headers by study and series; `paths` are those that were dropped."""

    def __init__(self, paths: tuple[str, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self._paths, self._clock = paths, clock
        self._studies: dict[str, _Groups] = {}
        self._patients: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}
        self._given: dict[str, int] = {}
        self._folder, self._count, self._given_count = "", 0, 0
        self._began = clock()
        self._due_count, self._due_s = _FIRST_FILES, self._began + _FIRST_S

    def add(self, header: dicom_headers.Header) -> None:
        """Take one header in; its file belongs to the study and series that it names."""
        uid = self._key(header)
        self._studies.setdefault(uid, {}).setdefault(header.series_uid, []).append(header)
        self._counts[uid] = self._counts.get(uid, 0) + 1
        self._count += 1
        self._folder = os.path.dirname(header.path)

    def _key(self, header: dicom_headers.Header) -> str:
        """Return the study's identifier; a second patient under it gets one of their own."""
        uid = header.study_uid or header.path
        patient = header.texts.get("PatientID", "").casefold()
        known = self._patients.setdefault(uid, [])
        if patient and patient not in known:
            known.append(patient)
        place = known.index(patient) if patient else 0
        return f"{uid}#{place + 1}" if place else uid

    def is_due(self, path: str) -> bool:
        """Return True when, before `path` is read, the studies so far should be given."""
        if self._count == self._given_count:
            return False
        is_next_folder = not self._given and os.path.dirname(path) != self._folder
        return is_next_folder or self._count >= self._due_count or self._clock() >= self._due_s

    def so_far(self) -> Iterator[study.Study]:
        """Give the studies that grew since the last time, as far as they are known."""
        changed = [uid for uid, count in self._counts.items() if count != self._given.get(uid)]
        self._given, self._given_count = dict(self._counts), self._count
        now = self._clock()
        self._due_count, self._due_s = 2 * self._count, now + max(_FIRST_S, now - self._began)
        for uid in changed:
            yield self._study(uid, self._studies[uid], is_complete=False)

    def whole(self) -> Iterator[study.Study | study.Refused]:
        """Give each study once, and an answer for each of its files that is not shown."""
        for uid in list(self._studies):
            groups = self._studies.pop(uid)
            found = self._study(uid, groups, is_complete=True)
            yield found
            yield from _not_shown(found, groups)

    def _study(self, uid: str, groups: _Groups, *, is_complete: bool) -> study.Study:
        """Return a study, its series by their number."""
        series = [s for group in groups.values() for s in stacks.series_of(group)]
        series.sort(key=lambda s: (s.number is None, s.number or 0))
        headers = [header for group in groups.values() for header in group]
        named = (header.texts for header in headers if "PatientID" in header.texts)
        texts = next(named, headers[0].texts)
        return study.Study(
            study_uid=uid,
            series=tuple(series),
            paths=self._paths,
            title=texts.get("StudyDescription", ""),
            patient_name=texts.get("PatientName", "").replace("^", " ").strip(),
            patient_id=texts.get("PatientID", ""),
            sex=texts.get("PatientSex", ""),
            age=texts.get("PatientAge", ""),
            date=texts.get("StudyDate", ""),
            accession_number=texts.get("AccessionNumber", ""),
            is_complete=is_complete,
        )


def _not_shown(found: study.Study, groups: _Groups) -> Iterator[study.Refused]:
    """Give an answer for each file that no series of its study shows."""
    shown = {ref.path for series in found.series for ref in series.slices}
    for group in groups.values():
        left = [header.path for header in group if header.path not in shown]
        if not left:
            continue
        copied, unlike = duplicates.without_copies(group)[1:]
        reasons = {header.path: _COPY for header in copied}
        reasons |= {header.path: _UNLIKE for header in unlike}
        for path in left:
            reason = reasons.get(path, _OTHER_MOMENT)
            what = "a copy" if reason is _COPY else "a DICOM image"
            yield study.Refused(path, reason, what, "left out")
