"""What is dropped, pasted or picked becomes open studies, parts of the question, and log lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from medsearch_desktop import queries
from medsearch_desktop.gui import (
    background,
    chips,
    drops,
    jobs,
    problems,
    study_strip,
    terms,
    viewing,
)
from medsearch_desktop.imaging import study as studies

# So many refused files are written into the log of one drop; the rest is counted.
_LOGGED = 1000


@dataclass(frozen=True)
class Found:
    """A part for the question, the zone it was dropped in, and the series it stands for."""

    part: chips.Part
    zone: drops.Zone
    key: study_strip.SeriesKey | None = None


class Intake(QObject):
    """Opens what comes, shows the first study, and says what could not be opened."""

    found = Signal(object)  # Found
    problem_met = Signal(object)  # problems.Problem
    log_requested = Signal()
    failed = Signal(object)  # OSError

    def __init__(
        self,
        view: viewing.Viewing,
        work: background.Background,
        strip: study_strip.StudyStrip,
        jobs_pane: jobs.JobsPane,
        log: jobs.LogPane,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewing, self._work, self._strip = view, work, strip
        self._jobs, self._log = jobs_pane, log
        self._numbers: dict[int, int] = {}
        self._shown: set[int] = set()
        self._scratch: Path | None = None
        self._case: studies.Study | None = None
        view.began.connect(self._begin)
        view.study_opened.connect(self._open_study)
        view.ended.connect(self._end)
        view.case_opened.connect(self._open_case)
        strip.series_chosen.connect(self._show_chosen)

    def set_scratch(self, scratch: Path) -> None:
        """Say where pasted pictures are kept."""
        self._scratch = scratch

    def take(self, dropped: drops.Dropped, zone: drops.Zone) -> None:
        """Take what was dropped or pasted."""
        if dropped.words:
            part = chips.Part(queries.TextTerm(dropped.words), dropped.words)
            self.found.emit(Found(part, zone))
        elif dropped.picture is not None and self._scratch is not None:
            picture, scratch = dropped.picture, self._scratch
            self._work.run(
                lambda: drops.keep_picture(picture, scratch),
                then=lambda file: self._viewing.open([file], zone),
                failed=self.failed.emit,
            )
        elif dropped.paths:
            self._viewing.open(dropped.paths, zone)

    def open(self, paths: Sequence[Path]) -> None:
        """Open paths without asking by them."""
        self._viewing.open(list(paths), drops.Zone.OPEN)

    def part_of_shown(self, index: int | None = None) -> Found | None:
        """Return a part for what is in the pane: the series, or one slice of it."""
        if self._viewing.now is None:
            return None
        study, series = self._viewing.now
        key = study_strip.key_of(study, series)
        if index is None or len(series.slices) == 1:
            part = _series_part(study, series)
        else:
            term = queries.ImageTerm(series.slices[index])
            part = chips.Part(term, terms.label_of_slice(series, index))
        return Found(part, drops.Zone.FIND, key)

    def _begin(self, request: viewing.Request) -> None:
        what = self.tr("{n} files").format(n=len(request.paths))
        if len(request.paths) == 1:
            what = request.paths[0].name
        job = jobs.Job(
            title=self.tr("Opening {what}").format(what=what),
            line=self.tr("Reading headers"),
            icon="folder-open",
            stop=lambda: self._viewing.stop(request),
        )
        self._numbers[request.number] = self._jobs.add(job)

    def _open_study(self, request: viewing.Request, study: studies.Study) -> None:
        if request.paths and request.paths[0].parent == self._scratch:
            study = terms.called(study, self.tr("Pasted picture"))
        self._strip.model.add(study)
        series = study_strip.largest(study)
        is_first = request.number not in self._shown
        self._shown.add(request.number)
        if is_first and (request.zone is not drops.Zone.ADD or self._viewing.now is None):
            self._viewing.show(study, series, len(series.slices) // 2 if series.is_volume else 0)
        self._viewing.draw_pictures(study)
        if is_first and request.zone is not drops.Zone.OPEN:
            key = study_strip.key_of(study, series)
            self.found.emit(Found(_series_part(study, series), request.zone, key))

    def _end(self, request: viewing.Request, tally: viewing.Tally) -> None:
        slices = sum(len(s.slices) for study in tally.studies for s in study.series)
        line = self.tr("{n} studies, {m} images").format(n=len(tally.studies), m=slices)
        refused = len(tally.refused)
        state = jobs.State.SKIPS if refused else jobs.State.DONE
        if refused:
            line += self.tr(" · {n} not opened").format(n=refused)
        if not tally.studies:
            state = jobs.State.FAILED
        self._shown.discard(request.number)
        number = self._numbers.pop(request.number)
        self._jobs.change(number, line=line, state=state, sentence="", stop=None)
        if refused:
            self._report(tally)

    def _report(self, tally: viewing.Tally) -> None:
        refused = tally.refused
        self._log.add_all([(item.path, item.reason) for item in refused[:_LOGGED]])
        if len(refused) > _LOGGED:
            self._log.add(self.tr("Import"), self.tr("{n} more").format(n=len(refused) - _LOGGED))
        title = self.tr("{n} files were not opened").format(n=len(refused))
        if len(refused) == 1:
            title = self.tr("{name} was not opened").format(name=Path(refused[0].path).name)
        reasons = list(dict.fromkeys(item.reason for item in refused))
        line = (
            reasons[0]
            if len(reasons) == 1
            else self.tr("For {n} reasons; see the log.").format(n=len(reasons))
        )
        kind = problems.Kind.WARNING if tally.studies else problems.Kind.ERROR
        self.problem_met.emit(
            problems.Problem(kind, title, line, self.tr("Show in the log"), self.log_requested.emit)
        )

    def _open_case(self, opened: object, study: studies.Study) -> None:
        """One case from the results stands in the strip at a time."""
        if self._case is not None and self._case.study_uid != study.study_uid:
            self._strip.model.remove(self._case)
            self._viewing.close_study(self._case)
        is_known = study.study_uid in {s.study_uid for s in self._strip.model.studies}
        if not is_known:
            self._case = study
            self._strip.model.add(study)
            self._viewing.draw_pictures(study)

    def _show_chosen(self, study: studies.Study, series: studies.Series) -> None:
        self._viewing.show(study, series, len(series.slices) // 2 if series.is_volume else 0)


def _series_part(study: studies.Study, series: studies.Series) -> chips.Part:
    term = terms.term_of_series(study, series)
    return chips.Part(term, terms.label_of_series(study, series))
