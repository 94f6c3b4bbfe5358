"""Every DICOM and NIfTI file of the public test pack, against pydicom and nibabel."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pydicom
import pydicom.encaps
import pytest

from medsearch_desktop.imaging import isolated, study

pytestmark = pytest.mark.pack

# What must be said of each folder of broken or odd series; all others are said to be whole.
MARKS = {
    "broken_ct_missing_slice": "1 slice is missing: slices 3 and 4 are 10.0 mm apart",
    "broken_mr_mixed_orientation": "split into 2 stacks",
    "broken_mr_too_few_slices": "Only 2 slices",
    "mr_ge_dti": "2 images lie at each place",
}
# Folder or file -> stacks, slices of the first, whether they form a volume.
SERIES = {
    "broken_ct_missing_slice": (1, 4, False),
    "broken_mr_mixed_orientation": (2, 2, False),
    "broken_mr_too_few_slices": (1, 2, False),
    "ct_chest_lidc0314": (1, 36, True),
    "mr_brain_t1_studyforrest": (1, 32, True),
    "mr_ge_dti": (1, 4, True),
    "mr_generic_explicit": (1, 4, True),
    "mr_generic_implicit": (1, 4, True),
    "mr_generic_j2k": (1, 4, True),
    "mr_generic_jpeg": (1, 4, True),
    "mr_generic_jpegls": (1, 4, True),
    "mr_generic_rle": (1, 4, True),
    "mr_philips_enhanced": (1, 8, True),
    "mr_siemens_multiframe": (1, 8, True),
}
# pydicom gives 16 or 32 bits for these; we show the highest 8.
DEEP_COLOUR = {
    "SC_rgb_16bit.dcm",
    "SC_rgb_32bit.dcm",
    "OBXXXX1A_rle.dcm",
    "OBXXXX1A_rle_2frame.dcm",
}


@pytest.fixture(scope="module")
def readers() -> Iterator[isolated.Readers]:
    with isolated.Readers() as opened:
        yield opened


def _study(readers: isolated.Readers, path: Path) -> study.Study:
    """Return the one study below a path; further moments of its series may be left out."""
    found = list(readers.open_paths([path]))
    (whole,) = [each for each in found if isinstance(each, study.Study) and each.is_complete]
    others = [each for each in found if isinstance(each, study.Refused)]
    assert all(each.answer == "left out" for each in others)
    return whole


def _line(name: str, series: study.Series, word: str) -> None:
    """Print one row of the table of what the pack holds and what became of it (pytest -s)."""
    size = f"{len(series.slices)} x {series.rows} x {series.columns}"
    said = " ".join(series.marks) or "-"
    encoding = dict(series.details).get("Encoding", "")
    print(f"| {name} | {encoding} | {size} {series.dtype} | {word} | {said} |")  # noqa: T201


# pydicom has no permissive decoder of its own for these: the reference is jpegsof3, another
# implementation than the libjpeg-turbo that the product uses.
_LOSSLESS_JPEG = (pydicom.uid.JPEGLossless, pydicom.uid.JPEGLosslessSV1)


def _lossless_jpeg(found: pydicom.Dataset) -> np.ndarray:
    frames = int(found.get("NumberOfFrames", 1) or 1)
    coded = pydicom.encaps.generate_frames(found.PixelData, number_of_frames=frames)
    values = np.stack([imagecodecs.jpegsof3_decode(one) for one in coded])
    if found.PixelRepresentation:
        values = values.view(f"int{values.dtype.itemsize * 8}")
    return values if frames > 1 else values[0]


def _reference(ref_path: str, frame: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pydicom.dcmread(ref_path)
        if found.file_meta.TransferSyntaxUID in _LOSSLESS_JPEG:
            values = _lossless_jpeg(found)
        else:
            values = found.pixel_array
        if found.PhotometricInterpretation == "PALETTE COLOR":
            values = pydicom.pixels.apply_color_lut(values, found)
    if int(found.get("NumberOfFrames", 1) or 1) > 1:
        values = values[frame]
    if values.ndim == 3 and values.dtype != np.uint8:
        values = (values >> (values.dtype.itemsize * 8 - 8)).astype(np.uint8)
    return values


def _compare(readers: isolated.Readers, series: study.Series) -> str:
    loaded = readers.load(series)
    worst = 0
    for plane, ref in enumerate(series.slices):
        difference = loaded.voxels[plane].astype(np.int64) - _reference(ref.path, ref.frame)
        worst = max(worst, int(np.abs(difference).max()))
    assert worst <= (5 if series.is_lossy and series.samples == 3 else 0)
    is_jpeg = (
        pydicom.dcmread(series.slices[0].path, stop_before_pixels=True).file_meta.TransferSyntaxUID
        in _LOSSLESS_JPEG
    )
    other = "jpegsof3" if is_jpeg else "pydicom"
    return f"equal to {other}" if worst == 0 else f"within {worst} of {other}"


@pytest.mark.parametrize("name", sorted(SERIES))
def test_that_each_series_opens_in_order_and_says_what_is_odd(pack, readers, name):
    found = _study(readers, pack / "dicom-series" / name)
    stacks, slices, is_volume = SERIES[name]
    assert len(found.series) == stacks
    assert len(found.series[0].slices) == slices
    for series in found.series:
        assert series.is_volume == is_volume
        assert series.affine is not None
        if name in MARKS:
            assert any(MARKS[name] in mark for mark in series.marks)
        else:
            assert series.marks == ()
        along = np.array(series.affine)[:3, 0]
        steps = np.diff(np.array(series.positions_lps), axis=0) @ along
        assert (steps > 0).all()
        _line(name, series, _compare(readers, series))


@pytest.mark.parametrize(
    "name", sorted(set(SERIES) - {"mr_philips_enhanced", "mr_siemens_multiframe"})
)
def test_that_dicom_geometry_agrees_with_nibabel(pack, readers, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom import dicomwrappers
    found = _study(readers, pack / "dicom-series" / name)
    for series in found.series:
        ours = np.array(series.affine)
        first = dicomwrappers.wrapper_from_file(series.slices[0].path)
        # nibabel's index is (row, column, slice).
        assert np.allclose(ours[:3, 1], first.affine[:3, 0], atol=1e-5)
        assert np.allclose(ours[:3, 2], first.affine[:3, 1], atol=1e-5)
        assert np.allclose(ours[:3, 3], first.affine[:3, 3], atol=1e-3)
        if series.is_volume:
            last = dicomwrappers.wrapper_from_file(series.slices[-1].path)
            end = ours @ [len(series.slices) - 1, 0, 0, 1]
            assert np.allclose(end[:3], last.affine[:3, 3], atol=0.05)


def test_that_one_series_in_several_encodings_is_equal_bit_for_bit(pack, readers):
    """The uncompressed folders of this name hold other noise than the four compressed ones."""
    volumes = []
    for name in ("mr_generic_j2k", "mr_generic_jpeg", "mr_generic_jpegls", "mr_generic_rle"):
        found = _study(readers, pack / "dicom-series" / name)
        volumes.append((found.series[0], readers.load(found.series[0])))
    for series, loaded in volumes:
        assert np.array_equal(loaded.voxels, volumes[0][1].voxels)
        assert series.affine == volumes[0][0].affine
        assert series.slope == volumes[0][0].slope


def _names(folder: str, ending: str) -> list[str]:
    base = os.environ.get("MEDSEARCH_TEST_DATA", "")
    found = sorted(p.name for p in (Path(base) / folder).glob(f"*{ending}")) if base else []
    return found or ["(the pack is not here)"]


@pytest.mark.parametrize("name", _names("dicom-single", ".dcm"))
def test_that_each_single_file_opens_with_the_pixels_of_pydicom(pack, readers, name):
    (found,) = readers.open_paths([pack / "dicom-single" / name])
    assert isinstance(found, study.Study)
    (series,) = found.series
    header = pydicom.dcmread(pack / "dicom-single" / name, stop_before_pixels=True)
    assert len(series.slices) == int(header.get("NumberOfFrames", 1) or 1)
    assert series.is_inverted == (header.PhotometricInterpretation == "MONOCHROME1")
    assert series.modality == header.Modality
    if name in DEEP_COLOUR:
        assert series.dtype == "uint8"
    _line(name, series, _compare(readers, series))


@pytest.mark.parametrize("name", _names("nifti", ".nii.gz"))
def test_that_each_nifti_has_the_voxels_and_the_affine_of_nibabel(pack, readers, name):
    (found,) = readers.open_paths([pack / "nifti" / name])
    assert isinstance(found, study.Study)
    (series,) = found.series
    reference = nibabel.load(pack / "nifti" / name)
    stored = np.asarray(reference.dataobj.get_unscaled())
    if stored.ndim == 4:
        assert series.timepoints == stored.shape[3]
        assert f"{stored.shape[3]} volumes" in series.marks[0]
        stored = stored[..., 0]
    else:
        assert series.marks == ()
    loaded = readers.load(series)
    assert np.array_equal(loaded.voxels, stored.T)
    scaled = np.asarray(reference.get_fdata())
    scaled = scaled[..., 0] if scaled.ndim == 4 else scaled
    middle = len(series.slices) // 2
    assert np.allclose(loaded.modality_values(middle), scaled[..., middle].T, rtol=1e-5, atol=1e-3)
    turned = np.diag([-1, -1, 1, 1]) @ reference.affine
    assert np.allclose(np.array(series.affine), turned[:, [2, 1, 0, 3]], atol=1e-4)
    assert series.is_volume
    _line(name, series, "equal to nibabel")


def test_that_the_whole_pack_opens_and_only_its_tables_are_refused(pack, readers):
    folders = [pack / "dicom-series", pack / "dicom-single", pack / "nifti"]
    found = [f for f in readers.open_paths(folders) if isinstance(f, study.Refused)]
    refused = [each for each in found if each.answer == "refused"]
    assert [Path(each.path).name for each in refused] == ["manifest.csv"] * 3


def test_that_the_first_slice_comes_after_one_slice_was_read(pack, readers):
    (found,) = readers.open_paths([pack / "dicom-series" / "ct_chest_lidc0314"])
    seen: list[tuple[int, int]] = []
    readers.load(
        found.series[0], first=18, on_slice=lambda v, k: seen.append((k, int(v.ready.sum())))
    )
    assert seen[0] == (18, 1)
    assert [plane for plane, _ in seen[1:5]] == [19, 17, 20, 16]
