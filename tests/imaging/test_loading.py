"""What is kept of a load and of an opening when readers are lost under them."""

from __future__ import annotations

from pathlib import Path

import phantoms
import pytest

from medsearch_desktop import errors
from medsearch_desktop.imaging import finding, loading, opening, study


def _loading(folder: Path, slices: int) -> loading.Loading:
    phantoms.write_ct_series(folder, slices, (4, 4))
    (found,) = opening.open_paths([folder])
    assert isinstance(found, study.Study)
    load = loading.Loading(found.series[0], range(slices), 0, None, None)
    load.block.unlink()
    return load


def test_that_slices_that_each_end_a_reader_are_tried_only_so_often(tmp_path):
    load = _loading(tmp_path, 20)
    jobs = 0
    while load.job() is not None:
        jobs += 1
        load.take(("at", load.path()))
        load.lost("Reading it ended the reader process.")
    assert jobs == loading.MOST_LOSSES
    assert len(load.volume.faults) == 20
    assert "not tried" in load.volume.faults[19]
    with pytest.raises(errors.UnreadableFileError, match="ended the reader process"):
        load.finished()


def test_that_slices_without_a_loss_between_do_not_count_as_losses(tmp_path):
    load = _loading(tmp_path, 20)
    for _ in range(loading.MOST_LOSSES - 1):
        job = load.job()
        assert job is not None
        load.take(("at", load.path()))
        load.take(("plane", job.order[0]))
        load.take(("at", load.path()))
        load.lost("Reading it ended the reader process.")
    assert int(load.volume.ready.sum()) == len(load.volume.faults) == loading.MOST_LOSSES - 1
    assert load.job() is not None
    assert load.finished() is load.volume


def test_that_a_reader_that_never_begins_is_replaced_twice_and_no_slice_is_blamed_before(tmp_path):
    load = _loading(tmp_path, 4)
    for _ in range(2):
        assert load.job() is not None
        load.lost("A reader process cannot be started: no memory.")
        assert load.volume.faults == {}
    load.lost("A reader process cannot be started: no memory.")
    assert load.job() is None
    with pytest.raises(errors.UnreadableFileError, match="cannot be started"):
        load.finished()


def test_that_a_reader_that_ends_a_job_too_early_is_asked_again_and_not_for_ever(tmp_path):
    load = _loading(tmp_path, 4)
    jobs = 0
    while load.job() is not None:
        jobs += 1
        load.take(("done", None))
    assert jobs == 3


def _picture(path: str, *, is_complete: bool = True, count: int = 1) -> study.Study:
    series = study.Series("1", "1", "OT", "", 1, "", (), 1, 1, 1, "uint8", (), ())
    series = study.Series(**{**series.__dict__, "slices": tuple(range(count))})
    return study.Study(path, (series,), (path,), is_complete=is_complete)


def test_that_what_was_answered_is_not_asked_for_again_after_a_loss():
    found = finding.Finding(["/a"], grow=True)
    given = [
        *found.take(("at", "/a/1.png")),
        *found.take(("found", _picture("/a/1.png"))),
        *found.take(("found", study.Refused("/a/2.txt", "No."))),
        *found.take(("at", "/a/3.dcm")),
        *found.take(("at", "")),
        *found.take(("found", _picture("uid", is_complete=False, count=5))),
        *found.take(("at", "/a/4.dcm")),
        *found.lost("Reading it ended the reader process."),
    ]
    assert [type(each) for each in given] == [study.Study, study.Refused] * 2
    # The header of 3.dcm died with the reader: it must be read again.
    assert found.job().skip == {"/a/1.png", "/a/2.txt", "/a/4.dcm"}
    assert not found.is_over


def test_that_no_study_becomes_smaller_and_none_is_given_twice_after_a_loss():
    found = finding.Finding(["/a"], grow=True)

    def sizes(*values: study.Study) -> list[int]:
        given = [each for value in values for each in found.take(("found", value))]
        return [len(each.series[0].slices) for each in given if isinstance(each, study.Study)]

    growing = [_picture("uid", is_complete=False, count=count) for count in (5, 9)]
    whole = _picture("uid", count=9)
    assert sizes(*growing) == [5, 9]
    list(found.lost("The reader ended."))
    assert sizes(*growing, whole, whole) == [9]


def test_that_an_opening_that_loses_too_many_readers_tries_no_other_file():
    found = finding.Finding(["/a"], grow=False)
    told: list[study.Refused] = []
    for number in range(finding.MOST_LOSSES):
        assert found.job().only is None
        list(found.take(("at", f"/a/{number}")))
        told += found.lost("Reading it ended the reader process.")
    assert len(told) == finding.MOST_LOSSES
    assert found.job().only == frozenset()
    list(found.take(("done", None)))
    assert found.is_over
