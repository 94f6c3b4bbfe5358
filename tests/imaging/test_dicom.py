"""Pixels and headers of DICOM files, in every encoding we read."""

from __future__ import annotations

import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import phantoms
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from medsearch_desktop import cases, errors
from medsearch_desktop.imaging import (
    dicom,
    dicom_headers,
    files,
    opening,
    pixels,
    study,
    syntaxes,
    volume,
)


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


def _header(path: str) -> dicom_headers.Header:
    with files.opened(path) as (file, size):
        return dicom_headers.read_header(path, file, size)


def _reference(path: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pydicom.dcmread(path, force=True)
        values = found.pixel_array
        if found.PhotometricInterpretation == "PALETTE COLOR":
            values = pydicom.pixels.apply_color_lut(values, found)
    if values.shape[-1] == 3 and values.dtype != np.uint8:
        values = (values >> (values.dtype.itemsize * 8 - 8)).astype(np.uint8)
    count = int(found.get("NumberOfFrames", 1) or 1)
    return values if count > 1 else values[None]


FILES = """
693_J2KI CT_small ExplVR_BigEnd GDCMJ2K_TextGBR J2K_pixelrep_mismatch JPEG-lossy JPEG2000
JPEGLSNearLossless_08 JPEGLSNearLossless_16 JPGExtended MR_small MR_small_RLE MR_small_bigendian
MR_small_implicit MR_small_jp2klossless MR_small_jpeg_ls_lossless MR_small_padded
SC_jpeg_no_color_transform SC_jpeg_no_color_transform_2 SC_rgb_dcmtk_+eb+cr SC_rgb_dcmtk_+eb+cy+n1
SC_rgb_dcmtk_+eb+cy+np SC_rgb_dcmtk_+eb+cy+s2 SC_rgb_dcmtk_+eb+cy+s4 SC_rgb_gdcm_KY
SC_rgb_jls_lossy_line SC_rgb_jls_lossy_sample SC_rgb_jpeg SC_rgb_jpeg_app14_dcmd SC_rgb_jpeg_dcmd
SC_rgb_jpeg_gdcm SC_rgb_jpeg_lossy_gdcm SC_rgb_rle SC_rgb_rle_16bit SC_rgb_rle_16bit_2frame
SC_rgb_rle_2frame SC_rgb_rle_32bit SC_rgb_rle_32bit_2frame SC_rgb_small_odd
SC_rgb_small_odd_big_endian SC_rgb_small_odd_jpeg SC_ybr_full_422_uncompressed examples_jpeg2k
examples_overlay examples_palette examples_rgb_color examples_ybr_color image_dfl liver_1frame
liver_expb_1frame rtdose rtdose_1frame rtdose_expb rtdose_expb_1frame rtdose_rle
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", FILES)
def test_that_pixels_equal_those_of_pydicom(name):
    path = get_testdata_file(f"{name}.dcm", download=False)
    ours, reference = _frames(path), _reference(path)
    assert ours.shape == reference.shape
    tolerance = 5 if "jpeg" in name.lower() and ours.shape[-1] == 3 else 0
    assert np.abs(ours.astype(np.int64) - reference).max() <= tolerance
    header = _header(path)
    assert header.dtype == ours.dtype.name
    assert len(header.frames) == len(ours)


def test_that_a_big_endian_dose_has_its_true_values():
    path = get_testdata_file("rtdose_expb.dcm", download=False)
    found = _frames(path)
    assert (found.min(), found.max()) == (795000, 1254000)


def _encoded(path: Path, array: np.ndarray, syntax: str, encode) -> Path:
    phantoms.write_dicom_image(path, array)
    found = phantoms.read(path)
    frames = array if array.ndim == 4 or (array.ndim == 3 and array.shape[-1] != 3) else [array]
    phantoms.encapsulate(found, [encode(frame) for frame in frames], syntax)
    found.save_as(path)
    return path


NOISE = np.random.default_rng(7).integers(0, 4096, (3, 40, 50), dtype=np.uint16)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        ("1.2.840.10008.1.2.4.70", lambda a: imagecodecs.jpeg8_encode(a, lossless=True)),
        (
            "1.2.840.10008.1.2.4.57",
            lambda a: imagecodecs.jpeg8_encode(a, lossless=True, predictor=4),
        ),
        ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode),
        ("1.2.840.10008.1.2.4.90", lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k")),
    ],
)
def test_that_lossless_encodings_keep_every_bit(tmp_path, syntax, encode):
    path = _encoded(tmp_path / "a.dcm", NOISE, syntax, encode)
    assert np.array_equal(_frames(path), NOISE)


def test_that_lossless_jpeg_agrees_with_a_second_decoder(tmp_path):
    packed = imagecodecs.jpeg8_encode(NOISE[0], lossless=True)
    assert np.array_equal(imagecodecs.jpegsof3_decode(packed), NOISE[0])
    path = _encoded(tmp_path / "a.dcm", NOISE[0], "1.2.840.10008.1.2.4.70", lambda _: packed)
    assert np.array_equal(_frames(path)[0], NOISE[0])


def test_that_12_bit_lossy_jpeg_keeps_more_than_8_bits(tmp_path):
    smooth = np.add.outer(np.arange(64) * 30, np.arange(64) * 30).astype(np.uint16)
    path = _encoded(
        tmp_path / "a.dcm",
        smooth,
        "1.2.840.10008.1.2.4.51",
        lambda a: imagecodecs.jpeg8_encode(a, level=98, bitspersample=12),
    )
    found = phantoms.read(path)
    found.BitsStored, found.HighBit = 12, 11
    found.save_as(path)
    assert np.abs(_frames(path)[0].astype(int) - smooth).max() <= 12


def test_that_frames_are_read_in_any_order(tmp_path):
    path = _encoded(tmp_path / "a.dcm", NOISE, "1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode)
    file = dicom.PixelFile(str(path))
    assert np.array_equal(file.frame(2), NOISE[2])
    assert np.array_equal(file.frame(0), NOISE[0])
    with pytest.raises(errors.UnreadableFileError, match="no frame 4"):
        file.frame(3)
    file.close()


def test_that_missing_frames_are_noticed(tmp_path):
    path = _encoded(tmp_path / "a.dcm", NOISE, "1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode)
    found = phantoms.read(path)
    found.NumberOfFrames = 5
    found.save_as(path)
    with pytest.raises(errors.UnreadableFileError, match="cut short: frame 4"):
        _frames(path)


def test_that_damaged_pixels_name_the_encoding(tmp_path):
    path = _encoded(
        tmp_path / "a.dcm", NOISE[0], "1.2.840.10008.1.2.4.80", lambda _: b"\xff\xd8" * 40
    )
    with pytest.raises(errors.UnreadableFileError, match="JPEG-LS"):
        _frames(path)


def test_that_every_decoder_is_named_and_none_is_gdcm_or_gpl():
    for syntax in pydicom.uid.AllTransferSyntaxes:
        named = syntaxes.plugin(syntax)
        assert named in (None, "", "pillow", "imagecodecs", "pyjpegls", "pylibjpeg")
        if named:
            assert named in syntaxes.decoder(syntax).available_plugins
    # pylibjpeg alone is only the way to OpenJPEG and its RLE; JPEG would need the GPL part.
    jpeg = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57")
    assert all(syntaxes.plugin(syntax) != "pylibjpeg" for syntax in jpeg)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_that_every_depth_and_sign_is_kept(tmp_path, dtype):
    limits = np.iinfo(dtype)
    values = np.linspace(limits.min, limits.max, 48).astype(dtype).reshape(6, 8)
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", values)
    series = _series(path)
    assert series.dtype == dtype
    assert np.array_equal(_frames(path)[0], values)


def test_that_one_bit_masks_are_zero_and_one(tmp_path):
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", np.zeros((4, 16), np.uint8))
    found = phantoms.read(path)
    found.BitsAllocated, found.BitsStored, found.HighBit = 1, 1, 0
    found.PixelData = bytes([0b00000001, 0b10000000] * 4)
    found.save_as(path)
    expected = np.zeros((4, 16), np.uint8)
    expected[:, [0, 15]] = 1
    assert np.array_equal(_frames(path)[0], expected)
    shown = pixels.picture(cases.ImageRef(str(path)))
    assert set(np.unique(shown)) == {0, 255}


def test_that_real_number_pixels_are_kept(tmp_path):
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", np.zeros((4, 6), np.uint16))
    found = phantoms.read(path)
    values = np.linspace(-1.5, 2.5, 24, dtype=np.float32).reshape(4, 6)
    del found.PixelData, found.PixelRepresentation, found.BitsStored, found.HighBit
    found.BitsAllocated, found.FloatPixelData = 32, values.tobytes()
    found.save_as(path)
    assert np.array_equal(_frames(path)[0], values)
    assert _series(path).dtype == "float32"


def test_that_monochrome1_is_kept_as_stored_and_shown_inverted(tmp_path):
    values = phantoms.picture(colour=False)
    path = phantoms.write_dicom_image(
        tmp_path / "a.dcm", values, PhotometricInterpretation="MONOCHROME1"
    )
    series = _series(path)
    assert series.is_inverted
    assert np.array_equal(_frames(path)[0], values)
    assert np.array_equal(pixels.picture(series.slices[0])[..., 0], 255 - values)


def test_that_a_palette_gives_its_colours(tmp_path):
    index = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", index)
    found = phantoms.read(path)
    found.PhotometricInterpretation = "PALETTE COLOR"
    colours = {"Red": [0, 0xFF00, 0x8000], "Green": [0x1000, 0, 0], "Blue": [0, 0, 0xFFFF]}
    for name, table in colours.items():
        setattr(found, f"{name}PaletteColorLookupTableDescriptor", [3, 0, 16])
        found[f"{name}PaletteColorLookupTableDescriptor"].VR = "US"
        data = np.array(table, "<u2").tobytes()
        setattr(found, f"{name}PaletteColorLookupTableData", data)
    found.save_as(path)
    shown = _frames(path)[0]
    assert shown.dtype == np.uint8
    assert shown[0].tolist() == [[0, 0x10, 0], [0xFF, 0, 0], [0x80, 0, 0xFF]]
    assert _series(path).samples == 3


def test_that_ybr_becomes_rgb(tmp_path):
    # Pure red in YBR_FULL (DICOM PS3.3 C.7.6.3.1.2).
    red = np.full((4, 4, 3), (76, 85, 255), np.uint8)
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", red, PhotometricInterpretation="YBR_FULL")
    assert np.abs(_frames(path)[0].astype(int) - (255, 0, 0)).max() <= 2


def test_that_colours_of_16_bits_are_shown_with_8_and_say_so(tmp_path):
    deep = (phantoms.picture().astype(np.uint16) << 8) + 13
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", deep)
    assert np.array_equal(_frames(path)[0], phantoms.picture())
    assert "16 bits" in _series(path).marks[0]


def test_that_colour_by_plane_gives_the_same_picture(tmp_path):
    picture = phantoms.picture((6, 8))
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", picture, PlanarConfiguration=1)
    found = phantoms.read(path)
    found.PixelData = np.ascontiguousarray(picture.transpose(2, 0, 1)).tobytes()
    found.save_as(path)
    assert np.array_equal(_frames(path)[0], picture)


def test_that_a_cine_is_a_stack_of_frames_with_its_time(tmp_path):
    frames = np.stack([np.full((4, 6), k, np.uint8) for k in range(5)])
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", frames, FrameTime="40")
    series = _series(path)
    assert [ref.frame for ref in series.slices] == [0, 1, 2, 3, 4]
    assert series.frame_time_ms == 40
    assert not series.is_volume
    assert np.array_equal(_frames(path), frames)


def _enhanced(path: Path) -> Path:
    """Five frames in mixed order, each with its place, rescale and window of its own."""
    frames = np.stack([np.full((4, 6), 100 + k, np.uint16) for k in range(5)])
    phantoms.write_dicom_image(path, frames)
    found = phantoms.read(path)
    found.SOPClassUID = phantoms.ENHANCED_MR
    found.file_meta.MediaStorageSOPClassUID = phantoms.ENHANCED_MR
    found.Modality = "MR"
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.5", "0.75"], "3"
    plane.ImageOrientationPatient = list(map(str, phantoms.CORONAL))
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    found.SharedFunctionalGroupsSequence = [shared]
    each = []
    for k, place in enumerate((2, 0, 4, 1, 3)):
        own, position, values, voi = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = ["-5", str(3.0 * place), "8"]
        values.RescaleSlope, values.RescaleIntercept = str(k + 1), "-7"
        values.RescaleType = "US"
        voi.WindowCenter, voi.WindowWidth = str(100 * (k + 1)), "50"
        own.PlanePositionSequence = [position]
        own.PixelValueTransformationSequence = [values]
        own.FrameVOILUTSequence = [voi]
        each.append(own)
    found.PerFrameFunctionalGroupsSequence = each
    found.save_as(path)
    return path


def test_that_enhanced_frames_keep_their_own_place_rescale_and_window(tmp_path):
    series = _series(_enhanced(tmp_path / "a.dcm"))
    assert [ref.frame for ref in series.slices] == [1, 3, 0, 4, 2]
    assert series.slope == (2.0, 4.0, 1.0, 5.0, 3.0)
    assert set(series.intercept) == {-7.0}
    assert series.pixel_spacing_mm == (0.5, 0.75)
    assert series.slice_spacing_mm == pytest.approx(3.0)
    assert series.is_volume
    affine = np.array(series.affine)
    assert affine[:3, 0] == pytest.approx([0, 3, 0])
    assert affine[:3, 1] == pytest.approx([0, 0, -0.5])
    assert affine[:3, 2] == pytest.approx([0.75, 0, 0])
    assert series.windows == (study.Window(100, 50),)
    planes = dict(pixels.planes(series, range(5)))
    assert [int(planes[k][0, 0]) for k in range(5)] == [101, 103, 100, 104, 102]
    assert volume.modality_values(series, 0, planes[0])[0, 0] == 101 * 2 - 7


def test_that_a_dose_grid_lies_at_its_offsets():
    path = get_testdata_file("rtdose.dcm", download=False)
    series = _series(Path(path))
    found = pydicom.dcmread(path)
    assert len(series.slices) == 15
    assert series.is_volume
    steps = np.diff([p[2] for p in series.positions_lps])
    assert steps == pytest.approx(np.diff([float(v) for v in found.GridFrameOffsetVector]))
    assert series.units == found.DoseUnits == "RELATIVE"
    assert series.slope[0] == pytest.approx(float(found.DoseGridScaling))


def test_that_a_modality_table_of_the_file_is_kept(tmp_path):
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", np.array([[0, 1], [2, 3]], np.uint8))
    found = phantoms.read(path)
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4, 0, 16], "US"
    table["LUTDescriptor"].VR = "US"
    table.add_new(0x00283006, "US", [0, 10, 100, 1000])
    found.ModalityLUTSequence = [table]
    found.save_as(path)
    series = _series(path)
    assert series.modality_table == study.ModalityTable(0, (0, 10, 100, 1000))


def test_that_windows_that_cannot_be_true_are_left_out(tmp_path):
    path = phantoms.write_dicom_image(
        tmp_path / "a.dcm",
        np.zeros((4, 4), np.uint16),
        WindowCenter=["40", "50", "40"],
        WindowWidth=["400", "0", "400"],
    )
    assert _series(path).windows == (study.Window(40, 400),)
