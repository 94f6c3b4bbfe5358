"""What is open, with real readers: faults of slices, growing studies, series too large to keep."""

from __future__ import annotations

import dataclasses

import numpy as np
import phantoms
import pytest

from medsearch_desktop import errors
from medsearch_desktop.gui import background, feeding, pictures, theme, viewing
from medsearch_desktop.imaging import isolated, opening, volume
from medsearch_desktop.viewer import slice_pane

PATIENCE_MS = 40_000


@pytest.fixture
def view(dressed, qtbot):
    """A Viewing with its pane, a reader and threads."""
    work = background.Background()
    pane = slice_pane.SlicePane(theme.overlay_colours())
    qtbot.addWidget(pane)
    pane.resize(400, 400)
    pane.show()
    with isolated.Readers(2) as readers:
        made = viewing.Viewing(readers, work, pane, pane)
        made.pane, made.readers = pane, readers
        yield made
        made.clear()
        readers.close()
        work.close()


@pytest.fixture
def wait(qtbot):
    return lambda condition: qtbot.waitUntil(lambda: bool(condition()), timeout=PATIENCE_MS)


def opened(folder):
    (study,) = [s for s in opening.open_paths([folder]) if hasattr(s, "series")]
    return study


def cut_pixels(path):
    """Leave the header of a DICOM file whole and take most of its pixels away."""
    found = phantoms.read(path)
    found.PixelData = found.PixelData[:100]
    found.save_as(path)


def whole(study):
    with isolated.Readers(1) as readers:
        return readers.load(study.series[0]).voxels.copy()


class Faulty:
    """Stands for the readers: every slice of a series cannot be read, and all at once."""

    def load(self, series, *, first, indices, on_fault, **_):
        empty = np.zeros((1, *series.plane_shape), series.dtype)
        voxels = np.broadcast_to(empty, (len(indices), *series.plane_shape))
        filling = volume.Volume(series, voxels, indices, np.zeros(len(indices), dtype=bool))
        for plane in range(len(indices)):
            filling.faults[plane] = f"Slice {plane} is damaged."
            on_fault(filling, plane, filling.faults[plane])
        raise errors.UnreadableFileError(series.slices[0].path, filling.faults[0])


def test_that_thousands_of_slices_that_cannot_be_read_are_told_in_few_portions(
    dressed, qtbot, wait, tmp_path, monkeypatch
):
    phantoms.write_ct_series(tmp_path / "ct", slices=1)
    study = opened(tmp_path / "ct")
    (slice_ref,) = study.series[0].slices
    series = dataclasses.replace(
        study.series[0],
        slices=tuple(dataclasses.replace(slice_ref, frame=n) for n in range(5000)),
        slope=study.series[0].slope * 5000,
        intercept=study.series[0].intercept * 5000,
    )
    work = background.Background()
    pane = slice_pane.SlicePane(theme.overlay_colours())
    qtbot.addWidget(pane)
    pane.show_series(study, series)
    told, tell = [], work.tell

    def count(receiver, value):
        told.append(receiver)
        tell(receiver, value)

    monkeypatch.setattr(work, "tell", count)
    feed = feeding.Feed(Faulty(), work, pane, series)
    met, ended = [], []
    feed.fault_met.connect(lambda _, index, why: met.append((index, why)))
    feed.failed.connect(lambda error: ended.append(len(met)))
    feed.start()
    wait(lambda: ended)
    work.close()
    assert sorted(met) == [(n, f"Slice {n} is damaged.") for n in range(5000)]
    assert met[0][0] == 0, "the first is told at once"
    assert ended == [5000], "the end comes behind the last fault"
    assert len(pane.faults) == 5000
    assert len(told) < 20


def test_that_one_slice_which_cannot_be_read_leaves_the_others_and_says_why(view, wait, tmp_path):
    paths = phantoms.write_ct_series(tmp_path / "ct", slices=9)
    study = opened(tmp_path / "ct")
    right = whole(study)
    cut_pixels(paths[4])
    met = []
    view.fault_met.connect(lambda series, index, why: met.append((index, why)))
    view.show(study, study.series[0], 4)
    wait(lambda: np.count_nonzero(view.pane.ready) == 8)
    assert list(view.pane.faults) == [4]
    assert met
    assert {index for index, _ in met} == {4}
    assert "Image 5 of 9 cannot be read" in view.pane.accessibleDescription()
    assert not view.pane.volume.voxels[4].any()
    others = [k for k in range(9) if k != 4]
    assert np.array_equal(view.pane.volume.voxels[others], right[others])
    view.show(study, study.series[0], 4)
    assert list(view.pane.faults) == [4]


def test_that_a_series_of_which_nothing_can_be_read_says_so_of_each_slice(view, wait, tmp_path):
    paths = phantoms.write_ct_series(tmp_path / "ct", slices=3)
    study = opened(tmp_path / "ct")
    for path in paths:
        path.unlink()
    met = set()
    view.fault_met.connect(lambda series, index, why: met.add(index))
    view.show(study, study.series[0], 1)
    wait(lambda: met == {0, 1, 2})
    assert "Image 2 of 3 cannot be read" in view.pane.accessibleDescription()
    assert not view.pane.ready.any()


def test_that_a_study_that_grows_stays_at_its_slice_and_is_read_to_its_end(view, wait, tmp_path):
    phantoms.write_ct_series(tmp_path / "ct", slices=12)
    study = opened(tmp_path / "ct")
    right = whole(study)
    series = study.series[0]
    some = dataclasses.replace(
        series, slices=series.slices[6:9], slope=series.slope[6:9], intercept=series.intercept[6:9]
    )
    growing = dataclasses.replace(study, series=(some,), is_complete=False)
    view.show(growing, some, 1)
    wait(lambda: view.pane.ready.all())
    messages = []
    view.pane.window_changed.connect(messages.append)
    view.pane.zoom(2.0)
    window, frame = view.pane.window, view.pane.frame
    view.grow(study)
    assert (view.pane.current_index, view.pane.window, view.pane.frame) == (7, window, frame)
    # What was read is there at once: the pane is never black in between.
    assert np.flatnonzero(view.pane.ready).tolist() == [6, 7, 8]
    wait(lambda: len(view.pane.volumes) == 1 and view.pane.ready.all())
    assert np.array_equal(view.pane.volume.voxels, right)
    assert view.now == (study, series)
    assert messages == []


def test_that_a_growing_study_elsewhere_leaves_the_pane_alone(view, wait, tmp_path):
    phantoms.write_ct_series(tmp_path / "a", slices=3)
    phantoms.write_ct_series(tmp_path / "b", slices=3, name="other")
    one, other = opened(tmp_path / "a"), opened(tmp_path / "b")
    view.show(one, one.series[0], 1)
    view.grow(other)
    assert view.now[0] is one
    wait(lambda: view.pane.ready.all())


@pytest.fixture
def large(monkeypatch, tmp_path):
    """A series of 60 slices, of which 20 may be kept and 5 are read at a time."""
    phantoms.write_ct_series(tmp_path / "ct", slices=60)
    study = opened(tmp_path / "ct")
    size = study.series[0].slice_bytes
    monkeypatch.setattr(isolated, "ASK_ABOVE_BYTES", 30 * size)
    monkeypatch.setattr(feeding, "NEAR_BYTES", 20 * size)
    monkeypatch.setattr(feeding, "_BATCH_BYTES", 5 * size)
    return study


def test_that_a_large_series_is_read_around_the_place_shown_within_its_limit(view, wait, large):
    right, series = whole_by_parts(large), large.series[0]
    met = []
    view.large_met.connect(lambda one, has_room: met.append((one, has_room)))
    view.show(large, series, 30)
    assert met == [(series, True)]
    for index in (30, 59, 0, 31, 12):
        view.pane.go_to(index)
        wait(lambda index=index: view.pane.ready[index])
        volume = view.pane.volume
        plane = volume.indices.index(index)
        assert np.array_equal(volume.voxels[plane], right[index])
        wait(lambda index=index: view.pane.ready[max(0, index - 6) : index + 7].all())
        # The batch at hand is beyond the limit until it has taken the place of a far one.
        wait(lambda: sum(v.voxels.nbytes for v in view.pane.volumes) <= feeding.NEAR_BYTES)
    assert not view.pane.ready.all()


def test_that_a_large_series_is_read_whole_when_the_reader_asks_for_it(view, wait, large):
    series = large.series[0]
    view.show(large, series, 30)
    wait(lambda: bool(view.pane.ready[30]))
    assert view.is_near
    view.read_all()
    assert view.pane.ready[30]
    wait(lambda: view.pane.ready.all() and len(view.pane.volumes) == 1)
    assert not view.is_near
    assert np.array_equal(view.pane.volume.voxels, whole_by_parts(large))


def test_that_reading_all_is_not_offered_where_memory_is_short(view, large, monkeypatch):
    monkeypatch.setattr(viewing.blocks, "free_bytes", lambda: large.series[0].decoded_bytes)
    met = []
    view.large_met.connect(lambda one, has_room: met.append(has_room))
    view.show(large, large.series[0], 30)
    assert met == [False]


def test_that_a_bad_slice_of_a_large_series_does_not_end_the_reading_around_it(view, wait, large):
    series = large.series[0]
    cut_pixels(series.slices[30].path)
    view.show(large, series, 30)
    wait(lambda: view.pane.ready[[29, 31]].all() and 30 in view.pane.faults)
    wait(lambda: view.pane.ready[24:30].all() and view.pane.ready[31:37].all())


def test_that_volumes_of_series_read_before_keep_to_their_limit(view, wait, tmp_path, monkeypatch):
    studies = []
    for name in "abc":
        phantoms.write_ct_series(tmp_path / name, slices=4, name=name)
        studies.append(opened(tmp_path / name))
    size = studies[0].series[0].decoded_bytes
    monkeypatch.setattr(viewing, "_KEPT_BYTES", 2 * size)
    for study in studies:
        view.show(study, study.series[0])
        wait(lambda: bool(view.pane.ready.all()) and len(view.pane.volumes) == 1)
        wait(lambda study=study: study.study_uid in {uid for uid, _ in view.kept})
    assert {uid for uid, _ in view.kept} == {study.study_uid for study in studies[1:]}
    view.show(studies[1], studies[1].series[0])
    assert view.pane.ready.all()


def whole_by_parts(study):
    series = study.series[0]
    with isolated.Readers(1) as readers:
        parts = [
            readers.load(series, indices=range(k, k + 10)).voxels.copy() for k in range(0, 60, 10)
        ]
    return np.concatenate(parts)


def test_that_reading_all_can_be_asked_for_while_a_large_series_is_shown(view, large, monkeypatch):
    assert not view.can_read_all
    view.show(large, large.series[0], 30)
    assert view.can_read_all
    monkeypatch.setattr(viewing.blocks, "free_bytes", lambda: large.series[0].decoded_bytes)
    assert not view.can_read_all


def test_that_a_picture_is_of_the_nearest_slice_that_can_be_read(dressed, tmp_path):
    paths = phantoms.write_ct_series(tmp_path / "ct", slices=9)
    study = opened(tmp_path / "ct")
    series = study.series[0]
    with isolated.Readers(1) as readers:
        for index in (2, 4, 5, 6):
            cut_pixels(series.slices[index].path)
        held = readers.load(series)
        assert not held.ready[4]
        wanted = pictures.square(pictures.grey_or_colour(held, 3))
        assert pictures.of_series(series, readers) == wanted
        assert pictures.of_series(series, readers, held) == wanted
    assert len(paths) == 9
