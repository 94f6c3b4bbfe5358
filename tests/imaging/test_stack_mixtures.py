"""Series that mix patients, modalities, units, copies and places, from phantoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import phantoms
import pytest

from medsearch_desktop.imaging import opening, study


def _studies(*paths: Path) -> list[study.Study]:
    """Return the studies of a drop of which nothing is refused; copies and moments may be left."""
    found = list(opening.open_paths(paths))
    studies = [each for each in found if isinstance(each, study.Study) and each.is_complete]
    others = [each for each in found if isinstance(each, study.Refused)]
    assert all(each.answer == "left out" for each in others), others
    return studies


def _series(path: Path) -> study.Series:
    (found,) = _studies(path)
    (series,) = found.series
    return series


def test_that_a_lesion_between_two_samples_makes_another_image(tmp_path):
    def lesion(found, k):
        stored = np.frombuffer(found.PixelData, np.uint16).reshape(256, 256).copy()
        stored[70:80, 100:140] += 900
        found.PixelData = stored.tobytes()

    phantoms.write_ct_series(tmp_path / "a", 2, (256, 256))
    phantoms.write_ct_series(tmp_path / "b", 2, (256, 256), change=lesion)
    (found,) = _studies(tmp_path)
    assert "Different images carry one identifier" in " ".join(found.series[0].marks)


def test_that_copies_in_other_encodings_are_compared_or_said_not_to_be(tmp_path):
    def brighter(found, k):
        found.PixelData = bytes(255 - byte for byte in found.PixelData)

    phantoms.write_ct_series(tmp_path / "a" / "a", 4, (8, 8))
    phantoms.write_ct_series(
        tmp_path / "a" / "b", 4, (8, 8), change=brighter, syntax="1.2.840.10008.1.2"
    )
    assert "Different images" in " ".join(_studies(tmp_path / "a")[0].series[0].marks)
    phantoms.write_ct_series(tmp_path / "b" / "a", 4, (8, 8))
    phantoms.write_ct_series(tmp_path / "b" / "b", 4, (8, 8), syntax="1.2.840.10008.1.2")
    assert _series(tmp_path / "b").marks == ("4 copies of images already here: left out.",)
    phantoms.write_ct_series(tmp_path / "c" / "a", 4, (8, 8))
    phantoms.write_ct_series(tmp_path / "c" / "b", 4, (8, 8), syntax="1.2.840.10008.1.2.1.99")
    assert "left out and not compared" in _series(tmp_path / "c").marks[0]
    left = [
        each for each in opening.open_paths([tmp_path / "c"]) if isinstance(each, study.Refused)
    ]
    assert len(left) == 4
    assert all("were not compared" in each.reason for each in left)


@pytest.mark.parametrize(
    ("keyword", "value", "named"),
    [
        ("Modality", "PT", "modality and unit"),
        ("RescaleType", "OD", "unit"),
        ("RescaleSlope", "0", "unit"),
    ],
)
def test_that_a_slice_of_another_modality_or_unit_is_set_apart(tmp_path, keyword, value, named):
    def other(found, k):
        if k == 3:
            setattr(found, keyword, value)

    phantoms.write_ct_series(tmp_path, 8, (8, 8), change=other)
    (found,) = _studies(tmp_path)
    assert [len(series.slices) for series in found.series] == [7, 1]
    said = f"The series was split into 2 stacks: its images differ in {named}."
    assert said in found.series[0].marks
    assert found.series[0].units == "HU" != found.series[1].units


def test_that_two_patients_under_one_study_are_two_studies(tmp_path):
    def other(found, k):
        found.PatientID, found.PatientName = (("p1", "One"), ("p2", "Two"))[k % 2]
        if k == 4:
            found.PatientID = ""

    phantoms.write_ct_series(tmp_path, 6, (8, 8), change=other)
    found = _studies(tmp_path)
    named = sorted((each.patient_id, each.patient_name) for each in found)
    assert named == [("p1", "One"), ("p2", "Two")]
    assert len({each.study_uid for each in found}) == len(found) == 2
    assert sum(len(series.slices) for each in found for series in each.series) == 6


@pytest.mark.parametrize(
    ("changes", "units"),
    [
        ({}, "HU"),
        ({"RescaleType": "HU"}, "HU"),
        ({"RescaleType": "US"}, ""),
        ({"RescaleSlope": None, "RescaleIntercept": None}, ""),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, ""),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.3"}, ""),
        ({"RescaleIntercept": "1e300"}, ""),
        ({"RescaleSlope": "-1e19"}, ""),
    ],
)
def test_that_hounsfield_units_are_claimed_only_where_a_rescale_gives_them(
    tmp_path, changes, units
):
    def change(found, k):
        for keyword, value in changes.items():
            setattr(found, keyword, value)

    phantoms.write_ct_series(tmp_path, 4, (8, 8), change=change)
    series = _series(tmp_path)
    assert series.units == units
    assert max(map(abs, (*series.slope, *series.intercept))) <= 1024


def test_that_uneven_sharing_of_places_keeps_the_orientation(tmp_path):
    positions = [[-10, -20, 5 * (k // 2)] for k in range(9)]
    phantoms.write_ct_series(tmp_path, size=(8, 8), positions=positions)
    series = _series(tmp_path)
    assert series.marks == (
        "Several images share one place, unevenly: they are shown in the order of their numbers.",
    )
    assert (series.affine is not None, series.is_volume, series.slice_spacing_mm) == (
        *(True, False, None),
    )
    # Numbers run against the places here.
    assert [place[2] for place in series.positions_lps] == [20, 15, 15, 10, 10, 5, 5, 0, 0]


def test_that_one_slice_far_away_is_no_gap_of_many_slices(tmp_path):
    def far(found, k):
        if k == 7:
            found.ImagePositionPatient = ["-10", "-20", "500000"]

    phantoms.write_ct_series(tmp_path, 8, (8, 8), change=far)
    (mark,) = _series(tmp_path).marks
    assert mark.startswith("Slice 8 lies 49")
    assert mark.endswith("mm from the others.")


def test_that_images_without_place_and_modality_are_marked(tmp_path):
    def bare(found, k):
        del found.ImageOrientationPatient, found.Modality

    phantoms.write_ct_series(tmp_path, 6, (8, 8), change=bare)
    assert _series(tmp_path).marks[0].startswith("Orientation is missing")
