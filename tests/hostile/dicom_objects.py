"""DICOM objects that hold no image, each listed by its name; and images of unusual classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import phantoms

from hostile import elements
from hostile.expected import Hostile, hostile

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SEGMENTATION = _STORAGE + "66.4"
_RT_DOSE = _STORAGE + "481.2"
_PRIVATE = "1.3.12.2.1107.5.9.1"


def _document(name: str, sop_class: str, modality: str, words: str) -> Hostile:
    def write(folder: Path) -> Sequence[Path]:
        return [phantoms.write_dicom_document(folder / "a.dcm", sop_class, modality)]

    return hostile(f"object_{name}", write, "listed", words=f"It is {words}", series=0)


def _image_of(name: str, sop_class: str, modality: str, **fields: object) -> Hostile:
    def write(folder: Path) -> Sequence[Path]:
        path = folder / "a.dcm"
        values = np.arange(48, dtype=np.uint16).reshape(6, 8)
        phantoms.write_dicom_image(path, values, Modality=modality, **fields)
        found = phantoms.read(path)
        found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = sop_class
        found.save_as(path)
        return [path]

    return hostile(f"object_{name}", write, "opened", series=1)


def _one_bit(folder: Path) -> Sequence[Path]:
    path = phantoms.write_dicom_image(folder / "a.dcm", np.zeros((2, 4, 16), np.uint8))
    found = phantoms.read(path)
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = _SEGMENTATION
    found.BitsAllocated, found.BitsStored, found.HighBit = 1, 1, 0
    found.PixelData, found.Modality = bytes(range(16)), "SEG"
    found.save_as(path)
    return [path]


def _without_pixels(folder: Path) -> Sequence[Path]:
    return [phantoms.write_dicom_document(folder / "a.dcm", phantoms.CT_IMAGE, "CT")]


def _report_with_an_icon(folder: Path) -> Sequence[Path]:
    """A report whose icon holds pixels, which are not the object's own."""
    icon = b"".join(
        elements.explicit(tag, vr, value)
        for tag, vr, value in (
            (0x00280010, "US", elements.us(2)),
            (0x00280011, "US", elements.us(2)),
            (0x7FE00010, "OB", bytes(4)),
        )
    )
    body = (
        elements.explicit(0x00080016, "UI", elements.uid(phantoms.BASIC_TEXT_SR))
        + elements.explicit(0x00080060, "CS", b"SR")
        + elements.sequence(0x00880200, icon)
    )
    return elements.written(elements.part_10(body))(folder)


def _directory_by_another_name(folder: Path) -> Sequence[Path]:
    """A DICOMDIR that was renamed and lies in a folder beside what it lists."""
    phantoms.write_ct_series(folder, slices=4, size=(8, 8))
    phantoms.write_dicomdir(folder / "index.dcm", [["IM0001"]])
    return [folder]


CASES: tuple[Hostile, ...] = (
    _document("report", phantoms.BASIC_TEXT_SR, "SR", "a structured report"),
    _document("dose_report", _STORAGE + "88.67", "SR", "a structured report"),
    _document("cad_report", _STORAGE + "88.50", "SR", "a structured report"),
    _document("key_objects", phantoms.KEY_OBJECTS, "KO", "a key object selection"),
    _document("presentation_state", _STORAGE + "11.1", "PR", "a presentation state"),
    _document(
        "structures", phantoms.RT_STRUCTURE_SET, "RTSTRUCT", "a set of radiotherapy structures"
    ),
    _document("plan", _STORAGE + "481.5", "RTPLAN", "a radiotherapy plan"),
    _document("ion_plan", _STORAGE + "481.8", "RTPLAN", "a radiotherapy plan"),
    _document("treatment_record", _STORAGE + "481.4", "RTRECORD", "a radiotherapy record"),
    _document("ecg", _STORAGE + "9.1.1", "ECG", "a waveform"),
    _document("haemodynamics", _STORAGE + "9.2.1", "HD", "a waveform"),
    _document("audio", _STORAGE + "9.4.1", "AU", "a sound"),
    _document("pdf", phantoms.ENCAPSULATED_PDF, "DOC", "a PDF document"),
    _document("cda", _STORAGE + "104.2", "DOC", "a clinical document"),
    _document("stl", _STORAGE + "104.3", "M3D", "a 3D model"),
    _document("obj", _STORAGE + "104.4", "M3D", "a 3D model"),
    _document("registration", _STORAGE + "66.1", "REG", "a registration"),
    _document("deformable_registration", _STORAGE + "66.3", "REG", "a registration"),
    _document("fiducials", _STORAGE + "66.2", "FID", "a set of fiducials"),
    _document("value_mapping", _STORAGE + "67", "RWV", "a value mapping"),
    _document("raw_data", _STORAGE + "66", "MR", "raw data of a scanner"),
    _document("tractography", _STORAGE + "66.6", "MR", "a set of nerve tracts"),
    _document("surfaces", _STORAGE + "66.5", "SEG", "a set of surfaces"),
    _document("spectroscopy", _STORAGE + "4.2", "MR", "an MR spectrum"),
    _document("hanging_protocol", "1.2.840.10008.5.1.4.38.1", "", "a hanging protocol"),
    _document("colour_palette", "1.2.840.10008.5.1.4.39.1", "", "a colour palette"),
    _document("private", _PRIVATE, "MR", "a maker's own object without an image"),
    _document("unknown", "1.2.840.10008.9.9.9.9", "XX", "a DICOM object without an image"),
    hostile(
        "object_image_without_pixels",
        _without_pixels,
        "refused",
        words="the pixels are missing",
        series=0,
    ),
    hostile(
        "object_report_with_an_icon", _report_with_an_icon, "listed", words="a structured report"
    ),
    hostile(
        "object_directory_by_another_name",
        _directory_by_another_name,
        *("opened", "listed"),
        words="a DICOMDIR",
        series=1,
    ),
    _image_of("private_with_pixels", _PRIVATE, "OT"),
    _image_of("dose", _RT_DOSE, "RTDOSE", DoseGridScaling="0.001", DoseUnits="GY"),
    hostile("object_segmentation", _one_bit, "opened", series=1),
)
