"""PNG, JPEG and TIFF pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import phantoms
import pytest
from PIL import Image

from medsearch_desktop import cases, errors
from medsearch_desktop.imaging import pixels, raster, study


def _series(path: Path) -> study.Series:
    return raster.read_series(str(path)).series[0]


def _voxels(series: study.Series) -> np.ndarray:
    return np.stack([p for _, p in pixels.planes(series, range(len(series.slices)))])


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
@pytest.mark.parametrize("colour", [True, False])
def test_that_lossless_pictures_keep_every_value(tmp_path, name, colour):
    picture = phantoms.picture(colour=colour)
    series = _series(phantoms.write_picture(tmp_path / name, picture))
    assert np.array_equal(_voxels(series)[0], picture)
    assert not series.is_lossy
    assert series.affine is None
    assert series.samples == (3 if colour else 1)


def test_that_a_jpeg_is_near_its_picture_and_called_lossy(tmp_path):
    series = _series(phantoms.write_picture(tmp_path / "a.jpg", quality=95))
    assert series.is_lossy
    assert np.abs(_voxels(series)[0].astype(int) - phantoms.picture()).max() < 20


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_that_16_bits_are_kept(tmp_path, name):
    deep = (np.arange(12, dtype=np.uint16) * 5000).reshape(3, 4)
    series = _series(phantoms.write_picture(tmp_path / name, deep))
    assert series.dtype == "uint16"
    assert np.array_equal(_voxels(series)[0], deep)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_that_the_camera_orientation_is_applied(tmp_path, orientation):
    upright = phantoms.picture((8, 12))
    # What a camera held this way would store (EXIF 2.3, 4.6.4).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: np.rot90(upright[::-1], -1)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    if orientation == 7:
        stored = upright[::-1, ::-1].swapaxes(0, 1)
    path = phantoms.write_picture(
        tmp_path / "a.png", np.ascontiguousarray(stored), orientation=orientation
    )
    series = _series(path)
    assert (series.rows, series.columns) == (8, 12)
    assert np.array_equal(_voxels(series)[0], upright)


def test_that_transparency_shows_black_and_says_so(tmp_path):
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[..., :3] = 200
    clear[:2, :, 3] = 255
    series = _series(phantoms.write_picture(tmp_path / "a.png", clear))
    assert _voxels(series)[0][:, 0].tolist() == [[200] * 3] * 2 + [[0] * 3] * 2
    assert series.marks == ("Transparent parts are shown on black.",)


def test_that_palettes_and_printing_colours_become_rgb(tmp_path):
    Image.fromarray(phantoms.picture()).quantize(32).save(tmp_path / "p.png")
    Image.fromarray(phantoms.picture()).convert("CMYK").save(tmp_path / "c.tif")
    for name in ("p.png", "c.tif"):
        series = _series(tmp_path / name)
        assert series.samples == 3
        assert np.abs(_voxels(series)[0].astype(int) - phantoms.picture()).mean() < 30


def test_that_bits_become_black_and_white(tmp_path):
    Image.fromarray(phantoms.picture(colour=False) > 128).save(tmp_path / "a.png")
    assert set(np.unique(_voxels(_series(tmp_path / "a.png")))) == {0, 255}


def test_that_the_pages_of_a_tiff_are_slices(tmp_path):
    pages = [Image.fromarray(np.full((5, 6), k, np.uint8)) for k in range(4)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    series = _series(tmp_path / "a.tif")
    assert _voxels(series)[:, 0, 0].tolist() == [0, 1, 2, 3]


def test_that_pages_of_other_sizes_form_stacks_of_their_own(tmp_path):
    pages = [Image.fromarray(np.full((5 + k % 2, 6), k, np.uint8)) for k in range(4)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    found = raster.read_series(str(tmp_path / "a.tif"))
    assert [len(s.slices) for s in found.series] == [2, 2]
    assert _voxels(found.series[1])[:, 0, 0].tolist() == [1, 3]


def test_that_one_picture_has_one_name_wherever_it_lies(tmp_path):
    first = raster.read_series(str(phantoms.write_picture(tmp_path / "a.png")))
    second = raster.read_series(str(phantoms.write_picture(tmp_path / "b" / "c.png")))
    assert first.study_uid == second.study_uid
    assert first.study_uid.startswith("picture:")
    assert len(first.study_uid) == len("picture:") + 16


def test_that_damaged_and_monstrous_pictures_are_refused(tmp_path):
    path = phantoms.write_picture(tmp_path / "a.png")
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(errors.UnreadableFileError, match="damaged"):
        _voxels(_series(path))
    huge = bytearray(raw)
    huge[16:24] = (100_000).to_bytes(4, "big") * 2
    path.write_bytes(huge)
    with pytest.raises(errors.UnreadableFileError, match=r"too large|too many|not a whole"):
        _series(path)


def test_that_other_formats_of_pillow_are_never_reached(tmp_path):
    Image.fromarray(phantoms.picture()).save(tmp_path / "a.bmp")
    with pytest.raises(errors.UnreadableFileError):
        raster.read_series(str(tmp_path / "a.bmp"))


def test_that_a_region_and_a_longest_side_are_kept(tmp_path):
    path = str(phantoms.write_picture(tmp_path / "a.png"))
    region = cases.Region(10, 20, 30, 16)
    shown = pixels.picture(cases.ImageRef(path, region=region))
    assert np.array_equal(shown, phantoms.picture()[20:36, 10:40])
    assert pixels.picture(cases.ImageRef(path), max_side=32).shape == (24, 32, 3)
    with pytest.raises(errors.UnreadableFileError, match="outside"):
        pixels.picture(cases.ImageRef(path, region=cases.Region(500, 0, 5, 5)))


def test_that_one_array_of_a_numpy_file_is_a_picture(tmp_path):
    grey = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    np.savez_compressed(tmp_path / "a.npz", images=grey, words=np.array(["a"]))
    path = f"{tmp_path / 'a.npz'}#images[2]"
    shown = pixels.picture(cases.ImageRef(path))
    assert np.array_equal(shown, np.repeat(grey[2][..., None], 3, axis=2))
    for wrong in ("#images[9]", "#other[0]", "#words[0]", "#images", "#images[x]"):
        with pytest.raises(errors.UnreadableFileError):
            pixels.picture(cases.ImageRef(str(tmp_path / "a.npz") + wrong))


def test_that_pickled_arrays_are_never_read(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(errors.UnreadableFileError):
        pixels.picture(cases.ImageRef(f"{tmp_path / 'a.npz'}#x[0]"))
