"""Disturbed pictures: other grey values, never another side."""

import numpy as np
from PIL import Image

from medsearch_desktop.training import pictures


def _left_bright() -> Image.Image:
    values = np.zeros((120, 160, 3), np.uint8)
    values[:, :60] = 200
    return Image.fromarray(values)


def test_that_no_disturbance_changes_sides():
    draw = np.random.default_rng(0)
    for _ in range(60):
        found = np.asarray(pictures.disturbed(_left_bright(), draw, 0.5), float)
        width = found.shape[1]
        assert found[:, : width // 4].mean() > found[:, -width // 4 :].mean()


def test_that_the_draw_alone_decides_the_disturbance():
    first, again = (
        np.asarray(pictures.disturbed(_left_bright(), np.random.default_rng(5))) for _ in range(2)
    )
    assert (first == again).all()


def test_that_tone_curves_make_the_channels_three_windows_of_one_grey():
    ramp = np.repeat(np.linspace(0, 255, 200, dtype=np.uint8)[None, :, None], 50, axis=0)
    picture = Image.fromarray(np.repeat(ramp, 3, axis=2))
    draw = np.random.default_rng(1)
    plain = np.asarray(pictures.disturbed(picture, draw))
    assert (plain[..., 0] == plain[..., 2]).all()
    is_other = 0
    for _ in range(20):
        found = np.asarray(pictures.disturbed(picture, draw, 1.0), float)
        is_other += bool(np.abs(found[..., 0] - found[..., 1]).max() > 20)
        # Brighter tissue stays brighter in every window.
        middle = found[found.shape[0] // 2]
        assert (np.diff(middle[3:-3:8], axis=0) > -30).all()
    assert is_other > 15
