"""A day at the window: searches, opens and thumbs leave its memory, handles and threads flat."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import phantoms
import pytest
import toy_collection
from soak import growth

from medsearch_desktop.gui import drops

IS_TRIAL = bool(os.environ.get("MEDSEARCH_TRIAL"))
ROUNDS = 1_000 if IS_TRIAL else 15
SAMPLES = 50 if IS_TRIAL else 9
SEED = 20261122


@pytest.mark.slow
def test_that_a_day_of_opening_and_searching_leaves_the_window_as_large_as_it_was(
    program, toys: Path, tmp_path: Path
):
    files = [
        phantoms.write_ct_series(tmp_path / "ct", slices=12, size=(64, 64))[0].parent,
        phantoms.write_nifti(tmp_path / "volume.nii.gz", shape=(32, 33, 10)),
        phantoms.write_picture(tmp_path / "picture.png"),
    ]
    started = program("--collection", str(toys))
    started.wait_for_collections()
    chance = random.Random(SEED)
    colours = list(toy_collection.COLOURS)
    ours, worker = growth.Growth("window"), growth.Growth("worker")
    for done in range(1, ROUNDS + 1):
        ended: list[object] = []
        note = lambda request, opened, ended=ended: ended.append(opened)  # noqa: E731
        started.parts.intake.ended.connect(note)
        started.parts.intake.take(drops.Dropped(paths=(files[done % 3],)), drops.Zone.OPEN)
        started.wait(lambda ended=ended: ended)
        started.parts.intake.ended.disconnect(note)
        assert ended[0]
        started.box.set_parts(())
        started.ask(f"{chance.choice(colours)} {chance.choice(colours)} {done % 9}")
        assert started.order()
        if done % max(1, ROUNDS // SAMPLES) == 0:
            # A round is two operations: an opening and a search.
            ours.sample(2 * done, os.getpid())
            worker.sample(2 * done, started.parts.worker.process_id)
    rows = "\n".join([growth.head(), ours.row(), worker.row()])
    sys.stdout.write(rows + "\n")
    for one in (ours, worker):
        assert one.handles_gained() <= 4, one.name
        assert one.threads_gained() <= 2, one.name
        if IS_TRIAL:
            assert one.slope_mb() < 1.0, one.name
