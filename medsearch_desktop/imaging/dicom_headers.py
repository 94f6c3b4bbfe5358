"""The header of one DICOM file -> what its image is and where each of its frames lies."""

from __future__ import annotations

import logging
import struct
import warnings
from dataclasses import dataclass
from typing import IO

import pydicom
import pydicom.config
from pydicom import uid
from pydicom.dataset import Dataset

from medsearch_desktop import errors
from medsearch_desktop.imaging import dicom_frames, study, syntaxes

# Foreign files break value rules all the time; what matters is checked here, in our words.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

# One frame larger than this is a lie of the header: 1 GiB is 23,000 pixels square at 16 bits.
LARGEST_FRAME_BYTES = 1 << 30
MOST_FRAMES = 100_000

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

_LOSSY = {
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
    uid.HTJ2K,
}

# Objects that hold no picture, by their modality; the sentence names the kind.
_DOCUMENTS = {
    "SR": "a structured report",
    "DOC": "a document",
    "KO": "a key object selection",
    "PR": "a presentation state",
    "RTSTRUCT": "a set of radiotherapy structures",
    "RTPLAN": "a radiotherapy plan",
    "RTRECORD": "a radiotherapy record",
    "ECG": "a waveform",
    "HD": "a waveform",
    "AU": "a sound",
    "REG": "a registration",
    "FID": "a set of fiducials",
    "RWV": "a value mapping",
}


@dataclass(frozen=True)
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
    texts: dict[str, str]


@dataclass(frozen=True)
class Pixels:
    """How the pixel data of a file lie: all that a decoder needs beside the bytes."""

    syntax: str
    keyword: str
    vr: str
    offset: int
    length: int
    dataset: Dataset


def read_dataset(path: str, file: IO[bytes], *, force: bool = False) -> Dataset:
    """Return the header of a DICOM file up to the pixels; raises UnreadableFileError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pydicom.dcmread(
                file, stop_before_pixels=True, force=force, specific_tags=list(_TAGS)
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


def syntax_of(found: Dataset) -> str:
    """Return the transfer syntax, from the bytes themselves where the header does not name it."""
    named = getattr(found, "file_meta", {}).get("TransferSyntaxUID")
    if named:
        return str(named)
    implicit, little = found.original_encoding
    if implicit:
        return str(uid.ImplicitVRLittleEndian)
    return str(uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian)


def pixels_at(path: str, found: Dataset, file: IO[bytes], size: int) -> Pixels | None:
    """Return where the pixel data begin, or None when the file holds none.

    `file` stands where `read_dataset` left it: before the pixel element.
    Nothing is said of a deflated file, whose bytes are not yet unpacked.
    """
    syntax = syntax_of(found)
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        return Pixels(syntax, "PixelData", "OW", -1, -1, found)
    order = "<" if found.original_encoding[1] else ">"
    head = file.read(12)
    if len(head) < 8:
        return None
    group, element = struct.unpack(order + "HH", head[:4])
    keyword = _PIXEL_KEYWORDS.get((group, element))
    if keyword is None:
        return None
    # Some files are written with implicit VR under an explicit syntax: the bytes decide.
    if head[4:6] not in (b"OB", b"OW", b"UN", b"OF", b"OD"):
        vr, offset, length = "OW", file.tell() - 4, struct.unpack(order + "L", head[4:8])[0]
    elif len(head) < 12:
        return None
    else:
        vr, offset = head[4:6].decode("latin-1"), file.tell()
        length = struct.unpack(order + "L", head[8:12])[0]
    return Pixels(syntax, keyword, vr, offset, min(length, size - offset), found)


_PIXEL_KEYWORDS = {
    (0x7FE0, 0x0010): "PixelData",
    (0x7FE0, 0x0008): "FloatPixelData",
    (0x7FE0, 0x0009): "DoubleFloatPixelData",
}


def read_header(path: str, file: IO[bytes], size: int, *, force: bool = False) -> Header:
    """Return the header of a DICOM image; raises UnreadableFileError with a whole sentence."""
    found = read_dataset(path, file, force=force)
    if force and not ("SOPClassUID" in found or ("Rows" in found and "Columns" in found)):
        raise errors.UnreadableFileError(path, "It is not a DICOM file.")
    pixels = pixels_at(path, found, file, size)
    _refuse_no_image(path, found, pixels is not None)
    assert pixels is not None
    if syntaxes.plugin(pixels.syntax) is None:
        reason = (
            f"Its pixels are packed as {syntaxes.name(pixels.syntax)}, which is not decoded here."
        )
        raise errors.UnreadableFileError(path, reason)
    try:
        return _header(path, found, pixels)
    except errors.UnreadableFileError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        reason = f"Its DICOM header is damaged ({type(error).__name__})."
        raise errors.UnreadableFileError(path, reason) from error


def _refuse_no_image(path: str, found: Dataset, has_pixels: bool) -> None:
    name = uid.UID(dicom_frames.text(found, "SOPClassUID")).name or "unknown"
    modality = dicom_frames.text(found, "Modality").upper()
    if has_pixels and "Rows" in found:
        return
    if name == "Media Storage Directory Storage":
        what = "a DICOMDIR"
        reason = "It is a DICOMDIR, an index of other files; open it by itself or open its folder."
    elif "Encapsulated PDF" in name:
        what = "a PDF document"
        reason = "It is a PDF document in a DICOM wrapper and holds no image."
    elif ("Rows" in found or "Image Storage" in name) and modality not in _DOCUMENTS:
        reason = f"Its header describes an image ({name}), but the pixels are missing."
        raise errors.UnreadableFileError(path, reason)
    else:
        what = _DOCUMENTS.get(modality, "a DICOM object without an image")
        reason = f"It is {what} ({name}) and holds no image."
        if modality not in _DOCUMENTS:
            reason = f"It is a DICOM object without an image ({name})."
    raise errors.NotAnImageError(path, reason, what)


def _header(path: str, found: Dataset, pixels: Pixels) -> Header:
    rows, columns = _count(path, found, "Rows"), _count(path, found, "Columns")
    count = int(dicom_frames.number(found, "NumberOfFrames") or 1)
    samples = int(dicom_frames.number(found, "SamplesPerPixel") or 1)
    photometric = dicom_frames.text(found, "PhotometricInterpretation") or "MONOCHROME2"
    dtype = _stored_dtype(path, found, pixels.keyword, samples)
    _check_sizes(path, found, pixels, (rows, columns, samples, count))
    marks: list[str] = []
    is_colour = samples == 3 or photometric == "PALETTE COLOR"
    if is_colour and samples == 3 and dtype != "uint8":
        marks.append(f"Colours of {int(dtype.lstrip('uint'))} bits are shown with 8.")
    frames = dicom_frames.frames(found, count, marks)
    table = dicom_frames.modality_table(found)
    if "VOILUTSequence" in found and not frames[0].windows:
        marks.append("Its own grey-scale table is replaced by a linear window.")
    kind = tuple(part.upper() for part in dicom_frames.strings(found, "ImageType"))
    if "MOSAIC" in kind:
        marks.append("A Siemens mosaic: the slices lie side by side in one picture.")
    return Header(
        path=path,
        syntax=pixels.syntax,
        sop_class=dicom_frames.text(found, "SOPClassUID"),
        sop_uid=dicom_frames.text(found, "SOPInstanceUID"),
        study_uid=dicom_frames.text(found, "StudyInstanceUID"),
        series_uid=dicom_frames.text(found, "SeriesInstanceUID"),
        modality=dicom_frames.text(found, "Modality").upper(),
        instance=int(dicom_frames.number(found, "InstanceNumber") or 0),
        rows=rows,
        columns=columns,
        samples=3 if is_colour else 1,
        photometric=photometric,
        bits=int(dicom_frames.number(found, "BitsAllocated") or 0),
        dtype="uint8" if is_colour else dtype,
        frames=frames,
        image_type=kind,
        is_lossy=pixels.syntax in _LOSSY
        or dicom_frames.text(found, "LossyImageCompression") == "01",
        is_inverted=photometric == "MONOCHROME1"
        or dicom_frames.text(found, "PresentationLUTShape") == "INVERSE",
        is_enhanced="PerFrameFunctionalGroupsSequence" in found,
        units=_units(found),
        frame_time_ms=_frame_time(found),
        modality_table=table,
        marks=tuple(marks),
        texts=_texts(found, pixels.syntax),
    )


def _count(path: str, found: Dataset, keyword: str) -> int:
    value = dicom_frames.number(found, keyword)
    if value is None or not 1 <= value <= 65535:
        raise errors.UnreadableFileError(path, f"Its header gives no usable {keyword}.")
    return int(value)


def _stored_dtype(path: str, found: Dataset, keyword: str, samples: int) -> str:
    if keyword != "PixelData":
        return "float32" if keyword == "FloatPixelData" else "float64"
    bits, stored = (
        dicom_frames.number(found, "BitsAllocated"),
        dicom_frames.number(found, "BitsStored"),
    )
    if samples not in (1, 3):
        reason = f"It has {samples} samples a pixel; 1 and 3 can be shown."
        raise errors.UnreadableFileError(path, reason)
    if bits not in (1, 8, 16, 32, 64) or stored is None or not 1 <= stored <= bits:
        reason = f"Its header says {stored} of {bits} bits a pixel, which is not possible."
        raise errors.UnreadableFileError(path, reason)
    sign = "int" if dicom_frames.number(found, "PixelRepresentation") == 1 else "uint"
    return f"{sign}{max(int(bits), 8)}"


def _check_sizes(
    path: str, found: Dataset, pixels: Pixels, shape: tuple[int, int, int, int]
) -> None:
    """Refuse what cannot be true before anything is allocated for it."""
    rows, columns, samples, frames = shape
    bits = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(
        pixels.keyword, int(dicom_frames.number(found, "BitsAllocated") or 16)
    )
    if not 1 <= frames <= MOST_FRAMES:
        raise errors.UnreadableFileError(path, f"Its header says it has {frames} frames.")
    pixel_bits = rows * columns * samples * bits
    if pixel_bits // 8 > LARGEST_FRAME_BYTES:
        reason = f"Its header says {columns} x {rows} pixels, which is too large to be true."
        raise errors.UnreadableFileError(path, reason)
    if pixels.length < 0:
        return
    if dicom_frames.text(found, "PhotometricInterpretation") == "YBR_FULL_422":
        pixel_bits = pixel_bits * 2 // 3
    # A compressed frame is an item header and at least one byte.
    needed = (pixel_bits * frames + 7) // 8 if syntaxes.is_native(pixels.syntax) else frames * 9
    if pixels.length < needed:
        reason = (
            f"The file is cut short: its pixels need {needed:,} bytes "
            f"and {max(pixels.length, 0):,} are there."
        )
        raise errors.UnreadableFileError(path, reason)


def _units(found: Dataset) -> str:
    named = dicom_frames.text(found, "RescaleType").upper()
    modality = dicom_frames.text(found, "Modality").upper()
    if modality == "CT" and named in ("", "US", "HU"):
        return "HU"
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


def _texts(found: Dataset, syntax: str) -> dict[str, str]:
    texts = {keyword: dicom_frames.text(found, keyword) for keyword in _SHOWN}
    turned = dicom_frames.strings(found, "PatientOrientation")
    texts["PatientOrientation"] = " / ".join(turned)
    texts["TransferSyntax"] = syntaxes.name(syntax)
    return {keyword: value for keyword, value in texts.items() if value}
