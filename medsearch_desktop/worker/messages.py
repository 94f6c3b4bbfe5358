"""Frozen dataclasses that cross the pipe."""

from __future__ import annotations

from dataclasses import dataclass

from medsearch_desktop import errors, queries

# window -> worker


@dataclass(frozen=True)
class Search:
    """Ask `query`; an older ticket that has not begun is dropped."""

    ticket: int
    query: queries.Query


@dataclass(frozen=True)
class Prepare:
    """Open these collections and load their encoders before the first question."""

    collections: tuple[str, ...]


@dataclass(frozen=True)
class Stop:
    """End the process after the batch at hand."""


# worker -> window


@dataclass(frozen=True)
class Ready:
    """The process stands. `device` is "CPU" or the GPU's name."""

    device: str


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
class Failed:
    """What was asked cannot be answered; for a Prepare `ticket` is None, `subject` the folder."""

    ticket: int | None
    error: errors.MedsearchError
    subject: str = ""


FromWindow = Search | Prepare | Stop
FromWorker = Ready | Prepared | Answer | Progress | Failed
