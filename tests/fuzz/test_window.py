"""Damaged files are dropped into a real window, which lives on and says what became of each."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from fuzz import tally
from hostile import mutators, seeds
from PySide6.QtCore import QMimeData, QtMsgType, QUrl, qInstallMessageHandler

from medsearch_desktop.gui import drops

IS_LONG = bool(os.environ.get("MEDSEARCH_TRIAL"))
SEEDS = (20261122, 7, 99) if IS_LONG else (20261122,)
MUTANTS = 1000 if IS_LONG else 46
A_DROP = 50
# The first drops fill caches (fonts, icons, decoders, the arenas of malloc) that stay.
WARMING = 3
LARGEST_GROWTH_MB = 200
# One file may hold a reader for its whole deadline, a minute.
PATIENCE_MS = 300_000

pytestmark = [pytest.mark.slow, pytest.mark.window]


@pytest.fixture
def unhandled() -> Iterator[list[str]]:
    """What nobody caught on any thread, and what Qt complained of."""
    found: list[str] = []
    before, before_thread = sys.excepthook, threading.excepthook

    def hook(kind: type, error: BaseException, where: object) -> None:
        found.append(f"{kind.__name__}: {error}")

    def message(kind: QtMsgType, context: object, words: str) -> None:
        if kind in (QtMsgType.QtCriticalMsg, QtMsgType.QtFatalMsg) or "Error" in words:
            found.append(words)

    sys.excepthook = hook
    threading.excepthook = lambda told: found.append(f"{told.exc_type}: {told.exc_value}")
    handler = qInstallMessageHandler(message)
    yield found
    qInstallMessageHandler(handler)
    sys.excepthook, threading.excepthook = before, before_thread


def _write(folder: Path, some: list[mutators.Mutant]) -> dict[str, str]:
    """Write mutants below a folder; return path -> kind."""
    folder.mkdir()
    kinds = {}
    for number, one in enumerate(some):
        path = folder / f"mutant{number:05d}{one.suffix}"
        path.write_bytes(one.data)
        kinds[str(path)] = one.kind
    return kinds


def _resident_mb() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 2**20


def _mime(folder: Path) -> QMimeData:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(folder))])
    return mime


@pytest.mark.parametrize("seed", SEEDS)
def test_that_the_window_and_the_search_outlive_every_drop_and_each_file_is_in_the_report(
    seed: int, program: Callable, drop: Callable, toys: Path, tmp_path: Path, unhandled: list[str]
):
    (tmp_path / "whole").mkdir()
    drawn = list(mutators.mutants(seeds.all_of(tmp_path / "whole"), MUTANTS, seed))
    started = program()
    started.wait_for_collections()
    started.ask("red square")
    worker, report = started.parts.worker, started.window.bottom.imported
    workers = {worker.process_id}
    counted, sizes, ended = tally.Tally(), [], []
    started.parts.intake.ended.connect(lambda request, _: ended.append(request.number))
    for number, start in enumerate(range(0, len(drawn), A_DROP), start=1):
        kinds = _write(tmp_path / str(number), drawn[start : start + A_DROP])
        assert drop(started.window, _mime(tmp_path / str(number)), drops.Zone.FIND)
        started.bot.waitUntil(lambda: len(ended) == number, timeout=PATIENCE_MS)  # noqa: B023
        started.wait(lambda: not started.parts.searching.is_busy)
        _look_at_all(started)
        told = {entry.path: entry for entry in report.drop(ended[-1]).entries}
        assert not set(kinds) - set(told), "a file is not in the report"
        for path, kind in kinds.items():
            assert told[path].answer == "opened" or told[path].why
            counted.row(kind).answers[told[path].answer] += 1
        workers.add(worker.process_id)
        started.window.menus.action("close_all").trigger()
        sizes.append(_resident_mb())
        assert started.window.isVisible()
        assert not unhandled
    started.ask("green square")
    assert len(workers) == 1, "the worker was lost"
    base = sizes[min(WARMING, len(sizes)) - 1]
    print(counted.text(f"Window, seed {seed}: {sizes[0]:.0f} to {sizes[-1]:.0f} MB"))  # noqa: T201
    assert max(sizes) - base < LARGEST_GROWTH_MB


def _look_at_all(started: object) -> None:
    """Show each series that was opened, as a reader walks through the strip."""
    for study in list(started.window.strip.model.studies):
        for series in study.series:
            started.window.strip.series_chosen.emit(study, series)
            started.bot.wait(5)
