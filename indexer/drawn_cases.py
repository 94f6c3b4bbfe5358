"""The list of drawn cases, each with the report that its drawing makes true."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import drawn, drawn_body, drawn_chest, drawn_head

_F = drawn.Finding


@dataclass(frozen=True)
class _Plan:
    """What is to be drawn: a kind of picture, its findings, and what varies beside them."""

    kind: str
    seed: int
    findings: tuple[drawn.Finding, ...] = ()
    heart_ratio: float = 0.46
    is_female: bool = False
    ventricles: float = 1.0


_PLANS = (
    _Plan("chest radiograph", 1),
    _Plan("chest radiograph", 2, is_female=True, heart_ratio=0.44),
    _Plan("chest radiograph", 3, (_F("pleural effusion", "left", "", 90),)),
    _Plan("chest radiograph", 4, (_F("pleural effusion", "right", "", 60),), is_female=True),
    _Plan("chest radiograph", 5, (_F("pneumothorax", "right", "", 28),)),
    _Plan("chest radiograph", 6, (_F("pneumothorax", "left", "", 18),)),
    _Plan("chest radiograph", 7, (_F("nodule", "left", "upper zone", 22),)),
    _Plan("chest radiograph", 8, (_F("mass", "right", "middle zone", 48),)),
    _Plan("chest radiograph", 9, (_F("consolidation", "right", "lower zone", 80),)),
    _Plan("chest radiograph", 10, (_F("consolidation", "left", "upper zone", 64),), is_female=True),
    _Plan("chest radiograph", 11, heart_ratio=0.62),
    _Plan("chest CT", 21),
    _Plan("chest CT", 22, (_F("nodule", "right", "upper lobe", 18),)),
    _Plan("chest CT", 23, (_F("pleural effusion", "left", "", 45),)),
    _Plan("chest CT", 24, (_F("consolidation", "right", "lower lobe", 60),)),
    _Plan("abdomen CT", 31),
    _Plan("abdomen CT", 32, (_F("liver lesion", "", "right lobe of the liver", 40),)),
    _Plan("abdomen CT", 33, (_F("kidney stone", "left", "", 9),)),
    _Plan("abdomen CT", 34, (_F("hydronephrosis", "right", "", 30),)),
    _Plan("head CT", 41),
    _Plan(
        "head CT",
        42,
        (_F("haemorrhage", "right", "basal ganglia", 34), _F("midline shift", "left", "", 5)),
    ),
    _Plan(
        "head CT",
        43,
        (_F("subdural haematoma", "left", "", 14), _F("midline shift", "right", "", 8)),
    ),
    _Plan("head CT", 44, (_F("infarct", "right", "middle cerebral artery territory", 60),)),
    _Plan("head CT", 45, (_F("tumour", "left", "frontal lobe", 36),)),
    _Plan("head CT", 46, ventricles=2.0),
)

_KINDS = {
    "chest radiograph": ("DX", "chest", "PA"),
    "chest CT": ("CT", "chest", "axial"),
    "abdomen CT": ("CT", "abdomen", "axial"),
    "head CT": ("CT", "head", "axial"),
}
_NORMAL = {
    "chest radiograph": ("The lungs are clear.", "The costophrenic angles are sharp."),
    "chest CT": ("The lungs are clear.", "Heart and great vessels are of normal size."),
    "abdomen CT": ("Liver, spleen, pancreas and both kidneys are normal.",),
    "head CT": ("Brain and ventricles are normal.", "The midline structures are central."),
}
_LARGE_HEART = 0.5
_WIDE_VENTRICLES = 1.5


def count() -> int:
    """Return how many cases are drawn."""
    return len(_PLANS)


def planned() -> dict[str, tuple[drawn.Finding, ...]]:
    """Return the keys of all drawn cases with their findings, before anything is drawn."""
    return {_key(plan): plan.findings for plan in _PLANS}


def drawings() -> Iterator[drawn.Drawing]:
    """Yield all drawn cases, each drawn when it is asked for; the same every time."""
    for plan in _PLANS:
        yield _drawing(plan)


def drawing(key: str, *, leave_out: drawn.Finding | None = None) -> drawn.Drawing:
    """Return one drawn case; without a finding, so that what differs is the finding."""
    plan = next(plan for plan in _PLANS if _key(plan) == key)
    kept = tuple(finding for finding in plan.findings if finding != leave_out)
    return _drawing(dataclasses.replace(plan, findings=kept))


def _key(plan: _Plan) -> str:
    return f"{plan.kind.replace(' ', '-').lower()}-{plan.seed:02d}"


def _drawing(plan: _Plan) -> drawn.Drawing:
    modality, part, view = _KINDS[plan.kind]
    labels = _labels(plan)
    values, made = _values(plan)
    return drawn.Drawing(
        key=_key(plan),
        title=f"{drawn.BADGE}: {plan.kind}, {', '.join(labels)}",
        sentences=(*_sentences(plan), f"{drawn.BADGE} by a program, not taken from a patient."),
        labels=labels,
        findings=plan.findings,
        modality=modality,
        body_part=part,
        view=view,
        values=values,
        spacing_mm=made.spacing_mm,
        window=made.window,
        shown=made.shown,
        lowest_mm=made.lowest_mm,
    )


@dataclass(frozen=True)
class _Made:
    """Where the planes of a kind of picture lie and how they are shown."""

    spacing_mm: tuple[float, float, float]
    window: tuple[float, float]
    shown: tuple[int, ...] = (0,)
    lowest_mm: float = 0.0


def _values(plan: _Plan) -> tuple[np.ndarray, _Made]:
    if plan.kind == "chest radiograph":
        picture = drawn_chest.radiograph(
            plan.seed, plan.findings, heart_ratio=plan.heart_ratio, is_female=plan.is_female
        )
        pixel = drawn_chest.PIXEL_MM
        return picture[None], _Made((1.0, pixel, pixel), (2048.0, 4096.0))
    if plan.kind == "head CT":
        spacing = (drawn_head.SLICE_MM, drawn_head.PIXEL_MM, drawn_head.PIXEL_MM)
        made = _Made(spacing, drawn_head.WINDOW, (1, 2, 4, 6), drawn_head.HEIGHTS_MM[0])
        return drawn_head.head(plan.seed, plan.findings, ventricles=plan.ventricles), made
    spacing = (drawn_body.SLICE_MM, drawn_body.PIXEL_MM, drawn_body.PIXEL_MM)
    if plan.kind == "abdomen CT":
        made = _Made(spacing, drawn_body.SOFT_WINDOW, (2, 4, 5, 7), drawn_body.ABDOMEN_MM[0])
        return drawn_body.abdomen(plan.seed, plan.findings), made
    # Fluid behind the lung is seen in a soft tissue window.
    is_fluid = any(finding.kind == "pleural effusion" for finding in plan.findings)
    window = drawn_body.SOFT_WINDOW if is_fluid else drawn_body.LUNG_WINDOW
    made = _Made(spacing, window, (1, 3, 6, 8), drawn_body.CHEST_MM[0])
    return drawn_body.chest(plan.seed, plan.findings), made


def _labels(plan: _Plan) -> tuple[str, ...]:
    named = [
        f"{f.side} {f.kind}".strip() if f.kind != "midline shift" else f.kind for f in plan.findings
    ]
    if plan.heart_ratio > _LARGE_HEART:
        named.append("cardiomegaly")
    if plan.ventricles > _WIDE_VENTRICLES:
        named.append("hydrocephalus")
    return tuple(named) or ("normal",)


def _sentences(plan: _Plan) -> list[str]:
    said = [f"{plan.kind[0].upper()}{plan.kind[1:]}."]
    if plan.kind == "chest radiograph":
        said[0] = f"Frontal {plan.kind}."
        size = "enlarged" if plan.heart_ratio > _LARGE_HEART else "of normal size"
        heart = f"The heart is {size}: cardiothoracic ratio {plan.heart_ratio:.2f}."
        said.append(f"Cardiomegaly. {heart}" if plan.heart_ratio > _LARGE_HEART else heart)
    said += [_sentence(plan.kind, finding) for finding in plan.findings]
    if plan.ventricles > _WIDE_VENTRICLES:
        said.append("Hydrocephalus: the lateral and third ventricles are wide.")
    if _labels(plan) == ("normal",):
        said[0] = f"Normal {plan.kind}."
        said += _NORMAL[plan.kind]
    return said


def _sentence(kind: str, finding: drawn.Finding) -> str:
    side, size, place = finding.side, f"{finding.size_mm:.0f} mm", finding.place
    cap = side[:1].upper() + side[1:]
    if finding.kind == "pleural effusion":
        if kind == "chest CT":
            return f"{cap} pleural effusion, {size} deep at the back of the chest."
        return f"{cap} pleural effusion that rises {size} along the chest wall."
    said = {
        "pneumothorax": f"{cap} pneumothorax with {size} of free air at the apex.",
        "nodule": f"Round lung nodule of {size} in the {side} {place}.",
        "mass": f"Round lung mass of {size} in the {side} {place}.",
        "consolidation": f"Consolidation of {size} in the {side} {place}, as in pneumonia.",
        "liver lesion": f"Round lesion of {size} in the {place}, darker than liver, with a rim.",
        "kidney stone": f"Stone of {size} in the {side} kidney.",
        "hydronephrosis": f"{cap} hydronephrosis: the renal pelvis is {size} wide.",
        "haemorrhage": f"Intracerebral haemorrhage of {size} in the {side} {place}, with oedema.",
        "midline shift": f"The midline is shifted by {size} to the {side}.",
        "subdural haematoma": f"Acute {side} subdural haematoma, up to {size} thick.",
        "infarct": f"Infarct, a dark wedge in the {side} {place}.",
        "tumour": f"Brain tumour of {size} in the {side} {place}: a bright rim around a dark "
        "centre, with oedema.",
    }
    return said[finding.kind]
