"""The indexer as a child process that reports line by line; it builds the demo collection."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from medsearch_desktop import errors

_log = logging.getLogger(__name__)

# How long a child that was asked to end may take before it is killed.
_STOP_MS = 2000
# How many of its last words are told when it fails: a sentence and an action are two lines.
_LINES = 5
# The indexer's exit status for a damaged collection.
_DAMAGED = 4
# Commands of two words; their options stand behind the second.
_PAIRS = ("encoders",)
# What a command reports is a few kB.
_LARGEST_REPORT = 4 << 20


def command() -> list[str]:
    """Return the command line of the indexer: of the checkout, or beside the frozen program."""
    if getattr(sys, "frozen", False):
        program = Path(sys.executable)
        return [str(program.with_name("medsearch-index" + program.suffix))]
    return [sys.executable, "-m", "indexer"]


def line_of(said: dict) -> str:
    """Return one line of progress for a person to read."""
    done, total = int(said.get("done") or 0), int(said.get("total") or 0)
    line = f"{said.get('stage') or ''}: {done:,}" + (f" / {total:,}" if total else "")
    return str(said.get("message") or line)


class Child(QObject):
    """Runs one command of the indexer at a time; a build goes on when started again.

    With `reads_report` it is asked for JSON, which is in `report` when it has ended.
    """

    progressed = Signal(object)  # the JSON object of one line
    ended = Signal(str)  # "" when done, else what went wrong

    def __init__(
        self, home: Path, parent: QObject | None = None, *, reads_report: bool = False
    ) -> None:
        super().__init__(parent)
        self._home = home
        self._reads_report = reads_report
        self._report = b""
        self.report: dict = {}
        self._process: QProcess | None = None
        self._said: deque[str] = deque(maxlen=_LINES)
        self._rest = b""
        self._status = 0
        self._is_stopped = False

    @property
    def is_running(self) -> bool:
        """Say whether the child runs."""
        return self._process is not None

    @property
    def was_stopped(self) -> bool:
        """Say whether the last command ended because it was asked to."""
        return self._is_stopped

    @property
    def has_met_damage(self) -> bool:
        """Say whether the last command ended because a collection is damaged."""
        return self._status == _DAMAGED and not self._is_stopped

    def start(self, words: Sequence[str]) -> None:
        """Start the child with a command's words; nothing happens while one runs."""
        if self._process is not None:
            return
        self._said.clear()
        self._rest, self._is_stopped, self._status = b"", False, 0
        self._report, self.report = b"", {}
        process = QProcess(self)
        program, *arguments = command()
        lead = 2 if words[0] in _PAIRS else 1
        options = ["--progress", "json", "--home", str(self._home)]
        options += ["--json"] if self._reads_report else []
        arguments += [*words[:lead], *options, *words[lead:]]
        process.setProgram(program)
        process.setArguments(arguments)
        process.setProcessEnvironment(QProcessEnvironment.systemEnvironment())
        if self._reads_report:
            process.readyReadStandardOutput.connect(self._read_report)
        else:
            process.setStandardOutputFile(QProcess.nullDevice())
        process.readyReadStandardError.connect(self._read)
        process.finished.connect(self._finish)
        process.errorOccurred.connect(self._fail_to_start)
        self._process = process
        process.start()

    def stop(self) -> None:
        """End the child; its work so far is kept."""
        if self._process is not None:
            self._is_stopped = True
            self._process.terminate()

    def close(self) -> None:
        """End the child and wait for it; kill it after 2 s."""
        process, self._process = self._process, None
        if process is None:
            return
        process.blockSignals(True)
        process.terminate()
        if not process.waitForFinished(_STOP_MS):
            process.kill()
            process.waitForFinished(_STOP_MS)

    def _read(self) -> None:
        if self._process is None:
            return
        content = self._rest + bytes(self._process.readAllStandardError().data())
        *lines, self._rest = content.split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            said = None
        if isinstance(said, dict):
            self.progressed.emit(said)
        elif words := line.decode("utf-8", "replace").strip():
            self._said.append(words)

    def _read_report(self) -> None:
        if self._process is not None and len(self._report) <= _LARGEST_REPORT:
            self._report += bytes(self._process.readAllStandardOutput().data())

    def _take_report(self) -> None:
        """Understand what was reported; an error in it is the last word of the child."""
        with contextlib.suppress(ValueError, RecursionError):
            said = json.loads(self._report)
            self.report = said if isinstance(said, dict) else {}
        error = self.report.get("error")
        if isinstance(error, dict):
            self._said.clear()
            self._said += [str(error.get(key) or "") for key in ("message", "action")]

    def _finish(self, code: int) -> None:
        self._read()
        self._take(self._rest)
        if self._reads_report:
            self._read_report()
            self._take_report()
        self._process, self._status = None, code
        _log.debug("the indexer ended with status %d", code)
        # 3: done with some inputs skipped.
        if code in (0, 3):
            self.ended.emit("")
        elif self._is_stopped:
            self.ended.emit(self.tr("Stopped. What was built so far is kept."))
        else:
            ended = self.tr("The indexer ended with status {code}.").format(code=code)
            said = " ".join(map(errors.with_stop, filter(None, self._said)))
            self.ended.emit(said or ended)

    def _fail_to_start(self, error: QProcess.ProcessError) -> None:
        if error is QProcess.ProcessError.FailedToStart:
            self._process = None
            self.ended.emit(self.tr("The indexer could not be started."))


class DemoBuild(Child):
    """Runs `medsearch-index demo`."""

    def start(self, words: Sequence[str] = ("demo",)) -> None:
        """Start the child; nothing happens while one runs."""
        super().start(words)
