"""Where each frame of a DICOM file lies, its rescale and its windows."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from medsearch_desktop.imaging import study

Triple = tuple[float, float, float]

# How far direction cosines may be from unit length and from a right angle:
# real headers with three decimals stay below it.
_COSINE_TOLERANCE = 0.02


@dataclass(frozen=True)
class Frame:
    """One image of a file; `position` and `orientation` are LPS, None when not known.

    `phase` names what may tell images at one place apart: image type, echo
    time, b-value, temporal position, acquisition, trigger time.
    """

    number: int
    position: Triple | None = None
    orientation: tuple[float, ...] | None = None
    spacing_mm: tuple[float, float] | None = None
    thickness_mm: float | None = None
    slope: float = 1.0
    intercept: float = 0.0
    windows: tuple[study.Window, ...] = ()
    phase: tuple[tuple[str, Any], ...] = ()
    laterality: str = ""


@functools.cache
def _tag(keyword: str) -> BaseTag:
    number = tag_for_keyword(keyword)
    if number is None:
        raise ValueError(f"{keyword} is no DICOM keyword")
    return Tag(number)


def _value(found: Dataset, keyword: str) -> Any:
    """Return the value of an element, None when absent (pydicom's own look-up is slower)."""
    tag = _tag(keyword)
    return found[tag].value if tag in found else None


def text(found: Dataset, keyword: str) -> str:
    """Return a value as one line for the screen, at most 200 characters, "" when absent."""
    try:
        value = _value(found, keyword)
    except Exception:  # noqa: BLE001 - converting a foreign value can raise anything
        return ""
    if value is None:
        return ""
    several = isinstance(value, list | tuple | MultiValue)
    words = " / ".join(str(part) for part in value) if several else str(value)
    return "".join(c if c.isprintable() else " " for c in words).strip()[:200]


def strings(found: Dataset, keyword: str) -> list[str]:
    """Return the values of a multi-valued text element, [] when absent."""
    try:
        value = _value(found, keyword)
        if value is None or value == "":
            return []
        parts = [value] if isinstance(value, str) else list(value)
    except Exception:  # noqa: BLE001 - converting a foreign value can raise anything
        return []
    return [str(part).strip() for part in parts]


def numbers(found: Dataset, keyword: str) -> list[float]:
    """Return the finite numbers of an element, [] when absent or when one is no number."""
    try:
        value = _value(found, keyword)
        if value is None or value == "":
            return []
        several = not isinstance(value, str | bytes) and hasattr(value, "__iter__")
        parts = [float(part) for part in (value if several else [value])]
    except Exception:  # noqa: BLE001 - converting a foreign value can raise anything
        return []
    return parts if all(math.isfinite(part) for part in parts) else []


def number(found: Dataset, keyword: str) -> float | None:
    """Return the first number of an element, or None."""
    parts = numbers(found, keyword)
    return parts[0] if parts else None


def frames(found: Dataset, count: int, marks: list[str]) -> tuple[Frame, ...]:
    """Return one Frame for each of `count` images; odd things are said in `marks`.

    Enhanced objects say it frame by frame (DICOM PS3.3 C.7.6.16), RT Dose by
    offsets of one plane (C.8.8.3.2), all others once for the whole file.
    """
    each = _items(found, "PerFrameFunctionalGroupsSequence")
    shared = _items(found, "SharedFunctionalGroupsSequence")
    if each or shared:
        common = shared[0] if shared else Dataset()
        if each and len(each) != count:
            marks.append(f"It has {count} frames and describes {len(each)} of them.")
        each = each[:count] + [Dataset()] * (count - len(each))
        return tuple(_enhanced(found, common, own, k) for k, own in enumerate(each))
    first = _classic(found)
    if count == 1:
        return (first,)
    offsets = numbers(found, "GridFrameOffsetVector")
    if len(offsets) == count and first.position and first.orientation:
        normal = np.cross(first.orientation[:3], first.orientation[3:])
        # Offsets are relative to the first plane unless the first one is not zero.
        start = np.array(first.position) - normal * offsets[0] * (offsets[0] != 0)
        planes = [_triple(start + normal * offset) for offset in offsets]
        return tuple(_moved(first, k, plane) for k, plane in enumerate(planes))
    return tuple(_moved(first, k, None) for k in range(count))


def _items(found: Dataset, keyword: str) -> list[Dataset]:
    try:
        value = _value(found, keyword)
        return [item for item in value or [] if isinstance(item, Dataset)]
    except Exception:  # noqa: BLE001 - a damaged sequence can raise anything
        return []


def _moved(frame: Frame, number: int, position: Triple | None) -> Frame:
    return Frame(
        number,
        position,
        frame.orientation if position else None,
        frame.spacing_mm,
        frame.thickness_mm,
        frame.slope,
        frame.intercept,
        frame.windows,
        frame.phase,
        frame.laterality,
    )


def _triple(values: Any) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])


def _classic(found: Dataset) -> Frame:
    spacing = None
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        spacing = spacing or _spacing(found, keyword)
    return Frame(
        0,
        _position(found),
        _orientation(found),
        spacing,
        number(found, "SliceThickness"),
        *_rescale(found),
        windows(found),
        _phase(found, found, found, found),
        text(found, "ImageLaterality") or text(found, "Laterality"),
    )


def _enhanced(found: Dataset, common: Dataset, own: Dataset, index: int) -> Frame:
    def macro(keyword: str) -> Dataset:
        items = _items(own, keyword) or _items(common, keyword)
        return items[0] if items else Dataset()

    measures = macro("PixelMeasuresSequence")
    content = macro("FrameContentSequence")
    values = macro("PixelValueTransformationSequence")
    kinds = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
    kind = next((macro(k) for k in kinds if len(macro(k))), Dataset())
    echo, diffusion = macro("MREchoSequence"), macro("MRDiffusionSequence")
    return Frame(
        index,
        _position(macro("PlanePositionSequence")),
        _orientation(macro("PlaneOrientationSequence")),
        _spacing(measures, "PixelSpacing") or _spacing(found, "PixelSpacing"),
        number(measures, "SliceThickness"),
        *_rescale(values if len(values) else found),
        windows(macro("FrameVOILUTSequence")) or windows(found),
        _phase(kind, echo, diffusion, content),
        text(macro("FrameAnatomySequence"), "FrameLaterality"),
    )


def _phase(
    kind: Dataset, echo: Dataset, diffusion: Dataset, content: Dataset
) -> tuple[tuple[str, Any], ...]:
    frame_type = strings(kind, "FrameType") or strings(kind, "ImageType")
    stack = text(content, "StackID")
    temporal = number(content, "TemporalPositionIndex")
    if temporal is None:
        temporal = number(content, "TemporalPositionIdentifier")
    acquisition = number(content, "AcquisitionNumber")
    if acquisition is None:
        acquisition = number(content, "FrameAcquisitionNumber")
    return (
        ("image type", (stack, *(part.upper() for part in frame_type))),
        ("echo time", number(echo, "EffectiveEchoTime") or number(echo, "EchoTime")),
        ("b-value", number(diffusion, "DiffusionBValue")),
        ("temporal position", temporal),
        ("acquisition", acquisition),
        ("trigger time", number(content, "TriggerTime")),
    )


def _position(found: Dataset) -> Triple | None:
    values = numbers(found, "ImagePositionPatient")
    return _triple(values) if len(values) == 3 else None


def _orientation(found: Dataset) -> tuple[float, ...] | None:
    """Return the six cosines at unit length, or None where they are no right angle."""
    values = numbers(found, "ImageOrientationPatient")
    if len(values) != 6:
        return None
    row, column = np.array(values[:3]), np.array(values[3:])
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if any(abs(length - 1) > _COSINE_TOLERANCE for length in lengths):
        return None
    row, column = row / lengths[0], column / lengths[1]
    if abs(float(row @ column)) > _COSINE_TOLERANCE:
        return None
    return tuple(float(v) for v in (*row, *column))


def _spacing(found: Dataset, keyword: str) -> tuple[float, float] | None:
    values = numbers(found, keyword)
    if len(values) != 2 or min(values) <= 0:
        return None
    return values[0], values[1]


def _rescale(found: Dataset) -> tuple[float, float]:
    slope, intercept = number(found, "RescaleSlope"), number(found, "RescaleIntercept")
    if slope is None:
        slope = number(found, "DoseGridScaling")
    # A slope of 0 would make every pixel one value: no device means that.
    return slope or 1.0, intercept or 0.0


def windows(found: Dataset) -> tuple[study.Window, ...]:
    """Return the VOI windows of a header or functional group, in its order."""
    centres, widths = numbers(found, "WindowCenter"), numbers(found, "WindowWidth")
    names = strings(found, "WindowCenterWidthExplanation")
    function = text(found, "VOILUTFunction").upper() or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        function = "LINEAR"
    names += [""] * len(centres)
    smallest = 1.0 if function == "LINEAR" else np.nextafter(0, 1)
    found_windows = (
        study.Window(centre, width, name, function)
        for centre, width, name in zip(centres, widths, names, strict=False)
        if width >= smallest
    )
    return tuple(dict.fromkeys(found_windows))


def modality_table(found: Dataset) -> study.ModalityTable | None:
    """Return the Modality LUT of a header (DICOM PS3.3 C.11.1.1.1), or None."""
    items = _items(found, "ModalityLUTSequence")
    if not items:
        return None
    shape, data = numbers(items[0], "LUTDescriptor"), items[0].get("LUTData")
    if len(shape) != 3 or data is None:
        return None
    count, first = int(shape[0]) or 65536, int(shape[1])
    if isinstance(data, bytes):
        little = getattr(items[0], "original_encoding", (None, True))[1] is not False
        wide = len(data) >= 2 * count
        values = np.frombuffer(data, ("<u2" if little else ">u2") if wide else "u1")
    else:
        values = np.atleast_1d(np.asarray(data, dtype=np.int64))
    if len(values) < count:
        return None
    return study.ModalityTable(first, tuple(int(v) for v in values[:count]))
