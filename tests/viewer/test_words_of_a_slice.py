"""The words over a slice: values, corners, letters."""

from __future__ import annotations

import dataclasses

import numpy as np
import phantoms
import pytest
from hypothesis import given
from hypothesis import strategies as some

from medsearch_desktop.imaging import display, study, volume
from medsearch_desktop.viewer import captions, hanging, slice_image, stack

LETTERS = ("R", "L", "A", "P")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-84.0, "−84"), (0.0, "0"), (-0.0, "0"), (1500.0, "1500"), (0.125, "0.125"),
        (-0.5, "−0.5"), (123456.7, "123457"), (float("nan"), "not a number"),
    ],
)  # fmt: skip
def test_that_numbers_are_written_with_a_true_minus_sign(value, text):
    assert slice_image.number(value) == text


def one_pixel(stored, dtype, slope=1.0, intercept=0.0, **fields):
    series = study.Series(
        "k", "", "CT", "", None, "", (), 1, 1, 1, dtype, (slope,), (intercept,), **fields
    )
    voxels = np.array([[[stored]]], dtype=dtype)
    return volume.Volume(series, voxels, (0,), np.ones(1, bool))


def test_that_a_decimal_slope_leaves_no_digits_of_rounding():
    assert slice_image.value_text(one_pixel(3, "int16", 0.1), 0, 0, 0) == "Value 0.3"


def test_that_the_unit_of_the_series_stands_before_the_value():
    read = one_pixel(940, "uint16", 1.0, -1024.0, units="HU")
    assert slice_image.value_text(read, 0, 0, 0) == "HU −84"


def test_that_a_table_of_modality_values_is_followed():
    table = study.ModalityTable(10, (5, 50, 500))
    read = one_pixel(11, "uint16", modality_table=table)
    assert slice_image.value_text(read, 0, 0, 0) == "Value 50"


@pytest.mark.parametrize("stored", [float("inf"), float("nan")])
def test_that_values_that_are_no_numbers_say_so(stored):
    text = slice_image.value_text(one_pixel(stored, "float32"), 0, 0, 0)
    assert text in ("infinite", "Value not a number")


@given(width=some.floats(1, 5000), right=some.floats(-500, 500), down=some.floats(-500, 500))
def test_that_a_drag_and_the_drag_back_give_the_same_width(width, right, down):
    start = study.Window(40, width, "Lung", "LINEAR_EXACT")
    there = slice_image.dragged_window(start, right, down, narrowest=1e-9, inverted=False)
    back = slice_image.dragged_window(there, -right, 0, narrowest=1e-9, inverted=False)
    assert back.width == pytest.approx(width)
    assert (there.name, there.function) == ("", "LINEAR_EXACT")


def test_that_upwards_brightens_an_inverted_image_too():
    start = study.Window(100, 200)
    plain = slice_image.dragged_window(start, 0, -50, narrowest=1, inverted=False)
    turned = slice_image.dragged_window(start, 0, -50, narrowest=1, inverted=True)
    value = np.array([100.0])
    assert display.to_8bit(value, plain) > display.to_8bit(value, start)
    assert display.to_8bit(value, turned, True) > display.to_8bit(value, start, True)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32"])
def test_that_every_kind_of_stored_value_is_drawn_as_its_window_says(dtype):
    stored = np.array([[[0, 1, 50], [99, 100, 127]]]).astype(dtype)
    series = study.Series("k", "", "MR", "", None, "", (), 2, 3, 1, dtype, (2.0,), (-10.0,))
    read = volume.Volume(series, stored, (0,), np.ones(1, bool))
    window = study.Window(90, 150)
    image = slice_image.Shader().picture(read, 0, window, slice_image.Part(0, 0, 3, 2))
    shown = [[image.pixelColor(x, y).red() for x in range(3)] for y in range(2)]
    assert np.array_equal(shown, display.to_8bit(read.modality_values(0), window))


def test_that_the_corners_name_patient_study_series_machine_and_place(opened, tmp_path):
    phantoms.write_ct_series(tmp_path)
    found, series, _ = opened(tmp_path)
    series = dataclasses.replace(
        series, details=(("Machine", "Phantom 16"), ("kV", "120"), ("mA", "360"), ("Kernel", "D"))
    )
    assert captions.who(found, series, 4) == (
        "Phantom Ramp  phantom-1  O",
        "Phantom study  2020-01-02",
        "Phantom series",
        "Se 3  Im 5/12",
    )
    assert captions.machine(series, 4) == (
        "Phantom 16",
        "120 kV  360 mA  D",
        "2.5 mm  loc −3.8",
    )
    assert captions.window(series, study.Window(-600, 1500)) == "W 1500  C −600"
    assert captions.zoom(1.774) == "Zoom 177 %"


def test_that_a_series_without_a_name_is_called_by_its_kind_and_body_part(opened, tmp_path):
    phantoms.write_ct_series(tmp_path)
    found, series, _ = opened(tmp_path)
    nameless = dataclasses.replace(series, description="")
    lines = captions.who(dataclasses.replace(found, title=""), nameless, 0)
    assert lines[1] == "CT PHANTOM  2020-01-02"


def test_that_beside_a_gap_the_location_is_that_of_the_slice_itself(opened, tmp_path):
    phantoms.write_ct_series(tmp_path, skip=(4,))
    _, series, _ = opened(tmp_path)
    assert captions.location_mm(series, 4) == pytest.approx(-13.75 + 5 * 2.5)


def test_that_the_corners_keep_quiet_about_what_is_not_known(opened, tmp_path):
    found, series, _ = opened(phantoms.write_picture(tmp_path / "a.png"))
    assert captions.machine(series, 0) == ()
    assert captions.who(found, series, 0)[-1] == "Im 1/1"


def test_that_an_image_without_orientation_and_spacing_says_so(pane, show, tmp_path):
    show(phantoms.write_picture(tmp_path / "a.png"))
    shown = stack.Stack(*show(phantoms.write_picture(tmp_path / "a.png"))[:2])
    over = captions.contents(shown, pane.frame, value="", ratio=1, scale=1, hidden=False)
    assert (over.letters, over.unknown) == (None, "Orientation unknown")
    assert (over.scale_bar, over.no_scale) == (None, "No pixel spacing: no scale bar")


def test_that_warnings_are_counted_where_they_do_not_all_fit(opened, pane, tmp_path):
    phantoms.write_ct_series(tmp_path)
    found, series, _ = opened(tmp_path)
    pane.show_series(found, series)
    marked = dataclasses.replace(series, marks=("One.", "Two.", "Three.", "Four."))
    shown = stack.Stack(found, marked)
    over = captions.contents(shown, pane.frame, value="", ratio=1, scale=1, hidden=False)
    assert (over.marks, over.more_marks) == (marked.marks, "(2 more)")


@pytest.mark.parametrize(
    ("orientation", "letters"),
    [
        (phantoms.AXIAL, LETTERS),
        (phantoms.CORONAL, ("R", "L", "S", "I")),
        (phantoms.SAGITTAL, ("A", "P", "S", "I")),
    ],
)
def test_that_the_letters_follow_the_orientation_of_the_file(
    opened, tmp_path, orientation, letters
):
    phantoms.write_ct_series(tmp_path, orientation=orientation)
    found, series, _ = opened(tmp_path)
    assert stack.Stack(found, series).letters == letters


def test_that_nifti_slices_hang_as_radiologists_hang_them(opened, tmp_path):
    found, series, _ = opened(phantoms.write_nifti(tmp_path / "a.nii"))
    assert stack.Stack(found, series).letters == LETTERS


@given(
    transpose=some.booleans(), rows=some.booleans(), columns=some.booleans(),
    x=some.integers(0, 4), y=some.integers(0, 2),
)  # fmt: skip
def test_that_a_turned_slice_finds_its_stored_pixels(transpose, rows, columns, x, y):
    by = display.Turn(transpose, rows, columns)
    stored = np.arange(15).reshape(3, 5)
    series = study.Series("k", "", "", "", None, "", (), 3, 5, 1, "int16", (), ())
    shown = by.apply(stored)
    column, row = (x, y) if not transpose else (y, x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hanging, "turn", lambda _: by)
        assert hanging.shown_size(series) == shown.shape[::-1]
        at = hanging.stored_pixel(series, column, row)
    assert stored[at[1], at[0]] == shown[row, column]


@pytest.mark.parametrize(
    ("by", "letters"),
    [
        (display.Turn(), ("a", "b", "c", "d")),
        (display.Turn(flip_rows=True), ("a", "b", "d", "c")),
        (display.Turn(flip_columns=True), ("b", "a", "c", "d")),
        (display.Turn(transpose=True), ("c", "d", "a", "b")),
        (display.Turn(transpose=True, flip_rows=True), ("c", "d", "b", "a")),
    ],
)
def test_that_the_letters_turn_with_the_slice(by, letters):
    assert hanging.turned_letters(("a", "b", "c", "d"), by) == letters


@pytest.mark.parametrize(
    ("written", "letters"),
    [
        ("L / F", ("R", "L", "S", "I")),
        ("P / FL", ("A", "P", "SR", "IL")),
        ("", None),
        ("L", None),
        ("x / y", None),
    ],
)
def test_that_a_projection_image_takes_the_letters_that_it_states(written, letters):
    series = study.Series(
        "k", "", "DX", "", None, "", (), 3, 5, 1, "int16", (), (),
        details=(("Patient orientation", written),),
    )  # fmt: skip
    assert hanging.letters(series) == letters


def test_that_only_a_dicom_header_is_believed_about_compression():
    picture = dataclasses.replace(one_pixel(0, "uint8").series, modality="")
    assert captions.quality(picture) == ""
    assert captions.quality(dataclasses.replace(picture, is_lossy=True)) == "Lossy"
    assert captions.quality(dataclasses.replace(picture, modality="CT")) == "Lossless"
