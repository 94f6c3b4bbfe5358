"""Long use: searches, opens and restarts of readers leave memory, handles and threads flat."""

from __future__ import annotations

import os
import queue
import random
import sys
from pathlib import Path

import phantoms
import psutil
import pytest
import toy_collection
from soak import growth

from medsearch_desktop import cases, queries
from medsearch_desktop.imaging import isolated, study
from medsearch_desktop.worker import client, messages

IS_TRIAL = bool(os.environ.get("MEDSEARCH_TRIAL"))
SEARCHES = 20_000 if IS_TRIAL else 300
OPENS = 2_000 if IS_TRIAL else 40
RESTARTS = 300 if IS_TRIAL else 6
SAMPLES = 60 if IS_TRIAL else 12
# A short run still settles: the slope is a promise of the long one.
SLOPE_MB = 1.0
SEED = 20261122


def judge(*measured: growth.Growth) -> None:
    sys.stdout.write("\n".join([growth.head(), *(one.row() for one in measured)]) + "\n")
    for one in measured:
        assert one.handles_gained() <= 2, one.name
        assert one.threads_gained() <= 1, one.name
        if IS_TRIAL:
            assert one.slope_mb() < SLOPE_MB, one.name
        else:
            assert one.resident_mb[-1] - one.resident_mb[len(one.resident_mb) // 3] < 40, one.name


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    pictures = toy_collection.write_pictures(tmp_path / "pictures")
    toy_collection.write(tmp_path / "toys", range(40), folder=pictures)
    return tmp_path / "toys"


@pytest.mark.slow
def test_that_searches_leave_the_worker_and_its_reader_as_large_as_they_were(
    home: Path, toys: Path
):
    chance = random.Random(SEED)
    heard: queue.Queue[messages.FromWorker] = queue.Queue()
    asked = client.WorkerClient(home, heard.put, on_lost=lambda: None)
    ours, theirs = growth.Growth("window's end"), growth.Growth("worker")
    colours = list(toy_collection.COLOURS)
    try:
        asked.start()
        first = None
        for ticket in range(1, SEARCHES + 1):
            colour = chance.choice(colours)
            terms: list[queries.Term] = [queries.TextTerm(f"{colour} {chance.choice(colours)}")]
            if ticket % 10 == 0:
                path = str(toys.parent / "pictures" / f"{colour}.png")
                terms.append(queries.ImageTerm(cases.ImageRef(path)))
            if ticket % 7 == 0:
                terms.append(queries.CaseTerm(f"case-{chance.randrange(40)}", str(toys)))
            query = queries.Query(terms=tuple(terms), collections=(str(toys),))
            asked.send(messages.Search(ticket, query))
            _answered(heard, ticket)
            first = first or asked.process_id
            if ticket % max(1, SEARCHES // SAMPLES) == 0:
                ours.sample(ticket, os.getpid())
                theirs.sample(ticket, asked.process_id or 0)
        assert asked.process_id == first
    finally:
        asked.close()
    judge(ours, theirs)


def _answered(heard: queue.Queue[messages.FromWorker], ticket: int) -> None:
    while True:
        message = heard.get(timeout=120)
        if isinstance(message, messages.Failed):
            raise message.error
        if isinstance(message, messages.Answer) and message.results.ticket == ticket:
            assert message.results.hits
            if message.results.complete:
                return


@pytest.fixture
def drops(tmp_path: Path) -> list[Path]:
    return [
        phantoms.write_ct_series(tmp_path / "ct", slices=12, size=(64, 64))[0].parent,
        phantoms.write_nifti(tmp_path / "volume.nii.gz", shape=(32, 33, 10)),
        phantoms.write_picture(tmp_path / "picture.png"),
        phantoms.zip_folder(tmp_path / "ct", tmp_path / "ct.zip"),
    ]


def _open(readers: isolated.Readers, path: Path) -> int:
    # All of it first: a load beside an opening takes a second reader.
    opened = [found for found in readers.open_paths([path]) if isinstance(found, study.Study)]
    series = [one for found in opened if found.is_complete for one in found.series]
    planes = sum(int(readers.load(one).ready.sum()) for one in series)
    assert planes
    return planes


def _children() -> list[int]:
    return [
        child.pid
        for child in psutil.Process().children()
        if "spawn_main" in " ".join(child.cmdline())
    ]


@pytest.mark.slow
def test_that_opens_leave_the_window_and_the_reader_as_large_as_they_were(drops: list[Path]):
    ours, reader = growth.Growth("window's end"), growth.Growth("reader")
    with isolated.Readers(1) as readers:
        for done in range(1, OPENS + 1):
            _open(readers, drops[done % len(drops)])
            if done % max(1, OPENS // SAMPLES) == 0:
                ours.sample(done, os.getpid())
                (child,) = _children()
                reader.sample(done, child)
    judge(ours, reader)


@pytest.mark.slow
def test_that_restarts_of_the_reader_leave_nothing_behind(drops: list[Path]):
    ours = growth.Growth("window's end, per 1,000 restarts")
    with isolated.Readers(1) as readers:
        for done in range(1, RESTARTS + 1):
            _open(readers, drops[2])
            (child,) = _children()
            psutil.Process(child).kill()
            if done % max(1, RESTARTS // SAMPLES) == 0:
                ours.sample(done, os.getpid())
        _open(readers, drops[2])
    assert _children() == []
    judge(ours)
