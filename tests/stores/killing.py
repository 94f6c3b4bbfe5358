"""Starts a writer, listens to what it says, and kills or stops it at a chosen moment."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0
CHILD = Path(__file__).with_name("writing_child.py")


@dataclass
class Said:
    """What one writer said before its end; `status` is its exit status, -9 when it was killed."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    status: int | None = None

    def all(self, key: str) -> list[Any]:
        """Return every value that was said under a name, in order."""
        return [line[key] for line in self.lines if key in line]

    def last(self, key: str, default: Any = None) -> Any:
        """Return the last value said under a name."""
        return next((line[key] for line in reversed(self.lines) if key in line), default)


class Writers:
    """The program that forks a writer for each job, with a thread that listens to it."""

    def __init__(self) -> None:
        tests = str(Path(__file__).parents[1])
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join((tests, root, os.environ.get("PYTHONPATH", "")))
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths},
            text=True,
        )
        self._heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, name="writers-listener")
        self._listener.start()
        self._hear("ready")
        self.pid = 0
        self.said = Said()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._heard.put(json.loads(line))
        self._heard.put({"gone": True})

    def _hear(self, wanted: str) -> dict[str, Any]:
        while True:
            line = self._heard.get(timeout=PATIENCE_S)
            if wanted in line:
                return line
            assert "gone" not in line, "the writers' program has ended"

    def start(self, job: str, **told: Any) -> None:
        """Let a writer begin; what it says is gathered in `said`."""
        assert self._process.stdin is not None
        self.said = Said()
        self._process.stdin.write(json.dumps({"job": job, **told}) + "\n")
        self._process.stdin.flush()
        while True:
            line = self._heard.get(timeout=PATIENCE_S)
            if "pid" in line:
                self.pid = line["pid"]
                return
            self.said.lines.append(line)

    def wait_for(self, key: str) -> None:
        """Listen until the writer has said something, or has ended."""
        while not self.said.all(key) and self.said.status is None:
            self._take(self._heard.get(timeout=PATIENCE_S))

    def _take(self, line: dict[str, Any]) -> None:
        if "ended" in line:
            self.said.status = line["ended"]
        else:
            self.said.lines.append(line)

    def drain(self) -> None:
        """Take what was said so far. Of a stopped writer that is all it has done and said."""
        time.sleep(0.01)
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._heard.get(timeout=0.01))

    def finish(self) -> Said:
        """Wait for the end of the writer and return what it said."""
        while self.said.status is None:
            self._take(self._heard.get(timeout=PATIENCE_S))
        self.pid = 0
        return self.said

    def kill(self, after_s: float) -> Said:
        """Kill the writer in a while and return what it said; it may have ended by itself."""
        self._signal(signal.SIGKILL, after_s)
        return self.finish()

    def stop(self, after_s: float) -> None:
        """Stop the writer in a while, for a look at its disk."""
        self._signal(signal.SIGSTOP, after_s)

    def go_on(self) -> None:
        """Let a stopped writer go on."""
        self._signal(signal.SIGCONT, 0)

    def _signal(self, number: int, after_s: float) -> None:
        time.sleep(after_s)
        # The id stays the writer's own until its end was waited for, which `said` tells.
        if self.said.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def close(self) -> None:
        """End the program and the listener."""
        if self.pid and self.said.status is None:
            self.kill(0)
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextlib.contextmanager
def writers() -> Iterator[Writers]:
    """Give the writers' program, ended with the block."""
    started = Writers()
    try:
        yield started
    finally:
        started.close()
