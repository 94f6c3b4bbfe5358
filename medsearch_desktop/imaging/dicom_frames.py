"""Where each frame of a DICOM file lies, its rescale and its windows."""

from __future__ import annotations

import dataclasses
import functools
import itertools
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

# Beyond these numbers values leave the range of single precision (as in nifti).
_LARGEST_SCALE = 1e18
NO_SLOPE = "Its rescale is 0, too large or no number: stored values are shown, without a unit."
NO_SPACING = "Its pixel spacing is no length: nothing can be measured."
NO_POSITION = "Its position is not made of three numbers and is not used."
NO_DIRECTION = "Its orientation is not made of two directions at a right angle and is not used."
# A pixel outside these lengths in mm is no pixel of any device, from microscope to radiograph.
_LEAST_SPACING_MM, _MOST_SPACING_MM = 1e-5, 1e3
# A position farther from the scanner's centre than this, in mm, is no place.
_FARTHEST_MM = 1e6

# How far direction cosines may be from unit length and from a right angle:
# real headers with three decimals stay below it.
_COSINE_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
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


@functools.lru_cache(maxsize=2048)
def shared(value: Any) -> Any:
    """Return an equal value that was given before: thousands of slices say the same things."""
    return value


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
    each = items(found, "PerFrameFunctionalGroupsSequence")
    groups = items(found, "SharedFunctionalGroupsSequence")
    if each or groups:
        common = groups[0] if groups else Dataset()
        if each and len(each) != count:
            marks.append(f"It has {count} frames and describes {len(each)} of them.")
        each = each[:count] + [Dataset()] * (count - len(each))
        return tuple(_enhanced(found, common, own, k, marks) for k, own in enumerate(each))
    first = _classic(found, marks)
    if count == 1:
        return (first,)
    offsets = numbers(found, "GridFrameOffsetVector")
    if len(offsets) == count and first.position and first.orientation:
        normal = np.cross(first.orientation[:3], first.orientation[3:])
        # Offsets are relative to the first plane unless the first one is not zero.
        start = np.array(first.position) - normal * offsets[0] * (offsets[0] != 0)
        planes = [_triple(start + normal * offset) for offset in offsets]
        return tuple(moved(first, k, plane) for k, plane in enumerate(planes))
    return tuple(moved(first, k, None) for k in range(count))


def items(found: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, [] when it is absent or damaged."""
    try:
        value = _value(found, keyword)
        return [item for item in value or [] if isinstance(item, Dataset)]
    except Exception:  # noqa: BLE001 - a damaged sequence can raise anything
        return []


def moved(frame: Frame, number: int, position: Triple | None) -> Frame:
    """Return the frame under another number and at another place; without one, nowhere."""
    orientation = frame.orientation if position else None
    return dataclasses.replace(frame, number=number, position=position, orientation=orientation)


def _triple(values: Any) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])


def _classic(found: Dataset, marks: list[str]) -> Frame:
    spacing = None
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if _is_given(found, keyword):
            spacing = _spacing(found, keyword, marks)
            break
    return Frame(
        0,
        _position(found, marks),
        _orientation(found, marks),
        spacing,
        _thickness(found),
        *_rescale(found, marks),
        windows(found),
        _phase(found, found, found, found),
        text(found, "ImageLaterality") or text(found, "Laterality"),
    )


def _enhanced(found: Dataset, common: Dataset, own: Dataset, index: int, marks: list[str]) -> Frame:
    def macro(keyword: str) -> Dataset:
        chosen = items(own, keyword) or items(common, keyword)
        return chosen[0] if chosen else Dataset()

    measures = macro("PixelMeasuresSequence")
    content = macro("FrameContentSequence")
    values = macro("PixelValueTransformationSequence")
    kinds = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
    kind = next((macro(k) for k in kinds if len(macro(k))), Dataset())
    echo, diffusion = macro("MREchoSequence"), macro("MRDiffusionSequence")
    return Frame(
        index,
        _position(macro("PlanePositionSequence"), marks),
        _orientation(macro("PlaneOrientationSequence"), marks),
        _spacing(measures, "PixelSpacing", marks) or _spacing(found, "PixelSpacing", marks),
        _thickness(measures),
        *_rescale(values if len(values) else found, marks),
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
    phase = (
        ("image type", (stack, *(part.upper() for part in frame_type))),
        ("echo time", number(echo, "EffectiveEchoTime") or number(echo, "EchoTime")),
        ("b-value", number(diffusion, "DiffusionBValue")),
        ("temporal position", temporal),
        ("acquisition", acquisition),
        ("trigger time", number(content, "TriggerTime")),
    )
    return shared(phase)  # type: ignore[no-any-return]


def _say(sentence: str, marks: list[str]) -> None:
    if sentence not in marks:
        marks.append(sentence)


def _is_given(found: Dataset, keyword: str) -> bool:
    """Return True where an element is there with a value, whatever it is."""
    try:
        value = _value(found, keyword)
    except Exception:  # noqa: BLE001 - converting a foreign value can raise anything
        return True
    return value is not None and value != "" and value != []


def _position(found: Dataset, marks: list[str]) -> Triple | None:
    values = numbers(found, "ImagePositionPatient")
    if len(values) == 3 and max(map(abs, values)) <= _FARTHEST_MM:
        return _triple(values)
    if _is_given(found, "ImagePositionPatient"):
        _say(NO_POSITION, marks)
    return None


def _orientation(found: Dataset, marks: list[str]) -> tuple[float, ...] | None:
    """Return the six cosines at unit length, or None where they are no right angle."""
    values = numbers(found, "ImageOrientationPatient")
    cosines = _cosines(values) if len(values) == 6 else None
    if cosines is None and _is_given(found, "ImageOrientationPatient"):
        _say(NO_DIRECTION, marks)
    return cosines


def _cosines(values: list[float]) -> tuple[float, ...] | None:
    row, column = np.array(values[:3]), np.array(values[3:])
    with np.errstate(over="ignore"):
        lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if any(not abs(length - 1) <= _COSINE_TOLERANCE for length in lengths):
        return None
    row, column = row / lengths[0], column / lengths[1]
    if abs(float(row @ column)) > _COSINE_TOLERANCE:
        return None
    return shared(tuple(float(v) for v in (*row, *column)))  # type: ignore[no-any-return]


def _spacing(found: Dataset, keyword: str, marks: list[str]) -> tuple[float, float] | None:
    values = numbers(found, keyword)
    if len(values) == 2 and all(_LEAST_SPACING_MM <= v <= _MOST_SPACING_MM for v in values):
        return shared((values[0], values[1]))  # type: ignore[no-any-return]
    if _is_given(found, keyword):
        _say(NO_SPACING, marks)
    return None


def _thickness(found: Dataset) -> float | None:
    value = number(found, "SliceThickness")
    return value if value is not None and 0 < value <= _MOST_SPACING_MM else None


def _rescale(found: Dataset, marks: list[str]) -> tuple[float, float]:
    """Return slope and intercept; stored values as they are where these are no numbers."""
    keyword = "RescaleSlope" if _is_given(found, "RescaleSlope") else "DoseGridScaling"
    slope, intercept = number(found, keyword), number(found, "RescaleIntercept")
    # A slope of 0 would make every pixel one value: no device means that.
    lost_slope = (slope is None and _is_given(found, keyword)) or slope == 0
    too_large = max(abs(slope or 0.0), abs(intercept or 0.0)) >= _LARGEST_SCALE
    if lost_slope or too_large or (intercept is None and _is_given(found, "RescaleIntercept")):
        _say(NO_SLOPE, marks)
        return 1.0, 0.0
    return 1.0 if slope is None else slope, intercept or 0.0


def rescale_types(found: Dataset) -> set[str]:
    """Return what the rescales of a header or of its frames give ("" unnamed); none: empty."""
    shared_groups = items(found, "SharedFunctionalGroupsSequence")
    groups = [*shared_groups, *items(found, "PerFrameFunctionalGroupsSequence")]
    each = [
        *itertools.chain.from_iterable(items(g, "PixelValueTransformationSequence") for g in groups)
    ]
    keywords = ("RescaleSlope", "RescaleIntercept")
    types = {
        text(one, "RescaleType").upper()
        for one in (found, *each)
        if any(_is_given(one, keyword) for keyword in keywords)
    }
    return types | {
        text(table, "ModalityLUTType").upper() for table in items(found, "ModalityLUTSequence")
    }


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
    return shared(tuple(dict.fromkeys(found_windows)))  # type: ignore[no-any-return]


def modality_table(found: Dataset) -> study.ModalityTable | None:
    """Return the Modality LUT of a header (DICOM PS3.3 C.11.1.1.1), or None."""
    tables = items(found, "ModalityLUTSequence")
    if not tables:
        return None
    shape, data = numbers(tables[0], "LUTDescriptor"), tables[0].get("LUTData")
    if len(shape) != 3 or data is None:
        return None
    count, first = int(shape[0]) or 65536, int(shape[1])
    if isinstance(data, bytes):
        little = getattr(tables[0], "original_encoding", (None, True))[1] is not False
        wide = len(data) >= 2 * count
        values = np.frombuffer(data, ("<u2" if little else ">u2") if wide else "u1")
    else:
        values = np.atleast_1d(np.asarray(data, dtype=np.int64))
    if len(values) < count:
        return None
    return study.ModalityTable(first, tuple(int(v) for v in values[:count]))
