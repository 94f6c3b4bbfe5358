"""Reads what is dropped on a thread: studies that grow, and what became of each file."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from medsearch_desktop.gui import background, drops
from medsearch_desktop.imaging import isolated, report
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.viewer import plain

# The first studies come at once; after them what came within this time comes together.
_AT_ONCE, _TOGETHER_S = 5, 0.1


@dataclass(frozen=True)
class Request:
    """One drop: its number, what was dropped and in which zone."""

    number: int
    paths: tuple[Path, ...]
    zone: drops.Zone


@dataclass(frozen=True)
class Found:
    """What came of a request at one time: studies, and an entry for each file dealt with.

    A study that still grows has no entries yet; `counted` is how many of all
    the files are known by now.
    """

    studies: tuple[studies.Study, ...]
    entries: tuple[report.Entry, ...]
    counted: int


@dataclass
class _State:
    """How far a request is: its studies that still grow, their files, and all that are listed."""

    growing: dict[str, studies.Study] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    listed: int = 0
    is_over: bool = False


class DropReader(QObject):
    """Opens paths one request beside another; nothing of it waits on the main thread."""

    began = Signal(object)  # Request
    found = Signal(object, object)  # Request, Found
    ended = Signal(object, bool)  # Request; whether it was stopped
    failed = Signal(object, object)  # Request, an error of opening; `ended` comes behind it

    def __init__(
        self,
        readers: isolated.Readers,
        work: background.Background,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._readers, self._work = readers, work
        self._numbers = itertools.count(1)
        self._states: dict[int, _State] = {}

    def open(self, paths: Sequence[Path], zone: drops.Zone) -> Request:
        """Open files, folders or archives."""
        request = Request(next(self._numbers), tuple(paths), zone)
        state = self._states[request.number] = _State()

        def items() -> Iterator[studies.Study | studies.Refused]:
            return self._readers.open_paths(
                [str(path) for path in paths],
                cancelled=lambda: self._work.is_closing or state.is_over,
                grow=True,
            )

        def each(found: Found) -> None:
            if not state.is_over:
                self.found.emit(request, found)

        def failed(error: BaseException) -> None:
            if not state.is_over:
                self.failed.emit(request, error)
                self._end(request)

        self.began.emit(request)
        self._work.stream(
            lambda: _together(items(), state),
            each=each,
            then=lambda _: self._end(request),
            failed=failed,
        )
        return request

    def stop(self, request: Request) -> None:
        """Open no more of a request; what was found of it so far stays."""
        state = self._states.get(request.number)
        if state is None or state.is_over:
            return
        state.is_over = True
        grown = tuple(dataclasses.replace(s, is_complete=True) for s in state.growing.values())

        def entries() -> tuple[report.Entry, ...]:
            rest = [_not_looked_at(path) for path in request.paths]
            return (*(entry for study in grown for entry in report.entries(study)), *rest)

        def then(told: tuple[report.Entry, ...]) -> None:
            self.found.emit(request, Found(grown, told, state.listed + len(told)))
            self._end(request, stopped=True)

        self._work.run(entries, then=then, failed=lambda error: None)

    def _end(self, request: Request, *, stopped: bool = False) -> None:
        state = self._states.get(request.number)
        if state is not None and state.is_over == stopped:
            del self._states[request.number]
            self.ended.emit(request, stopped)


def _not_looked_at(path: Path) -> report.Entry:
    why = "Opening was stopped: the files behind this point were not looked at."
    return report.Entry(str(path), report.NOT_LOOKED_AT, "left out", why)


def _together(items: Iterator[studies.Study | studies.Refused], state: _State) -> Iterator[Found]:
    """Give what comes in few portions, so that 100,000 files do not make as many events."""
    held: dict[str, studies.Study] = {}
    others: list[studies.Study] = []
    entries: list[report.Entry] = []
    given, last = 0, time.monotonic()
    for item in items:
        if isinstance(item, studies.Study):
            item = plain.study(item)
            _note(item, state, held, others)
        if isinstance(item, studies.Refused) or item.is_complete:
            entries += report.entries(item)
        now = time.monotonic()
        is_early = given < _AT_ONCE and (held or others)
        if is_early or now - last > _TOGETHER_S:
            yield _portion(state, held, others, entries)
            given, last = given + 1, now
    yield _portion(state, held, others, entries)


def _note(
    study: studies.Study,
    state: _State,
    held: dict[str, studies.Study],
    others: list[studies.Study],
) -> None:
    """Hold a study until the next portion; a newer self takes the place of a growing one."""
    if not study.is_complete:
        held[study.study_uid] = state.growing[study.study_uid] = study
        files = {ref.path for series in study.series for ref in series.slices}
        state.files[study.study_uid] = len(files)
        return
    state.growing.pop(study.study_uid, None)
    state.files.pop(study.study_uid, None)
    held.pop(study.study_uid, None)
    others.append(study)


def _portion(
    state: _State,
    held: dict[str, studies.Study],
    others: list[studies.Study],
    entries: list[report.Entry],
) -> Found:
    state.listed += len(entries)
    counted = state.listed + sum(list(state.files.values()))
    found = Found((*held.values(), *others), tuple(entries), counted)
    held.clear()
    others.clear()
    entries.clear()
    return found
