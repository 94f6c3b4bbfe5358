"""PNG, JPEG and TIFF pictures."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import phantoms
import pytest
from PIL import Image

from medsearch_desktop import cases, errors
from medsearch_desktop.imaging import isolated, pixels, raster, study


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


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_that_the_camera_orientation_is_applied(tmp_path, name, orientation):
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
        tmp_path / name, np.ascontiguousarray(stored), orientation=orientation
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


def _write_tiff(path: Path, values: np.ndarray, photometric: int, sample_format: int) -> Path:
    """Write a TIFF of one strip in the byte order of the values (TIFF 6.0, section 2)."""
    order = ">" if values.dtype.byteorder == ">" else "<"
    rows, columns = values.shape[:2]
    samples, bits = values.size // (rows * columns), values.dtype.itemsize * 8
    raw = values.tobytes()
    at_bits = 8 + len(raw)
    tags = [(256, 4, columns), (257, 4, rows), (259, 3, 1), (262, 3, photometric), (273, 4, 8)]
    tags += [(277, 3, samples), (278, 4, rows), (279, 4, len(raw)), (339, 3, sample_format)]
    tags.append((258, 3, bits))
    ifd = struct.pack(f"{order}H", len(tags))
    for tag, kind, value in sorted(tags):
        count = samples if tag == 258 else 1
        ifd += struct.pack(f"{order}2HI", tag, kind, count)
        if count > 1:
            ifd += struct.pack(f"{order}I", at_bits)
        else:
            ifd += struct.pack(f"{order}I" if kind == 4 else f"{order}Hxx", value)
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, at_bits + 2 * samples)
    many = struct.pack(f"{order}{samples}H", *[bits] * samples)
    path.write_bytes(head + raw + many + ifd + bytes(4))
    return path


@pytest.mark.parametrize(("dtype", "sample_format"), [("<u2", 1), ("<f4", 3)])
def test_that_a_deep_tiff_whose_zero_is_white_is_shown_as_it_says(tmp_path, dtype, sample_format):
    values = np.linspace(0, 60000, 600).reshape(20, 30).astype(dtype)
    white = _write_tiff(tmp_path / "w.tif", values, 0, sample_format)
    black = _write_tiff(tmp_path / "b.tif", values, 1, sample_format)
    assert _series(white).is_inverted
    assert not _series(black).is_inverted
    assert np.array_equal(_voxels(_series(white))[0], values)
    shown = [pixels.picture(cases.ImageRef(str(path))).astype(int) for path in (white, black)]
    assert np.array_equal(shown[0], 255 - shown[1])
    assert shown[0][0, 0, 0] == 255


def test_that_a_tiff_of_8_bits_whose_zero_is_white_is_turned_once(tmp_path):
    values = np.arange(200, dtype=np.uint8).reshape(10, 20)
    series = _series(_write_tiff(tmp_path / "w.tif", values, 0, 1))
    assert not series.is_inverted
    assert np.array_equal(_voxels(series)[0], 255 - values)


@pytest.mark.parametrize(("dtype", "sample_format"), [("<u4", 1), ("<i4", 2)])
def test_that_values_of_32_bits_keep_their_sign(tmp_path, dtype, sample_format):
    values = np.array([[0, 1, 0x7FFFFFFF], [0x80000000, 0xFFFFFFFE, 5]], np.uint32)
    values = values.view(np.int32) if sample_format == 2 else values
    path = _write_tiff(tmp_path / "a.tif", values.astype(dtype), 1, sample_format)
    series = _series(path)
    assert series.dtype == ("int32" if sample_format == 2 else "uint32")
    assert np.array_equal(_voxels(series)[0], values)


def _write_png_of_16_bits(path: Path, values: np.ndarray) -> Path:
    """Write a PNG of big-endian samples (PNG, 7.2)."""
    rows, columns, samples = values.shape
    colour = {2: 4, 3: 2, 4: 6}[samples]
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [
        (b"IHDR", struct.pack(">2I5B", columns, rows, 16, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )
    return path


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_that_colours_of_16_bits_are_marked_as_shown_with_8(tmp_path, samples):
    values = np.random.default_rng(1).integers(0, 65536, (6, 7, samples)).astype(np.uint16)
    mark = "Colours of 16 bits are shown with 8."
    assert mark in _series(_write_png_of_16_bits(tmp_path / "a.png", values)).marks
    if samples == 3:
        series = _series(_write_tiff(tmp_path / "a.tif", values.astype("<u2"), 2, 1))
        assert mark in series.marks
        assert np.array_equal(_voxels(series)[0], values >> 8)


@pytest.mark.skipif(sys.platform != "linux", reason="keeps a process within its address space")
def test_that_a_large_picture_is_held_but_twice(tmp_path):
    clear = np.zeros((6000, 5000, 4), np.uint8)
    clear[-1, -1] = (200, 100, 50, 255)
    path = phantoms.write_picture(tmp_path / "a.png", clear)
    # 120 MB as Pillow holds it, 90 MB as it is given, and what a program moves about.
    with isolated.Readers(memory_cap_bytes=300 << 20, limit="itself") as readers:
        (found,) = readers.open_paths([path])
        assert readers.load(found.series[0]).voxels[0, -1, -1].tolist() == [200, 100, 50]


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
