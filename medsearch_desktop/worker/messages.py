"""Frozen dataclasses that cross the pipe."""

from __future__ import annotations

from dataclasses import dataclass

from medsearch_desktop import errors, queries

# window -> worker


@dataclass(frozen=True)
class Search:
    """Ask `query`; an older ticket of the same `lane` that has not begun is dropped.

    Lane 0 is the question of the window. Those of other lanes are asked beside it.
    """

    ticket: int
    query: queries.Query
    lane: int = 0


@dataclass(frozen=True)
class Prepare:
    """Open these collections and load their encoders before the first question."""

    collections: tuple[str, ...]


@dataclass(frozen=True)
class Measure:
    """Measure how long the installed encoder of this name takes here; questions go first."""

    encoder: str


@dataclass(frozen=True)
class Stop:
    """End the process after the batch at hand."""


# worker -> window


@dataclass(frozen=True)
class Ready:
    """The process stands. `device` is "CPU" or the GPU's name."""

    device: str


@dataclass(frozen=True)
class Placed:
    """Where an encoder runs: the device's name, the precision ("int8"), and by what runtime."""

    encoder: str
    device: str
    precision: str
    runtime: str = ""

    @property
    def words(self) -> str:
        """Return device and precision as they are shown: "CPU, int8"."""
        return ", ".join(part for part in (self.device, self.precision) if part)


@dataclass(frozen=True)
class Running:
    """Where the encoders that were loaded run; told whenever that changes."""

    encoders: tuple[Placed, ...]


@dataclass(frozen=True)
class Prepared:
    """A collection can be searched: its name, cases, encoder name, digest and limits.

    `notice` is a sentence about what is wrong with it and was worked around, or "".
    """

    collection: str
    name: str
    cases: int
    encoder: str
    encoder_digest: str
    encoder_limits: str
    device: str
    notice: str = ""


@dataclass(frozen=True)
class Answer:
    """Results for `results.ticket`; more follow while `results.complete` is False."""

    results: queries.Results


@dataclass(frozen=True)
class Progress:
    """How far the answer to `ticket` is: `done` of `total` slices read."""

    ticket: int
    done: int
    total: int


@dataclass(frozen=True)
class Measured:
    """How long an encoder takes here: ms a picture and ms a text, None for what it cannot do.

    `problem` is a sentence where it could not be measured, or "".
    """

    encoder: str
    placed: Placed | None = None
    image_ms: float | None = None
    text_ms: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Failed:
    """What was asked cannot be answered; for a Prepare `ticket` is None, `subject` the folder."""

    ticket: int | None
    error: errors.MedsearchError
    subject: str = ""


FromWindow = Search | Prepare | Measure | Stop
FromWorker = Ready | Running | Prepared | Answer | Progress | Measured | Failed
