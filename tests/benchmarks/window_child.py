"""Runs the real window once and prints what it took: `first`, or `drop STUDY`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication

_SETTLED_S = 3.0
_LONGEST_RUN_S = 180.0


class Measured(QApplication):
    """Notes the CPU time of the main thread for each outermost event while `is_on`."""

    def __init__(self) -> None:
        self.spent: list[float] = []
        self.is_on = False
        self._depth = 0
        super().__init__([])

    def notify(self, receiver: QObject, event: QEvent) -> bool:
        if not self.is_on or self._depth:
            return super().notify(receiver, event)
        self._depth += 1
        began = time.thread_time()
        try:
            return super().notify(receiver, event)
        finally:
            self.spent.append(1000 * (time.thread_time() - began))
            self._depth -= 1


class FirstPaint(QObject):
    """Prints the CPU time of the process at the first paint, then ends it."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            sys.stdout.write(json.dumps({"cpu_s": time.process_time()}) + "\n")
            sys.stdout.flush()
            QTimer.singleShot(0, QApplication.quit)
        return False


def first() -> None:
    """Show the window as the program does, up to its first paint."""
    from medsearch_desktop import settings
    from medsearch_desktop.gui import app, theme

    application = QApplication([])
    theme.apply(application, 100)
    built = app.build(settings.folders().make(), settings.Settings())
    painted = FirstPaint()
    built.window.resize(1280, 800)
    built.window.installEventFilter(painted)
    built.window.show()
    application.exec()
    built.close()


def drop(study: Path) -> None:
    """Drop a study on the settled window; measure until it is read and the answer is complete."""
    import numpy as np
    import psutil

    from medsearch_desktop import settings
    from medsearch_desktop.gui import app, drops, theme

    folders = settings.folders().make()
    _write_collection(folders.collections / "bench", folders.models)
    application = Measured()
    theme.apply(application, 100)
    built = app.build(folders, settings.Settings())
    built.window.resize(1920, 1080)
    built.window.show()
    built.start(app.parser().parse_args([]))
    found: dict[str, float] = {}
    pane, set_volume = built.window.pane, built.window.pane.set_volume

    def first_volume(read: object) -> None:
        found.setdefault("decoded", float(read.ready.sum()))  # type: ignore[attr-defined]
        set_volume(read)

    pane.set_volume = first_volume
    done = {"read": False, "answered": False}

    def begin() -> None:
        application.is_on = True
        built.window.dropped.emit(drops.Dropped(paths=(study,)), drops.Zone.FIND)

    def check() -> None:
        held = list(built.parts.viewing._volumes.values())
        done["read"] = bool(held) and bool(np.all(held[-1].ready))
        if all(done.values()):
            application.is_on = False
            resident = psutil.Process().memory_info().rss - held[-1].voxels.nbytes
            found["resident_mb"] = resident / 1e6
            QApplication.quit()

    built.parts.searching.answered.connect(
        lambda answered: done.update(answered=done["answered"] or answered.results.complete)
    )
    timer = QTimer()
    timer.timeout.connect(check)
    timer.start(200)
    QTimer.singleShot(int(1000 * _SETTLED_S), begin)
    QTimer.singleShot(int(1000 * _LONGEST_RUN_S), QApplication.quit)
    application.exec()
    timer.stop()
    built.close()
    assert all(done.values()), f"not everything came: {done}"
    spent = np.array(application.spent)
    found |= {
        "events": float(len(spent)),
        "p99_ms": float(np.percentile(spent, 99)),
        "longest_ms": float(spent.max()),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def _write_collection(folder: Path, models: Path) -> None:
    """Write a small collection of compact's vectors; the pictures do not matter here."""
    import numpy as np

    from medsearch_desktop import cases
    from medsearch_desktop.engine import collection
    from medsearch_desktop.engine.encoders import base

    card = base.find("compact", models=models).card
    rows = np.random.default_rng(1).normal(size=(200, card.dimension)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with collection.CollectionWriter(folder, name="bench", card=card) as writer:
        for number, row in enumerate(rows):
            image = cases.CaseImage(cases.ImageRef(f"{number}.png"))
            case = cases.Case(f"case-{number}", f"Case {number}", images=(image,))
            writer.add(case, row[None], row)
        writer.commit()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.argv[1] == "first":
        first()
    else:
        drop(Path(sys.argv[2]))
