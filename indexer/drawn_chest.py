"""Chest-like radiographs by formula: thickness of tissue along each ray, and findings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import drawn

SIZE = 640
PIXEL_MM = 0.6
_TOP = -142.0
# Lowest point of each dome and how far the wall recess lies below it, by direction on screen.
_DOME = {-1: 66.0, 1: 78.0}
_WIDTH = 132.0


@dataclass(frozen=True, eq=False)
class _Lung:
    """One lung field: depths in mm from wall, mediastinum and diaphragm, negative outside."""

    sign: int
    wall: np.ndarray
    inner: np.ndarray
    bottom: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Return the share of each pixel within the lung field."""
        return drawn.cover(-np.minimum(np.minimum(self.wall, self.inner), self.bottom), 1.0)


def wall_mm(y: np.ndarray | float) -> np.ndarray:
    """Return the half width of the inner chest wall at height `y` (mm, down)."""
    rise = np.clip((10 - np.asarray(y, dtype=np.float64)) / (10 - _TOP), 0, 1)
    return np.asarray(_WIDTH * np.sqrt(np.clip(1 - rise**2.6, 0, 1)) + 0.0)


def diaphragm_mm(x: np.ndarray | float, sign: int) -> np.ndarray:
    """Return the height of the diaphragm (mm, down) at `x` on one side."""
    across = (np.asarray(x, dtype=np.float64) * sign - 58) / 74
    return np.asarray(_DOME[sign] + np.where(across > 0, 46, 14) * across**2)


def radiograph(
    seed: int,
    findings: tuple[drawn.Finding, ...] = (),
    *,
    heart_ratio: float = 0.46,
    is_female: bool = False,
) -> np.ndarray:
    """Return a frontal chest-like radiograph, (640, 640) int16 of 0 to 4095, dense is bright.

    `heart_ratio` is the width of the heart over the inner width of the chest.
    """
    rng = np.random.default_rng(seed)
    at = drawn.grid(SIZE, PIXEL_MM)
    lungs = (_lung(at, -1), _lung(at, 1))
    water = _body(at)
    air = _air(lungs[0]) + _air(lungs[1])
    lung_share = lungs[0].inside + lungs[1].inside
    water -= 0.74 * air * (1 + 0.02 * drawn.texture(rng, at.shape, 3))
    vessels = _vessels(at, rng) * lung_share
    heart = _heart(at, heart_ratio) * drawn.cover(at.y - diaphragm_mm(at.x, 1) - 14, 24)
    filled = np.minimum(0.9 * heart, 0.70 * air)
    water += filled
    free = 0.74 * air - filled
    for finding in findings:
        _add(at, water, vessels, lungs, finding, free)
    water += vessels * (1 - 0.75 * drawn.cover(8 - heart, 16))
    water += _bones(at)
    water += _airways(at)
    if is_female:
        for sign in (-1, 1):
            breast = drawn.ellipse(at, (sign * 74, 70), (58, 52))
            water += 24 * drawn.dome(-breast, 50)
    exposure = _display(water, rng)
    _marker(exposure)
    return np.asarray(np.clip(exposure, 0, 4095), dtype=np.int16)


def _lung(at: drawn.Grid, sign: int) -> _Lung:
    side = at.x * sign
    wall = wall_mm(at.y) - side
    # The mediastinum is wider at the hilum and narrow behind the sternum.
    border = 15 + 12 * np.exp(-(((at.y + 128) / 22) ** 2)) + 9 * np.exp(-(((at.y + 25) / 38) ** 2))
    inner = side - border
    bottom = diaphragm_mm(at.x, sign) - at.y + 0 * side
    return _Lung(sign, wall + 0 * side, inner + 0 * at.y, bottom)


def _air(lung: _Lung) -> np.ndarray:
    return np.asarray(
        172
        * drawn.dome(lung.wall, 46)
        * drawn.dome(lung.inner, 26)
        * (0.16 + 0.84 * drawn.cover(-lung.bottom + 1, 5))
        * drawn.cover(-(lung.bottom + 34), 30)
        * drawn.cover(-np.minimum(lung.wall, lung.inner), 1)
    )


def _body(at: drawn.Grid) -> np.ndarray:
    shoulder = 62 + 128 / (1 + np.exp(-(at.y + 138) / 11))
    half = np.minimum(shoulder, 196 - 40 / (1 + np.exp(-(at.y + 6) / 14)))
    depth = 1 - np.clip(np.abs(at.x) / half, 0, 1) ** 3.2
    return np.asarray((172 + 30 / (1 + np.exp(-(at.y - 86) / 14))) * np.sqrt(depth))


def heart_outline(ratio: float) -> tuple[tuple[float, float], tuple[float, ...]]:
    """Return the centre and radii of the heart so that it spans `ratio` of the chest's width."""
    width = ratio * 2 * _WIDTH
    right, left = 0.33 * width, 0.67 * width
    half = (left + right) / 2
    shape = (
        1.0,
        0.96,
        0.80,
        0.78,
        0.86,
        0.92,
        0.95,
        0.98,
        1.0,
        0.95,
        0.92,
        0.96,
        1.0,
        0.96,
        0.93,
        0.96,
    )
    return ((left - right) / 2, 38.0), tuple(half * part for part in shape)


def _heart(at: drawn.Grid, ratio: float) -> np.ndarray:
    centre, radii = heart_outline(ratio)
    heart = 118 * drawn.dome(-drawn.outline(at, centre, radii), 15)
    knob = 46 * drawn.dome(-drawn.ellipse(at, (21, -70), (19, 21)), 15)
    aorta = 26 * drawn.cover(np.abs(at.x - 22 - 0.05 * at.y) - 13, 3) * drawn.cover(-at.y - 62, 20)
    pulmonary = 40 * drawn.dome(-drawn.ellipse(at, (27, -38), (17, 17)), 14)
    return np.asarray(np.maximum(np.maximum(heart, knob), np.maximum(aorta, pulmonary)))


def _vessels(at: drawn.Grid, rng: np.random.Generator) -> np.ndarray:
    picture = np.zeros(at.shape, dtype=np.float32)
    for sign in (-1, 1):
        for heading in (-78, -50, -22, 8, 32, 54, 74):
            angle = heading if sign > 0 else 180 - heading
            start = np.array([sign * 26.0, -32.0 + 9 * np.sin(np.radians(heading))])
            for points, radius in drawn.branches(rng, start, angle + rng.normal(0, 6), 4.6):
                part, distance = drawn.stroke(at, points, radius)
                picture[part] = np.maximum(picture[part], 1.25 * drawn.tube(distance, radius))
    return drawn.blur(picture, 1.1)


def _bones(at: drawn.Grid) -> np.ndarray:
    picture = np.zeros(at.shape, dtype=np.float32)
    for number in range(11):
        y = -146 + number * 23.5
        width = float(wall_mm(y + 36)) + 2.0 if number else 74.0
        for sign in (-1, 1):
            _rib(at, picture, sign, y, width, number)
    for sign in (-1, 1):
        steps = np.linspace(0, 1, 14)
        clavicle = np.stack(
            [sign * (16 + 142 * steps), -118 - 20 * steps + 7 * np.sin(steps * 2 * np.pi)], axis=1
        )
        _hollow(at, picture, clavicle, 6.4, 0.8)
        blade = np.array([[118, -122], [134, -88], [142, -40], [136, -14]], dtype=float)
        _hollow(at, picture, blade * (sign, 1), 4.6, 0.4)
        spine_of_blade = np.array([[112, -120], [150, -138], [182, -142]], dtype=float)
        _hollow(at, picture, spine_of_blade * (sign, 1), 6, 0.4)
        arm = np.array([[176, -128], [192, -60]], dtype=float)
        _hollow(at, picture, arm * (sign, 1), 13, 0.55)
    return np.asarray(picture + _vertebrae(at))


def _rib(
    at: drawn.Grid, picture: np.ndarray, sign: int, y: float, width: float, number: int
) -> None:
    drop = 34 + 1.8 * number
    behind = np.radians(np.linspace(9, 92, 20))
    points = np.stack(
        [sign * width * np.sin(behind), y - 9 * np.sin(2 * behind) + drop * (1 - np.cos(behind))], 1
    )
    _hollow(at, picture, points, 6.0, 0.66)
    if 0 < number < 9:
        before = np.radians(np.linspace(92, 148 - 3 * number, 16))
        points = np.stack([sign * width * np.sin(before), y + drop * (1 - np.cos(before))], 1)
        _hollow(at, picture, points, 6.8, 0.46)


def _hollow(
    at: drawn.Grid, picture: np.ndarray, points: np.ndarray, radius: float, dense: float
) -> None:
    """Add a bone with a dense shell of 1.6 mm around softer marrow."""
    part, distance = drawn.stroke(at, points, radius + 1)
    shell = drawn.tube(distance, radius) - 0.62 * drawn.tube(distance, radius - 1.6)
    picture[part] += 2.4 * dense * shell


def _vertebrae(at: drawn.Grid) -> np.ndarray:
    picture = np.zeros(at.shape, dtype=np.float32)
    middle = slice(*np.searchsorted(at.x[0], (-30, 30)))
    for number in range(17):
        y = -186 + number * 23.0
        rows = slice(*np.searchsorted(at.y[:, 0], (y - 22, y + 24)))
        near = drawn.Grid(at.x[:, middle], at.y[rows], at.pixel_mm)
        half = 12.5 + 0.45 * number
        waist = np.abs(near.x) - half - 1.6 * ((near.y - y) / 9) ** 2
        body = np.maximum(waist, np.abs(near.y - y) - 9.2)
        bone = 7 * drawn.cover(body, 2.0) + 2.5 * drawn.cover(np.abs(body + 1) - 0.8, 1)
        bone += 5 * drawn.cover(drawn.ellipse(near, (0, y + 11), (3.2, 8)), 2)
        for sign in (-1, 1):
            pedicle = drawn.ellipse(near, (sign * (half - 4), y - 2), (3.4, 5))
            bone += 4 * drawn.cover(pedicle, 1.5)
        picture[rows, middle] += bone
    return picture


def _airways(at: drawn.Grid) -> np.ndarray:
    picture = np.zeros(at.shape, dtype=np.float32)
    windpipe = np.array([[-1, -192], [-1, -120], [-3, -62]], dtype=float)
    for points, radius, share in (
        (windpipe, 8.5, 0.9),
        (np.array([[-3, -62], [-20, -44], [-34, -24]], dtype=float), 6.5, 0.55),
        (np.array([[-3, -62], [20, -46], [38, -30]], dtype=float), 5.8, 0.45),
    ):
        part, distance = drawn.stroke(at, points, radius)
        picture[part] = np.minimum(picture[part], -share * drawn.tube(distance, radius))
    bubble = drawn.ellipse(at, (66, 122), (34, 17), 12)
    return np.asarray(drawn.blur(picture, 1.2) - 52 * drawn.dome(-bubble, 14))


def _display(water: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return display values as a film would show them: scatter, noise, and an S-shaped curve."""
    scattered = water - 0.16 * drawn.blur(water, 80)
    flat = (scattered - 14) / 180
    curve = 1 / (1 + np.exp(-4.6 * (flat - 0.47)))
    grain = drawn.texture(rng, water.shape, 0.8) * (0.006 + 0.006 * curve)
    return np.asarray(4095 * np.clip(curve + grain, 0, 1))


_LETTER_R = ("11110", "10001", "10001", "11110", "10100", "10010", "10001")


def _marker(exposure: np.ndarray) -> None:
    """Write the letter R where the patient's right is: on the left of the screen."""
    letter = np.kron([[int(dot) for dot in row] for row in _LETTER_R], np.ones((4, 4)))
    corner = exposure[40 : 40 + letter.shape[0], 36 : 36 + letter.shape[1]]
    np.maximum(corner, 3900 * letter, out=corner)


def _add(
    at: drawn.Grid,
    water: np.ndarray,
    vessels: np.ndarray,
    lungs: tuple[_Lung, _Lung],
    finding: drawn.Finding,
    free: np.ndarray,
) -> None:
    lung = lungs[0] if finding.sign < 0 else lungs[1]
    if finding.kind == "pleural effusion":
        fluid = drawn.cover(effusion_edge(at, finding), 12) * drawn.cover(
            -np.minimum(lung.wall, lung.inner), 1
        )
        water += 0.96 * fluid * free * (np.sign(at.x) == finding.sign)
        water += (
            34
            * fluid
            * drawn.cover(at.y - 108, 40)
            * drawn.dome(lung.wall, 30)
            * drawn.dome(lung.inner, 40)
        )
        vessels *= 1 - fluid
    elif finding.kind == "pneumothorax":
        gap = gap_mm(at.y, finding.size_mm)
        outside = drawn.cover(np.minimum(lung.wall, lung.bottom + 30) - gap, 1.0) * lung.inside
        vessels *= 1 - outside
        water -= 15 * outside * drawn.dome(lung.wall, 14)
        water += 17 * drawn.cover(np.abs(lung.wall - gap - 0.8) - 0.5, 1) * lung.inside
    elif finding.kind in ("nodule", "mass"):
        x, y = place_mm(finding)
        ball = np.hypot(at.x - x, at.y - y)
        water += 1.5 * drawn.tube(ball, finding.size_mm / 2) * lung.inside + 0 * at.y
    elif finding.kind == "consolidation":
        _consolidate(at, water, vessels, lung, finding, free)


def _consolidate(
    at: drawn.Grid,
    water: np.ndarray,
    vessels: np.ndarray,
    lung: _Lung,
    finding: drawn.Finding,
    free: np.ndarray,
) -> None:
    rng = np.random.default_rng(7)
    x, y = place_mm(finding)
    half = finding.size_mm / 2
    ragged = drawn.ellipse(at, (x, y), (half * 0.86, half)) + 3 * drawn.texture(rng, at.shape, 9)
    patch = drawn.cover(ragged, 10) * lung.inside
    cloud = 1 + 0.07 * drawn.texture(rng, at.shape, 6)
    water += 0.56 * patch * cloud * free
    vessels *= 1 - patch
    heading = 30.0 if finding.sign > 0 else 150.0
    start = np.array([x - finding.sign * half * 0.8, y - half * 0.5])
    for points, radius in drawn.branches(rng, start, heading, 3.0):
        if radius > 1.0:
            part, distance = drawn.stroke(at, points, radius)
            water[part] -= 1.7 * drawn.tube(distance, radius) * patch[part]


def effusion_edge(at: drawn.Grid, finding: drawn.Finding) -> np.ndarray:
    """Return the depth in mm of the fluid's surface below each pixel, negative in the fluid.

    The surface climbs along the chest wall, as a meniscus does.
    """
    side = np.clip(at.x * finding.sign / _WIDTH, 0, 1)
    top = recess_mm(finding.sign) - finding.size_mm
    surface = top + 0.34 * finding.size_mm * (1 - side**2.4)
    return np.asarray(surface - at.y)


def recess_mm(sign: int) -> float:
    """Return the height (mm, down) at which the diaphragm meets the chest wall."""
    return float(diaphragm_mm(sign * _WIDTH, sign))


def gap_mm(y: np.ndarray, widest_mm: float) -> np.ndarray:
    """Return the width of the free air of a pneumothorax: widest at the apex."""
    down = np.clip((y - _TOP) / (70 - _TOP), 0, 1)
    return np.asarray(widest_mm * (1 - 0.75 * down))


_PLACES = {"upper": (62.0, -82.0), "middle": (84.0, -16.0), "lower": (80.0, 46.0)}


def place_mm(finding: drawn.Finding) -> tuple[float, float]:
    """Return the centre (x, y) in mm of a finding in an upper, middle or lower zone."""
    x, y = _PLACES[finding.place.split()[0]]
    return finding.sign * x, y
