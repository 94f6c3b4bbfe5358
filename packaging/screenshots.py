"""Saves pictures of the real window: `python packaging/screenshots.py OUT [--data FOLDER]`.

Everything in them is drawn by this project or comes with an openly licensed Python package (the
demo collection), unless `--data` names a study whose licence allows more.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Client pixels and the ratio of the screen: 4K is a 27-inch screen at 200 %.
SIZES = ((1366, 768, 1), (1920, 1080, 1), (3840, 2160, 2))
PATIENCE_S = 120.0
REPORTS = (
    ("Chest, right effusion", "Moderate right pleural effusion. Heart size is normal."),
    ("Chest, clear", "The lungs are clear. No effusion and no pneumothorax."),
    ("Chest, left effusion", "Small left pleural effusion with basal atelectasis."),
    ("Knee, joint effusion", "Large joint effusion of the knee. No fracture is seen."),
    ("Abdomen, ascites", "Free fluid around the liver. The spleen is enlarged."),
    ("Chest, pneumothorax", "Apical pneumothorax on the right. No pleural effusion."),
)


def main() -> int:
    """Build the demo collection in a passing folder and draw every state in every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, help="a study to open instead of one of the demo")
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.size:
        return draw(options)
    with tempfile.TemporaryDirectory() as passing:
        home = Path(passing) / "home"
        prepare(home, Path(passing))
        for width, height, ratio in SIZES:
            again = [sys.executable, __file__, str(options.out), "--home", str(home)]
            again += ["--size", f"{width}x{height}"]
            again += ["--data", str(options.data)] if options.data else []
            environment = {**os.environ, "QT_SCALE_FACTOR": str(ratio)}
            done = subprocess.run(again, check=False, env=environment)
            if done.returncode:
                return done.returncode
    return 0


def prepare(home: Path, passing: Path) -> None:
    """Make the demo collection, and one of reports without pictures."""
    index = [sys.executable, "-m", "indexer"]
    root = Path(__file__).resolve().parent.parent
    subprocess.run([*index, "demo", "--home", str(home)], check=True, cwd=root)
    if (home / "reports").exists():
        return
    table = passing / "reports.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "path", "text", "modality", "labels", "licence"])
        for number, (title, text) in enumerate(REPORTS):
            rows.writerow([f"report-{number}", "", text, "DX", title, "MIT"])
    build = [*index, "build", str(table), "--out", str(home / "reports"), "--name", "Reports"]
    subprocess.run([*build, "--home", str(home)], check=True, cwd=root)


class Stage:
    """The running program, and how a picture of it is taken."""

    def __init__(self, home: Path, out: Path, size: tuple[int, int]) -> None:
        from PySide6.QtWidgets import QApplication

        from medsearch_desktop import settings
        from medsearch_desktop.gui import app, theme

        os.environ["MEDSEARCH_HOME"] = str(home)
        settings.offline()
        self.qt = QApplication.instance() or QApplication([])
        theme.apply(self.qt)
        self.out, self.size = out, size
        self.app = app.build(settings.folders().make(), settings.Settings())
        self.window = self.app.window
        ratio = self.window.devicePixelRatio()
        self.window.resize(round(size[0] / ratio), round(size[1] / ratio))
        self.window.show()
        self.app.start(app.parser().parse_args([]))
        self.parts = self.app.parts
        self.rest(0.5)

    def wait(self, condition: Callable[[], object]) -> None:
        """Turn the event loop until something holds; TimeoutError after two minutes."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            self.rest(0.02)
            if time.monotonic() > deadline:
                raise TimeoutError("the window did not come to the state of the picture")

    def rest(self, seconds: float) -> None:
        """Turn the event loop for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.qt.processEvents()
            time.sleep(0.01)

    def ask(self, words: str) -> None:
        """Ask in words and wait for the pictures of the cards."""
        box = self.window.search_bar.box
        box.set_parts(())
        self.parts.asking.ask_words(words)
        self.wait_for_answer()

    def wait_for_answer(self) -> None:
        """Wait until the answer is complete and drawn."""
        search = self.parts.searching
        self.wait(lambda: search.results and search.results.complete and not search.is_busy)
        self.rest(0.8)

    def wait_for_pixels(self) -> None:
        """Wait until the open series is read."""
        pane = self.window.pane
        self.wait(lambda: pane.volume is not None and pane.volume.ready.all())

    def hits(self) -> tuple:
        """Return the hits that are shown."""
        return self.window.results.view.results_model().hits()

    def save(self, name: str) -> None:
        """Write the picture of the window as it is."""
        self.rest(0.3)
        file = self.out / f"{name}-{self.size[0]}x{self.size[1]}.png"
        self.window.grab().save(str(file))
        print(file)


def draw(options: argparse.Namespace) -> int:
    """Draw every state in one size."""
    width, height = (int(part) for part in options.size.split("x"))
    with tempfile.TemporaryDirectory() as empty:
        stage = Stage(Path(empty) / "home", options.out, (width, height))
        stage.wait(lambda: stage.window.viewer.first_run.isVisible())
        stage.save("first-run")
        stage.app.close()
        stage.window.close()
        stage.window.deleteLater()
    # The passing shelf of the size before; a reader's own is never touched.
    for file in options.home.glob("shelf.db*"):
        file.unlink()
    stage = Stage(options.home, options.out, (width, height))
    try:
        for name in states(stage, options.data):
            stage.save(name)
    finally:
        stage.app.close()
    return 0


def states(stage: Stage, data: Path | None) -> Iterator[str]:
    """Bring the window into one state after the other and yield its name."""
    from medsearch_desktop.gui import bottom_dock, drops

    view = stage.window.results.view
    stage.wait(lambda: stage.parts.library.searched)
    yield "empty"
    stage.ask("chest radiograph with pleural effusion")
    yield "words"
    if data is not None:
        stage.parts.intake.take(drops.Dropped(paths=(data,)), drops.Zone.FIND)
    else:
        stage.ask("sagittal MR of the head")
        real = [hit for hit in stage.hits() if hit.case.facets.origin == "real"]
        named = [hit for hit in real if "sagittal" in hit.case.title.lower()]
        view.open_requested.emit((named or real)[0])
        stage.wait(lambda: stage.parts.viewing.now is not None)
        stage.wait_for_pixels()
        stage.window.viewer.find_requested.emit()
    stage.wait(lambda: stage.parts.viewing.now is not None)
    stage.wait_for_pixels()
    stage.wait_for_answer()
    yield "study"
    for hit in stage.hits()[:5:2]:
        if not view.results_model().is_kept(hit):
            view.star_toggled.emit(hit)
    before = [hit.case.case_id for hit in stage.hits()]
    view.thumb_given.emit(stage.hits()[4], 1)
    view.thumb_given.emit(stage.hits()[0], -1)
    stage.wait_for_answer()
    stage.wait(lambda: [hit.case.case_id for hit in stage.hits()] != before)
    stage.window.bottom.show_page(bottom_dock.FAVOURITES)
    stage.rest(0.5)
    yield "favourites"
    stage.parts.searching.undo()
    stage.parts.searching.undo()
    stage.parts.zones.offer(drops.Dropped(paths=(Path("CT_2024_0117"),)))
    stage.parts.zones.set_count(300)
    stage.parts.zones.point(stage.window.rect().center())
    yield "drop-zones"
    stage.parts.zones.close_zones()
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "broken.dcm"
        broken.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 64)
        stage.parts.intake.take(drops.Dropped(paths=(broken,)), drops.Zone.FIND)
        stage.wait(lambda: stage.window.results.problems.shown())
        stage.window.bottom.show_page(bottom_dock.LOG)
        yield "error"
    for kind in stage.window.results.problems.shown():
        stage.window.results.problems.remove(kind)
    stage.parts.library.add(stage.app.folders.home / "reports")
    reports = str(stage.app.folders.home / "reports")
    stage.wait(lambda: reports in stage.parts.library.searched)
    stage.parts.library.choose((reports,))
    stage.window.bottom.set_open(False)
    stage.ask("pleural effusion")
    yield "text-only"
    stage.parts.library.choose((str(stage.app.folders.collections / "demo"),))


if __name__ == "__main__":
    sys.exit(main())
