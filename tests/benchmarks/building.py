"""How much of the machine a build uses: its rate beside what the cores could do at best."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import figures
import numpy as np
import volumes
from PIL import Image

from indexer import build, progress, rendering, sources
from medsearch_desktop import cases
from medsearch_desktop.engine.encoders import base, compact
from medsearch_desktop.imaging import isolated

PICTURES, SAMPLE = 1000, 100


def _draw(folder: Path, count: int) -> list[Path]:
    """Write JPEG pictures of many sizes, about as large as those of a teaching archive."""
    draw = np.random.default_rng(0)
    paths = []
    for number in range(count):
        width, height = (int(side) for side in draw.integers(500, 1024, 2))
        coarse = draw.integers(0, 256, (height // 16, width // 16), dtype=np.uint8)
        shown = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        path = folder / f"{number:04d}.jpg"
        shown.save(path, quality=88)
        paths.append(path)
    return paths


def _cases(paths: list[Path]) -> Iterator[cases.Case | sources.Skipped]:
    for path in paths:
        yield cases.Case(path.stem, images=(cases.CaseImage(cases.ImageRef(str(path))),))


def picture_cpu_s(paths: list[Path], encoder: base.Encoder) -> float:
    """Return the CPU seconds that one picture costs from its file to its vector, one by one."""
    with isolated.Readers(1) as readers:
        list(rendering.prepared(_cases(paths[:2]), readers, 1))

        def work() -> None:
            for one in rendering.prepared(_cases(paths), readers, 1):
                assert isinstance(one, rendering.Prepared)
                base.picture_vectors(encoder, one.pictures)

        return volumes.cpu_s(work) / len(paths)


class _Clock(progress.Progress):
    """Notes when the first and the last batch of a build were written."""

    def __init__(self) -> None:
        super().__init__("none", sys.stderr)
        self.steps: list[tuple[float, int]] = []

    def step(self, stage: str, done: int, total: int | None = None, *, skipped: int = 0) -> None:
        self.steps.append((time.perf_counter(), done))


def measure() -> Iterator[figures.Figure]:
    """Yield the CPU time of one picture and the share of the best rate that a build reaches."""
    encoder = compact.Compact(device="cpu")
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        paths = _draw(pictures, PICTURES)
        each = picture_cpu_s(paths[:SAMPLE], encoder)
        yield figures.Figure("one picture from its file to its vector", 1000 * each, "ms CPU")
        clock = _Clock()
        options = build.Options(Path(folder) / "collection", workers=max(2, cores))
        began = time.perf_counter()
        spent = volumes.cpu_s(
            lambda: build.write(
                lambda _: _cases(paths), ["pictures"], encoder, options, clock, total=PICTURES
            )
        )
        took = time.perf_counter() - began
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        (first, before), (last, done) = clock.steps[0], clock.steps[-1]
        rate, best = (done - before) / (last - first), cores / each
        yield figures.Figure(f"build of {PICTURES} pictures, whole", took, "s by the clock")
        yield figures.Figure("the same, CPU time of all processes", spent, "s CPU")
        yield figures.Figure(
            f"best rate of {cores} cores / that of the build once it runs (load {load:.1f})",
            best / rate,
            f"({rate:.0f} of {best:.0f} pictures/s)",
            1 / 0.9,
        )


if __name__ == "__main__":
    for figure in measure():
        sys.stdout.write(figure.line() + "\n")
