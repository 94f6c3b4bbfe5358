"""Frames of one DICOM series -> Series whose slices stand in geometric order, with what is odd."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medsearch_desktop import cases
from medsearch_desktop.imaging import dicom_frames, dicom_headers, dicom_pixels, files, study

# Positions are written with 1 to 6 decimals: steps that differ by less than
# this share, or by less than this length, are even.
_EVEN_SHARE = 0.01
_EVEN_MM = 0.02
# Slices nearer to each other than this are images of one place.
_SAME_PLACE_MM = 0.005
# Cosines that differ by less than this belong to one direction (0.3 degrees).
_SAME_DIRECTION = 0.005
# Fewer slices than this do not show a body part in another plane.
_FEWEST_SLICES = 4
# Images under one identifier are compared with so many others before them.
_MOST_COMPARED = 8
# Images of a cross-section are expected to say where they lie; radiographs are not.
_CROSS_SECTIONS = {"CT", "MR", "PT"}
# Parts that differ in these are different pictures, not moments of one.
_APART = {"image type", "echo time"}


@dataclass(frozen=True)
class Image:
    """One frame together with the header of its file."""

    header: dicom_headers.Header
    frame: dicom_frames.Frame

    @property
    def ref(self) -> cases.ImageRef:
        """Name this image without its pixels."""
        return cases.ImageRef(self.header.path, self.frame.number, self.header.sop_uid)


@dataclass(frozen=True)
class _Part:
    images: list[Image]
    marks: tuple[str, ...] = ()
    timepoints: int = 1


def series_of(headers: Sequence[dicom_headers.Header]) -> list[study.Series]:
    """Return the stacks of one Series Instance UID, the largest first.

    Copies are left out; images that differ in size, kind or orientation do not
    form one stack and are split; images at one place are told apart by image
    type, echo, b-value, time or acquisition.
    """
    kept, copied = without_copies(headers)
    copies = len(copied)
    images = [Image(header, frame) for header in kept for frame in header.frames]
    images.sort(key=lambda i: (i.header.instance, files.natural(i.header.path), i.frame.number))
    parts = [
        part
        for alike in _split(images, _shape)
        for aligned in _by_direction(alike)
        for part in _by_phase(aligned)
    ]
    parts.sort(key=lambda part: -len(part.images))
    shared = []
    if copies:
        what = "One copy of an image" if copies == 1 else f"{copies} copies of images"
        shared.append(f"{what} already here: left out.")
    uids = [header.sop_uid for header in kept if header.sop_uid]
    if len(set(uids)) < len(uids):
        shared.append(
            "Different images carry one identifier (SOP Instance UID), which is not allowed: "
            "all are shown."
        )
    if len(parts) > 1:
        shared.append(
            f"The series was split into {len(parts)} stacks: its images differ in size, kind, "
            "orientation or moment."
        )
    return [_series(part, shared, k) for k, part in enumerate(parts)]


def single(header: dicom_headers.Header, frame: dicom_frames.Frame) -> study.Series:
    """Return the Series of one frame by itself."""
    return _series(_Part([Image(header, frame)]), (), 0)


def without_copies(
    headers: Sequence[dicom_headers.Header],
) -> tuple[list[dicom_headers.Header], list[dicom_headers.Header]]:
    """Return the headers of different images, and those of copies of them.

    A copy has the identifier, the size, the place and the pixels of another
    image; packed otherwise, its pixels are not compared.
    """
    seen: dict[tuple[Any, ...], list[dicom_headers.Header]] = {}
    kept, copies = list[dicom_headers.Header](), list[dicom_headers.Header]()
    for header in headers:
        shape = (header.rows, header.columns, header.photometric, header.dtype, header.bits)
        place = (header.instance, len(header.frames), header.frames[0].position)
        alike = seen.setdefault((header.sop_uid or header.path, shape, place), [])
        is_copy = any(_are_same(header, known) for known in alike[:_MOST_COMPARED])
        (copies if is_copy else kept).append(header)
        if not is_copy:
            alike.append(header)
    return kept, copies


def _are_same(one: dicom_headers.Header, other: dicom_headers.Header) -> bool:
    if one.syntax != other.syntax:
        return True
    return dicom_pixels.are_same(one.path, other.path, one.extent, other.extent)


def _shape(image: Image) -> tuple[Any, ...]:
    header = image.header
    return (
        "LOCALIZER" in header.image_type,
        header.rows,
        header.columns,
        header.samples,
        header.dtype,
        header.is_inverted,
        image.frame.position is not None and image.frame.orientation is not None,
    )


def _split(images: Iterable[Image], key: Any) -> list[list[Image]]:
    groups: dict[Any, list[Image]] = {}
    for image in images:
        groups.setdefault(key(image), []).append(image)
    return list(groups.values())


def _by_direction(images: list[Image]) -> list[list[Image]]:
    """Split where row or column directions or pixel spacings differ."""
    groups: list[tuple[np.ndarray, list[Image]]] = []
    for image in images:
        frame = image.frame
        if frame.orientation is None or frame.position is None:
            return [images]
        spacing = np.array(frame.spacing_mm or (1.0, 1.0))
        # Spacings are compared as shares, so that they weigh like cosines.
        direction = np.array([*frame.orientation, *np.log(spacing)])
        for known, group in groups:
            if float(np.abs(known - direction).max()) < _SAME_DIRECTION:
                group.append(image)
                break
        else:
            groups.append((direction, [image]))
    return [group for _, group in groups]


def _places(images: list[Image]) -> np.ndarray:
    """Return how far each image lies along the common normal, in mm."""
    positions = np.array([image.frame.position for image in images], dtype=np.float64)
    return np.asarray(positions @ _normal(images[0]))


def _normal(image: Image) -> np.ndarray:
    assert image.frame.orientation is not None
    normal = np.cross(image.frame.orientation[:3], image.frame.orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal))


def _has_place(images: list[Image]) -> bool:
    return all(i.frame.position is not None and i.frame.orientation is not None for i in images)


def _unique(images: list[Image]) -> bool:
    steps = np.diff(np.sort(_places(images)))
    return not len(steps) or float(steps.min()) > _SAME_PLACE_MM


def _by_phase(images: list[Image]) -> list[_Part]:
    """Tell images at one place apart: other pictures are split, moments keep the first one."""
    if not _has_place(images) or _unique(images):
        return [_Part(images)]
    for index, (name, _) in enumerate(images[0].frame.phase):
        groups = _split(images, lambda image, index=index: image.frame.phase[index][1])
        if len(groups) == 1:
            continue
        if name in _APART:
            parts = [part for group in groups for part in _by_phase(group)]
            if len(parts) < len(images) // 2 or len(groups) == len(parts):
                return parts
        elif all(_unique(group) for group in groups):
            groups.sort(key=lambda group: group[0].frame.phase[index][1] or 0.0)
            return [_moments(groups, name)]
    return [_by_count(images)]


def _moments(groups: list[list[Image]], name: str) -> _Part:
    mark = f"{len(groups)} images lie at each place, told apart by {name}: the first is shown."
    return _Part(groups[0], (mark,), len(groups))


def _by_count(images: list[Image]) -> _Part:
    """Deal out images by instance number where each place has equally many; else mark them."""
    order = np.argsort(_places(images), kind="stable")
    places = _places(images)[order]
    cuts = np.flatnonzero(np.diff(places) > _SAME_PLACE_MM) + 1
    stacks = [[images[int(i)] for i in chunk] for chunk in np.split(order, cuts)]
    counts = {len(stack) for stack in stacks}
    if len(counts) == 1:
        groups = [[stack[k] for stack in stacks] for k in range(counts.pop())]
        return _moments(groups, "the order of their numbers")
    mark = "Several images share one place, unevenly: they are shown in the order of their numbers."
    bare = [
        Image(i.header, dataclasses.replace(i.frame, position=None, orientation=None))
        for i in images
    ]
    return _Part(bare, (mark,))


@dataclass(frozen=True)
class _Geometry:
    images: list[Image]
    affine: study.Affine | None = None
    step_mm: float | None = None
    is_volume: bool = False
    marks: tuple[str, ...] = ()


def _geometry(images: list[Image]) -> _Geometry:
    """Order images along their normal and return the affine, index (z, y, x, 1) -> LPS mm.

    Source: DICOM PS3.3 C.7.6.2.1.1; the third column is the true step from
    slice to slice, so a tilted gantry gives a sheared affine.
    """
    first = images[0].frame
    if not _has_place(images):
        marks: tuple[str, ...] = ()
        if images[0].header.modality in _CROSS_SECTIONS:
            what = "Orientation" if first.orientation is None else "Position"
            marks = (
                f"{what} is missing: sides cannot be told, and the images stand in the order "
                "of their numbers.",
            )
        return _Geometry(images, marks=marks)
    order = np.argsort(_places(images), kind="stable")
    images = [images[int(i)] for i in order]
    places = _places(images)
    positions = np.array([image.frame.position for image in images], dtype=np.float64)
    normal, marks_found = _normal(images[0]), list[str]()
    steps = np.diff(places)
    step = float(np.median(steps)) if len(steps) else float(first.thickness_mm or 1.0)
    even = not len(steps) or bool(np.abs(steps - step).max() <= _tolerance(step))
    if not even:
        marks_found += _gaps(steps, step)
    along = normal * step
    if even and len(steps):
        along = (positions[-1] - positions[0]) / len(steps)
        line = positions[0] + np.arange(len(images))[:, None] * along
        if float(np.abs(positions - line).max()) > max(_tolerance(step), 0.1):
            even, along = False, normal * step
            marks_found.append("The slices are shifted sideways against each other.")
        tilt = np.degrees(np.arccos(min(1.0, float(along @ normal) / float(np.linalg.norm(along)))))
        if even and tilt > 0.5:
            marks_found.append(f"The gantry was tilted by {tilt:.1f} degrees.")
    if 1 < len(images) < _FEWEST_SLICES and images[0].header.modality in _CROSS_SECTIONS:
        marks_found.append(f"Only {len(images)} slices: too few for other planes.")
    spacing = first.spacing_mm
    if spacing is None:
        if dicom_frames.NO_SPACING not in images[0].header.marks:
            marks_found.append("Pixel spacing is missing: nothing can be measured.")
        spacing = (1.0, 1.0)
    assert first.orientation is not None
    matrix = np.eye(4)
    matrix[:3, 0] = along
    matrix[:3, 1] = np.array(first.orientation[3:]) * spacing[0]
    matrix[:3, 2] = np.array(first.orientation[:3]) * spacing[1]
    matrix[:3, 3] = positions[0]
    return _Geometry(
        images,
        study.as_affine(matrix),
        step if len(images) > 1 else None,
        even and len(images) >= _FEWEST_SLICES and first.spacing_mm is not None,
        tuple(marks_found),
    )


def _tolerance(step: float) -> float:
    return max(_EVEN_MM, _EVEN_SHARE * step)


def _gaps(steps: np.ndarray, step: float) -> list[str]:
    """Return sentences that name where slices are missing, or how uneven the steps are."""
    wide = [k for k, s in enumerate(steps) if s > step + _tolerance(step)]
    whole = [abs(steps[k] / step - round(steps[k] / step)) < 0.05 for k in wide]
    narrow = bool((steps < step - _tolerance(step)).any())
    if wide and all(whole) and not narrow:
        missing = sum(round(steps[k] / step) - 1 for k in wide)
        k = wide[0]
        more = "" if len(wide) == 1 else f" and at {len(wide) - 1} more places"
        noun = "slice is" if missing == 1 else "slices are"
        return [
            f"{missing} {noun} missing: slices {k + 1} and {k + 2} are {steps[k]:.1f} mm apart"
            f"{more}, the others {step:.1f} mm."
        ]
    return [
        f"The slices are unevenly spaced: steps lie between {steps.min():.2f} and "
        f"{steps.max():.2f} mm."
    ]


def _series(part: _Part, shared: Sequence[str], index: int) -> study.Series:
    geometry = _geometry(part.images)
    images = geometry.images
    header, middle = images[0].header, images[len(images) // 2].frame
    texts = header.texts
    marks = [*part.marks, *geometry.marks, *shared]
    marks += dict.fromkeys(itertools.chain.from_iterable(i.header.marks for i in images))
    if "LOCALIZER" in header.image_type:
        marks.append("A localizer.")
    number = texts.get("SeriesNumber", "")
    return study.Series(
        key=header.series_uid + (f"#{index + 1}" if index else ""),
        series_uid=header.series_uid,
        modality=header.modality,
        description=texts.get("SeriesDescription", ""),
        number=int(number) if number.lstrip("-").isdecimal() else None,
        body_part=texts.get("BodyPartExamined", ""),
        slices=tuple(image.ref for image in images),
        rows=header.rows,
        columns=header.columns,
        samples=header.samples,
        dtype=header.dtype,
        slope=tuple(image.frame.slope for image in images),
        intercept=tuple(image.frame.intercept for image in images),
        units=header.units,
        affine=geometry.affine,
        pixel_spacing_mm=images[0].frame.spacing_mm,
        slice_spacing_mm=geometry.step_mm,
        slice_thickness_mm=images[0].frame.thickness_mm,
        windows=_windows(header, middle),
        is_inverted=header.is_inverted,
        is_lossy=any(image.header.is_lossy for image in images),
        is_volume=geometry.is_volume,
        frame_time_ms=header.frame_time_ms if len(header.frames) > 1 else None,
        timepoints=part.timepoints,
        marks=tuple(marks),
        details=_details(header),
        laterality=images[0].frame.laterality,
        view=texts.get("ViewPosition", ""),
        positions_lps=tuple(i.frame.position for i in images if i.frame.position is not None)
        if geometry.affine
        else (),
        modality_table=header.modality_table,
    )


def _windows(header: dicom_headers.Header, frame: dicom_frames.Frame) -> tuple[study.Window, ...]:
    """Return the file's windows, or the whole range where the depth is that of a screen."""
    if header.samples == 3:
        return ()
    if not frame.windows and header.dtype == "uint8" and frame.slope == 1.0:
        return (study.WHOLE_8_BIT if header.bits == 8 else study.Window(0.5, 1.0),)
    return frame.windows


_LABELS = {
    "Manufacturer": "Manufacturer",
    "ManufacturerModelName": "Machine",
    "KVP": "kV",
    "XRayTubeCurrent": "mA",
    "ConvolutionKernel": "Kernel",
    "ProtocolName": "Protocol",
    "RepetitionTime": "TR ms",
    "EchoTime": "TE ms",
    "MagneticFieldStrength": "Field T",
    "PatientPosition": "Patient position",
    "PatientOrientation": "Patient orientation",
    "TransferSyntax": "Encoding",
}


def _details(header: dicom_headers.Header) -> tuple[tuple[str, str], ...]:
    return tuple(
        (label, header.texts[keyword])
        for keyword, label in _LABELS.items()
        if keyword in header.texts
    )
