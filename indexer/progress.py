"""Progress as a bar or as JSON lines."""

from __future__ import annotations

import json
import time
from typing import Literal, TextIO

Kind = Literal["bar", "json", "none"]
KINDS: tuple[Kind, ...] = ("bar", "json", "none")
# Often enough to look alive, seldom enough to cost nothing.
_BAR_INTERVAL_S = 0.1
_JSON_INTERVAL_S = 0.5
_BAR_WIDTH = 30


class Progress:
    """Says how far a job is on a stream: one line that is overwritten, or one object a line.

    JSON objects have `stage`, `done`, `total` (null where not known),
    `skipped`, `elapsed_s` and `message`; the last of a job has `stage: "done"`.
    """

    def __init__(self, kind: Kind, stream: TextIO) -> None:
        self._kind, self._stream = kind, stream
        self._began = self._said = time.monotonic()
        self._is_open = False

    def step(self, stage: str, done: int, total: int | None = None, *, skipped: int = 0) -> None:
        """Say how far a stage is; calls that follow each other closely are left out."""
        now = time.monotonic()
        wait = _BAR_INTERVAL_S if self._kind == "bar" else _JSON_INTERVAL_S
        if now - self._said < wait and done != total:
            return
        self._said = now
        self._say(stage, done, total, skipped, "")

    def end(self, message: str, done: int, *, skipped: int = 0) -> None:
        """Say the last word of the job."""
        self._say("done", done, done, skipped, message)
        if self._kind == "bar" and self._is_open:
            self._stream.write("\n")
            self._stream.flush()
            self._is_open = False

    def close(self) -> None:
        """Leave the line of the bar, so that what follows stands on a line of its own."""
        if self._kind == "bar" and self._is_open:
            self._stream.write("\n")
            self._stream.flush()
            self._is_open = False

    def _say(self, stage: str, done: int, total: int | None, skipped: int, message: str) -> None:
        elapsed = time.monotonic() - self._began
        if self._kind == "json":
            line = {
                "stage": stage,
                "done": done,
                "total": total,
                "skipped": skipped,
                "elapsed_s": round(elapsed, 1),
                "message": message,
            }
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
        elif self._kind == "bar":
            self._stream.write("\r" + _bar(stage, done, total, skipped, elapsed, message))
            self._stream.flush()
            self._is_open = True


def _bar(
    stage: str, done: int, total: int | None, skipped: int, elapsed: float, message: str
) -> str:
    left = ""
    if total:
        filled = round(_BAR_WIDTH * min(done, total) / total)
        bar = "█" * filled + "░" * (_BAR_WIDTH - filled)
        amount = f"{bar} {done:,} of {total:,}"
        if 0 < done < total and elapsed > 2:
            left = f", {elapsed / done * (total - done):,.0f} s left"
    else:
        amount = f"{done:,}"
    note = f", {skipped:,} skipped" if skipped else ""
    line = message or f"{stage} {amount}{note}{left}"
    return line.ljust(100)[:100]
