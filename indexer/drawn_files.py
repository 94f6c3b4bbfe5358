"""Drawn phantoms on disk: small DICOM series that name no one and say what they are."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
from pydicom import uid
from pydicom.dataset import FileDataset, FileMetaDataset

from medsearch_desktop import cases

from . import drawn

# CT values are stored with this added, as scanners do (unsigned 16 bits).
_OFFSET = 1024
_ROOT = uuid.uuid5(uuid.NAMESPACE_URL, "medsearch-desktop drawn phantoms")


def write(drawing: drawn.Drawing, folder: Path) -> tuple[cases.ImageRef, ...]:
    """Write one DICOM file a plane into `folder` and return all planes, lowest first.

    The same drawing gives the same bytes. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    refs = []
    for plane in range(drawing.values.shape[0]):
        path = folder / f"{plane + 1:02d}.dcm"
        found = _dataset(drawing, plane)
        found.save_as(path, enforce_file_format=True)
        refs.append(cases.ImageRef(str(path), 0, str(found.SOPInstanceUID)))
    return tuple(refs)


def stable_uid(*words: object) -> str:
    """Return the same UID for the same words (DICOM PS3.5 B.2: 2.25 and a UUID)."""
    return f"2.25.{uuid.uuid5(_ROOT, '/'.join(map(str, words))).int}"


def _dataset(drawing: drawn.Drawing, plane: int) -> FileDataset:
    is_ct = drawing.modality == "CT"
    kind = uid.CTImageStorage if is_ct else uid.DigitalXRayImageStorageForPresentation
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = stable_uid(drawing.key, "plane", plane)
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = stable_uid("implementation")
    found = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID = kind
    found.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    found.StudyInstanceUID = stable_uid(drawing.key, "study")
    found.SeriesInstanceUID = stable_uid(drawing.key, "series")
    found.FrameOfReferenceUID = stable_uid(drawing.key, "frame of reference")
    found.ImageType = ["DERIVED", "SECONDARY", "AXIAL"] if is_ct else ["DERIVED", "SECONDARY", ""]
    for keyword in ("PatientName", "StudyDate", "StudyTime", "AccessionNumber", "PatientSex"):
        setattr(found, keyword, "")
    found.PatientID = f"drawn-{drawing.key}"
    found.Modality = drawing.modality
    found.Manufacturer = "drawn by a program"
    found.StudyDescription = found.SeriesDescription = drawing.title[:64]
    found.BodyPartExamined = drawing.body_part.upper()
    found.SeriesNumber = 1
    found.InstanceNumber = plane + 1
    _add_geometry(found, drawing, plane)
    _add_pixels(found, drawing, plane)
    return found


def _add_geometry(found: FileDataset, drawing: drawn.Drawing, plane: int) -> None:
    step, row, column = drawing.spacing_mm
    rows, columns = drawing.values.shape[1:]
    found.PixelSpacing = [row, column]
    if drawing.modality != "CT":
        found.ImagerPixelSpacing = [row, column]
        found.ViewPosition = drawing.view
        # Rows run to the patient's left, columns to the feet.
        found.PatientOrientation = ["L", "F"]
        found.BurnedInAnnotation = "NO"
        return
    corner = [-(columns - 1) / 2 * column, -(rows - 1) / 2 * row, drawing.lowest_mm + plane * step]
    found.ImagePositionPatient = corner
    found.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    found.PatientPosition = "HFS"
    found.SliceThickness = step


def _add_pixels(found: FileDataset, drawing: drawn.Drawing, plane: int) -> None:
    is_ct = drawing.modality == "CT"
    add_grey(found, drawing.values[plane].astype(np.int32) + (_OFFSET if is_ct else 0))
    found.RescaleSlope = 1
    found.RescaleIntercept = -_OFFSET if is_ct else 0
    found.RescaleType = "HU" if is_ct else "US"
    found.WindowCenter, found.WindowWidth = drawing.window


def add_grey(found: FileDataset, stored: np.ndarray) -> None:
    """Add the pixels of one grey image: (rows, columns) values of 0 to 65535."""
    found.SamplesPerPixel = 1
    found.PhotometricInterpretation = "MONOCHROME2"
    found.Rows, found.Columns = stored.shape
    found.BitsAllocated = found.BitsStored = 16
    found.HighBit = 15
    found.PixelRepresentation = 0
    found.PixelData = stored.astype("<u2").tobytes()
