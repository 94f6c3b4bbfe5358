"""DICOM files whose pixels are cut, say of themselves what cannot be true."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import phantoms
from pydicom.dataset import Dataset

from hostile import elements, images
from hostile.elements import explicit, image, part_10, written
from hostile.expected import Hostile, hostile


def _cut(array: np.ndarray, bytes_less: int) -> elements.Writer:
    def write(folder: Path) -> Sequence[Path]:
        path = phantoms.write_dicom_image(folder / "a.dcm", array)
        path.write_bytes(path.read_bytes()[:-bytes_less])
        return [path]

    return write


def _bytes(**lies: bytes) -> elements.Writer:
    """Write an image by hand; keys are "t00280010" and values whole elements."""
    return written(part_10(image({int(tag[1:], 16): lie for tag, lie in lies.items()})))


def _one(tag: int, vr: str, value: bytes) -> elements.Writer:
    return written(part_10(image({tag: explicit(tag, vr, value)})))


def _palette(found: Dataset, entries: int, there: int) -> None:
    found.PhotometricInterpretation = "PALETTE COLOR"
    for name in ("Red", "Green", "Blue"):
        setattr(found, f"{name}PaletteColorLookupTableDescriptor", [entries, 0, 16])
        found[f"{name}PaletteColorLookupTableDescriptor"].VR = "US"
        setattr(found, f"{name}PaletteColorLookupTableData", bytes(2 * there))


def _palette_bomb(found: Dataset) -> None:
    """Linear segments that repeat: a few kilobytes unpack to gigabytes."""
    _palette(found, 256, 0)
    for name in ("Red", "Green", "Blue"):
        delattr(found, f"{name}PaletteColorLookupTableData")
        data = struct.pack("<3H", 0, 1, 0) + struct.pack("<3H", 1, 0xFFFF, 9) * 20_000
        setattr(found, f"Segmented{name}PaletteColorLookupTableData", data)


_UNENDED = images.fragments(images.rle(np.arange(64, dtype=np.uint16)))[:-8] + bytes(24)

CUT = (
    hostile(
        "pixels_cut", _cut(images.GREY, 100), "refused", words="cut short: its pixels need 6,144"
    ),
    hostile("pixels_cut_to_nothing", _cut(images.GREY, 6144), "refused", words="and 0 are there"),
    hostile(
        "pixels_cut_after_three_frames",
        _cut(images.FRAMES, 150),
        "marked",
        words="frames 4 to 5 are missing",
        series=1,
    ),
    hostile(
        "pixels_cut_in_the_last_frame", _cut(images.FRAMES, 1), "marked", words="frame 5 is missing"
    ),
    hostile(
        "pixels_cut_in_the_first_frame", _cut(images.FRAMES, 450), "refused", words="cut short"
    ),
    hostile(
        "pixels_cut_and_packed",
        images.packed(images.FRAMES, images.RLE, images.rle, cut=200),
        "marked",
        words="frames 4 to 5 are missing",
        series=1,
    ),
    hostile(
        "pixels_cut_and_packed_single",
        images.packed(images.BYTES, images.JPEG, imagecodecs.jpeg8_encode, cut=200),
        "refused",
        words="cut short: a fragment should hold",
    ),
    hostile("pixels_missing", _bytes(t7FE00010=b""), "refused", words="pixels are missing"),
    hostile(
        "pixels_packed_and_missing",
        written(part_10(image({images.PIXELS: images.fragments()}), images.RLE)),
        "refused",
        words="compressed pixels are missing",
    ),
    hostile(
        "pixels_without_end_marker",
        images.packed(images.GREY, images.RLE, images.rle, cut=8),
        "opened",
        series=1,
    ),
)

COUNTS = (
    hostile(
        "pixels_with_zeros_for_an_end_marker",
        written(part_10(image({images.PIXELS: _UNENDED}), images.RLE)),
        "opened",
        series=1,
    ),
    hostile(
        "frames_more_declared",
        images.changed(images.FRAMES, images.sets(NumberOfFrames=9)),
        "marked",
        words="frames 6 to 9 are missing",
        series=1,
    ),
    hostile(
        "frames_fewer_declared",
        images.changed(images.FRAMES, images.sets(NumberOfFrames=2)),
        "marked",
        words="declares 2 frames, but there are pixels for 5",
        series=1,
    ),
    hostile(
        "frames_more_declared_and_packed",
        images.packed(images.FRAMES, images.RLE, images.rle, images.sets(NumberOfFrames=7)),
        "marked",
        words="frames 6 to 7 are missing",
        series=1,
    ),
    hostile(
        "frames_two_thousand_million",
        images.changed(images.FRAMES, images.sets(NumberOfFrames=2**31 - 1)),
        "refused",
        words="2,147,483,647 frames",
    ),
    hostile(
        "frames_negative",
        images.changed(images.FRAMES, images.sets(NumberOfFrames=-3)),
        "refused",
        words="-3 frames",
    ),
    hostile("frames_no_number", _one(0x00280008, "IS", b"many"), "opened", series=1),
    hostile(
        "size_beyond_all_memory",
        images.changed(images.BYTES, images.sets(Rows=65535, Columns=65535)),
        "refused",
        words="65535 x 65535 pixels, which is too large",
    ),
    hostile(
        "size_zero",
        images.changed(images.GREY, images.sets(Rows=0)),
        "refused",
        words="no usable Rows",
    ),
    hostile("size_missing", _bytes(t00280011=b""), "refused", words="no usable Columns"),
    hostile(
        "size_twice",
        images.changed(images.GREY, images.sets(Rows=96)),
        "refused",
        words="cut short",
    ),
)

DEPTHS = (
    hostile(
        "bits_stored_0",
        images.changed(images.GREY, images.sets(BitsStored=0)),
        "refused",
        words="0 of 16 bits",
    ),
    hostile(
        "bits_stored_17",
        images.changed(images.GREY, images.sets(BitsStored=17)),
        "refused",
        words="17 of 16",
    ),
    hostile("bits_stored_missing", _bytes(t00280101=b""), "marked", words="all 16 are shown"),
    hostile(
        "bits_allocated_12",
        images.changed(images.GREY, images.sets(BitsAllocated=12)),
        "refused",
        words="12 bits a pixel, which is not read here",
    ),
    hostile(
        "bits_high_7", images.changed(images.GREY, images.sets(HighBit=7)), "marked", words="bit 7"
    ),
    hostile(
        "samples_7",
        images.changed(images.GREY, images.sets(SamplesPerPixel=7)),
        "refused",
        words="7 samples",
    ),
    hostile(
        "samples_3_of_grey",
        images.changed(images.GREY, images.sets(SamplesPerPixel=3)),
        "refused",
        words="3 samples a pixel and MONOCHROME2",
    ),
    hostile(
        "samples_1_of_colour",
        images.changed(images.GREY, images.sets(PhotometricInterpretation="RGB")),
        "refused",
        words="1 samples a pixel and RGB",
    ),
    hostile(
        "photometric_unknown",
        images.changed(images.GREY, images.sets(PhotometricInterpretation="INFRARED")),
        "refused",
        words="store colours that is not known",
    ),
    hostile(
        "sign_unknown",
        images.changed(images.GREY, images.sets(PixelRepresentation=7)),
        "refused",
        words="are signed",
    ),
    hostile(
        "slope_0",
        images.changed(images.GREY, images.sets(RescaleSlope="0", RescaleIntercept="5")),
        "marked",
        words="rescale is 0, too large or no number: stored values are shown",
        series=1,
    ),
    hostile(
        "intercept_of_1e300",
        images.changed(images.GREY, images.sets(RescaleSlope="1", RescaleIntercept="1e300")),
        "marked",
        words="too large or no number: stored values are shown",
        series=1,
    ),
    hostile(
        "bits_allocated_24",
        images.changed(images.GREY, images.sets(BitsAllocated=24)),
        "refused",
        words="24 bits a pixel, which is not read here",
    ),
    hostile("slope_nan", _one(0x00281053, "DS", b"nan "), "marked", words="no number"),
    hostile("intercept_nan", _one(0x00281052, "DS", b"-inf"), "marked", words="no number"),
    hostile(
        "palette_short",
        images.changed(images.BYTES, lambda found: _palette(found, 256, 100)),
        "refused",
        words="palette has 256 colours",
    ),
    hostile(
        "palette_missing",
        images.changed(images.BYTES, images.sets(PhotometricInterpretation="PALETTE COLOR")),
        "refused",
        words="palette is not described",
    ),
    hostile(
        "palette_bomb",
        images.changed(images.BYTES, _palette_bomb),
        "refused",
        words="palette is larger than",
    ),
    hostile(
        "palette_whole",
        images.changed(images.BYTES, lambda found: _palette(found, 256, 256)),
        "opened",
        series=1,
    ),
)

CASES: tuple[Hostile, ...] = (*CUT, *COUNTS, *DEPTHS)
