"""No program of ours connects or listens, the worker and the readers included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import phantoms
import pytest

_WINDOW = """
import sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from medsearch_desktop import settings
from medsearch_desktop.gui import app, theme
settings.offline()
application = QApplication([])
theme.apply(application, 100)
built = app.build(settings.folders().make(), settings.Settings())
built.window.show()
built.start(app.parser().parse_args(sys.argv[1:]))
answers = []
built.parts.searching.answered.connect(answers.append)
built.parts.searching.failed.connect(answers.append)
timer = QTimer()
timer.timeout.connect(lambda: answers and answers[-1].results.complete and application.quit())
timer.start(100)
QTimer.singleShot(120_000, application.quit)
application.exec()
timer.stop()
built.close()
assert answers
"""


@pytest.mark.slow
def test_that_building_and_searching_touch_no_internet_address(home: Path, tmp_path: Path):
    report = tmp_path / "audit.txt"
    environment = {
        **os.environ,
        "MEDSEARCH_AUDIT": str(report),
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parent / "auditing"), os.environ.get("PYTHONPATH", "")]
        ),
    }
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    phantoms.write_picture(pictures / "one.png")
    phantoms.write_picture(pictures / "two.jpg")
    collection = str(tmp_path / "collection")

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, *arguments], check=False, capture_output=True, text=True,
            env=environment, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    run("-m", "indexer", "build", str(pictures), "--out", collection)
    run("-m", "indexer", "search", collection, "--image", str(pictures / "one.png"))
    started = report.read_text("utf-8").count("started")
    run("-c", _WINDOW, "--collection", collection, "--text", "chest")
    told = report.read_text("utf-8").split("\n")
    # The window, its worker and the readers each say that they were watched.
    assert told.count("started") >= started + 3
    assert not [line for line in told if line not in ("started", "")]
