"""Siemens mosaics: each tile becomes a slice at the place that the formula gives."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import phantoms
import pytest
from hostile import mosaics

from medsearch_desktop.imaging import mosaic, opening, pixels, study

SIZE, COUNT = (6, 8), 7
SPACING, STEP = (2.0, 3.0), 4.0
TILTED = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)


def _values(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return 500 + 1.0 * x + 2.0 * y + 5.0 * z


def _written(path: Path, orientation: tuple[float, ...], sign: float) -> Path:
    """Write a mosaic of true slices; the header's position is that of the whole picture."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = sign * np.cross(row, column)
    first = np.array([-11.0, 7.0, 3.0])
    slices = []
    for k in range(COUNT):
        where = phantoms.plane_mm(first + normal * STEP * k, orientation, SPACING, SIZE)
        slices.append(np.round(_values(*where)).astype(np.uint16))
    # All slices have one centre in their planes; the mosaic is three tiles wide and high.
    across = 3
    shift = (
        row * SPACING[1] * (across * SIZE[1] - SIZE[1]) / 2
        + column * SPACING[0] * (across * SIZE[0] - SIZE[0]) / 2
    )
    header = mosaics.csa({"SliceNormalVector": [f"{v:.8f}" for v in normal]})
    return mosaics.write(
        path,
        np.stack(slices),
        position=first - shift,
        orientation=orientation,
        spacing_mm=SPACING,
        step_mm=STEP,
        count=COUNT,
        header=header,
    )


def _series(path: Path) -> study.Series:
    (found,) = opening.open_paths([path])
    assert isinstance(found, study.Study), found
    (series,) = found.series
    return series


@pytest.mark.parametrize("orientation", [phantoms.AXIAL, phantoms.CORONAL, TILTED])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_that_every_voxel_of_a_mosaic_lies_where_the_formula_says(tmp_path, orientation, sign):
    series = _series(_written(tmp_path / "a.dcm", orientation, sign))
    assert series.marks == ()
    assert series.is_volume
    assert len(series.slices) == COUNT
    assert (series.rows, series.columns) == SIZE
    assert series.slice_spacing_mm == pytest.approx(STEP)
    voxels = np.stack([plane for _, plane in pixels.planes(series, range(COUNT))])
    index = np.indices(voxels.shape).reshape(3, -1)
    places = np.array(series.affine) @ np.vstack([index, np.ones(index.shape[1])])
    expected = _values(*places[:3]).reshape(voxels.shape)
    assert np.abs(voxels - expected).max() <= 0.51


def test_that_tiles_are_read_in_any_order_and_as_pictures(tmp_path):
    slices = np.stack([np.full(SIZE, 10 * k, np.uint16) for k in range(COUNT)])
    path = mosaics.write(tmp_path / "a.dcm", slices, position=(0, 0, 0), count=COUNT)
    series = _series(path)
    planes = dict(pixels.planes(series, [6, 0, 3]))
    assert {k: int(plane.max()) for k, plane in planes.items()} == {6: 60, 0: 0, 3: 30}
    assert pixels.picture(series.slices[2]).shape == (*SIZE, 3)


def test_that_the_count_is_found_in_both_versions_of_the_private_header(tmp_path):
    slices = np.zeros((5, *SIZE), np.uint16)
    for version in (1, 2):
        header = mosaics.csa({"NumberOfImagesInMosaic": ["5"]}, version=version)
        path = tmp_path / f"{version}.dcm"
        series = _series(mosaics.write(path, slices, position=(0, 0, 0), header=header))
        assert len(series.slices) == 5
        assert series.marks == (mosaic.NO_NORMAL,)


def test_that_a_mosaic_of_unknown_count_stays_one_picture_and_says_so(tmp_path):
    slices = np.zeros((5, *SIZE), np.uint16)
    series = _series(mosaics.write(tmp_path / "a.dcm", slices, position=(0, 0, 0)))
    assert len(series.slices) == 1
    assert (series.rows, series.columns) == (18, 24)
    assert "side by side" in series.marks[0]


def test_that_the_texts_of_a_private_header_come_back():
    texts = {"SliceNormalVector": ["0.1", "-0.2", "0.97"], "Empty": ["", ""], "One": ["abcde"]}
    for version in (1, 2):
        found = mosaic.csa_values(mosaics.csa(texts, version=version))
        assert found["SliceNormalVector"] == ("0.1", "-0.2", "0.97")
        assert found["One"] == ("abcde",)
        assert found["Empty"] == ()


@pytest.mark.parametrize("version", [1, 2])
def test_that_no_cut_or_lying_private_header_reads_beyond_its_bytes(version):
    header = mosaics.csa({"A": ["1", "2"], "B": ["3"]}, version=version)
    for length in range(len(header) - 3):
        assert "B" not in mosaic.csa_values(header[:length])
    for place in range(len(header) - 4):
        lie = header[:place] + struct.pack("<L", 0x7FFFFFFF) + header[place + 4 :]
        assert all(len(texts) < 9 for texts in mosaic.csa_values(lie).values())
