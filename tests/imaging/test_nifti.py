"""NIfTI against nibabel and against formulas."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import phantoms
import pytest

from medsearch_desktop import errors
from medsearch_desktop.imaging import nifti, pixels, study


def _voxels(series: study.Series) -> np.ndarray:
    return np.stack([p for _, p in pixels.planes(series, range(len(series.slices)))])


OBLIQUE = np.array([[1.9, 0.3, 0.1, -20], [-0.3, 1.8, 0.4, -15], [0.0, -0.5, 2.9, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr"])
@pytest.mark.parametrize("affine", [None, OBLIQUE])
def test_that_voxels_and_places_agree_with_nibabel_and_the_formula(tmp_path, name, affine):
    path = phantoms.write_nifti(tmp_path / name, (7, 8, 5), affine=affine)
    series = nifti.read_series(str(path)).series[0]
    voxels, reference = _voxels(series), nibabel.load(path)
    assert np.array_equal(voxels, np.asarray(reference.dataobj).T)
    ours = np.array(series.affine)
    for z, y, x in np.ndindex(5, 8, 7):
        lps = (ours @ [z, y, x, 1])[:3]
        ras = (reference.affine @ [x, y, z, 1])[:3]
        assert np.allclose(lps, ras * [-1, -1, 1], atol=1e-3)
        assert (
            voxels[z, y, x] == np.round(phantoms.ramp(*lps))
            or abs(voxels[z, y, x] - phantoms.ramp(*lps)) < 0.51
        )
    assert series.is_volume


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
)
def test_that_every_number_type_is_kept(tmp_path, dtype):
    path = phantoms.write_nifti(tmp_path / "a.nii", (5, 4, 3), dtype=dtype)
    series = nifti.read_series(str(path)).series[0]
    assert series.dtype == dtype
    assert np.array_equal(_voxels(series), np.asarray(nibabel.load(path).dataobj).T)


def test_that_scaling_gives_the_values_of_nibabel(tmp_path):
    path = phantoms.write_nifti(tmp_path / "a.nii", slope=0.5, intercept=-7)
    series = nifti.read_series(str(path)).series[0]
    values = _voxels(series) * series.slope[0] + series.intercept[0]
    assert np.allclose(values, nibabel.load(path).get_fdata().T)


def test_that_big_endian_files_give_the_same_values(tmp_path):
    path = phantoms.write_nifti(tmp_path / "a.nii")
    image = nibabel.load(path)
    turned = nibabel.Nifti1Image(
        np.asarray(image.dataobj), image.affine, image.header.as_byteswapped()
    )
    turned.to_filename(tmp_path / "b.nii")
    assert (tmp_path / "b.nii").read_bytes()[:4] == struct.pack(">i", 348)
    first, second = (nifti.read_series(str(tmp_path / n)).series[0] for n in ("a.nii", "b.nii"))
    assert np.array_equal(_voxels(first), _voxels(second))
    assert first.affine == second.affine


def test_that_colour_volumes_are_shown_in_colour(tmp_path):
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    values = np.zeros((4, 5, 3), kind)
    values["R"], values["B"] = 200, np.arange(3)
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "a.nii")
    series = nifti.read_series(str(tmp_path / "a.nii")).series[0]
    assert series.samples == 3
    assert _voxels(series)[2, 1, 1].tolist() == [200, 0, 2]


def test_that_a_nifti_2_file_opens(tmp_path):
    image = nibabel.Nifti2Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.to_filename(tmp_path / "a.nii")
    series = nifti.read_series(str(tmp_path / "a.nii")).series[0]
    assert np.array_equal(_voxels(series), np.asarray(image.dataobj).T)


def test_that_the_first_of_several_volumes_is_shown_and_the_count_said(tmp_path):
    path = phantoms.write_nifti(tmp_path / "a.nii.gz", (5, 4, 3, 6))
    series = nifti.read_series(str(path)).series[0]
    assert series.timepoints == 6
    assert "6 volumes" in series.marks[0]
    assert np.array_equal(_voxels(series), np.asarray(nibabel.load(path).dataobj)[..., 0].T)


def _spoilt(path: Path, offset: int, value: bytes) -> str:
    raw = bytearray(path.read_bytes())
    raw[offset : offset + len(value)] = value
    path.write_bytes(raw)
    return str(path)


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (40, struct.pack("<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1), "too large"),
        (40, struct.pack("<8h", 3, 2000, 200, 200, 1, 1, 1, 1), "cut short"),
        (40, struct.pack("<8h", 0, 0, 0, 0, 0, 0, 0, 0), "no usable size"),
        (40, struct.pack("<8h", 3, 5, -4, 3, 1, 1, 1, 1), "no usable size"),
        (70, struct.pack("<h", 32), "complex"),
        (108, struct.pack("<f", float("nan")), "begin nowhere"),
        (108, struct.pack("<f", 1e30), "begin nowhere"),
    ],
)
def test_that_a_header_that_cannot_be_true_is_refused_before_anything_is_read(
    tmp_path, offset, value, words
):
    path = _spoilt(phantoms.write_nifti(tmp_path / "a.nii"), offset, value)
    with pytest.raises(errors.UnreadableFileError, match=words):
        nifti.read_series(path)


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_that_a_damaged_orientation_is_said_and_no_side_is_named(tmp_path, value):
    # srow_x, srow_y and srow_z of the header.
    path = _spoilt(
        phantoms.write_nifti(tmp_path / "a.nii"), 280, struct.pack("<12f", *[value] * 12)
    )
    series = nifti.read_series(path).series[0]
    assert series.affine is None
    assert any("orientation is damaged" in mark for mark in series.marks)


def test_that_a_file_without_orientation_says_so(tmp_path):
    path = _spoilt(phantoms.write_nifti(tmp_path / "a.nii"), 252, struct.pack("<2h", 0, 0))
    series = nifti.read_series(path).series[0]
    assert series.affine is None
    assert series.marks == ("Orientation is missing: sides cannot be told.",)
    assert series.pixel_spacing_mm == (2.0, 2.0)


def test_that_the_qform_places_a_file_without_sform(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), None)
    angle = np.radians(30)
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    image.set_qform(turned, code=1)
    image.set_sform(None, code=0)
    image.to_filename(tmp_path / "a.nii")
    ours = np.array(nifti.read_series(str(tmp_path / "a.nii")).series[0].affine)
    expected = np.diag([-1, -1, 1, 1]) @ turned
    assert np.allclose(ours, expected[:, [2, 1, 0, 3]], atol=1e-6)


def test_that_a_wrong_checksum_of_a_packed_file_is_noticed(tmp_path):
    path = phantoms.write_nifti(tmp_path / "a.nii.gz")
    raw = bytearray(path.read_bytes())
    raw[-6] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(errors.UnreadableFileError, match="checksum"):
        nifti.pixels(str(path))


def test_that_a_truncated_packed_file_is_noticed(tmp_path):
    rng = np.random.default_rng(1)
    noise = rng.integers(-1000, 1000, (20, 20, 20), dtype=np.int16)
    nibabel.Nifti1Image(noise, np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    path = tmp_path / "a.nii.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(errors.UnreadableFileError):
        nifti.pixels(str(path))


def test_that_a_bomb_behind_the_values_is_not_unpacked(tmp_path):
    path = phantoms.write_nifti(tmp_path / "a.nii")
    with gzip.open(tmp_path / "b.nii.gz", "wb") as packed:
        packed.write(path.read_bytes() + b"\0" * (8 << 20))
    with pytest.raises(errors.UnreadableFileError, match="far more"):
        nifti.pixels(str(tmp_path / "b.nii.gz"))


def test_that_the_first_value_of_each_voxel_of_a_vector_volume_is_shown(tmp_path):
    values = np.random.default_rng(1).random((4, 5, 6, 2, 3)).astype(np.float32)
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "a.nii")
    series = nifti.read_series(str(tmp_path / "a.nii")).series[0]
    assert series.timepoints == 2
    assert series.marks == (
        "2 volumes, one after another in time: the first is shown.",
        "It has 3 values a voxel; the first is shown.",
    )
    assert np.array_equal(_voxels(series), values[..., 0, 0].T)


def test_that_an_intercept_that_is_no_number_leaves_the_values_as_stored(tmp_path):
    path = _spoilt(
        phantoms.write_nifti(tmp_path / "a.nii"), 112, struct.pack("<2f", 2.0, float("nan"))
    )
    series = nifti.read_series(path).series[0]
    assert (series.slope[0], series.intercept[0]) == (1.0, 0.0)
    assert series.marks == ("The scale of its values is damaged: they are shown as stored.",)


@pytest.mark.parametrize(
    ("header", "values"), [("A.HDR", "A.IMG"), ("a.hdr.gz", "a.img.gz"), ("a.hdr", "a.img.gz")]
)
def test_that_a_pair_opens_however_it_is_written_or_packed(tmp_path, header, values):
    phantoms.write_nifti(tmp_path / "x.hdr")
    expected = np.asarray(nibabel.load(tmp_path / "x.hdr").dataobj).T
    for old, new in (("x.hdr", header), ("x.img", values)):
        raw = (tmp_path / old).read_bytes()
        (tmp_path / old).unlink()
        (tmp_path / new).write_bytes(gzip.compress(raw) if new.endswith(".gz") else raw)
    series = nifti.read_series(str(tmp_path / header)).series[0]
    assert np.array_equal(_voxels(series), expected)


def test_that_a_hdr_without_its_img_is_refused(tmp_path):
    path = phantoms.write_nifti(tmp_path / "a.hdr")
    (tmp_path / "a.img").unlink()
    with pytest.raises(errors.UnreadableFileError, match=r"\.img"):
        nifti.read_series(str(path))
