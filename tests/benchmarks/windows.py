"""The first window beside an empty one, and the main thread while a 300-slice CT is dropped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import figures
import phantoms

SLICES, SIDE = 300, 512
_HERE = Path(__file__).parent

_EMPTY = """
import json, sys, time
from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication, QMainWindow
class First(QObject):
    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint:
            print(json.dumps({"cpu_s": time.process_time()}), flush=True)
            QTimer.singleShot(0, QApplication.quit)
        return False
application = QApplication([])
window, first = QMainWindow(), First()
window.resize(1280, 800)
window.installEventFilter(first)
window.show()
application.exec()
"""


def _child(code: list[str], home: Path) -> dict[str, float]:
    environment = {**os.environ, "MEDSEARCH_HOME": str(home), "PYTHONPATH": str(_HERE.parent)}
    # An installed program has its byte code beside it.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, *code], check=True, capture_output=True, text=True, env=environment
    )
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure() -> Iterator[figures.Figure]:
    """Yield CPU ratios of the first window, and CPU times of the main thread."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        window = str(_HERE / "window_child.py")
        empty, ours = [], []
        for _ in range(6):  # in turns, so that both see the same load; the first pair warms
            empty.append(_child(["-c", _EMPTY], home)["cpu_s"])
            ours.append(_child([window, "first"], home)["cpu_s"])
        # The least of five is what the machine needs; the rest is other people's load.
        ratio = min(ours[1:]) / min(empty[1:])
        yield figures.Figure("first window, CPU of an empty PySide6 window", ratio, "x", 2.5)
        yield figures.Figure("first window", 1000 * min(ours[1:]), "ms CPU")
        study = Path(folder) / "ct"
        phantoms.write_ct_series(study, slices=SLICES, size=(SIDE, SIDE))
        found = _child([window, "drop", str(study)], home)
        yield figures.Figure(
            f"slices decoded when the first of {SLICES} is shown", found["decoded"], "slices", 8
        )
        yield figures.Figure(
            "main thread per event while loading and encoding, p99", found["p99_ms"], "ms CPU", 16
        )
        yield figures.Figure("the same, longest", found["longest_ms"], "ms CPU", 50)
        yield figures.Figure("events measured", found["events"], "events")
        yield figures.Figure(
            f"window process resident with {SLICES} slices open, voxels aside",
            found["resident_mb"],
            "MB",
            350,
        )
