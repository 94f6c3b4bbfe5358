"""Orientation letters and geometry of volumes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsearch_desktop.imaging import study, volume


def _affine(row: tuple[float, ...], column: tuple[float, ...]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 2], matrix[:3, 1] = row, column
    matrix[:3, 0] = np.cross(row, column)
    return matrix


@pytest.mark.parametrize(
    ("row", "column", "letters"),
    [
        ((1, 0, 0), (0, 1, 0), ("R", "L", "A", "P")),
        ((1, 0, 0), (0, 0, -1), ("R", "L", "S", "I")),
        ((0, 1, 0), (0, 0, -1), ("A", "P", "S", "I")),
        ((-1, 0, 0), (0, -1, 0), ("L", "R", "P", "A")),
        ((0, -1, 0), (0, 0, 1), ("P", "A", "I", "S")),
        ((0, 0, 1), (1, 0, 0), ("I", "S", "R", "L")),
    ],
)
def test_that_the_letters_name_the_edges_of_every_plane(row, column, letters):
    assert volume.orientation_letters(_affine(row, column)) == letters


def test_that_an_oblique_slice_gets_two_letters_strongest_first():
    down = (0.0, np.cos(np.radians(30)), -np.sin(np.radians(30)))
    assert volume.orientation_letters(_affine((1, 0, 0), down)) == ("R", "L", "AS", "PI")


def test_that_an_unknown_or_empty_orientation_has_no_letters():
    assert volume.orientation_letters(None) is None
    assert volume.orientation_letters(np.zeros((4, 4))) is None


@given(
    st.lists(st.floats(-1, 1), min_size=9, max_size=9),
    st.lists(st.integers(0, 500), min_size=3, max_size=3),
)
def test_that_a_place_in_mm_leads_back_to_its_voxel(cells, index):
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(cells).reshape(3, 3) + 4 * np.eye(3)
    matrix[:3, 3] = (-120.0, 80.0, 1000.0)
    affine = np.array(study.as_affine(matrix))
    place = affine @ np.array([*index, 1.0])
    assert np.allclose(np.linalg.solve(affine, place)[:3], index, atol=1e-6)


def test_that_only_four_rows_of_four_make_an_affine():
    with pytest.raises(ValueError, match="4, 4"):
        study.as_affine(np.eye(3))
