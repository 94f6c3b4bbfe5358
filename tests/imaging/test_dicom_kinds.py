"""DICOM files by kind: high-throughput JPEG 2000, fragments, cut frames, moments, slope 0."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import phantoms
import pydicom
import pytest
from pydicom.dataset import Dataset

from medsearch_desktop import errors
from medsearch_desktop.imaging import dicom, opening, pixels, study

NOISE = np.random.default_rng(7).integers(0, 4096, (3, 40, 50), dtype=np.uint16)


def _frames(path: str | Path) -> np.ndarray:
    file = dicom.PixelFile(str(path))
    try:
        return np.stack([file.frame(k) for k in range(file.frames)])
    finally:
        file.close()


def _series(path: Path) -> study.Series:
    (found,) = opening.open_paths([path])
    assert isinstance(found, study.Study), found
    (series,) = found.series
    return series


def _encoded(path: Path, array: np.ndarray, syntax: str, encode) -> Path:
    phantoms.write_dicom_image(path, array)
    found = phantoms.read(path)
    frames = array if array.ndim == 4 or (array.ndim == 3 and array.shape[-1] != 3) else [array]
    phantoms.encapsulate(found, [encode(frame) for frame in frames], syntax)
    found.save_as(path)
    return path


HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")


@pytest.mark.parametrize("syntax", HTJ2K)
@pytest.mark.parametrize(
    "values",
    [NOISE, NOISE.astype(np.uint8), (NOISE.astype(np.int16) - 2048), phantoms.picture()],
    ids=["uint16", "uint8", "int16", "colour"],
)
def test_that_high_throughput_jpeg_2000_keeps_every_bit(tmp_path, syntax, values):
    path = _encoded(tmp_path / "a.dcm", values, syntax, imagecodecs.htj2k_encode)
    expected = values if values.shape[-1] != 3 else values[None]
    assert np.array_equal(_frames(path), expected)
    assert _series(path).is_lossy == (syntax == HTJ2K[2])


def test_that_frames_are_found_by_the_extended_offset_table(tmp_path):
    path = _encoded(tmp_path / "a.dcm", NOISE, "1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode)
    found = phantoms.read(path)
    packed = [imagecodecs.jpegls_encode(frame) for frame in NOISE]
    data, offsets, lengths = pydicom.encaps.encapsulate_extended([bytes(one) for one in packed])
    found.PixelData, found.ExtendedOffsetTable = data, offsets
    found.ExtendedOffsetTableLengths = lengths
    found.save_as(path)
    assert np.array_equal(_frames(path), NOISE)


@pytest.mark.parametrize("has_table", [True, False])
def test_that_frames_cut_into_several_fragments_are_put_together(tmp_path, has_table):
    path = tmp_path / "a.dcm"
    phantoms.write_dicom_image(path, NOISE)
    found = phantoms.read(path)
    packed = [bytes(imagecodecs.jpegls_encode(frame)) for frame in NOISE]
    phantoms.encapsulate(found, packed, "1.2.840.10008.1.2.4.80")
    found.PixelData = pydicom.encaps.encapsulate(packed, fragments_per_frame=4, has_bot=has_table)
    found.save_as(path)
    assert np.array_equal(_frames(path), NOISE)


def test_that_the_whole_frames_of_a_cut_file_are_shown(tmp_path):
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", NOISE)
    path.write_bytes(path.read_bytes()[:-100])
    series = _series(path)
    assert len(series.slices) == 2
    assert "frame 3 is missing" in series.marks[0]
    shown = dict(pixels.planes(series, range(2)))
    assert all(np.array_equal(shown[k], NOISE[k]) for k in range(2))


@pytest.mark.parametrize("slope", ["0", "0.0", "-0"])
def test_that_a_slope_of_0_shows_stored_values_without_a_unit(tmp_path, slope):
    def spoil(found, k):
        found.RescaleSlope = slope

    (path,) = phantoms.write_ct_series(tmp_path, 1, (4, 4), change=spoil)
    series = _series(path)
    assert (series.slope, series.intercept, series.units) == ((1.0,), (0.0,), "")
    assert "stored values are shown" in series.marks[0]


def test_that_a_codestream_larger_than_its_header_never_reaches_the_decoder(tmp_path, monkeypatch):
    def decoded(*_, **__):
        raise AssertionError("the decoder was called")

    path = _encoded(
        tmp_path / "a.dcm",
        NOISE[0],
        "1.2.840.10008.1.2.4.90",
        lambda a: imagecodecs.jpeg2k_encode(np.tile(a, (3, 3)), codecformat="j2k"),
    )
    monkeypatch.setattr(pydicom.pixels.decoders.base.Decoder, "as_array", decoded)
    with pytest.raises(errors.UnreadableFileError, match="150 x 120 pixels and the header says"):
        _frames(path)


def test_that_frames_of_one_place_and_several_moments_are_told_apart(tmp_path):
    path = tmp_path / "a.dcm"
    frames = np.stack([np.full((4, 6), 10 * k, np.uint16) for k in range(8)])
    phantoms.write_dicom_image(path, frames)
    found = phantoms.read(path)
    found.SOPClassUID, found.Modality = phantoms.ENHANCED_MR, "MR"
    found.file_meta.MediaStorageSOPClassUID = phantoms.ENHANCED_MR
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["1", "1"], "2"
    plane.ImageOrientationPatient = list(map(str, phantoms.AXIAL))
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    each = []
    for k in range(8):
        own, position, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = ["0", "0", str(2.0 * (k % 4))]
        content.TemporalPositionIndex = 2 - k // 4
        own.PlanePositionSequence, own.FrameContentSequence = [position], [content]
        each.append(own)
    found.SharedFunctionalGroupsSequence = [shared]
    found.PerFrameFunctionalGroupsSequence = each
    found.save_as(path)
    series = _series(path)
    assert series.timepoints == 2
    assert [ref.frame for ref in series.slices] == [4, 5, 6, 7]
    assert series.is_volume
