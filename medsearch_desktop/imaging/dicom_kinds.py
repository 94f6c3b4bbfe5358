"""DICOM objects that hold no image: what each is, in a few words for the report."""

from __future__ import annotations

from pydicom import uid

DIRECTORY = "a DICOMDIR"
# By words in the name of the SOP class (DICOM PS3.4 B.5), the first that fits.
_NAMED = (
    ("Media Storage Directory", DIRECTORY),
    ("Encapsulated PDF", "a PDF document"),
    ("Encapsulated CDA", "a clinical document"),
    ("Encapsulated STL", "a 3D model"),
    ("Encapsulated OBJ", "a 3D model"),
    ("Encapsulated MTL", "a 3D model"),
    ("Key Object Selection", "a key object selection"),
    ("Presentation State", "a presentation state"),
    ("Radiopharmaceutical Radiation Dose", "a structured report"),
    ("Dose SR", "a structured report"),
    (" SR", "a structured report"),
    ("CAD", "a structured report"),
    ("Radiation Dose", "a structured report"),
    ("Procedure Log", "a structured report"),
    ("RT Structure Set", "a set of radiotherapy structures"),
    ("Treatment Record", "a radiotherapy record"),
    ("Radiation Record", "a radiotherapy record"),
    ("RT Plan", "a radiotherapy plan"),
    ("RT Ion Plan", "a radiotherapy plan"),
    ("RT Brachy Application Setup", "a radiotherapy plan"),
    ("RT Radiation Set", "a radiotherapy plan"),
    ("RT Physician Intent", "a radiotherapy plan"),
    ("RT Beams Delivery", "a radiotherapy plan"),
    ("Radiation Storage", "a radiotherapy plan"),
    ("Audio Waveform", "a sound"),
    ("Waveform", "a waveform"),
    ("Electromyogram", "a waveform"),
    ("Electrooculogram", "a waveform"),
    ("Electroencephalogram", "a waveform"),
    ("Polysomnography", "a waveform"),
    ("Registration", "a registration"),
    ("Fiducials", "a set of fiducials"),
    ("Real World Value Mapping", "a value mapping"),
    ("Raw Data", "raw data of a scanner"),
    ("Tractography", "a set of nerve tracts"),
    ("Surface Segmentation", "a set of surfaces"),
    ("Surface Scan", "a set of surfaces"),
    ("Spectroscopy", "an MR spectrum"),
    ("Hanging Protocol", "a hanging protocol"),
    ("Color Palette", "a colour palette"),
    ("Stereometric", "a stereo pairing of other images"),
    ("Measurements", "a set of eye measurements"),
    ("Lensometry", "a set of eye measurements"),
    ("Autorefraction", "a set of eye measurements"),
    ("Keratometry", "a set of eye measurements"),
    ("Refraction", "a set of eye measurements"),
    ("Visual Acuity", "a set of eye measurements"),
    ("Intraocular Lens", "a set of eye measurements"),
    ("Implant", "an implant template"),
    ("Content Assessment", "a structured report"),
    ("Microscopy Bulk Simple Annotations", "a set of annotations"),
    ("RT ", "a radiotherapy record"),
    ("Spectacle Prescription", "a set of eye measurements"),
    ("Macular Grid", "a set of eye measurements"),
    ("Protocol", "a scan protocol"),
    ("Inventory", "an inventory of other files"),
)
# By modality, where the class is not known or says nothing.
_MODALITIES = {
    "SR": "a structured report",
    "DOC": "a document",
    "KO": "a key object selection",
    "PR": "a presentation state",
    "RTSTRUCT": "a set of radiotherapy structures",
    "RTPLAN": "a radiotherapy plan",
    "RTRECORD": "a radiotherapy record",
    "ECG": "a waveform",
    "HD": "a waveform",
    "EPS": "a waveform",
    "EEG": "a waveform",
    "RESP": "a waveform",
    "AU": "a sound",
    "REG": "a registration",
    "FID": "a set of fiducials",
    "RWV": "a value mapping",
    "PLAN": "a plan",
    "HC": "a print on film",
}
# Classes that hold pixels and do not say "Image" in their names.
_IMAGES = (
    "Segmentation Storage",
    "RT Dose",
    "Parametric Map",
    "US Volume",
    "Thickness Map",
    "Topography",
)
UNKNOWN = "a DICOM object without an image"
_REGISTERED = "1.2.840.10008."


def without_image(sop_class: str, modality: str) -> str:
    """Return what an object without pixels is, or "" where an image was to be expected."""
    name = class_name(sop_class)
    is_image = "Image Storage" in name or any(words in name for words in _IMAGES)
    is_image = is_image and not name.startswith("Surface")
    for words, what in _NAMED:
        if words in name and not is_image:
            return what
    if modality in _MODALITIES:
        return _MODALITIES[modality]
    if is_image:
        return ""
    if not sop_class.startswith(_REGISTERED) and sop_class:
        return "a maker's own object without an image"
    return UNKNOWN


def class_name(sop_class: str) -> str:
    """Return the registered name of a SOP class, "" where it has none."""
    known = uid.UID(sop_class)
    return known.name if known.name != sop_class else ""
