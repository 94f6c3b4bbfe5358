"""CT-like heads by formula: skull, brain, ventricles, with and without findings."""

from __future__ import annotations

import numpy as np

from . import drawn

SIZE = 256
PIXEL_MM = 0.8
SLICE_MM = 6.0
# Heights above the basal ganglia, lowest first.
HEIGHTS_MM = tuple(-12.0 + SLICE_MM * step for step in range(11))
WINDOW = (40.0, 90.0)
_SKULL_MM = 6.5
_AIR, _SCALP, _BONE, _CSF, _WHITE, _GREY, _BLOOD = -1000.0, 28.0, 1050.0, 5.0, 27.0, 38.0, 66.0


def head(
    seed: int, findings: tuple[drawn.Finding, ...] = (), *, ventricles: float = 1.0
) -> np.ndarray:
    """Return a head CT, (11, 256, 256) int16 in HU, plane 0 lowest.

    `ventricles` scales the lateral ventricles; 1 is normal.
    """
    return np.stack([_slice(seed, z, findings, ventricles) for z in HEIGHTS_MM])


def brain_radii(z: float) -> tuple[float, float]:
    """Return the half width and half length in mm of the brain at height `z`."""
    share = float(np.sqrt(max(1 - (max(z, 0.0) / 72) ** 2, 0.05)))
    low = 1 - 0.0007 * min(z, 0.0) ** 2
    return 64 * share * low, 80 * share * low


def shift_mm(findings: tuple[drawn.Finding, ...], z: float) -> float:
    """Return how far midline structures are pushed to the patient's left (mm) at height `z`."""
    push = 0.0
    for finding in findings:
        if finding.kind == "midline shift":
            push += finding.sign * finding.size_mm * float(np.exp(-((z / 30) ** 2)))
    return push


def _slice(
    seed: int, z: float, findings: tuple[drawn.Finding, ...], ventricles: float
) -> np.ndarray:
    rng = np.random.default_rng([seed, round(z * 10) + 1000])
    shape_rng = np.random.default_rng(seed)
    at = drawn.grid(SIZE, PIXEL_MM)
    width, length = brain_radii(z)
    wobble = 1 + 0.005 * shape_rng.standard_normal(12)
    angles = np.radians(np.arange(12) * 30)
    round_part = 1 / np.hypot(np.cos(angles) / width, np.sin(angles) / length)
    # The back of a head is wider than its front.
    egg = 1 + 0.035 * np.sin(angles)
    inner = drawn.outline(at, (0, 0), tuple(round_part * egg * wobble))
    picture = np.full(at.shape, _AIR, dtype=np.float64)
    drawn.paint(picture, drawn.cover(inner - _SKULL_MM - 6.5, 1.2), _SCALP)
    drawn.paint(picture, drawn.cover(inner - _SKULL_MM - 2.5, 1.2) * 0.8, -55)
    skull = np.where(np.abs(inner - _SKULL_MM / 2) < 1.3, 620.0, _BONE)
    drawn.paint(picture, drawn.cover(inner - _SKULL_MM, 1.2), skull)
    brain = _brain(at, inner, z, shape_rng, shift_mm(findings, z))
    _ventricles(at, brain, z, ventricles, shift_mm(findings, z))
    _midline(at, brain, inner, z, shift_mm(findings, z))
    for finding in findings:
        _add(at, brain, inner, z, finding)
    drawn.paint(picture, drawn.cover(inner, 1.2), drawn.blur(brain.astype(np.float32), 0.6))
    picture += 2.6 * drawn.texture(rng, at.shape, 0.9) * drawn.cover(inner - 8, 2)
    picture += 2.5 * rng.standard_normal(at.shape)
    return np.asarray(np.clip(np.rint(picture), -1024, 3000), dtype=np.int16)


def _brain(
    at: drawn.Grid,
    inner: np.ndarray,
    z: float,
    shape_rng: np.random.Generator,
    push: float,
) -> np.ndarray:
    depth = -inner
    folds = drawn.texture(shape_rng, at.shape, 4.2)
    ribbon = 5.5 + 3.2 * folds
    brain = np.full(at.shape, _WHITE, dtype=np.float64)
    drawn.paint(brain, drawn.cover(depth - ribbon, 2.5), _GREY)
    valleys = drawn.cover(
        np.abs(drawn.texture(shape_rng, at.shape, 3.4)) * 9 + depth / 3.2 - 4.0, 2.0
    )
    drawn.paint(brain, 0.9 * valleys, _CSF + 6)
    drawn.paint(brain, drawn.cover(depth - 1.6, 1.5), _CSF + 5)
    nuclei = float(np.exp(-((z / 11) ** 2)))
    for sign in (-1, 1):
        thalamus = drawn.ellipse(at, (sign * 12 + push, 10), (9, 13), sign * -18)
        lentiform = drawn.ellipse(at, (sign * 25 + push * 0.7, -6), (7, 15), sign * -12)
        caudate = drawn.ellipse(at, (sign * 13 + push, -24), (5, 8), sign * -20)
        for nucleus in (thalamus, lentiform, caudate):
            drawn.paint(brain, nuclei * drawn.cover(nucleus, 2.5), _GREY + 2)
        sylvian = drawn.ellipse(at, (sign * 50, -12), (11, 2.2), sign * 20)
        drawn.paint(brain, nuclei * drawn.cover(sylvian, 2.0), _CSF + 3)
        insula = drawn.ellipse(at, (sign * 39 + push * 0.4, -6), (2.0, 17), sign * -6)
        drawn.paint(brain, 0.8 * nuclei * drawn.cover(insula, 2.0), _CSF + 8)
    return brain


def _ventricles(at: drawn.Grid, brain: np.ndarray, z: float, size: float, push: float) -> None:
    middle = float(np.clip(1 - abs(z - 10) / 26, 0, 1)) ** 0.6
    if middle <= 0:
        return
    for sign in (-1, 1):
        front = drawn.ellipse(
            at,
            (sign * (7.5 + 1.5 * size) + push, -27 + 0.3 * z),
            (4.2 * size, 12 * size**0.5),
            sign * -20,
        )
        body = drawn.ellipse(
            at, (sign * (6.5 + 2.6 * size) + push, -2), (3.6 * size, 22 * size**0.4), sign * -7
        )
        back = drawn.ellipse(
            at,
            (sign * (19 + 1.5 * size) + push * 0.7, 30),
            (5.0 * size, 13 * size**0.5),
            sign * -28,
        )
        shown = (front, back) if z < 8 else (front, body, back)
        for part in shown:
            drawn.paint(brain, middle * drawn.cover(part, 1.6), _CSF)
    if z < 6:
        third = drawn.ellipse(at, (push, 4), (1.6 * size, 11))
        drawn.paint(brain, drawn.cover(third, 1.6), _CSF)
        pineal = drawn.ellipse(at, (push, 19), (2.2, 2.6))
        if -8 < z < 4:
            drawn.paint(brain, drawn.cover(pineal, 1.2), 110)
        for sign in (-1, 1):
            plexus = drawn.ellipse(at, (sign * 22 + push * 0.7, 31), (2.2, 4), sign * -28)
            drawn.paint(brain, 0.8 * drawn.cover(plexus, 1.2), 90)


def _midline(at: drawn.Grid, brain: np.ndarray, inner: np.ndarray, z: float, push: float) -> None:
    bend = push * np.cos(np.clip(at.y / 80, -1, 1) * np.pi / 2) ** 2
    ends = 34 if z < 24 else 0
    fissure = drawn.cover(np.abs(at.x - bend) - 1.5, 1.2) * (np.abs(at.y) > ends - 6)
    drawn.paint(brain, 0.8 * fissure, _CSF + 6)
    falx = drawn.cover(np.abs(at.x - bend) - 0.55, 1.0) * drawn.cover(inner + 3, 2)
    drawn.paint(brain, falx * (np.abs(at.y) > ends), 58)
    sinus = drawn.ellipse(at, (0, float(brain_radii(z)[1]) - 3), (3.6, 4.2))
    drawn.paint(brain, drawn.cover(sinus, 1.5), 56)


PLACES = {
    "basal ganglia": (27.0, -2.0, 0.0),
    "frontal lobe": (28.0, -44.0, 12.0),
    "parietal lobe": (33.0, 30.0, 24.0),
    "temporal lobe": (46.0, 8.0, -6.0),
    "middle cerebral artery territory": (44.0, -2.0, 6.0),
}


def place_mm(finding: drawn.Finding) -> tuple[float, float, float]:
    """Return the centre (x, y, z) in mm of a finding of the brain's substance."""
    x, y, z = PLACES[finding.place]
    return finding.sign * x, y, z


def _add(
    at: drawn.Grid, brain: np.ndarray, inner: np.ndarray, z: float, finding: drawn.Finding
) -> None:
    if finding.kind == "subdural haematoma":
        _subdural(at, brain, inner, z, finding)
    elif finding.kind == "infarct":
        _infarct(at, brain, inner, z, finding)
    elif finding.kind in ("haemorrhage", "tumour"):
        x, y, level = place_mm(finding)
        half = finding.size_mm / 2
        ball = np.sqrt((at.x - x) ** 2 + (at.y - y) ** 2 + (z - level) ** 2) - half
        rough = drawn.texture(np.random.default_rng(11), at.shape, 6)
        swelling = drawn.cover(ball - 8 - 2.5 * rough, 5) * drawn.cover(inner + 4, 3)
        drawn.paint(brain, 0.95 * swelling, 16)
        if finding.kind == "haemorrhage":
            drawn.paint(brain, drawn.cover(ball, 1.5), _BLOOD)
        else:
            drawn.paint(brain, drawn.cover(ball, 1.5), 62 + 3 * rough)
            drawn.paint(brain, drawn.cover(ball + 0.24 * half + 1.5 * rough + 2, 2.5), 24)


def _subdural(
    at: drawn.Grid, brain: np.ndarray, inner: np.ndarray, z: float, finding: drawn.Finding
) -> None:
    """A crescent along the inner table, thickest at the side, tapering to both ends."""
    angle = np.degrees(np.arctan2(at.y, at.x * finding.sign))
    taper = np.clip(1 - np.abs((angle + 4) / 72) ** 2.4, 0, 1)
    level = float(np.clip(1 - abs(z - 18) / 44, 0, 1)) ** 0.5
    thickness = finding.size_mm * taper * level
    inside = drawn.cover(-inner - thickness, 1.3) * (thickness > 0.6)
    edge = drawn.cover(-inner - thickness - 3, 2.0) * (thickness > 0.6)
    drawn.paint(brain, edge, _GREY)
    drawn.paint(brain, inside, _BLOOD - 2)


def _infarct(
    at: drawn.Grid, brain: np.ndarray, inner: np.ndarray, z: float, finding: drawn.Finding
) -> None:
    """A wedge with its point at the centre and its base on the surface, low in density."""
    _, y, level = place_mm(finding)
    half = finding.size_mm / 2
    spread = (at.y - y - 2) / (half * (0.35 + 0.65 * np.clip(at.x * finding.sign / 62, 0, 1)))
    inward = 20 - at.x * finding.sign
    wedge = np.maximum((np.abs(spread) - 1) * half * 0.6, inward)
    tall = (abs(z - level) / (half * 0.9)) ** 2
    share = drawn.cover(np.maximum(wedge, inner + 1) + 12 * tall, 4.0) * float(tall < 1)
    drawn.paint(brain, 0.95 * share, 18)
