"""What became of mutants, counted by kind of damage and printed as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

ANSWERS = ("opened", "marked", "split", "refused", "listed", "left out")


@dataclass
class Row:
    """The counts of one kind of damage."""

    answers: Counter[str] = field(default_factory=Counter)
    deaths: int = 0
    timeouts: int = 0
    slowest_s: float = 0.0
    peak_mb: float = 0.0


@dataclass
class Tally:
    """Rows by kind of damage."""

    rows: dict[str, Row] = field(default_factory=dict)

    def row(self, kind: str) -> Row:
        """Return the row of a kind, a new one where there is none."""
        return self.rows.setdefault(kind, Row())

    def answered(self, *answers: str) -> int:
        """Return how many mutants got one of these answers."""
        return sum(row.answers[answer] for row in self.rows.values() for answer in answers)

    def deaths(self) -> int:
        """Return how many reader processes were lost."""
        return sum(row.deaths for row in self.rows.values())

    def text(self, title: str) -> str:
        """Return the table in Markdown, with a row for all kinds together."""
        lines = [f"\n{title}", "", _line("kind", *ANSWERS, "deaths", "late", "slowest s", "MB")]
        lines.append("|" + " --- |" * (len(ANSWERS) + 5))
        lines += [_row(kind, [row]) for kind, row in sorted(self.rows.items())]
        lines.append(_row("all", self.rows.values()))
        return "\n".join(lines)


def _row(kind: str, rows: Iterable[Row]) -> str:
    told = list(rows)
    counts = [sum(row.answers[answer] for row in told) for answer in ANSWERS]
    deaths, timeouts = sum(row.deaths for row in told), sum(row.timeouts for row in told)
    slowest = max((row.slowest_s for row in told), default=0.0)
    peak = max((row.peak_mb for row in told), default=0.0)
    return _line(kind, *counts, deaths, timeouts, f"{slowest:.1f}", f"{peak:.0f}")


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
