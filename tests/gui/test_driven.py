"""The real program under Xvfb, driven by mouse and keyboard from outside.

What it does is seen in its pixels, its log and its shelf; nothing in it knows of the test.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import phantoms
import psutil
import pytest
import toy_collection
import toy_encoder
from PIL import Image

from medsearch_desktop.engine import collection

pytestmark = [
    pytest.mark.window,
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(shutil.which, ("Xvfb", "xdotool", "import"))),
        reason="needs Xvfb, xdotool and ImageMagick",
    ),
]

SCREEN = (1920, 1080)
PATIENCE_S = 60.0
SIDE = 176  # the image of a card of size M
# From the upper left corner of a card's image to the middle of its buttons.
LIKE, DISLIKE, STAR = (106, 288), (134, 288), (162, 288)
VIEWER = (760, 480)
RESULTS_LEFT = 1320


class Desktop:
    """An X display of its own with the program on it."""

    def __init__(self, home: Path) -> None:
        read, write = os.pipe()
        self.server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{SCREEN[0]}x{SCREEN[1]}x24"],
            pass_fds=(write,),
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with os.fdopen(read) as told:
            display = f":{told.readline().strip()}"
        self.home = home
        self.environment = {
            **os.environ,
            "DISPLAY": display,
            "QT_QPA_PLATFORM": "xcb",
            "MEDSEARCH_HOME": str(home),
            "MEDSEARCH_LOG": "DEBUG",
            toy_encoder.base.TEST_ENCODER: toy_encoder.NAME,
        }
        self.started: list[subprocess.Popen] = []
        self.program: subprocess.Popen | None = None

    def start(self, *command: str) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, *command], env=self.environment)
        self.started.append(process)
        return process

    def open_program(self) -> None:
        self.program = self.start("-m", "medsearch_desktop")
        seen = ("search", "--onlyvisible", "--name", "MedSearch Desktop")
        window = self.until(lambda: self.xdotool(*seen, check=False)).split()[-1]
        self.until(lambda: self.logged("prepared"))
        # There is no window manager to give the keyboard to the window.
        self.xdotool("windowfocus", window)

    def close_program(self) -> int:
        self.key("ctrl+q")
        return self.program.wait(PATIENCE_S)

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.terminate()
        for process in self.started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.server.terminate()
        self.server.wait()

    # mouse and keys

    def xdotool(self, *words: object, check: bool = True) -> str:
        done = subprocess.run(
            ["xdotool", *map(str, words)],
            env=self.environment,
            check=check,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def click(self, place: tuple[int, int], button: int = 1) -> None:
        self.xdotool("mousemove", *place, "sleep", 0.1, "click", button)

    def key(self, *names: str) -> None:
        self.xdotool("key", *names)

    def write(self, words: str) -> None:
        self.click((500, 58))
        self.xdotool("type", "--delay", 20, words)
        self.key("Return")

    def drag(self, start: tuple[int, int], end: tuple[int, int], button: int = 1) -> None:
        steps = 12
        self.xdotool("mousemove", *start, "sleep", 0.1, "mousedown", button)
        for step in range(1, steps + 1):
            at = [round(a + (b - a) * step / steps) for a, b in zip(start, end, strict=True)]
            self.xdotool("mousemove", *at, "sleep", 0.08)
        self.xdotool("sleep", 0.3, "mouseup", button)

    # what can be seen

    def until(self, condition: Callable[[], object]) -> object:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            if self.program is not None:
                assert self.program.poll() is None, "the program ended"
            assert time.monotonic() < deadline, self.log()[-3000:]
            time.sleep(0.1)
        return found

    def pixels(self) -> np.ndarray:
        """Return the screen as (rows, columns, 3)."""
        done = subprocess.run(
            ["import", "-window", "root", "png:-"],
            env=self.environment,
            check=True,
            capture_output=True,
        )
        return np.asarray(Image.open(io.BytesIO(done.stdout)).convert("RGB")).astype(int)

    def cards(self) -> list[tuple[tuple[int, int], str]]:
        """Return the upper left corner and colour of each whole card image, in reading order."""
        shown = self.pixels()
        found = []
        for name, colour in toy_encoder.COLOURS.items():
            if name == "black":
                continue  # the ground of an image that has not come yet is black too
            near = (np.abs(shown - colour).max(axis=2) < 6)[:, RESULTS_LEFT:]
            for corner in _squares(near):
                found.append(((corner[0] + RESULTS_LEFT, corner[1]), name))
        return sorted(found, key=lambda card: (card[0][1], card[0][0]))

    def log(self) -> str:
        file = self.home / "logs" / "window.log"
        return file.read_text("utf-8") if file.exists() else ""

    def logged(self, words: str) -> int:
        return self.log().count(words)

    def orders(self) -> list[str]:
        """Return the case ids of every complete answer so far, in order of rank."""
        return re.findall(r"answer complete=True order=(.*)", self.log())

    def shelf(self, question: str) -> list[tuple]:
        with sqlite3.connect(f"file:{self.home / 'shelf.db'}?mode=ro", uri=True) as db:
            return db.execute(question).fetchall()

    def worker(self) -> psutil.Process:
        """Return the search process: the one child that has loaded FAISS."""
        for child in psutil.Process(self.program.pid).children():
            if any("faiss" in mapped.path for mapped in child.memory_maps()):
                return child
        raise AssertionError("there is no search process")


def _squares(near: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield (x, y) of the upper left corner of each square of a card image's size.

    The rank stands on the upper left corner, so a square is known by the rows
    below it, and its top follows from its bottom.
    """
    bottoms: dict[int, list[int]] = {}
    for y, row in enumerate(near):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(int), [0]))))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if abs(end - start - SIDE) <= 2:
                bottoms.setdefault(int(start), []).append(y)
    for start, rows in bottoms.items():
        for place, y in enumerate(rows):
            is_last = place + 1 == len(rows) or rows[place + 1] != y + 1
            is_whole = place >= SIDE // 2 and rows[place - SIDE // 2] == y - SIDE // 2
            if is_last and is_whole and y < SCREEN[1] - 30:
                yield start, y - SIDE + 1


@pytest.fixture
def desktop(home: Path, tmp_path: Path) -> Iterator[Desktop]:
    pictures = toy_collection.write_pictures(tmp_path / "pictures")
    encoder = toy_encoder.ToyEncoder()
    folder = home / "collections" / "toys"
    with collection.CollectionWriter(folder, name="Toys", card=encoder.card) as writer:
        for number in range(40):
            case = toy_collection.case(number, pictures)
            shown = toy_collection.picture(toy_collection.COLOURS[number % 8], 64)
            picture = io.BytesIO()
            Image.fromarray(shown).save(picture, "PNG")
            vectors = encoder.encode_images(shown[None]), encoder.encode_texts([case.text])
            writer.add(case, *vectors, [picture.getvalue()])
        writer.commit()
    made = Desktop(home)
    yield made
    made.close()


def test_that_a_reader_drags_a_study_in_and_finds_opens_keeps_and_judges_cases(
    desktop: Desktop, tmp_path: Path
):
    phantoms.write_ct_series(tmp_path / "ct", slices=24, size=(128, 128))
    desktop.open_program()

    # A folder is dragged in from another program and let go over the viewer.
    desktop.start(
        str(Path(__file__).with_name("drag_source.py")), "20", "1010", str(tmp_path / "ct")
    )
    desktop.until(lambda: desktop.xdotool("search", "--name", "drag_source", check=False))
    time.sleep(1.0)
    desktop.drag((60, 1030), VIEWER)
    desktop.until(lambda: desktop.logged("the first slice is shown"))
    desktop.until(lambda: desktop.logged("all slices are read"))
    desktop.until(desktop.orders)
    before = desktop.pixels()
    assert before[200:800, 300:1200].max() > 150, "the study is not seen"

    # Wheel over the image: another slice. Results are seen and scrolled.
    desktop.xdotool("mousemove", *VIEWER, "click", "--repeat", 6, 5)
    desktop.until(lambda: (desktop.pixels() != before)[200:800, 300:1200].any())
    cards = desktop.until(desktop.cards)
    desktop.xdotool("mousemove", 1600, 600, "click", "--repeat", 3, 5)
    desktop.until(lambda: desktop.cards() != cards)
    desktop.xdotool("click", "--repeat", 9, 4)
    desktop.xdotool("mousemove", *VIEWER)
    desktop.until(lambda: desktop.cards() == cards)

    # Words: the best cards have the colour that was asked for. A card opens at full size.
    answers = len(desktop.orders())
    desktop.key("ctrl+f")
    desktop.key("BackSpace")  # in the empty field it takes the study's chip away
    desktop.write("green square")
    desktop.until(lambda: len(desktop.orders()) > answers)
    first = desktop.until(
        lambda: next((place for place, colour in desktop.cards() if colour == "green"), None)
    )
    desktop.click((first[0] + 90, first[1] + 90))
    desktop.until(lambda: tuple(desktop.pixels()[VIEWER[1], VIEWER[0]]) == (0, 255, 0))

    # A star is on the shelf at once.
    desktop.click((first[0] + STAR[0], first[1] + STAR[1]))
    desktop.until(lambda: desktop.shelf("SELECT case_id FROM favourites"))

    # A thumb changes the order; undo brings it back.
    order = desktop.orders()[-1]
    desktop.click((first[0] + DISLIKE[0], first[1] + DISLIKE[1]))
    desktop.until(lambda: desktop.orders()[-1] != order)
    assert desktop.shelf("SELECT thumb FROM verdicts") == [(-1,)]
    desktop.xdotool("mousemove", *VIEWER)
    desktop.key("ctrl+z")
    desktop.until(lambda: desktop.orders()[-1] == order)
    desktop.until(lambda: desktop.shelf("SELECT thumb FROM verdicts") == [(-1,), (0,)])

    # The search process is killed in mid query: one more is started, and it answers.
    worker, answers = desktop.worker(), len(desktop.orders())
    worker.suspend()
    asked = desktop.logged("asked, ticket")
    desktop.write("fracture")
    desktop.until(lambda: desktop.logged("asked, ticket") > asked)
    worker.send_signal(signal.SIGKILL)
    desktop.until(lambda: desktop.logged("the worker was lost"))
    desktop.until(lambda: len(desktop.orders()) > answers)
    assert desktop.worker().pid != worker.pid

    # Closed and started again: the star is still there, in the dock and on the shelf.
    kept = desktop.shelf("SELECT case_id FROM favourites")
    assert desktop.close_program() == 0
    desktop.open_program()
    assert desktop.shelf("SELECT case_id FROM favourites") == kept
    green = np.array((0, 255, 0))
    desktop.until(
        lambda: (np.abs(desktop.pixels() - green).max(axis=2) < 6)[880:1040, 400:1100].sum() > 2000
    )
    assert desktop.close_program() == 0
    assert "ERROR" not in desktop.log()
