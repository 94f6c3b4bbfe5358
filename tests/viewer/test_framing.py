"""Where a slice lies in a pane."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from medsearch_desktop.viewer import framing

sizes = some.integers(1, 4000)
steps = some.floats(1.0, 8.0)
places = some.floats(-2000, 4000)


def frame(columns=512, rows=512, width=900, height=600, step_x=1.0, step_y=1.0):
    return framing.Frame(columns, rows, width, height, step_x, step_y).fitted()


@given(columns=sizes, rows=sizes, step_x=steps, step_y=steps, x=places, y=places)
def test_that_the_way_to_the_pane_and_back_ends_where_it_began(columns, rows, step_x, step_y, x, y):
    placed = frame(columns, rows, step_x=step_x, step_y=step_y).zoomed(1.7, 100, 40)
    assert placed.to_image(*placed.to_pane(x, y)) == pytest.approx((x, y), abs=1e-6)


@given(columns=sizes, rows=sizes, step_x=steps, step_y=steps)
def test_that_a_fitted_slice_touches_two_edges_and_crosses_none(columns, rows, step_x, step_y):
    left, top, width, height = frame(columns, rows, step_x=step_x, step_y=step_y).target()
    assert min(left, top) == pytest.approx(0, abs=1e-6)
    assert width <= 900 + 1e-6
    assert height <= 600 + 1e-6


def test_that_pixels_that_are_not_square_keep_their_shape():
    placed = frame(100, 100, step_x=framing.pixel_steps((2.0, 0.5))[0], step_y=4.0)
    _, _, width, height = placed.target()
    assert framing.pixel_steps((2.0, 0.5)) == (1.0, 4.0)
    assert height == pytest.approx(4 * width)


@given(factor=some.floats(0.2, 6.0), left=some.floats(0, 900), top=some.floats(150, 450))
def test_that_the_place_under_the_mouse_stays_put_while_zooming(factor, left, top):
    before = framing.Frame(512, 512, 900, 600, scale=2.0, centre_x=256, centre_y=256)
    after = before.zoomed(factor, left, top)
    inside = before.pixel_at(left, top) is not None
    held = 0 < after.centre_x < 512 and 0 < after.centre_y < 512
    if inside and held:
        assert after.to_image(left, top) == pytest.approx(before.to_image(left, top), abs=1e-6)


def test_that_zooming_ends_at_both_limits():
    placed = frame()
    assert placed.zoomed(1e9, 0, 0).scale == framing.LARGEST_SCALE
    smallest = placed.fitted_scale * framing.SMALLEST_OF_FIT
    assert placed.zoomed(1e-9, 0, 0).scale == pytest.approx(smallest)


def test_that_panning_moves_the_image_with_the_mouse_and_never_loses_it():
    placed = frame().zoomed(4, 450, 300)
    left, top = placed.panned(30, -20).to_pane(256, 256)
    assert (left, top) == pytest.approx((480, 280))
    far = placed.panned(1e6, 1e6)
    assert (far.centre_x, far.centre_y) == (0, 0)


def test_that_the_pixel_under_a_place_is_none_beside_the_image():
    placed = frame()
    assert placed.pixel_at(450, 300) == (256, 256)
    assert placed.pixel_at(10, 300) is None


def test_that_a_pane_that_grows_keeps_the_fit_or_the_zoom():
    fitted = frame()
    assert fitted.resized(1800, 1200, keep_fit=True).scale == pytest.approx(2 * fitted.scale)
    assert fitted.resized(1800, 1200, keep_fit=False).scale == fitted.scale


@pytest.mark.parametrize(
    ("mm_per_px", "longest", "label", "length", "parts"),
    [
        (1.0, 160, "10 cm", 100, 5),
        (0.5, 160, "5 cm", 100, 5),
        (0.19, 160, "2 cm", 20 / 0.19, 4),
        (0.01, 160, "1 mm", 100, 5),
        (0.001, 160, "0.1 mm", 100, 5),
    ],
)
def test_that_the_scale_bar_has_a_round_length_that_fits(mm_per_px, longest, label, length, parts):
    bar = framing.scale_bar(mm_per_px, longest)
    assert (bar.label, bar.parts) == (label, parts)
    assert bar.length_px == pytest.approx(length)


@given(mm_per_px=some.floats(1e-4, 50), longest=some.floats(1, 400))
def test_that_the_scale_bar_is_never_longer_than_its_room(mm_per_px, longest):
    bar = framing.scale_bar(mm_per_px, longest)
    assert 0.19 * longest <= bar.length_px <= longest * (1 + 1e-6)


def test_that_there_is_no_scale_bar_without_room():
    assert framing.scale_bar(0.5, 0) is None
    assert framing.scale_bar(float("nan"), 100) is None
