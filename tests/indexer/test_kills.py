"""A build that is killed leaves no process behind, and what it had is taken up again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import toy_encoder
from PIL import Image

from medsearch_desktop.engine import collection

_PATIENCE_S = 60.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    lines = ["path,item_id,text"]
    for number in range(300):
        Image.new("RGB", (400, 400), (number % 256, 0, 0)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,c{number},a red square")
    (folder / "t.csv").write_text("\n".join(lines))
    return folder / "t.csv"


def started(table: Path, home: Path, *options: str) -> subprocess.Popen[bytes]:
    words = ["build", str(table), "--out", str(home / "c"), "--encoder", toy_encoder.NAME]
    words += ["--batch-size", "4", "--quiet", *options]
    return subprocess.Popen([sys.executable, "-m", "indexer", *words])


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.02)
    assert condition()  # type: ignore[operator]


def test_that_the_readers_of_a_killed_build_end_and_an_interrupted_one_goes_on(
    table: Path, home: Path
) -> None:
    begun = home / "c" / "building"
    for number, status in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        build = started(table, home)
        process = psutil.Process(build.pid)
        wait_for(lambda process=process: begun.exists() and process.children(recursive=True))
        children = process.children(recursive=True)
        os.kill(build.pid, number)
        assert build.wait() == status
        wait_for(lambda children=children: not any(child.is_running() for child in children))
        assert not (home / "c" / "manifest.json").exists()
    assert started(table, home, "--resume").wait() == 0
    assert collection.verify(home / "c") == []
    with collection.open_collection(home / "c") as opened:
        assert opened.manifest.counts.cases == 300
