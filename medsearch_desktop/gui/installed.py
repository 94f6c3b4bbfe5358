"""Encoders that are installed, as the indexer lists them; children that import and remove them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from medsearch_desktop.gui import bridge, demo_build
from medsearch_desktop.viewer import plain
from medsearch_desktop.worker import messages

# The encoder that is shown first: it comes with the program.
DEFAULT = "compact"
_MOST_LIMITS = 2000


@dataclass(frozen=True)
class Encoder:
    """One line of `encoders list`; `problem` says why it cannot be used.

    What is built in comes with the program and cannot be removed.
    """

    name: str
    problem: str = ""
    kind: str = ""
    digest: str = ""
    dimension: int = 0
    abilities: tuple[str, ...] = ()
    licence: str = ""
    source: str = ""
    limits: str = ""
    modalities: tuple[str, ...] = ()
    device: str = ""
    precision: str = ""
    runtime: str = ""
    is_built_in: bool = False


class Task(enum.Enum):
    """What is being done."""

    NONE = ""
    LIST = "list"
    IMPORT = "import"
    REMOVE = "remove"


@dataclass(frozen=True)
class Ended:
    """How importing or removing ended: the encoder's name, and a sentence where it was not done.

    `notices` are what is to be known of an encoder that was imported.
    """

    task: Task
    name: str
    problem: str = ""
    was_stopped: bool = False
    notices: tuple[str, ...] = ()


def encoders_of(report: dict) -> tuple[Encoder, ...]:
    """Return what a report of `encoders list` says; what cannot be understood is left out."""
    listed = report.get("encoders")
    found = [_encoder(one) for one in listed if isinstance(one, dict)] if listed else []
    return tuple(one for one in found if one.name)


def _encoder(said: dict) -> Encoder:
    name = _text(said, "name")
    is_built_in = bool(said.get("built_in", name == DEFAULT))
    if not said.get("ok", True):
        reason = _text(said, "reason") or "It cannot be used."
        return Encoder(name, problem=reason, is_built_in=is_built_in)
    dimension = said.get("dimension")
    return Encoder(
        name,
        kind=_text(said, "kind"),
        digest=_text(said, "digest"),
        dimension=dimension if isinstance(dimension, int) else 0,
        abilities=_texts(said, "abilities"),
        licence=_text(said, "licence"),
        source=_text(said, "source"),
        limits=_text(said, "limits"),
        modalities=_texts(said, "modalities"),
        device=_text(said, "device"),
        precision=_text(said, "precision"),
        runtime=_text(said, "runtime"),
        is_built_in=is_built_in,
    )


def notices_of(report: dict) -> tuple[str, ...]:
    """Return what a report of `encoders import` says that is to be known of the model."""
    conversion = report.get("conversion")
    said = [_text(conversion, "sentence")] if isinstance(conversion, dict) else []
    return tuple(dict.fromkeys(filter(None, (*said, *_texts(report, "notices")))))


def _text(said: dict, key: str) -> str:
    return plain.line(str(said.get(key) or ""), _MOST_LIMITS)


def _texts(said: dict, key: str) -> tuple[str, ...]:
    values = said.get(key)
    return tuple(plain.line(str(v)) for v in values) if isinstance(values, list) else ()


class Installed(QObject):
    """Lists, imports and removes encoders one at a time, and has them measured."""

    changed = Signal()  # what is listed or measured
    began = Signal(object)  # Task
    progressed = Signal(object)  # the JSON object of one line
    ended = Signal(object)  # Ended

    def __init__(self, home: Path, worker: bridge.Bridge, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker = worker
        self._encoders: tuple[Encoder, ...] = ()
        self._is_listed = self._is_outdated = False
        self._measured: dict[str, messages.Measured] = {}
        self._measuring: set[str] = set()
        self._task, self._name = Task.NONE, ""
        self._lister = demo_build.Child(home, self, reads_report=True)
        self._lister.ended.connect(self._take_list)
        self._child = demo_build.Child(home, self, reads_report=True)
        self._child.progressed.connect(self.progressed)
        self._child.ended.connect(self._end)
        worker.measured.connect(self._take_measured)
        worker.lost.connect(self._stop_measuring)

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        """What is installed, as it was listed last."""
        return self._encoders

    @property
    def is_listed(self) -> bool:
        """Say whether the list was read."""
        return self._is_listed

    @property
    def is_listing(self) -> bool:
        """Say whether the list is being read."""
        return self._lister.is_running

    @property
    def task(self) -> Task:
        """IMPORT or REMOVE while it is under way."""
        return self._task

    def find(self, name: str) -> Encoder | None:
        """Return an encoder by its name, or None."""
        return next((one for one in self._encoders if one.name == name), None)

    def measured(self, name: str) -> messages.Measured | None:
        """Return how long an encoder takes here, or None before it was measured."""
        return self._measured.get(name)

    def is_measuring(self, name: str) -> bool:
        """Say whether an encoder is being measured."""
        return name in self._measuring

    def refresh(self) -> None:
        """Read the list; once more where it is being read: that may be older than what was done."""
        self._is_outdated = self._lister.is_running
        self._lister.start(["encoders", "list"])
        self.changed.emit()

    def bring_in(self, folder: Path) -> None:
        """Import the model in a folder; nothing happens while something else is done."""
        if self._task is Task.NONE:
            # Behind "--": the name of a folder cannot become an option.
            self._begin(Task.IMPORT, folder.name, ["encoders", "import", "--", str(folder)])

    def remove(self, name: str) -> None:
        """Remove an installed encoder from the data folder."""
        if self._task is Task.NONE:
            self._begin(Task.REMOVE, name, ["encoders", "remove", "--", name])

    def measure(self, name: str) -> None:
        """Have the search process measure an encoder."""
        self._measuring.add(name)
        self._worker.measure(name)
        self.changed.emit()

    def stop(self) -> None:
        """End importing; nothing of it is kept. Removing takes a moment and is not broken off."""
        if self._task is Task.IMPORT:
            self._child.stop()

    def close(self) -> None:
        """End what runs."""
        self._lister.close()
        self._child.close()

    def _begin(self, task: Task, name: str, words: list[str]) -> None:
        self._task, self._name = task, name
        self._child.start(words)
        self.began.emit(task)

    def _end(self, problem: str) -> None:
        task, self._task = self._task, Task.NONE
        was_stopped = bool(problem) and self._child.was_stopped
        report = self._child.report
        name = plain.line(str(report.get("name") or self._name))
        if not problem:
            self._measured.pop(name, None)
        # The list first: what hears of the end knows then that another one is on its way.
        self.refresh()
        told = () if problem else notices_of(report)
        self.ended.emit(Ended(task, name, plain.line(problem, 2000), was_stopped, told))

    def _take_list(self, problem: str) -> None:
        if self._is_outdated:
            self.refresh()
            return
        if not problem:
            self._encoders, self._is_listed = encoders_of(self._lister.report), True
        else:
            self.ended.emit(Ended(Task.LIST, "", plain.line(problem, 2000)))
        self.changed.emit()

    def _take_measured(self, measured: messages.Measured) -> None:
        self._measuring.discard(measured.encoder)
        self._measured[measured.encoder] = measured
        self.changed.emit()

    def _stop_measuring(self) -> None:
        """Wait no longer: what ended the process is not asked of the next one."""
        self._measuring.clear()
        self.changed.emit()
