"""Windows, tables and hanging of slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsearch_desktop import cases
from medsearch_desktop.imaging import display, study, volume


def _series(**changes: object) -> study.Series:
    fields: dict[str, object] = {
        "key": "1",
        "series_uid": "1",
        "modality": "MR",
        "description": "",
        "number": None,
        "body_part": "",
        "slices": (cases.ImageRef("a"),),
        "rows": 2,
        "columns": 3,
        "samples": 1,
        "dtype": "int16",
        "slope": (2.0,),
        "intercept": (-10.0,),
    }
    return study.Series(**{**fields, **changes})  # type: ignore[arg-type]


def _by_formula(x: float, window: study.Window) -> float:
    """DICOM PS3.3 C.11.2.1.2.1, written as the standard does, for 0 to 255."""
    c, w = window.centre, window.width
    if x <= c - 0.5 - (w - 1) / 2:
        return 0.0
    if x > c - 0.5 + (w - 1) / 2:
        return 255.0
    return ((x - (c - 0.5)) / (w - 1) + 0.5) * 255.0


@given(
    st.floats(-2000, 4000, width=32),
    st.floats(-1000, 3000, width=32),
    st.floats(1.0, 4000, width=32),
)
def test_that_a_linear_window_follows_the_formula_of_the_standard(x, centre, width):
    window = study.Window(float(centre), float(width))
    shown = float(display.to_8bit(np.array([x], np.float64), window)[0])
    assert abs(shown - _by_formula(float(x), window)) <= 0.5 + 1e-6


def test_that_the_examples_of_the_standard_come_out_as_written_there():
    # C.11.2.1.2.1, note 3: centre 2048 and width 4096 is the identity of 12 bits.
    x = np.arange(4096)
    shown = display.to_8bit(x, study.Window(2048, 4096))
    assert np.array_equal(shown, np.floor(x / 4095 * 255 + 0.5))
    # Note 4: centre 2048 and width 1 is a threshold between 2047 and 2048.
    assert display.to_8bit(np.array([2047, 2048]), study.Window(2048, 1)).tolist() == [0, 255]


def test_that_exact_and_sigmoid_windows_follow_their_own_formulas():
    exact = study.Window(0, 255, "", "LINEAR_EXACT")
    assert display.to_8bit(np.array([-128, 0, 128]), exact).tolist() == [0, 128, 255]
    sigmoid = study.Window(100, 40, "", "SIGMOID")
    shown = display.to_8bit(np.array([100, 110]), sigmoid)
    assert shown.tolist() == [128, round(255 / (1 + np.exp(-1)))]


def test_that_inversion_is_the_mirror_of_the_grey_values():
    x, window = np.linspace(-100, 300, 50), study.Window(100, 200)
    assert np.array_equal(display.to_8bit(x, window, True), 255 - display.to_8bit(x, window))


def test_that_values_that_are_no_number_are_black():
    shown = display.to_8bit(np.array([np.nan, -np.inf, 50.0]), study.Window(50, 20))
    assert shown[0] == 0
    assert shown[1] == 0


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int8", "uint8"])
def test_that_the_table_gives_what_the_formula_gives_for_every_stored_value(dtype):
    series, window = _series(dtype=dtype), study.Window(40, 400)
    limits = np.iinfo(dtype)
    stored = np.arange(limits.min, limits.max + 1).astype(dtype)
    wide = np.uint16 if np.dtype(dtype).itemsize == 2 else np.uint8
    by_table = display.lut(series, 0, window)[stored.view(wide)]
    assert np.array_equal(by_table, display.to_8bit(stored.astype(float) * 2 - 10, window))


def test_that_no_table_is_made_for_values_wider_than_16_bits():
    with pytest.raises(ValueError, match="no table"):
        display.lut(_series(dtype="float32"), 0, study.Window(0, 1))


def test_that_a_modality_table_replaces_slope_and_intercept():
    table = study.ModalityTable(-1, (100, 200, 300))
    series = _series(modality_table=table)
    stored = np.array([[-5, -1, 0], [1, 2, 9]], np.int16)
    values = volume.modality_values(series, 0, stored)
    assert values.tolist() == [[100, 100, 200], [300, 300, 300]]
    window = study.Window(200, 200)
    by_table = display.lut(series, 0, window)[stored.view(np.uint16)]
    assert np.array_equal(by_table, display.to_8bit(values, window))


def _volume(series: study.Series, values: np.ndarray) -> volume.Volume:
    return volume.Volume(series, values, (0,), np.ones(1, bool))


def test_that_the_files_own_window_comes_first_then_soft_tissue_then_percentiles():
    pixels = np.arange(6, dtype=np.int16).reshape(1, 2, 3)
    own = study.Window(1, 2, "OWN")
    assert display.default_window(_volume(_series(windows=(own,)), pixels), 0) == own
    assert display.default_window(_volume(_series(modality="CT"), pixels), 0).width == 400
    spread = display.default_window(_volume(_series(), pixels), 0)
    assert spread.centre - spread.width / 2 == pytest.approx(-10 + 2 * 0.05)
    assert spread.centre + spread.width / 2 == pytest.approx(-10 + 2 * 4.95)


def test_that_a_series_without_pixels_gives_the_range_of_its_type():
    window = display.default_window(_series(dtype="uint8", slope=(1.0,), intercept=(0.0,)))
    assert (window.centre, window.width) == (127.5, 255.0)


@pytest.mark.parametrize("values", [np.zeros((1, 2, 3)), np.full((1, 2, 3), np.nan)])
def test_that_a_flat_or_empty_image_still_has_a_window(values):
    series = _series(dtype="float64")
    assert display.default_window(_volume(series, values), 0).width > 0


def _affine(right: tuple[float, ...], down: tuple[float, ...]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 2], matrix[:3, 1] = right, down
    matrix[:3, 0] = np.cross(right, down)
    return matrix


_AXES = [tuple(float(s * (k == a)) for k in range(3)) for a in range(3) for s in (1, -1)]


@pytest.mark.parametrize("right", _AXES)
@pytest.mark.parametrize("down", _AXES)
def test_that_every_slice_is_hung_as_radiologists_hang_it(right, down):
    if np.abs(right).argmax() == np.abs(down).argmax():
        return
    affine = _affine(right, down)
    # Each pixel holds its place, so that the turned picture says where its edges are.
    i, j = np.mgrid[:5, :5]
    places = i[..., None] * np.array(down) + j[..., None] * np.array(right)
    turned = display.upright(affine).apply(places)
    to_right, to_down = turned[0, -1] - turned[0, 0], turned[-1, 0] - turned[0, 0]
    hung = {0: "L", 1: "P"}[int(np.abs(to_right).argmax())]
    assert to_right.max() > 0, "the patient's left, or the back, is on the right"
    if np.abs(to_down).argmax() == 2:
        assert to_down.min() < 0, "the feet are at the bottom"
    else:
        assert hung == "L"
        assert to_down.max() > 0, "the back is at the bottom"


def test_that_an_unknown_orientation_turns_nothing():
    assert display.upright(None) == display.Turn()
