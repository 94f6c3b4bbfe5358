"""The header of one DICOM file -> what its image is and where each of its frames lies."""

from __future__ import annotations

import functools
import logging
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

import pydicom
import pydicom.config
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from medsearch_desktop import errors
from medsearch_desktop.imaging import (
    dicom_frames,
    dicom_kinds,
    dicom_pixels,
    mosaic,
    preflight,
    study,
    syntaxes,
)

# Foreign files break value rules all the time; what matters is checked here, in our words.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

_TAGS = """
SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID StudyDate AcquisitionNumber
AccessionNumber Modality Manufacturer ManufacturerModelName StudyDescription SeriesDescription
PatientName PatientID PatientSex PatientAge BodyPartExamined SliceThickness KVP EchoTime
RepetitionTime MagneticFieldStrength SpacingBetweenSlices XRayTubeCurrent ConvolutionKernel
ProtocolName SequenceName TriggerTime FrameTime CineRate ViewPosition PatientPosition
ImagerPixelSpacing NominalScannedPixelSpacing DiffusionBValue StudyInstanceUID SeriesInstanceUID
SeriesNumber InstanceNumber ImagePositionPatient ImageOrientationPatient PatientOrientation
Laterality ImageLaterality TemporalPositionIdentifier TemporalPositionIndex SliceLocation
SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns
PixelSpacing BitsAllocated BitsStored HighBit PixelRepresentation WindowCenter WindowWidth
WindowCenterWidthExplanation VOILUTFunction RescaleIntercept RescaleSlope RescaleType
ModalityLUTSequence VOILUTSequence LossyImageCompression PresentationLUTShape Units
RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor
BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData
SegmentedRedPaletteColorLookupTableData SegmentedGreenPaletteColorLookupTableData
SegmentedBluePaletteColorLookupTableData
GreenPaletteColorLookupTableData BluePaletteColorLookupTableData GridFrameOffsetVector
DoseGridScaling DoseUnits SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence
ExtendedOffsetTable ExtendedOffsetTableLengths RecommendedDisplayFrameRate
""".split()  # noqa: SIM905

_PRIVATE = (*mosaic.CREATORS, mosaic.NUMBER_OF_IMAGES, mosaic.CSA_IMAGE_HEADER)
# Made into tags once: pydicom takes longer to look up the names than to read a header.
_WANTED: list[BaseTag | int | str | tuple[int, int]] = [Tag(name) for name in (*_TAGS, *_PRIVATE)]
# Secondary capture, its multi-frame kinds included (DICOM PS3.6 A).
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_LOSSY = {
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
    uid.HTJ2K,
}


@dataclass(frozen=True, slots=True)
class Header:
    """What one DICOM image file says of itself; patient fields are for the screen only."""

    path: str
    syntax: str
    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str
    modality: str
    instance: int
    rows: int
    columns: int
    samples: int
    photometric: str
    bits: int
    dtype: str
    frames: tuple[dicom_frames.Frame, ...]
    image_type: tuple[str, ...]
    is_lossy: bool
    is_inverted: bool
    is_enhanced: bool
    units: str
    frame_time_ms: float | None
    modality_table: study.ModalityTable | None
    marks: tuple[str, ...]
    texts: Mapping[str, str]
    extent: dicom_pixels.Extent


def read_dataset(path: str, file: IO[bytes], *, force: bool = False) -> Dataset:
    """Return the header of a DICOM file up to the pixels; raises UnreadableFileError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pydicom.dcmread(
                file, stop_before_pixels=True, force=force, specific_tags=_WANTED
            )
    except RecursionError as error:
        reason = "Its sequences are nested too deeply to be true."
        raise errors.UnreadableFileError(path, reason) from error
    except MemoryError:
        raise
    except Exception as error:
        reason = f"Its DICOM header is damaged ({type(error).__name__})."
        raise errors.UnreadableFileError(path, reason) from error
    return found


def read_header(path: str, file: IO[bytes], size: int, *, force: bool = False) -> Header:
    """Return the header of a DICOM image.

    Raises NotAnImageError for a sound object of another kind, else
    UnreadableFileError, each with a whole sentence.
    """
    checked = preflight.check(path, file, size)
    found = read_dataset(path, checked.head, force=force)
    if force and not ("SOPClassUID" in found or ("Rows" in found and "Columns" in found)):
        raise errors.UnreadableFileError(path, "It is not a DICOM file.")
    if checked.is_empty:
        reason = "It is cut short or damaged: it holds nothing that says what it is."
        raise errors.UnreadableFileError(path, reason)
    _refuse_no_image(path, found, checked.pixels is not None)
    if syntaxes.plugin(checked.syntax) is None:
        reason = (
            f"Its pixels are packed as {syntaxes.name(checked.syntax)}, which is not decoded here."
        )
        raise errors.UnreadableFileError(path, reason)
    try:
        return _header(path, found, checked, size)
    except errors.UnreadableFileError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        reason = f"Its DICOM header is damaged ({type(error).__name__})."
        raise errors.UnreadableFileError(path, reason) from error


def _refuse_no_image(path: str, found: Dataset, has_pixels: bool) -> None:
    if has_pixels:
        return
    sop_class = dicom_frames.text(found, "SOPClassUID")
    name = dicom_kinds.class_name(sop_class)
    what = dicom_kinds.without_image(sop_class, dicom_frames.text(found, "Modality").upper())
    if what == dicom_kinds.DIRECTORY:
        reason = "It is a DICOMDIR, an index of other files; open it by itself or open its folder."
    elif not what or "Rows" in found:
        described = f" ({name})" if name else ""
        reason = f"Its header describes an image{described}, but the pixels are missing."
        raise errors.UnreadableFileError(path, reason)
    else:
        reason = f"It is {what}{f' ({name})' if name else ''}"
        reason += "." if what.endswith("without an image") else " and holds no image."
    raise errors.NotAnImageError(path, reason, what)


def _header(path: str, found: Dataset, checked: preflight.Checked, size: int) -> Header:
    marks = list(checked.marks)
    lying = dicom_pixels.layout(path, found, checked, marks)
    there = dicom_pixels.whole_frames(path, checked.file, checked.size, lying, marks)
    is_palette = lying.photometric == "PALETTE COLOR"
    if is_palette:
        dicom_pixels.check_palette(path, found)
    is_colour = lying.samples == 3 or is_palette
    if lying.samples == 3 and lying.dtype != "uint8":
        marks.append(f"Colours of {lying.bits} bits are shown with 8.")
    frames = dicom_frames.frames(found, lying.frames, marks)[:there]
    if "VOILUTSequence" in found and not frames[0].windows:
        marks.append("Its own grey-scale table is replaced by a linear window.")
    kind = tuple(part.upper() for part in dicom_frames.strings(found, "ImageType"))
    tiles = mosaic.tiles(found, lying.rows, lying.columns) if "MOSAIC" in kind else None
    if tiles is not None:
        frames = mosaic.frames(found, tiles, frames[0], marks)
    elif "MOSAIC" in kind:
        marks.append("A Siemens mosaic: the slices lie side by side in one picture.")
    named = {keyword: sys.intern(dicom_frames.text(found, keyword)) for keyword in _NAMED}
    deflated = checked.syntax == uid.DeflatedExplicitVRLittleEndian
    return Header(
        path=path,
        syntax=sys.intern(checked.syntax),
        sop_class=named["SOPClassUID"],
        sop_uid=dicom_frames.text(found, "SOPInstanceUID"),
        study_uid=named["StudyInstanceUID"],
        series_uid=named["SeriesInstanceUID"],
        modality=sys.intern(named["Modality"].upper()),
        instance=_instance(found),
        rows=tiles.rows if tiles else lying.rows,
        columns=tiles.columns if tiles else lying.columns,
        samples=3 if is_colour else 1,
        photometric=sys.intern(lying.photometric),
        bits=lying.bits,
        dtype="uint8" if is_colour else sys.intern(lying.dtype),
        frames=frames,
        image_type=dicom_frames.shared(kind),
        is_lossy=checked.syntax in _LOSSY or named["LossyImageCompression"] == "01",
        is_inverted=lying.photometric == "MONOCHROME1"
        or named["PresentationLUTShape"] == "INVERSE",
        is_enhanced="PerFrameFunctionalGroupsSequence" in found,
        units="" if dicom_frames.NO_SLOPE in marks else sys.intern(_units(found)),
        frame_time_ms=_frame_time(found),
        modality_table=dicom_frames.shared(dicom_frames.modality_table(found)),
        marks=dicom_frames.shared(tuple(dict.fromkeys(marks))),
        texts=_texts(found, checked.syntax),
        extent=dicom_pixels.Extent(0, size)
        if deflated
        else dicom_pixels.Extent(lying.offset, lying.length),
    )


def _instance(found: Dataset) -> int:
    return int(dicom_frames.number(found, "InstanceNumber") or 0)


def _units(found: Dataset) -> str:
    """Return the unit of modality values; "" where the header does not say one.

    A CT without a named one has HU (DICOM PS3.3 C.8.2.1.1.2), but only where it
    has a rescale and is no secondary capture, whose values can be anything.
    """
    types = dicom_frames.rescale_types(found)
    named = next(iter(types)) if len(types) == 1 else ""
    modality = dicom_frames.text(found, "Modality").upper()
    if modality == "CT":
        is_capture = dicom_frames.text(found, "SOPClassUID").startswith(_CAPTURE)
        if types and types <= {"", "HU"} and not is_capture:
            return "HU"
        return "" if named in ("US", "HU", "NORMALIZED") else named
    if modality == "PT":
        return dicom_frames.text(found, "Units")
    if modality == "RTDOSE":
        return dicom_frames.text(found, "DoseUnits")
    return "" if named in ("US", "NORMALIZED") else named


def _frame_time(found: Dataset) -> float | None:
    time_ms = dicom_frames.number(found, "FrameTime")
    rate = dicom_frames.number(found, "CineRate") or dicom_frames.number(
        found, "RecommendedDisplayFrameRate"
    )
    if time_ms and time_ms > 0:
        return time_ms
    return 1000 / rate if rate and rate > 0 else None


_SHOWN = """
StudyDate StudyDescription SeriesDescription SeriesNumber PatientName PatientID PatientSex
PatientAge AccessionNumber BodyPartExamined ViewPosition Manufacturer ManufacturerModelName KVP
XRayTubeCurrent ConvolutionKernel ProtocolName EchoTime RepetitionTime MagneticFieldStrength
PatientPosition
""".split()  # noqa: SIM905


_NAMED = (
    *("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("LossyImageCompression", "PresentationLUTShape"),
)


def _texts(found: Dataset, syntax: str) -> Mapping[str, str]:
    texts = {keyword: dicom_frames.text(found, keyword) for keyword in _SHOWN}
    turned = dicom_frames.strings(found, "PatientOrientation")
    texts["PatientOrientation"] = " / ".join(turned)
    texts["TransferSyntax"] = syntaxes.name(syntax)
    return _text_table(tuple((k, v) for k, v in texts.items() if v))


@functools.lru_cache(maxsize=512)
def _text_table(texts: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    # Most slices of a series say the same: they share one table.
    return {keyword: sys.intern(text) for keyword, text in texts}
