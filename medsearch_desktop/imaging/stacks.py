"""Frames of one DICOM series -> Series whose slices stand in geometric order, with what is odd."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medsearch_desktop import cases
from medsearch_desktop.imaging import dicom_frames, dicom_headers, duplicates, files, study

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
# Images of a cross-section are expected to say where they lie; several without a named
# modality count as one. Radiographs are not.
_CROSS_SECTIONS = {"CT", "MR", "PT"}
# A gap of more slices than this is none: a slice lies somewhere else.
_MOST_MISSING = 1000
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
    is_in_order: bool = False  # of its numbers, not of its places


def series_of(headers: Sequence[dicom_headers.Header]) -> list[study.Series]:
    """Return the stacks of one Series Instance UID, the largest first.

    Copies are left out; images that differ in size, kind or orientation do not
    form one stack and are split; images at one place are told apart by image
    type, echo, b-value, time or acquisition.
    """
    kept, copied, unlike = duplicates.without_copies(headers)
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
    if copied:
        what = "One copy of an image" if len(copied) == 1 else f"{len(copied)} copies of images"
        shared.append(f"{what} already here: left out.")
    if unlike:
        what = "One image carries" if len(unlike) == 1 else f"{len(unlike)} images carry"
        shared.append(
            f"{what} the identifier of another one in another encoding: left out and not compared."
        )
    uids = [header.sop_uid for header in kept if header.sop_uid]
    if len(set(uids)) < len(uids):
        are_all = sum(len(part.images) for part in parts) == len(images)
        shared.append(
            "Different images carry one identifier (SOP Instance UID), which is not allowed"
            f"{': all are shown' if are_all else ''}."
        )
    if len(parts) > 1:
        shared.append(
            f"The series was split into {len(parts)} stacks: its images differ in "
            f"{_difference(parts)}."
        )
    return [_series(part, shared, k) for k, part in enumerate(parts)]


def single(header: dicom_headers.Header, frame: dicom_frames.Frame) -> study.Series:
    """Return the Series of one frame by itself."""
    return _series(_Part([Image(header, frame)]), (), 0)


def _difference(parts: Sequence[_Part]) -> str:
    """Return in words in which ways the images of the stacks differ."""
    shapes = [_shape(part.images[0]) for part in parts]
    names = [name for name, *values in zip(_SHAPE, *shapes, strict=True) if len(set(values)) > 1]
    if len(set(shapes)) < len(shapes):
        names.append("orientation, spacing or moment")
    names = list(dict.fromkeys(names))
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


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
        header.modality,
        header.units,
    )


# What the parts of a shape say, in its order.
_SHAPE = (
    *("kind", "size", "size", "colour", "depth", "kind", "whether they say their place"),
    *("modality", "unit"),
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
    return _Part(images, (mark,), is_in_order=True)


@dataclass(frozen=True)
class _Geometry:
    images: list[Image]
    affine: study.Affine | None = None
    step_mm: float | None = None
    is_volume: bool = False
    marks: tuple[str, ...] = ()


def _geometry(images: list[Image], is_in_order: bool = False) -> _Geometry:
    """Order images along their normal and return the affine, index (z, y, x, 1) -> LPS mm.

    Source: DICOM PS3.3 C.7.6.2.1.1; the third column is the true step from
    slice to slice, so a tilted gantry gives a sheared affine. Images that stay
    `is_in_order` of their numbers are no volume and have no step.
    """
    first = images[0].frame
    if not _has_place(images):
        marks: tuple[str, ...] = ()
        modality = images[0].header.modality
        if modality in _CROSS_SECTIONS or (not modality and _are_several_files(images)):
            what = "Orientation" if first.orientation is None else "Position"
            marks = (
                f"{what} is missing: sides cannot be told, and the images stand in the order "
                "of their numbers.",
            )
        return _Geometry(images, marks=marks)
    places = _places(images)
    if not is_in_order:
        order = np.argsort(places, kind="stable")
        images, places = [images[int(i)] for i in order], places[order]
    positions = np.array([image.frame.position for image in images], dtype=np.float64)
    normal, marks_found = _normal(images[0]), list[str]()
    steps = np.diff(places[:1] if is_in_order else places)
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
        step if len(steps) else None,
        even and not is_in_order and len(images) >= _FEWEST_SLICES and first.spacing_mm is not None,
        tuple(marks_found),
    )


def _are_several_files(images: list[Image]) -> bool:
    return len({image.header.path for image in images}) > 1


def _tolerance(step: float) -> float:
    return max(_EVEN_MM, _EVEN_SHARE * step)


def _gaps(steps: np.ndarray, step: float) -> list[str]:
    """Return sentences that name where slices are missing, or how uneven the steps are."""
    wide = [k for k, s in enumerate(steps) if s > step + _tolerance(step)]
    whole = [abs(steps[k] / step - round(steps[k] / step)) < 0.05 for k in wide]
    narrow = bool((steps < step - _tolerance(step)).any())
    far = [k for k in wide if steps[k] > _MOST_MISSING * step]
    if far:
        k, edges = far[0], {0: 1, len(steps) - 1: len(steps) + 1}
        said = f"Slices {k + 1} and {k + 2} lie {steps[k]:,.1f} mm apart."
        if k in edges:
            said = f"Slice {edges[k]} lies {steps[k]:,.1f} mm from the others."
        rest = np.where(np.arange(len(steps)) == k, step, steps)
        even = bool(np.abs(rest - step).max() <= _tolerance(step))
        return [said] if even else [said, *_gaps(rest, step)]
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
    geometry = _geometry(part.images, part.is_in_order)
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
