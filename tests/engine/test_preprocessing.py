"""What open_clip does to a picture, done without torch: the same pixels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medsearch_desktop.engine.encoders import preprocessing, torchvision_shim

_SHAPES = [(40, 50), (224, 224), (300, 225), (225, 301), (1, 1), (1, 9), (9, 1), (777, 333)]


@pytest.mark.parametrize("size", [224, [224, 224], [200, 240], 63])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"resize_mode": "longest"},
        {"resize_mode": "squash", "interpolation": "bilinear", "mean": 0.5, "std": [0.5] * 3},
        {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bicubic"},
    ],
)
def test_that_pixels_are_those_of_open_clip(size: object, config: dict):
    torchvision_shim.declare_operators()
    from open_clip import transform

    theirs = transform.image_transform(size, is_train=False, **config)
    ours = preprocessing.Preprocessing.of({"vision_cfg": {"image_size": size}}, config)
    for shape in _SHAPES:
        image = np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), np.uint8)
        expected = theirs(Image.fromarray(image)).numpy()
        found = ours.pixels(ours.shown(image)[None])[0]
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-6


def test_that_a_line_of_many_pixels_does_not_fill_the_memory():
    seen = preprocessing.Preprocessing(224, 224)
    line = np.zeros((1, 1_000_000, 3), np.uint8)
    line[:, 500_000] = 255
    assert seen.shown(line).shape == (224, 224, 3)
    assert seen.shown(line.transpose(1, 0, 2)).max() > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"resize_mode": "stretch"},
        {"interpolation": "nearest"},
        {"mean": [0.5, 0.5]},
        {"std": [0.5, "x", 0.5]},
        {"mean": [float("nan")] * 3},
    ],
)
def test_that_a_preprocessing_that_there_is_not_is_refused(wrong: dict):
    with pytest.raises(ValueError, match=r"known|channels|convert"):
        preprocessing.Preprocessing.of({"vision_cfg": {}}, wrong)
    with pytest.raises(ValueError, match="asked for"):
        preprocessing.Preprocessing.of({"vision_cfg": {"image_size": 100_000}}, {})


def test_that_an_array_which_is_no_picture_is_refused():
    seen = preprocessing.Preprocessing(8, 8)
    for wrong in (np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))):
        with pytest.raises(ValueError, match="not uint8"):
            seen.shown(wrong)
