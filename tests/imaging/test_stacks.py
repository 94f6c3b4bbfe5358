"""Order, geometry and oddities of DICOM series, from phantoms."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import phantoms
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medsearch_desktop.imaging import dicom_headers, files, opening, pixels, study


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


def _voxels(series: study.Series) -> np.ndarray:
    return np.stack([p for _, p in pixels.planes(series, range(len(series.slices)))])


def _places(series: study.Series) -> np.ndarray:
    """LPS mm of every voxel, by the affine: (z, y, x, 3)."""
    index = np.indices((len(series.slices), series.rows, series.columns)).reshape(3, -1)
    homogeneous = np.vstack([index, np.ones(index.shape[1])])
    shape = (len(series.slices), series.rows, series.columns, 3)
    return (np.array(series.affine) @ homogeneous)[:3].T.reshape(shape)


@pytest.mark.parametrize(
    "orientation", [phantoms.AXIAL, phantoms.CORONAL, phantoms.SAGITTAL, (0.8, 0.6, 0, 0, 0, -1)]
)
def test_that_every_voxel_lies_where_the_formula_says(tmp_path, orientation):
    phantoms.write_ct_series(tmp_path, 6, (10, 12), orientation=orientation)
    series = _series(tmp_path)
    places = _places(series)
    expected = phantoms.ramp(*np.moveaxis(places, -1, 0))
    values = _voxels(series) * np.array(series.slope)[:, None, None] + series.intercept[0]
    assert np.abs(values - expected).max() <= 0.51
    assert series.is_volume
    assert series.marks == ()
    assert series.slice_spacing_mm == pytest.approx(2.5)
    assert series.pixel_spacing_mm == (1.5, 1.25)


@settings(deadline=None, max_examples=15)
@given(st.floats(-3.1, 3.1), st.floats(-1.5, 1.5), st.floats(-3.1, 3.1), st.floats(0.3, 9.0))
def test_that_any_rotation_keeps_slice_order_and_affine_together(tmp_path_factory, a, b, c, step):
    def turn(axis: int, angle: float) -> np.ndarray:
        matrix = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        matrix[[i, i, j, j], [i, j, i, j]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        return matrix

    axes = turn(0, a) @ turn(1, b) @ turn(2, c)
    orientation = (*axes[:, 0], *axes[:, 1])
    folder = tmp_path_factory.mktemp("turned")
    phantoms.write_ct_series(folder, 5, (4, 6), orientation=orientation, step_mm=step)
    series = _series(folder)
    placed = np.array(series.affine) @ np.array([[k, 0, 0, 1] for k in range(5)]).T
    assert np.allclose(placed[:3].T, series.positions_lps, atol=1e-3)
    along = np.array(series.positions_lps) @ np.cross(orientation[:3], orientation[3:])
    assert (np.diff(along) > 0).all()
    assert series.is_volume


def test_that_slices_stand_by_place_and_not_by_number_or_name(tmp_path):
    paths = phantoms.write_ct_series(tmp_path, 5)
    assert [s.path for s in _series(tmp_path).slices] == [str(path) for path in paths]


def test_that_a_missing_slice_is_marked_and_never_bridged_in_silence(tmp_path):
    phantoms.write_ct_series(tmp_path, 9, skip=(4,))
    series = _series(tmp_path)
    assert not series.is_volume
    assert series.marks == (
        "1 slice is missing: slices 4 and 5 are 5.0 mm apart, the others 2.5 mm.",
    )
    assert series.positions_lps[4][2] - series.positions_lps[3][2] == pytest.approx(5.0)


def test_that_uneven_spacing_is_marked_with_both_steps(tmp_path):
    positions = [(0, 0, z) for z in (0.0, 2.0, 4.0, 7.1, 9.1)]
    phantoms.write_ct_series(tmp_path, positions=positions)
    series = _series(tmp_path)
    assert not series.is_volume
    assert series.marks == ("The slices are unevenly spaced: steps lie between 2.00 and 3.10 mm.",)


def test_that_a_tilted_gantry_gives_a_sheared_affine_and_a_mark(tmp_path):
    positions = [(0, 0.5 * k, 2.0 * k) for k in range(6)]
    phantoms.write_ct_series(tmp_path, positions=positions, size=(8, 8))
    series = _series(tmp_path)
    assert series.is_volume
    assert np.array(series.affine)[:3, 0] == pytest.approx([0, 0.5, 2.0])
    assert "14.0 degrees" in series.marks[0]


def test_that_slices_shifted_sideways_are_no_volume(tmp_path):
    positions = [(8.0 * (k % 2), 0, 2.0 * k) for k in range(6)]
    phantoms.write_ct_series(tmp_path, positions=positions, size=(8, 8))
    series = _series(tmp_path)
    assert not series.is_volume
    assert any("sideways" in mark for mark in series.marks)


def test_that_two_orientations_become_two_stacks(tmp_path):
    phantoms.write_ct_series(tmp_path / "a", 5, (8, 8), name="mixed")
    coronal = {"orientation": phantoms.CORONAL, "name": "mixed"}

    def rename(found, k):
        found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = phantoms.uid("c", k)

    phantoms.write_ct_series(tmp_path / "b", 4, (8, 8), change=rename, **coronal)
    (found,) = _studies(tmp_path)
    assert sorted(len(series.slices) for series in found.series) == [4, 5]
    assert all("split into 2 stacks" in series.marks[-1] for series in found.series)
    assert len({series.key for series in found.series}) == 2


def test_that_a_localizer_does_not_stand_among_the_slices(tmp_path):
    def first_is_localizer(found, k):
        if k == 0:
            found.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    phantoms.write_ct_series(tmp_path, 6, (8, 8), change=first_is_localizer)
    (found,) = _studies(tmp_path)
    assert [len(series.slices) for series in found.series] == [5, 1]
    assert "A localizer." in found.series[1].marks


def test_that_copies_are_left_out_and_counted(tmp_path):
    phantoms.write_ct_series(tmp_path / "a", 4, (8, 8))
    phantoms.write_ct_series(tmp_path / "b", 4, (8, 8))
    series = _series(tmp_path)
    assert len(series.slices) == 4
    assert series.marks == ("4 copies of images already here: left out.",)


def test_that_a_missing_orientation_is_said_and_gives_no_letters(tmp_path):
    def bare(found, k):
        del found.ImageOrientationPatient

    phantoms.write_ct_series(tmp_path, 4, (8, 8), change=bare)
    series = _series(tmp_path)
    assert series.affine is None
    assert not series.is_volume
    assert series.marks[0].startswith("Orientation is missing")


@pytest.mark.parametrize(
    "cosines", [["0"] * 6, ["1", "0", "0", "1", "0", "0"], ["2", "0", "0", "0", "1", "0"]]
)
def test_that_an_impossible_orientation_counts_as_missing(tmp_path, cosines):
    def spoil(found, k):
        found.ImageOrientationPatient = cosines

    phantoms.write_ct_series(tmp_path, 4, (8, 8), change=spoil)
    assert _series(tmp_path).affine is None


def test_that_echoes_at_one_place_become_stacks_of_their_own(tmp_path):
    for echo in (10, 80):

        def set_echo(found, k, echo=echo):
            found.EchoTime = str(echo)
            uid = phantoms.uid("echo", echo, k)
            found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = uid

        phantoms.write_ct_series(tmp_path / str(echo), 5, (8, 8), modality="MR", change=set_echo)
    (found,) = _studies(tmp_path)
    assert [len(series.slices) for series in found.series] == [5, 5]
    assert all(series.is_volume for series in found.series)


def test_that_moments_at_one_place_show_the_first_and_say_how_many(tmp_path):
    for moment in (2, 1, 3):

        def set_time(found, k, moment=moment):
            found.TemporalPositionIdentifier = moment
            uid = phantoms.uid("time", moment, k)
            found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = uid

        phantoms.write_ct_series(tmp_path / str(moment), 5, (8, 8), change=set_time)
    series = _series(tmp_path)
    assert series.timepoints == 3
    assert {Path(s.path).parent.name for s in series.slices} == {"1"}
    assert series.is_volume


def test_that_the_window_of_the_file_is_kept_with_its_names(tmp_path):
    phantoms.write_ct_series(tmp_path, 4, (8, 8))
    assert _series(tmp_path).windows == (
        study.Window(40, 400, "SOFT"),
        study.Window(-600, 1500, "LUNG"),
    )


def test_that_rescale_is_kept_slice_by_slice(tmp_path):
    def own_slope(found, k):
        found.RescaleSlope = str(1 + k)

    phantoms.write_ct_series(tmp_path, 4, (8, 8), change=own_slope)
    assert _series(tmp_path).slope == (1.0, 2.0, 3.0, 4.0)


def test_that_other_pixels_under_one_identifier_are_no_copy(tmp_path):
    def other(found, k):
        found.PixelData = bytes(255 - byte for byte in found.PixelData)

    phantoms.write_ct_series(tmp_path / "a", 4, (8, 8))
    phantoms.write_ct_series(tmp_path / "b", 4, (8, 8), change=other)
    (found,) = _studies(tmp_path)
    marks = " ".join(found.series[0].marks)
    assert "Different images carry one identifier" in marks
    assert "copies of images" not in marks
    assert "all are shown" not in marks


def test_that_one_slice_without_a_place_is_set_apart_from_the_volume(tmp_path):
    def lose(found, k):
        if k == 5:
            del found.ImagePositionPatient

    phantoms.write_ct_series(tmp_path, 6, (8, 8), change=lose)
    (found,) = _studies(tmp_path)
    assert [len(series.slices) for series in found.series] == [5, 1]
    assert found.series[0].is_volume
    assert found.series[1].affine is None


def test_that_a_negative_thickness_does_not_turn_a_single_slice_over(tmp_path):
    def spoil(found, k):
        found.SliceThickness = "-5"

    phantoms.write_ct_series(tmp_path, 1, (8, 8), change=spoil)
    series = _series(tmp_path)
    assert series.slice_thickness_mm is None
    assert np.array(series.affine)[2, 0] > 0


@pytest.mark.parametrize("spacing", ["0\\0 ", "nan\\nan", "-1\\-1", "inf\\inf"])
def test_that_a_spacing_that_is_none_leaves_nothing_to_measure(tmp_path, spacing):
    for path in phantoms.write_ct_series(tmp_path, 5, (8, 8), spacing_mm=(1.25, 1.75)):
        data = path.read_bytes()
        path.write_bytes(data.replace(b"1.25\\1.75 ", spacing.encode().ljust(10)))
    series = _series(tmp_path)
    assert series.pixel_spacing_mm is None
    assert not series.is_volume
    assert [mark for mark in series.marks if "measured" in mark] == [
        "Its pixel spacing is no length: nothing can be measured."
    ]


def test_that_the_memory_of_a_hundred_thousand_headers_is_small(tmp_path):
    paths = phantoms.write_ct_series(tmp_path, 60, (8, 8))

    def header(path: Path) -> dicom_headers.Header:
        with files.opened(str(path)) as (file, size):
            return dicom_headers.read_header(str(path), file, size)

    header(paths[0])
    tracemalloc.start()
    kept = [header(path) for path in paths]
    taken = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    assert taken < 2500
