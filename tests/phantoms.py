"""Writers of DICOM, NIfTI and picture phantoms whose every voxel follows a formula of its place."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pydicom.encaps
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

Formula = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
US_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def ramp(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """HU that differ along each axis (LPS mm), so that a swapped or turned axis shows."""
    return 40 + 1.0 * x + 2.0 * y + 5.0 * z


def body(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """HU of a round body of 40 mm radius with a bright ball on the patient's left."""
    inside = x**2 + y**2 < 40.0**2
    ball = (x - 18) ** 2 + y**2 + z**2 < 10.0**2
    return np.where(ball, 800.0, np.where(inside, 40.0, -1000.0))


def uid(*words: object) -> str:
    """A UID that depends on nothing but `words`."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).hexdigest()
    return f"2.25.{int(digest[:30], 16)}"


def plane_mm(
    position: Sequence[float],
    orientation: Sequence[float],
    spacing: Sequence[float],
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """LPS mm (x, y, z) of every pixel of one slice, by DICOM PS3.3 equation C.7.6.2.1-1.

    `spacing` is (row step, column step) and `size` is (rows, columns).
    """
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    i, j = np.mgrid[: size[0], : size[1]].astype(float)
    place = (
        np.asarray(position, float)
        + j[..., None] * spacing[1] * row
        + i[..., None] * spacing[0] * column
    )
    return place[..., 0], place[..., 1], place[..., 2]


def dataset(sop_class: str, instance: str, syntax: str = ExplicitVRLittleEndian) -> FileDataset:
    """An empty DICOM object of this class, ready for `save`."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = syntax
    found = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID = sop_class, instance
    return found


def set_pixels(found: Dataset, array: np.ndarray, *, stored: int | None = None) -> None:
    """Put (rows, columns), (rows, columns, 3), or the same with frames first, into a dataset."""
    colour = array.ndim >= 3 and array.shape[-1] == 3
    frames = array.shape[0] if array.ndim == (4 if colour else 3) else None
    found.Rows, found.Columns = array.shape[-3:-1] if colour else array.shape[-2:]
    found.SamplesPerPixel = 3 if colour else 1
    found.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        found.PlanarConfiguration = 0
    if frames is not None:
        found.NumberOfFrames = frames
    found.BitsAllocated = array.dtype.itemsize * 8
    found.BitsStored = stored or found.BitsAllocated
    found.HighBit = found.BitsStored - 1
    found.PixelRepresentation = int(array.dtype.kind == "i")
    raw = np.ascontiguousarray(array).tobytes()
    found.PixelData = raw + b"\0" * (len(raw) % 2)
    found["PixelData"].VR = "OW" if found.BitsAllocated > 8 else "OB"


def save(found: Dataset, path: Path) -> Path:
    """Write a dataset made by `dataset` and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save_as(path, enforce_file_format=True)
    return path


def write_ct_series(
    folder: Path,
    slices: int = 12,
    size: tuple[int, int] = (64, 64),
    *,
    spacing_mm: tuple[float, float] = (1.5, 1.25),
    step_mm: float = 2.5,
    orientation: Sequence[float] = AXIAL,
    positions: Sequence[Sequence[float]] | None = None,
    formula: Formula = ramp,
    slope: float = 1.0,
    intercept: float = -1024.0,
    modality: str = "CT",
    name: str = "phantom",
    skip: Sequence[int] = (),
    syntax: str = ExplicitVRLittleEndian,
    change: Callable[[Dataset, int], None] | None = None,
) -> list[Path]:
    """Write a series of single slices and return their paths in geometric order.

    Slices are `step_mm` apart along the normal and centred on the origin;
    `positions` (LPS mm of each first pixel) replaces that. Stored values are
    uint16, `(formula(x, y, z) - intercept) / slope` rounded. File names and
    instance numbers run against the geometric order. `skip` leaves slices
    out; `change(dataset, k)` may alter each slice before it is written.
    """
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    if positions is None:
        corner = -(row * spacing_mm[1] * (size[1] - 1) + column * spacing_mm[0] * (size[0] - 1)) / 2
        positions = [corner + normal * step_mm * (k - (slices - 1) / 2) for k in range(slices)]
    paths = []
    for k, position in enumerate(positions):
        if k in skip:
            continue
        sop_class = CT_IMAGE if modality == "CT" else MR_IMAGE
        found = dataset(sop_class, uid(name, "slice", k), syntax)
        found.StudyInstanceUID, found.SeriesInstanceUID = uid(name, "study"), uid(name, "series")
        found.FrameOfReferenceUID = uid(name, "frame of reference")
        found.PatientName, found.PatientID, found.PatientSex = "Phantom^Ramp", "phantom-1", "O"
        found.StudyDate, found.StudyDescription = "20200102", "Phantom study"
        found.SeriesDescription, found.SeriesNumber = "Phantom series", 3
        found.Modality, found.InstanceNumber = modality, len(positions) - k
        found.BodyPartExamined, found.SliceThickness = "PHANTOM", f"{abs(step_mm):.6g}"
        found.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        found.ImagePositionPatient = [f"{v:.8g}" for v in position]
        found.ImageOrientationPatient = [f"{v:.10g}" for v in orientation]
        found.PixelSpacing = [f"{v:.8g}" for v in spacing_mm]
        found.RescaleSlope, found.RescaleIntercept = f"{slope:.8g}", f"{intercept:.8g}"
        found.WindowCenter, found.WindowWidth = ["40", "-600"], ["400", "1500"]
        found.WindowCenterWidthExplanation = ["SOFT", "LUNG"]
        values = formula(*plane_mm(position, orientation, spacing_mm, size))
        stored = np.clip(np.round((values - intercept) / slope), 0, 65535).astype(np.uint16)
        set_pixels(found, stored)
        if change is not None:
            change(found, k)
        paths.append(save(found, folder / f"IM{len(positions) - k:04d}.dcm"))
    return paths


def write_dicom_image(path: Path, array: np.ndarray, **fields: Any) -> Path:
    """Write one secondary capture of `array` (see `set_pixels`); `fields` are DICOM keywords."""
    found = dataset(SECONDARY_CAPTURE, uid(path.name), fields.pop("syntax", ExplicitVRLittleEndian))
    found.StudyInstanceUID, found.SeriesInstanceUID = uid(path.name, "st"), uid(path.name, "se")
    found.Modality, found.PatientName, found.PatientID = "OT", "Phantom^Capture", "phantom-2"
    set_pixels(found, array, stored=fields.pop("stored", None))
    for keyword, value in fields.items():
        setattr(found, keyword, value)
    return save(found, path)


def write_dicom_document(path: Path, sop_class: str, modality: str) -> Path:
    """Write a DICOM object that holds no image (report, PDF, structure set ...)."""
    found = dataset(sop_class, uid(path.name))
    found.StudyInstanceUID, found.SeriesInstanceUID = uid(path.name, "st"), uid(path.name, "se")
    found.Modality, found.PatientName, found.PatientID = modality, "Phantom^Paper", "phantom-3"
    return save(found, path)


def write_dicomdir(path: Path, names: Sequence[Sequence[str] | str]) -> Path:
    """Write a DICOMDIR that lists files by name, each a list of folders and the file's name."""
    found = dataset("1.2.840.10008.1.3.10", uid(path))
    records = []
    for name in names:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.ReferencedFileID = name if isinstance(name, str) else list(name)
        records.append(record)
    found.DirectoryRecordSequence = records
    return save(found, path)


def encapsulate(found: Dataset, frames: Sequence[bytes], syntax: str) -> None:
    """Replace the pixels of a dataset by compressed frames of a transfer syntax."""
    found.file_meta.TransferSyntaxUID = syntax
    found.PixelData = pydicom.encaps.encapsulate(list(frames))
    found["PixelData"].VR = "OB"
    found["PixelData"].is_undefined_length = True


def write_nifti(
    path: Path,
    shape: Sequence[int] = (20, 24, 10),
    *,
    dtype: str = "int16",
    affine: np.ndarray | None = None,
    formula: Formula = ramp,
    slope: float = 1.0,
    intercept: float = 0.0,
) -> Path:
    """Write a NIfTI (.nii, .nii.gz, or .hdr with .img) whose voxels follow `formula` of LPS mm.

    `affine` is NIfTI's own, index (i, j, k, 1) -> RAS mm; the default is 2 mm
    isotropic, centred. A fourth axis repeats the volume plus 100 per step.
    """
    if affine is None:
        affine = np.diag([2.0, 2.0, 2.0, 1.0])
        affine[:3, 3] = -(np.array(shape[:3]) - 1.0)
    index = np.indices(tuple(shape[:3])).reshape(3, -1)
    ras = affine[:3, :3] @ index + affine[:3, 3:]
    values = formula(-ras[0], -ras[1], ras[2]).reshape(tuple(shape[:3]))
    if len(shape) > 3:
        values = values[..., None] + 100.0 * np.arange(shape[3])
    stored = (values - intercept) / slope
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        stored = np.clip(np.round(stored), limits.min, limits.max)
    paired = path.suffix in (".hdr", ".img")
    kind = nibabel.Nifti1Pair if paired else nibabel.Nifti1Image
    image = kind(stored.astype(dtype), affine)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(slope, intercept)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)
    return path


def picture(size: tuple[int, int] = (48, 64), *, colour: bool = True) -> np.ndarray:
    """uint8 (rows, columns[, 3]): red grows to the right, green downwards, blue is 90."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    right = (rows * 0 + columns * 255 // max(size[1] - 1, 1)).astype(np.uint8)
    down = (rows * 255 // max(size[0] - 1, 1)).astype(np.uint8)
    if not colour:
        return right
    return np.stack([right, down, np.full_like(right, 90)], axis=-1)


def write_picture(
    path: Path, array: np.ndarray | None = None, *, orientation: int | None = None, **options: Any
) -> Path:
    """Write a PNG, JPEG or TIFF by the suffix of `path`; `orientation` is the EXIF one."""
    image = Image.fromarray(picture() if array is None else array)
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def zip_folder(folder: Path, archive: Path) -> Path:
    """Pack the files of a folder into a ZIP and return its path."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                packed.write(path, path.relative_to(folder).as_posix())
    return archive


def read(path: Path) -> pydicom.Dataset:
    """The dataset of a phantom, as pydicom reads it."""
    return pydicom.dcmread(path)
