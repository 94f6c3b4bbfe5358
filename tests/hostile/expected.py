"""One hostile input: how it is written, and the answer the program must give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Hostile:
    """`write(folder)` makes the input below an empty folder and returns the paths to drop.

    `answers` are all the answers (report.Answer) that the drop's report must
    hold, no more and no less, after its pixels were read: a file whose pixels
    cannot be read counts as refused. `words` is a regular expression that some
    `why` of the report holds. `series` is the number of stacks that open.
    """

    name: str
    write: Callable[[Path], Sequence[Path]]
    answers: frozenset[str]
    words: str = ""
    series: int | None = None


def hostile(
    name: str,
    write: Callable[[Path], Sequence[Path]],
    *answers: str,
    words: str = "",
    series: int | None = None,
) -> Hostile:
    """Return a case; `answers` as in Hostile."""
    return Hostile(name, write, frozenset(answers), words, series)
