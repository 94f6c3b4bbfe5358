"""What is dropped, pasted or picked becomes open studies, parts of the question and a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.gui import (
    background,
    bottom_dock,
    chips,
    drop_reader,
    drops,
    jobs,
    problems,
    study_strip,
    terms,
    viewing,
)
from medsearch_desktop.imaging import report
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.viewer import plain

# So many refused files of one drop are written into the log; the report names all.
_LOGGED = 20
# The engine looks at every file of a folder again to find a series: where there are more,
# the question stays with the slice by which it was asked at first.
_MOST_ASKED_AGAIN = 5000
# Slices that cannot be read are written into the report together, this long after the first.
_AMEND_MS = 200


@dataclass(frozen=True)
class Found:
    """A part for the question, the zone it was dropped in, and the series it stands for.

    With `instead_of` it takes the place of that term, if the question still has it.
    """

    part: chips.Part
    zone: drops.Zone
    key: study_strip.SeriesKey | None = None
    instead_of: queries.Term | None = None


@dataclass
class _Progress:
    """What has come of one drop so far; `asked` is the study and slice asked for at first."""

    number: int
    job: int
    is_first_shown: bool = False
    opened: set[str] = field(default_factory=set)
    counted: int = 0
    images: dict[str, int] = field(default_factory=dict)
    asked: tuple[str, queries.ImageTerm] | None = None
    first_refused: list[report.Entry] = field(default_factory=list)
    error: BaseException | None = None


class Intake(QObject):
    """Opens what comes, shows the first study, and keeps a report of every file."""

    found = Signal(object)  # Found
    problem_met = Signal(object)  # problems.Problem
    report_requested = Signal(int)  # number of a drop
    ended = Signal(object, int)  # drop_reader.Request, studies that were opened
    failed = Signal(object)  # OSError

    def __init__(
        self,
        view: viewing.Viewing,
        reader: drop_reader.DropReader,
        work: background.Background,
        strip: study_strip.StudyStrip,
        bottom: bottom_dock.BottomDock,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewing, self._reader, self._work, self._strip = view, reader, work, strip
        self._jobs, self._log, self._report = bottom.jobs, bottom.log, bottom.imported
        self._drops: dict[int, _Progress] = {}
        self._scratch: Path | None = None
        self._case: studies.Study | None = None
        self._faults: dict[str, dict[int, str]] = {}
        self._later: dict[str, studies.Series] = {}
        self._amending = QTimer(self, singleShot=True, interval=_AMEND_MS)
        self._amending.timeout.connect(self._amend)
        reader.began.connect(self._begin)
        reader.found.connect(self._take_found)
        reader.failed.connect(self._fail)
        reader.ended.connect(self._end)
        view.case_opened.connect(self._open_case)
        view.fault_met.connect(self._note_fault)
        strip.series_chosen.connect(self._show_chosen)

    def set_scratch(self, scratch: Path) -> None:
        """Say where pasted pictures are kept."""
        self._scratch = scratch

    def take(self, dropped: drops.Dropped, zone: drops.Zone) -> None:
        """Take what was dropped or pasted."""
        if dropped.words:
            part = chips.Part(queries.TextTerm(dropped.words), plain.line(dropped.words))
            self.found.emit(Found(part, zone))
        elif dropped.picture is not None and self._scratch is not None:
            picture, scratch = dropped.picture, self._scratch
            self._work.run(
                lambda: drops.keep_picture(picture, scratch),
                then=lambda file: self._reader.open([file], zone),
                failed=self.failed.emit,
            )
        elif dropped.paths:
            self._reader.open(dropped.paths, zone)

    def open(self, paths: Sequence[Path]) -> None:
        """Open paths without asking by them."""
        self._reader.open(list(paths), drops.Zone.OPEN)

    def part_of_shown(self, index: int | None = None) -> Found | None:
        """Return a part for what is in the pane: the series, or one slice of it."""
        if self._viewing.now is None:
            return None
        study, series = self._viewing.now
        key = study_strip.key_of(study, series)
        if index is None or len(series.slices) == 1:
            part = _series_part(study, series)
        else:
            part = _slice_part(series, index)
        return Found(part, drops.Zone.FIND, key)

    # one drop, from its begin to its end

    def _begin(self, request: drop_reader.Request) -> None:
        what = self._named(request)
        job = jobs.Job(
            title=self.tr("Opening {what}").format(what=what),
            line=self.tr("Reading…"),
            icon="folder-open",
            stop=lambda: self._reader.stop(request),
            report=lambda: self.report_requested.emit(request.number),
        )
        self._drops[request.number] = _Progress(request.number, self._jobs.add(job))
        self._report.begin(request.number, what)

    def _named(self, request: drop_reader.Request) -> str:
        if len(request.paths) != 1:
            return self.tr("{n} files").format(n=len(request.paths))
        if request.paths[0].parent == self._scratch:
            return self.tr("Pasted picture")
        return plain.line(request.paths[0].name or str(request.paths[0]), 80)

    def _take_found(self, request: drop_reader.Request, came: drop_reader.Found) -> None:
        if (drop := self._drops.get(request.number)) is None:
            return
        found = came.studies
        if request.paths and request.paths[0].parent == self._scratch:
            found = tuple(terms.called(study, self.tr("Pasted picture")) for study in found)
        drop.counted = came.counted
        self._strip.model.add_all(found)
        for study in found:
            self._take_study(request, drop, study)
        self._report.add(request.number, came.entries)
        refused = (entry for entry in came.entries if entry.answer == "refused")
        drop.first_refused += list(refused)[: _LOGGED - len(drop.first_refused)]
        if not came.studies and not came.entries and not came.counted:
            return
        words = self.tr("{n} files read so far").format(n=f"{came.counted:,}")
        self._jobs.change(drop.job, line=self.tr("Reading…"), sentence=words)

    def _take_study(
        self, request: drop_reader.Request, drop: _Progress, study: studies.Study
    ) -> None:
        drop.images[study.study_uid] = sum(len(series.slices) for series in study.series)
        if study.study_uid in drop.opened:
            self._viewing.grow(study)
            self._viewing.draw_pictures(study)
            if study.is_complete and drop.asked and drop.asked[0] == study.study_uid:
                self._ask_again(request, drop, study)
            return
        drop.opened.add(study.study_uid)
        series = study_strip.largest(study)
        is_first, drop.is_first_shown = not drop.is_first_shown, True
        if is_first and (request.zone is not drops.Zone.ADD or self._viewing.now is None):
            self._viewing.show(study, series, _first_slice(series))
        else:
            self._viewing.grow(study)
        self._viewing.draw_pictures(study)
        if is_first and request.zone is not drops.Zone.OPEN:
            self._ask(request, drop, study, series)

    def _ask(
        self,
        request: drop_reader.Request,
        drop: _Progress,
        study: studies.Study,
        series: studies.Series,
    ) -> None:
        """Ask by a series; by its middle slice at once while more of it may come."""
        part = _series_part(study, series)
        if not study.is_complete:
            part = _slice_part(series, len(series.slices) // 2)
            drop.asked = (study.study_uid, part.term)
        self.found.emit(Found(part, request.zone, study_strip.key_of(study, series)))

    def _ask_again(
        self, request: drop_reader.Request, drop: _Progress, study: studies.Study
    ) -> None:
        """Ask by the whole series of the slice that was asked for at first."""
        (_, term), drop.asked = drop.asked, None
        if drop.counted > _MOST_ASKED_AGAIN:
            return
        for series in study.series:
            if _holds(series, term.ref):
                key = study_strip.key_of(study, series)
                part = _series_part(study, series)
                self.found.emit(Found(part, request.zone, key, instead_of=term))
                return

    def _fail(self, request: drop_reader.Request, error: BaseException) -> None:
        if (drop := self._drops.get(request.number)) is not None:
            drop.error = error

    def _end(self, request: drop_reader.Request, was_stopped: bool) -> None:
        drop = self._drops.pop(request.number)
        counts = self._report.counts(request.number)
        refused = sum(n for (answer, _), n in counts.items() if answer == "refused")
        state = jobs.State.SKIPS if refused else jobs.State.DONE
        if not drop.opened and not was_stopped:
            state = jobs.State.FAILED
        line = self.tr("{n} studies, {m} images").format(
            n=len(drop.opened), m=f"{sum(drop.images.values()):,}"
        )
        if was_stopped:
            line = self.tr("Stopped · {line}").format(line=line)
        sentence = report.sentence(counts)
        self._report.end(request.number)
        self._jobs.change(drop.job, line=line, state=state, sentence=sentence, stop=None)
        self._log.add(self._named(request), sentence)
        self._log.add_all([(plain.line(e.path), e.why) for e in drop.first_refused])
        if not was_stopped and drop.error is None:
            self._say_what_is_missing(request, drop, sentence)
        self.ended.emit(request, len(drop.opened))
        if isinstance(drop.error, errors.MedsearchError | OSError):
            self.failed.emit(drop.error)
        elif drop.error is not None:
            raise drop.error

    def _say_what_is_missing(
        self, request: drop_reader.Request, drop: _Progress, sentence: str
    ) -> None:
        """Show one card for the drop, where not all of it is an image that can be seen."""
        counts = self._report.counts(request.number)
        answers = {answer for (answer, _), number in counts.items() if number}
        if drop.opened and not answers & {"refused", "listed"}:
            return
        entries = self._report.drop(request.number)
        line = ""
        if entries is not None and len(entries.entries) == 1:
            (only,) = entries.entries
            sentence = self.tr("{name} was not opened.").format(name=self._named(request))
            line = f"It is {only.what}. {only.why}" if only.answer == "listed" else only.why
        kind = problems.Kind.ERROR
        if drop.opened:
            kind = problems.Kind.WARNING if "refused" in answers else problems.Kind.NOTICE
        elif "refused" not in answers and answers:
            kind = problems.Kind.WARNING
        show = lambda: self.report_requested.emit(request.number)  # noqa: E731
        self.problem_met.emit(
            problems.Problem(kind, sentence, line, self.tr("Show the report"), show)
        )

    # what comes later

    def _note_fault(self, series: studies.Series, index: int, why: str) -> None:
        """Remember what came out only when the pixels were read; many come at once."""
        path = series.slices[index].path
        self._faults.setdefault(path, {})[index] = why
        self._later[path] = series
        self._amending.start()

    def _amend(self) -> None:
        """Write into the report which files have images that cannot be read."""
        later, self._later = self._later, {}
        images: dict[int, Counter[str]] = {}
        said: dict[str, tuple[report.Answer, str]] = {}
        for path, series in later.items():
            if id(series) not in images:
                images[id(series)] = Counter(ref.path for ref in series.slices)
            lost = self._faults[path]
            is_lost = len(lost) >= images[id(series)][path]
            said[path] = ("refused" if is_lost else "marked", next(iter(lost.values())))
        self._report.amend(said)

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
        self._viewing.show(study, series, _first_slice(series))


def _holds(series: studies.Series, wanted: cases.ImageRef) -> bool:
    return any((r.path, r.frame) == (wanted.path, wanted.frame) for r in series.slices)


def _first_slice(series: studies.Series) -> int:
    return len(series.slices) // 2 if series.is_volume else 0


def _series_part(study: studies.Study, series: studies.Series) -> chips.Part:
    term = terms.term_of_series(study, series)
    return chips.Part(term, terms.label_of_series(study, series))


def _slice_part(series: studies.Series, index: int) -> chips.Part:
    return chips.Part(queries.ImageTerm(series.slices[index]), terms.label_of_slice(series, index))
