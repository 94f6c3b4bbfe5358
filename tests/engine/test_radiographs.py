"""Borders and burned-in markers are no anatomy: what encoders see is without them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from medsearch_desktop.engine import radiographs


def _body(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A textured bright oval on a dark gradient: no line of it is flat."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    inside = np.clip(1.15 - x**2 - y**2, 0, 1)
    grey = 30 + 170 * inside + 20 * np.sin(9 * x) * np.cos(11 * y)
    grey = grey + np.random.default_rng(seed).normal(0, 8, grey.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _framed(picture: np.ndarray, colour: int, border: tuple[int, int, int, int]) -> np.ndarray:
    top, bottom, left, right = border
    framed = np.full(
        (picture.shape[0] + top + bottom, picture.shape[1] + left + right, 3), colour, np.uint8
    )
    framed[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return framed


def _marked(picture: np.ndarray, place: tuple[int, int], word: str, colour: int) -> np.ndarray:
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text(place, word, fill=(colour,) * 3, font_size=26)
    return np.asarray(image)


@pytest.mark.parametrize("colour", [0, 128, 255])
@given(border=st.tuples(*[st.integers(0, 150)] * 4))
def test_that_a_border_is_cut_and_the_body_is_whole(
    colour: int, border: tuple[int, int, int, int]
) -> None:
    body = _body(300, 260)
    found = radiographs.trimmed(_framed(body, colour, border))
    # Two points of the grid may stay around the body; not one of its own may go.
    assert body.shape[0] <= found.shape[0] <= body.shape[0] + 16
    assert body.shape[1] <= found.shape[1] <= body.shape[1] + 16


def test_that_a_black_film_in_a_white_frame_is_cut_through_both() -> None:
    body = _body(400, 300)
    framed = _framed(_framed(body, 0, (40, 60, 50, 30)), 255, (20, 20, 20, 20))
    found = radiographs.trimmed(framed)
    assert found.shape[0] <= 400 + 16
    assert found.shape[1] <= 300 + 16


def test_that_a_border_with_the_noise_of_jpeg_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(_framed(_body(400, 300), 0, (60, 60, 80, 80))).save(path, quality=60)
    found = radiographs.trimmed(np.asarray(Image.open(path)))
    assert found.shape[0] <= 400 + 24
    assert found.shape[1] <= 300 + 24


@pytest.mark.parametrize("value", [0, 90, 255])
def test_that_a_blank_picture_comes_back_as_it_is(value: int) -> None:
    blank = np.full((200, 300, 3), value, np.uint8)
    assert radiographs.trimmed(blank).shape == blank.shape


@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 9))
def test_that_pictures_of_any_size_leave_at_least_a_third_of_each_side(
    height: int, width: int, seed: int
) -> None:
    drawn = np.random.default_rng(seed)
    shown = np.zeros((height, width, 3), np.uint8)
    shown[drawn.integers(0, height), drawn.integers(0, width)] = 255
    found = radiographs.trimmed(shown)
    assert found.shape[0] * 3 >= height
    assert found.shape[1] * 3 >= width


def test_that_a_stamp_in_the_middle_of_much_black_keeps_a_third_around_it() -> None:
    found = radiographs.trimmed(_framed(_body(60, 60), 0, (470, 470, 470, 470)))
    assert found.shape[:2] == (334, 334)
    assert found[137:197, 137:197].mean() > 60


@pytest.mark.parametrize("ground", [0, 70])
@pytest.mark.parametrize("word", ["L", "R", "12.03.1999"])
def test_that_a_marker_on_a_flat_ground_is_filled_with_that_ground(ground: int, word: str) -> None:
    plain = _framed(_body(700, 500), ground, (100, 100, 150, 150))
    marked = _marked(plain, (30, 40), word, 255)
    assert not np.array_equal(marked, plain)
    assert np.array_equal(radiographs.trimmed(marked), radiographs.trimmed(plain))
    assert not np.array_equal(radiographs.trimmed(marked, markers=False), plain)


def test_that_the_picture_that_was_given_is_not_changed() -> None:
    marked = _marked(_framed(_body(700, 500), 0, (100, 100, 150, 150)), (30, 40), "L", 255)
    before = marked.copy()
    radiographs.trimmed(marked)
    assert np.array_equal(marked, before)


def test_that_bright_bone_in_the_body_stays() -> None:
    body = _body(700, 500)
    body[300:340, 200:300] = 255
    body[80:120, 60:90] = 255  # in the margin, but among tissue
    body[60:140, 90:200] = 230
    assert np.array_equal(radiographs.trimmed(body), body)


def test_that_ct_and_mr_slices_of_the_pack_lose_hardly_anything_but_their_borders(
    pack: Path,
) -> None:
    from medsearch_desktop import queries
    from medsearch_desktop.engine import views
    from medsearch_desktop.imaging import isolated

    folders = ("ct_chest_lidc0314", "mr_brain_t1_studyforrest")
    with isolated.Readers(1) as readers:
        for folder in folders:
            term = queries.VolumeTerm(str(pack / "dicom-series" / folder))
            for _, picture in views.render(term, readers):
                cut = radiographs._without_borders(picture.shown)
                cleared = radiographs._without_markers(cut)
                assert (cleared != cut).any(axis=2).mean() < 0.01


def test_that_hardly_a_radiograph_of_the_pack_loses_more_than_half_of_its_pixels(
    pack: Path,
) -> None:
    with (pack / "covid-chestxray" / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["modality"] == "X-ray"][::6]
    kept = []
    for row in rows:
        shown = np.asarray(Image.open(pack / "covid-chestxray" / row["path"]).convert("RGB"))
        found = radiographs.trimmed(shown)
        kept.append(found.shape[0] * found.shape[1] / (shown.shape[0] * shown.shape[1]))
    assert len(rows) > 40
    assert np.median(kept) > 0.95
    assert np.mean(np.array(kept) < 0.5) <= 0.02
