"""No program of ours connects or listens, the worker and the readers included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import phantoms
import pytest

# What keeps libraries silent must be set by our programs, not by who starts them.
_SILENCERS = ("HF_", "TRANSFORMERS_", "DO_NOT_TRACK", "ORT_")

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
def test_that_building_and_searching_touch_no_internet_address_nor_a_file_elsewhere(
    home: Path, tmp_path: Path
):
    report, traced = tmp_path / "audit.txt", tmp_path / "traced.txt"
    elsewhere = tmp_path / "users-home"
    elsewhere.mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(_SILENCERS)},
        "HOME": str(elsewhere),
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

    # Native code is not seen by Python's audit: the system's own calls are traced as well.
    watched = ["strace", "-f", "-qq", "-A", "-e", "trace=%network", "-o", str(traced)]
    probe = subprocess.run([*watched, "true"], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip(f"strace cannot watch a process here: {probe.stderr.decode()}")

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [*watched, sys.executable, *arguments], check=False, capture_output=True, text=True,
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
    calls = traced.read_text("utf-8").splitlines()
    assert [line for line in calls if "AF_UNIX" in line]  # the tracing sees what happens
    assert not [line for line in calls if "AF_INET" in line]
    # Fonts and drivers keep caches of their own; libraries of ours keep nothing.
    kept = {path.relative_to(elsewhere).as_posix() for path in elsewhere.rglob("*")}
    assert not {name for name in kept if "icrosoft" in name or "onnxruntime" in name}
