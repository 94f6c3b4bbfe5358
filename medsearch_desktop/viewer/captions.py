"""The words at the corners of a pane: who, which series, machine, window, zoom."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QCoreApplication

from medsearch_desktop.imaging import study as studies
from medsearch_desktop.viewer import framing, hanging, overlays, slice_image, stack

# px of the longest scale bar at 100 %, and the part of the pane it may take.
_SCALE_BAR_PX, _SCALE_BAR_PART = 160, 0.25
_SHOWN_MARKS = 2
# Details of a series that stand beside the image, with their units.
_SETTINGS = (("kV", "kV"), ("mA", "mA"), ("TR ms", "ms TR"), ("TE ms", "ms TE"), ("Field T", "T"))


def _tr(words: str) -> str:
    return QCoreApplication.translate("viewer", words)


def _joined(*parts: str, by: str = "  ") -> str:
    return by.join(part for part in parts if part)


def who(study: studies.Study, series: studies.Series, index: int) -> tuple[str, ...]:
    """Return the upper left lines: patient, study, series and image number."""
    name = study.patient_name.replace("^", " ").strip()
    patient = name if name == study.patient_id else _joined(name, study.patient_id)
    kind = _joined(series.modality, series.body_part, by=" ")
    title = study.title or series.description or kind
    lines = (
        _joined(patient, study.sex, study.age),
        _joined(title, date(study.date)),
        series.description if series.description != title else "",
        _joined(series_number(series), image_number(series, index)),
    )
    return tuple(line for line in lines if line)


def date(written: str) -> str:
    """Return DICOM's 20000131 as 2000-01-31, and anything else as it is."""
    if len(written) == 8 and written.isdigit():
        return f"{written[:4]}-{written[4:6]}-{written[6:]}"
    return written


def series_number(series: studies.Series) -> str:
    """Return "Se 30026", "" where the series has no number."""
    return "" if series.number is None else _tr("Se {}").format(series.number)


def image_number(series: studies.Series, index: int) -> str:
    """Return "Im 32/36"; the first image is 1."""
    return _tr("Im {}/{}").format(index + 1, len(series.slices))


def machine(series: studies.Series, index: int) -> tuple[str, ...]:
    """Return the upper right lines: machine, settings, thickness and location."""
    known = dict(series.details)
    thickness = series.slice_thickness_mm
    place = location_mm(series, index)
    lines = (
        _joined(known.get("Manufacturer", ""), known.get("Machine", ""), by=" "),
        _joined(
            *(f"{known[name]} {unit}" for name, unit in _SETTINGS if known.get(name)),
            known.get("Kernel", ""),
        ),
        _joined(
            "" if thickness is None else f"{slice_image.number(round(thickness, 2))} mm",
            "" if place is None else _tr("loc {}").format(f"{place:.1f}".replace("-", "−")),
        ),
    )
    return tuple(line for line in lines if line)


def location_mm(series: studies.Series, index: int) -> float | None:
    """Return where slice `index` lies along the patient axis nearest to the stack's, LPS mm.

    It is that of the slice's first voxel, by its own position where it has one.
    """
    if series.affine is None or (not series.is_volume and index >= len(series.positions_lps)):
        return None
    affine = np.asarray(series.affine, dtype=np.float64)
    axis = int(np.abs(np.cross(affine[:3, 2], affine[:3, 1])).argmax())
    if index < len(series.positions_lps):
        return series.positions_lps[index][axis]
    return float((affine @ np.array([index, 0.0, 0.0, 1.0]))[axis])


def window(series: studies.Series, chosen: studies.Window | None) -> str:
    """Return "W 1500  C −600", or that the window is fixed for colour."""
    if series.samples == 3:
        return _tr("Colour, window fixed")
    if chosen is None:
        return ""
    width, centre = (slice_image.number(_rounded(v)) for v in (chosen.width, chosen.centre))
    return f"W {width}  C {centre}"


def _rounded(value: float) -> float:
    return float(round(value)) if abs(value) >= 10 else value


def zoom(screen_px_per_pixel: float) -> str:
    """Return "Zoom 177 %": screen pixels per image pixel."""
    return _tr("Zoom {} %").format(f"{screen_px_per_pixel * 100:.0f}")


def quality(series: studies.Series) -> str:
    """Return whether the pixels were compressed with loss; "" where nobody knows.

    DICOM's header tells it. A PNG or a NIfTI file may hold what was a JPEG before.
    """
    if series.is_lossy:
        return _tr("Lossy")
    return _tr("Lossless") if series.modality else ""


def contents(
    shown: stack.Stack,
    frame: framing.Frame,
    *,
    value: str,
    ratio: float,
    scale: float,
    hidden: bool,
) -> overlays.Contents:
    """Return everything that is written over the slice shown.

    `ratio` is screen pixels per logical px, `scale` that of the look (1.0 at 100 %).
    """
    series, chosen = shown.series, shown.window
    spacing = hanging.shown_spacing(series)
    bar = None
    if spacing is not None:
        longest = min(_SCALE_BAR_PX * scale, _SCALE_BAR_PART * frame.width)
        bar = framing.scale_bar(min(spacing) / frame.scale, longest)
    all_marks = marks(shown)
    more = len(all_marks) - _SHOWN_MARKS
    return overlays.Contents(
        who=who(shown.study, series, shown.index),
        image_number=image_number(series, shown.index),
        machine=machine(series, shown.index),
        window=window(series, chosen),
        window_name=chosen.name if chosen else "",
        zoom=zoom(frame.scale * ratio),
        quality=quality(series),
        is_lossy=series.is_lossy,
        value=_tr("{} at cursor").format(value) if value else "",
        letters=shown.letters,
        unknown="" if shown.letters else _tr("Orientation unknown"),
        scale_bar=bar,
        no_scale="" if bar else _tr("No pixel spacing: no scale bar"),
        marks=all_marks,
        faults=tuple(index for index in shown.faults if not shown.ready[index]),
        more_marks=_tr("({} more)").format(more) if more > 0 else "",
        index=shown.index,
        ready=shown.ready,
        hidden=hidden,
    )


def marks(shown: stack.Stack) -> tuple[str, ...]:
    """Return what is wrong or odd with the series: slices that cannot be read come first."""
    lost = sum(not shown.ready[index] for index in shown.faults)
    if not lost or shown.count < 2:
        return shown.series.marks
    words = _tr("{} of {} slices cannot be read.").format(lost, shown.count)
    return (words, *shown.series.marks)


def fault(shown: stack.Stack) -> str:
    """Return why the present slice cannot be read; "" where it can."""
    if not shown.fault or shown.count < 2:
        return shown.fault
    words = _tr("Image {} of {} cannot be read.").format(shown.index + 1, shown.count)
    return f"{words} {shown.fault}"


def spoken(shown: stack.Stack) -> str:
    """Return the pane's accessible description: what is shown, and every warning."""
    series, chosen = shown.series, shown.window
    parts = [
        _joined(series.modality, series.description or shown.study.title, by=" "),
        _tr("image {} of {}").format(shown.index + 1, shown.count),
        _joined(window(series, chosen), chosen.name if chosen else ""),
        fault(shown),
        *marks(shown),
    ]
    return ". ".join(part for part in parts if part)
