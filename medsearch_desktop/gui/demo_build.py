"""The indexer as a child process that reports line by line; it builds the demo collection."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal

_log = logging.getLogger(__name__)

# How long a child that was asked to end may take before it is killed.
_STOP_MS = 2000


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
    """Runs one command of the indexer at a time; a build goes on when started again."""

    progressed = Signal(object)  # the JSON object of one line
    ended = Signal(str)  # "" when done, else what went wrong

    def __init__(self, home: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._home = home
        self._process: QProcess | None = None
        self._said = ""
        self._rest = b""
        self._is_stopped = False

    @property
    def is_running(self) -> bool:
        """Say whether the child runs."""
        return self._process is not None

    def start(self, words: Sequence[str]) -> None:
        """Start the child with a command's words; nothing happens while one runs."""
        if self._process is not None:
            return
        self._said, self._rest, self._is_stopped = "", b"", False
        process = QProcess(self)
        program, *arguments = command()
        first, *rest = words
        arguments += [first, "--progress", "json", "--home", str(self._home), *rest]
        process.setProgram(program)
        process.setArguments(arguments)
        process.setProcessEnvironment(QProcessEnvironment.systemEnvironment())
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
            try:
                self.progressed.emit(json.loads(line))
            except ValueError:
                self._said = line.decode("utf-8", "replace").strip() or self._said

    def _finish(self, code: int) -> None:
        self._read()
        self._process = None
        _log.debug("the indexer ended with status %d", code)
        # 3: done with some inputs skipped.
        if code in (0, 3):
            self.ended.emit("")
        elif self._is_stopped:
            self.ended.emit(self.tr("Stopped. What was built so far is kept."))
        else:
            words = self._said or self.tr("The build ended with status {code}.")
            self.ended.emit(words.format(code=code) if not self._said else words)

    def _fail_to_start(self, error: QProcess.ProcessError) -> None:
        if error is QProcess.ProcessError.FailedToStart:
            self._process = None
            self.ended.emit(self.tr("The indexer could not be started."))


class DemoBuild(Child):
    """Runs `medsearch-index demo`."""

    def start(self, words: Sequence[str] = ("demo",)) -> None:
        """Start the child; nothing happens while one runs."""
        super().start(words)
