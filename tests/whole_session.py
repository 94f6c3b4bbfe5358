"""Runs the real program through a reader's session, and notes what could be seen from outside.

    python whole_session.py NOTES BROKEN [what `medsearch` is given]

Opens and asks by what is given, keeps and likes a case, pastes a picture, opens BROKEN, loses
the search process twice, meets a fault nobody foresaw, and closes the window.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import toy_encoder  # noqa: F401  allows the encoder of that name
from PIL import Image
from PySide6.QtCore import QTimer
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QApplication

from medsearch_desktop import queries
from medsearch_desktop.gui import app, drops, open_case

PATIENCE_S = 90.0
CLIPBOARD, FAULT = "CANARY-CLIPBOARD", "CANARY-FAULT"


class Notes:
    """What was seen: titles, command lines of children, names of temporary files, connections."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: dict[str, set[str]] = {}

    def add(self, kind: str, *words: object) -> None:
        self._seen.setdefault(kind, set()).update(map(str, words))

    def look(self, home: Path) -> None:
        self.add("titles", *(w.windowTitle() for w in QApplication.topLevelWidgets()))
        self.add("titles", *(w.title() for w in QGuiApplication.topLevelWindows()))
        self.add("temporary", *(home / "temp").rglob("*"))
        ours = psutil.Process()
        for process in (ours, *ours.children(recursive=True)):
            try:
                if process != ours:
                    self.add("commands", " ".join(process.cmdline()))
                self.add("inet", *process.net_connections("inet"))
                self.add("unix", *(c.laddr for c in process.net_connections("unix") if c.laddr))
                self.add("running", process.pid)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue

    def write(self) -> None:
        plain = {kind: sorted(words) for kind, words in self._seen.items()}
        self._file.write_text(json.dumps(plain), "utf-8")


def steps(made: app.App, notes: Notes, broken: Path) -> Iterator[Callable[[], Any]]:
    """Do one thing after the other; each yields what must be so before the next."""
    parts, window = made.parts, made.window
    view = window.results.view
    model = view.results_model()

    def answered() -> bool:
        found = parts.searching.results
        return bool(found and found.complete and found.hits and not parts.searching.is_busy)

    yield answered
    notes.add("did", "asked")
    for hit in model.hits():
        note_thumbnail(notes, hit)
    first = model.hits()[0]
    view.star_toggled.emit(first)
    yield lambda: model.is_kept(first)
    before = parts.searching.results.ticket
    view.thumb_given.emit(first, 1)
    yield lambda: answered() and parts.searching.results.ticket != before
    notes.add("did", "liked")
    view.open_requested.emit(first)
    pasted = QImage(40, 30, QImage.Format.Format_RGB32)
    pasted.fill(0xFF3060)
    pasted.setText("Comment", CLIPBOARD)
    before = parts.searching.results.ticket
    parts.intake.take(drops.Dropped(picture=pasted), drops.Zone.FIND)
    yield lambda: answered() and parts.searching.results.ticket != before
    notes.add("did", "pasted")
    parts.intake.take(drops.Dropped(paths=(broken,)), drops.Zone.OPEN)
    yield lambda: window.results.problems.shown()
    notes.add("did", "refused")
    for how in (signal.SIGABRT, signal.SIGKILL):
        lost = parts.worker.process_id
        os.kill(lost, how)
        yield lambda lost=lost: parts.worker.process_id not in (None, lost)
        before = parts.searching.results.ticket
        parts.asking.ask_words(f"phantom {how}")
        yield lambda before=before: answered() and parts.searching.results.ticket != before
        notes.add("did", f"lost {how.name}")
    QTimer.singleShot(0, lambda: int(FAULT))
    log = made.folders.logs / "window.log"
    yield lambda: "ValueError" in log.read_text("utf-8")
    notes.add("did", "faulted")
    window.close()
    yield lambda: made.is_closed


def note_thumbnail(notes: Notes, hit: queries.Hit) -> None:
    """Note what a stored thumbnail says beside its pixels."""
    if hit.thumbnail is not None:
        with Image.open(io.BytesIO(open_case.stored_bytes(hit.thumbnail))) as picture:
            notes.add("thumbnails", f"{sorted(picture.info)} {dict(picture.getexif())}")


def main(notes_file: str, broken: str, *given: str) -> int:
    """Run the session; 9 when a step did not come to its end."""
    notes = Notes(Path(notes_file))
    whole: dict[str, Any] = {"end": time.monotonic() + PATIENCE_S}
    start = app.App.start

    def walk() -> None:
        notes.look(whole["made"].folders.home)
        if time.monotonic() > whole["end"]:
            notes.add("stuck", "yes")
            notes.write()
            os._exit(9)
        while whole["wanted"]():
            whole["wanted"] = next(whole["steps"])

    def started(self: app.App, options: Any) -> None:
        start(self, options)
        walking = steps(self, notes, Path(broken))
        whole.update(made=self, steps=walking, wanted=next(walking))
        whole["timer"] = QTimer(self.window, interval=200)
        whole["timer"].timeout.connect(walk)
        whole["timer"].start()

    app.App.start = started  # type: ignore[method-assign]
    status = app.main(list(given))
    notes.write()
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
