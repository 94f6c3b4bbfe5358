"""What the header of a demo image says, as a title, sentences and facets that name no one."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from medsearch_desktop import cases

from . import wording

# DICOM PS3.3 C.7.3.1.1.1, in the words people search by.
_KINDS = {
    "CT": "Computed tomography (CT)",
    "MR": "Magnetic resonance imaging (MR, MRI)",
    "DX": "Radiograph (X-ray)",
    "CR": "Radiograph (X-ray)",
    "US": "Ultrasound",
    "NM": "Nuclear medicine scan (scintigraphy)",
    "RTIMAGE": "Radiotherapy portal image",
}
_SHORT = {
    "DX": "Radiograph",
    "CR": "Radiograph",
    "US": "Ultrasound",
    "NM": "Scintigraphy",
    "RTIMAGE": "Portal image",
}
# Image Type, value 3 (DICOM PS3.3 C.8.5.6.1.1 for ultrasound, C.8.3.1.1.1 and others).
_IMAGE_TYPES = {
    "SMALL PARTS": "Small parts examination.",
    "OBSTETRICAL": "Obstetric examination (pregnancy).",
    "CARDIOLOGY": "Cardiac examination (echocardiography).",
    "EPICARDIAL": "Epicardial examination of the heart (echocardiography).",
    "TEE": "Transoesophageal examination of the heart (echocardiography).",
    "ABDOM/RAD": "Abdominal examination.",
    "WHOLE BODY": "Whole body image.",
    "AXIAL": "Axial slice.",
    "PERFUSION": "Perfusion map.",
    "RCBF": "Regional cerebral blood flow.",
    "DIFFUSION": "Diffusion-weighted.",
    "MOSAIC": "All slices side by side in one picture (mosaic).",
    "PROJECTION IMAGE": "Projection through a volume.",
    "CSA MIP": "Maximum intensity projection (MIP).",
    "MPR": "Reformatted plane (MPR).",
    "T1": "T1-weighted.",
    "PORTAL": "Made with the treatment beam.",
}
# Scanning Sequence (DICOM PS3.3 C.8.3.1.1.2).
_SEQUENCES = {
    "SE": "Spin echo",
    "GR": "Gradient echo",
    "EP": "Echo planar",
    "IR": "Inversion recovery",
}
_SIDES = {"R": "right", "L": "left"}
_QUOTED = {
    "StudyDescription": "Study",
    "SeriesDescription": "Series",
    "ProtocolName": "Protocol",
}
# An age of 0 stands in files whose age was taken out.
_REMOVED_AGES = ("000Y", "000D", "000M")


@dataclass(frozen=True)
class Words:
    """What a case says of itself."""

    title: str
    text: str
    facets: cases.Facets
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Given:
    """What our table says of an image beside its header; `quotes` are keywords safe to quote."""

    title: str = ""
    modality: str = ""
    body_part: str = ""
    note: str = ""
    quotes: tuple[str, ...] = ()


def of_header(header: Dataset, given: Given) -> Words:
    """Return the words for a DICOM image. Names, ids, dates and institutions are never read."""
    age = _text(header, "PatientAge")
    facets, extra = wording.facets(
        {
            "modality": given.modality or _text(header, "Modality"),
            "body_part": given.body_part or _text(header, "BodyPartExamined"),
            "view": _text(header, "ViewPosition"),
            "sex": _text(header, "PatientSex"),
            "age": "" if age in _REMOVED_AGES else age,
        }
    )
    sentences = [_what(facets), *_types(header), *_technique(header)]
    quoted = [_quote(header, keyword) for keyword in given.quotes if _text(header, keyword)]
    sentences += [
        f"{_QUOTED[key]}: {said}." for key, said in zip(given.quotes, quoted, strict=True)
    ]
    sentences += [given.note] if given.note else []
    scanner = " ".join(_text(header, key) for key in ("Manufacturer", "ManufacturerModelName"))
    if scanner.strip():
        extra += (("scanner", scanner.strip()),)
    return Words(
        given.title or _title(facets, quoted), " ".join(dict.fromkeys(sentences)), facets, extra
    )


def of_table(given: Given) -> Words:
    """Return the words for an image whose file has no header that describes it."""
    facets, _ = wording.facets({"modality": given.modality, "body_part": given.body_part})
    return Words(given.title, f"{_what(facets)} {given.note}".strip(), facets)


def _what(facets: cases.Facets) -> str:
    what = _KINDS.get(facets.modality, facets.modality)
    if facets.body_part:
        what += f" of the {facets.body_part}"
    return f"{what}, {facets.view} view." if facets.view else f"{what}."


def _title(facets: cases.Facets, quoted: list[str]) -> str:
    what = _SHORT.get(facets.modality, facets.modality)
    if facets.body_part:
        what += f" of the {facets.body_part}"
    if facets.view:
        what += f", {facets.view}"
    said = next((q for q in quoted if q.casefold() not in what.casefold()), "")
    return f"{what}: {said}" if said else what


def _types(header: Dataset) -> list[str]:
    values = header.get("ImageType") or ()
    named = [_IMAGE_TYPES[str(v).strip()] for v in values if str(v).strip() in _IMAGE_TYPES]
    weights = f"{_text(header, 'AcquisitionContrast')} {_text(header, 'ProtocolName')}".upper()
    if "T1" in weights:
        named.append("T1-weighted.")
    if "TOF" in weights:
        named.append("Time-of-flight angiography (MRA) of the arteries.")
    side = _SIDES.get(_text(header, "Laterality"))
    return [*named, f"Side: {side}."] if side else named


def _technique(header: Dataset) -> list[str]:
    said = []
    sequence = _SEQUENCES.get(_text(header, "ScanningSequence"))
    times = [
        f"{name} {float(header[key].value):g} ms"
        for key, name in (("RepetitionTime", "TR"), ("EchoTime", "TE"))
        if _text(header, key)
    ]
    if sequence:
        said.append(", ".join([sequence, *times]) + ".")
    if _text(header, "MagneticFieldStrength"):
        said.append(f"{float(header.MagneticFieldStrength):.2g} tesla.")
    if _text(header, "SliceThickness"):
        said.append(f"Slice thickness {float(header.SliceThickness):.2g} mm.")
    if _text(header, "KVP"):
        said.append(f"Tube voltage {float(header.KVP):g} kV.")
    if _text(header, "ContrastBolusAgent"):
        said.append("With contrast agent.")
    if "FS" in (header.get("ScanOptions") or ()):
        said.append("With fat suppression.")
    return said


def _quote(header: Dataset, keyword: str) -> str:
    said = _text(header, keyword).replace("^", " ").replace("_", " ")
    said = said.replace("<", " (").replace(">", ")").strip()
    return said.capitalize() if said.isupper() and said.replace(" ", "").isalpha() else said


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).strip()
