"""Compressed pixels that are cut, and pixels that are more than the header describes."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import phantoms
import pytest
from hostile import elements
from hostile.elements import implicit

from medsearch_desktop import errors
from medsearch_desktop.imaging import codestreams, fragments, opening, pixels, study, syntaxes

_LOSSLESS, _TWELVE = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.51"
_GREY = (phantoms.picture((64, 80), colour=False).astype(np.uint16) * 13).astype(np.uint16)
_MORE = np.random.default_rng(3).integers(0, 4096, (64, 80), dtype=np.uint16)


def _lossless(array: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(array, lossless=True, bitspersample=12))


def _twelve(array: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(array, level=95, bitspersample=12))


def _written(path: Path, frames: list[bytes], syntax: str, **fields: object) -> Path:
    phantoms.write_dicom_image(path, _MORE, stored=12, **fields)
    found = phantoms.read(path)
    phantoms.encapsulate(found, frames, syntax)
    found.save_as(path)
    return path


def _frame(path: Path) -> np.ndarray:
    ((_, array),) = pixels.planes(_series(path), [0])
    return array


def _series(path: Path) -> study.Series:
    (found,) = opening.open_paths([path])
    assert isinstance(found, study.Study), found
    (series,) = found.series
    return series


@pytest.mark.parametrize(("syntax", "encode"), [(_LOSSLESS, _lossless), (_TWELVE, _twelve)])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("tail", [b"", b"\xff\xd9", bytes(400)])
def test_that_a_cut_jpeg_is_refused_and_not_shown_grey(tmp_path, syntax, encode, share, tail):
    whole = encode(_MORE)
    cut = whole[: int(len(whole) * share)] + tail
    path = _written(tmp_path / "a.dcm", [cut], syntax)
    with pytest.raises(errors.UnreadableFileError, match="codes end before the picture does"):
        _frame(path)


def test_that_a_cut_8_bit_jpeg_with_an_end_is_refused(tmp_path):
    array = (_MORE >> 4).astype(np.uint8)
    whole = bytes(imagecodecs.jpeg8_encode(array, level=95))
    phantoms.write_dicom_image(tmp_path / "a.dcm", array)
    found = phantoms.read(tmp_path / "a.dcm")
    cut = whole[: len(whole) // 2] + b"\xff\xd9"
    phantoms.encapsulate(found, [cut], "1.2.840.10008.1.2.4.50")
    found.save_as(tmp_path / "a.dcm")
    with pytest.raises(errors.UnreadableFileError, match="codes end before the picture does"):
        _frame(tmp_path / "a.dcm")


@pytest.mark.parametrize("tail", [b"", b"\0", b"\xff", bytes(64)])
def test_that_a_whole_jpeg_is_read_whatever_follows_it_or_without_its_end(tmp_path, tail):
    for k, array in enumerate((_MORE, np.full_like(_MORE, 2048))):
        whole = _lossless(array)
        for ended in (whole + tail, whole[:-2] + tail):
            path = _written(tmp_path / f"{k}.dcm", [ended], _LOSSLESS)
            assert np.array_equal(_frame(path), array)


def test_that_a_sound_jpeg_never_ends_early():
    for array in (_GREY, _MORE, np.full_like(_GREY, 2048), np.zeros_like(_GREY)):
        for encode in (_lossless, _twelve):
            assert not syntaxes.ends_early(encode(array), 1)
        small = np.ascontiguousarray((array >> 4).astype(np.uint8))
        assert not syntaxes.ends_early(bytes(imagecodecs.jpeg8_encode(small)), 1)
        coloured = bytes(imagecodecs.jpeg8_encode(np.stack([small] * 3, -1)))
        assert not syntaxes.ends_early(coloured, 3)


def _fragmented(*frames: bytes, table: bytes = b"") -> io.BytesIO:
    return io.BytesIO(b"".join(implicit(elements.ITEM, part) for part in (table, *frames)))


def _counts(file: io.BytesIO, declared: int, start: bytes = b"") -> list[int]:
    found = fragments.find(file, 0, len(file.getvalue()))
    return [len(group) for group in fragments.frames(file, found, declared, None, start)]


@pytest.mark.parametrize("syntax", [_LOSSLESS, "1.2.840.10008.1.2.4.90"])
def test_that_as_many_fragments_as_frames_are_not_taken_for_frames(syntax):
    start = codestreams.start(syntax)
    halves = [start + b"....", b"..\xff\xd9"]
    assert _counts(_fragmented(*halves * 4), 4, start) == [2, 2, 2, 2]
    assert _counts(_fragmented(*halves * 2), 4, start) == [2, 2]
    assert _counts(_fragmented(*halves, halves[0]), 4, start) == [2]
    assert _counts(_fragmented(*[start + b".."] * 3), 3, start) == [1, 1, 1]
    assert _counts(_fragmented(*[b"...."] * 3), 3, start) == [1, 1, 1]


def test_that_a_fitting_offset_table_is_asked_before_the_count():
    parts = [b"ab", b"cd"] * 2
    fitting = struct.pack("<4L", 0, 20, 40, 60)
    assert _counts(_fragmented(*parts, table=fitting), 4) == [2, 2]
    for wrong in (struct.pack("<4L", 0, 3, 6, 9), bytes(16)):
        assert _counts(_fragmented(*parts, table=wrong), 4) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("extra", "is_said"),
    [(b"", False), (bytes(500), False), (b"\1" * 16, False), (b"x" * 40, True)],
)
def test_that_pixels_beyond_those_of_the_header_are_said_and_padding_is_not(
    tmp_path, extra, is_said
):
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", _GREY)
    found = phantoms.read(path)
    found.PixelData += extra
    found.save_as(path)
    said = "Its pixels hold 40 bytes more than its header says: the picture may be distorted."
    assert (said in _series(path).marks) == is_said


def test_that_full_colours_called_halved_are_read_as_they_are(tmp_path):
    picture = phantoms.picture()
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", picture)
    found = phantoms.read(path)
    found.PhotometricInterpretation = "YBR_FULL"
    found.save_as(tmp_path / "b.dcm")
    found.PhotometricInterpretation = "YBR_FULL_422"
    found.save_as(path)
    assert any("halved" in mark for mark in _series(path).marks)
    assert np.array_equal(_frame(path), _frame(tmp_path / "b.dcm"))
