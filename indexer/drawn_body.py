"""CT-like slices of chest and abdomen by formula, with and without findings."""

from __future__ import annotations

import numpy as np

from . import drawn

SIZE = 256
PIXEL_MM = 1.4
SLICE_MM = 8.0
CHEST_MM = tuple(-40.0 + SLICE_MM * step for step in range(11))
ABDOMEN_MM = tuple(-40.0 + SLICE_MM * step for step in range(11))
LUNG_WINDOW = (-500.0, 1500.0)
SOFT_WINDOW = (50.0, 400.0)
_AIR, _LUNG, _FAT, _FLUID, _MUSCLE, _BLOOD, _BONE = -1000.0, -860.0, -100.0, 8.0, 52.0, 44.0, 260.0
_VESSEL = 150.0


def chest(seed: int, findings: tuple[drawn.Finding, ...] = ()) -> np.ndarray:
    """Return a chest CT, (11, 256, 256) int16 in HU, plane 0 lowest (near the diaphragm)."""
    vessels = _lung_vessels(seed)
    return np.stack([_chest_slice(seed, z, vessels, findings) for z in CHEST_MM])


def abdomen(seed: int, findings: tuple[drawn.Finding, ...] = ()) -> np.ndarray:
    """Return an upper abdomen CT, (11, 256, 256) int16 in HU, plane 0 lowest."""
    return np.stack([_abdomen_slice(seed, z, findings) for z in ABDOMEN_MM])


def _trunk(
    at: drawn.Grid, width: float, depth: float, fat_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture with skin, fat and a muscle wall, and the distance to the cavity's edge."""
    picture = np.full(at.shape, _AIR, dtype=np.float64)
    u, v = at.x / width, at.y / depth
    skin = ((np.abs(u) ** 2.5 + np.abs(v) ** 2.5) ** 0.4 - 1) * depth
    drawn.paint(picture, drawn.cover(skin, 1.8), 20)
    drawn.paint(picture, drawn.cover(skin + 2.5, 1.8), _FAT)
    wall = skin + fat_mm
    drawn.paint(picture, drawn.cover(wall, 2), _MUSCLE)
    return picture, wall


def _spine(at: drawn.Grid, picture: np.ndarray, y: float) -> None:
    for sign in (-1, 1):
        back = drawn.ellipse(at, (sign * 27, y + 27), (23, 15), sign * 14)
        drawn.paint(picture, drawn.cover(back, 2), _MUSCLE)
    process = drawn.ellipse(at, (0, y + 38), (4, 15))
    for part in (process, *(drawn.ellipse(at, (s * 17, y + 20), (14, 4), s * 24) for s in (-1, 1))):
        drawn.paint(picture, drawn.cover(part, 2), 420)
    ring = drawn.ellipse(at, (0, y + 20), (13, 11))
    drawn.paint(picture, drawn.cover(ring, 2), 480)
    drawn.paint(picture, drawn.cover(drawn.ellipse(at, (0, y + 20), (8.5, 7)), 2), 30)
    body = drawn.outline(
        at, (0, y), (19, 19, 16, 14, 13, 14, 16, 19, 19, 17, 15.5, 15, 15, 15, 15.5, 17)
    )
    drawn.paint(picture, drawn.cover(body, 2), 560)
    drawn.paint(picture, drawn.cover(body + 2.2, 2), 210)


def _ribs(at: drawn.Grid, picture: np.ndarray, wall: np.ndarray, z: float) -> None:
    """Oblique cuts of ribs in the wall; they wander from slice to slice."""
    angle = np.degrees(np.arctan2(at.y, np.abs(at.x)))
    for number in range(5):
        middle = -52 + number * 33 + (z * 1.3) % 33
        along = np.abs(angle - middle) - 8.5
        cut = np.maximum(np.abs(wall + 6) - 4.2, along * 1.7)
        drawn.paint(picture, drawn.cover(cut, 2) * (angle > -58) * (angle < 74), 430)
        drawn.paint(picture, drawn.cover(cut + 1.8, 2) * (angle > -58) * (angle < 74), 190)


def _finish(picture: np.ndarray, rng: np.random.Generator, wall: np.ndarray) -> np.ndarray:
    smooth = drawn.blur(picture.astype(np.float32), 0.55)
    noise = 9 * drawn.texture(rng, picture.shape, 0.8) + 5 * rng.standard_normal(picture.shape)
    line = np.linspace(-1, 1, SIZE) * SIZE * PIXEL_MM / 2
    table = (np.abs(line[:, None] - 136 + (line[None, :] / 28) ** 2) < 1.4) & (np.abs(line) < 150)
    smooth = np.where(table & (wall > 20), -300, smooth + noise * np.where(wall > 25, 0.5, 1))
    return np.asarray(np.clip(np.rint(smooth), -1024, 3000), dtype=np.int16)


# Chest

_LUNG_CENTRE = (74.0, -2.0)


def lung_radii(z: float) -> tuple[float, ...]:
    """Return the outline of one lung, as for `drawn.outline`, mirrored for the right."""
    share = float(np.sqrt(max(1 - (max(z - 8, 0) / 92) ** 2, 0.05)))
    base = (52, 56, 65, 76, 72, 50, 38, 37, 36, 39, 46, 62, 74, 70, 60, 54)
    return tuple(1.1 * share * radius for radius in base)


def lung(at: drawn.Grid, sign: int, z: float) -> np.ndarray:
    """Return the distance in mm to the edge of one lung, negative inside."""
    towards = drawn.Grid(at.x * sign, at.y, at.pixel_mm)
    return drawn.outline(towards, _LUNG_CENTRE, lung_radii(z))


def _lung_vessels(seed: int) -> list[tuple[np.ndarray, float]]:
    """Return spheres (centres (n, 3), radius) along vessels that leave the hila."""
    rng = np.random.default_rng(seed)
    found = []
    for sign in (-1, 1):
        for _ in range(120):
            direction = rng.normal(size=3) * (1, 1, 0.9)
            direction /= np.linalg.norm(direction)
            direction[0] = sign * abs(direction[0]) * 0.9
            steps = np.arange(0, 95, 1.6)[:, None]
            bend = rng.normal(size=3) * 0.0028
            centres = np.array([sign * 36, 2, 4]) + direction * steps + bend * steps**2
            radii = np.linspace(float(rng.uniform(2.0, 4.2)), 0.7, len(steps))
            found += [(centre, float(r)) for centre, r in zip(centres, radii, strict=True)]
    return found


def _chest_slice(
    seed: int,
    z: float,
    vessels: list[tuple[np.ndarray, float]],
    findings: tuple[drawn.Finding, ...],
) -> np.ndarray:
    rng = np.random.default_rng([seed, round(z) + 1000])
    at = drawn.grid(SIZE, PIXEL_MM)
    picture, wall = _trunk(at, 172 - 0.1 * z, 112 - 0.15 * z, 19)
    drawn.paint(picture, drawn.cover(wall + 13, 3), _FAT)
    drawn.paint(picture, drawn.cover(drawn.ellipse(at, (0, -4), (62, 76)), 6), -80)
    _ribs(at, picture, wall, z)
    lungs = {sign: lung(at, sign, z) for sign in (-1, 1)}
    for outline in lungs.values():
        drawn.paint(picture, drawn.cover(outline - 3, 2), 20)
    fields = {sign: drawn.cover(outline, 2) for sign, outline in lungs.items()}
    air = np.maximum(fields[-1], fields[1])
    drawn.paint(picture, air, _LUNG + 14 * drawn.texture(rng, at.shape, 4) + 0.25 * at.y)
    _stamp_vessels(at, picture, vessels, z, air)
    _mediastinum(at, picture, z)
    _spine(at, picture, 64)
    sternum = drawn.ellipse(at, (0, -84 + 0.1 * z), (17, 6))
    drawn.paint(picture, drawn.cover(sternum, 2), 330)
    drawn.paint(picture, drawn.cover(sternum + 2, 2), 150)
    for finding in findings:
        _add_to_chest(at, picture, z, finding, lungs)
    return _finish(picture, rng, wall)


def _stamp_vessels(
    at: drawn.Grid,
    picture: np.ndarray,
    vessels: list[tuple[np.ndarray, float]],
    z: float,
    air: np.ndarray,
) -> None:
    share = np.zeros(at.shape)
    origin = float(at.x[0, 0])
    for centre, radius in vessels:
        height = abs(float(centre[2]) - z)
        if height > radius + 1.2:
            continue
        disc = float(np.sqrt(max(radius**2 - min(height, radius) ** 2, 0.36)))
        column, row = ((centre[:2] - origin) / at.pixel_mm).astype(int)
        rows, columns = slice(max(row - 4, 0), row + 6), slice(max(column - 4, 0), column + 6)
        distance = np.hypot(at.x[:, columns] - centre[0], at.y[rows] - centre[1]) - disc
        share[rows, columns] = np.maximum(share[rows, columns], drawn.cover(distance, 1.8))
    drawn.paint(picture, share * air, 40)


def _mediastinum(at: drawn.Grid, picture: np.ndarray, z: float) -> None:
    if z < 6:
        heart = drawn.outline(
            at, (14, -26), (58, 48, 38, 34, 32, 34, 40, 46, 46, 42, 40, 42, 46, 50, 56, 60)
        )
        drawn.paint(picture, drawn.cover(heart - 3, 2), -90)
        drawn.paint(picture, drawn.cover(heart, 2), 95)
        left = drawn.ellipse(at, (38, -28), (22, 15), -32)
        right = drawn.ellipse(at, (0, -42), (21, 14), -25)
        atrium = drawn.ellipse(at, (8, -2), (26, 12))
        for chamber in (left, right, atrium):
            drawn.paint(picture, drawn.cover(chamber, 3), _VESSEL + 35)
    else:
        rising = drawn.ellipse(at, (-14, -34), (15, 15))
        cava = drawn.ellipse(at, (-36, -24), (8, 10))
        parts = [rising, cava]
        if z > 25:
            parts.append(drawn.ellipse(at, (6, -16), (13, 34), -38))
        else:
            parts.append(drawn.ellipse(at, (16, -34), (15, 13)))
            parts += [drawn.ellipse(at, (s * 28, -8 + 4 * s), (18, 7), s * 12) for s in (-1, 1)]
        for vessel in parts:
            drawn.paint(picture, drawn.cover(vessel, 2), _VESSEL + 40)
    if z > 15:
        tube = drawn.ellipse(at, (-2, 12), (9, 8.5))
        drawn.paint(picture, drawn.cover(tube - 1.5, 2), 40)
        drawn.paint(picture, drawn.cover(tube, 2), -990)
    elif z > -8:
        for sign in (-1, 1):
            bronchus = drawn.ellipse(at, (sign * 19, 8), (6.5, 5))
            drawn.paint(picture, drawn.cover(bronchus - 1.5, 2), 40)
            drawn.paint(picture, drawn.cover(bronchus, 2), -985)
    gullet = drawn.ellipse(at, (6, 30), (8, 6))
    drawn.paint(picture, drawn.cover(gullet, 2), 35)
    falling = drawn.ellipse(at, (23, 50), (12, 12))
    drawn.paint(picture, drawn.cover(falling, 2), _VESSEL + 40)


LUNG_PLACES = {"upper lobe": (74.0, -18.0, 24.0), "lower lobe": (84.0, 30.0, -16.0)}


def lung_place_mm(finding: drawn.Finding) -> tuple[float, float, float]:
    """Return the centre (x, y, z) in mm of a finding of the lung."""
    x, y, z = LUNG_PLACES[finding.place]
    return finding.sign * x, y, z


def _add_to_chest(
    at: drawn.Grid,
    picture: np.ndarray,
    z: float,
    finding: drawn.Finding,
    lungs: dict[int, np.ndarray],
) -> None:
    field = lungs[finding.sign]
    if finding.kind == "nodule":
        x, y, level = lung_place_mm(finding)
        ball = np.sqrt((at.x - x) ** 2 + (at.y - y) ** 2 + (z - level) ** 2) - finding.size_mm / 2
        drawn.paint(picture, drawn.cover(ball, 1.8), 45)
    elif finding.kind == "pleural effusion":
        back = _LUNG_CENTRE[1] + lung_radii(z)[4]
        level = back - finding.size_mm * float(np.clip(1 - (z + 40) / 88, 0, 1)) ** 0.5
        crescent = level + 0.10 * (np.abs(at.x) - _LUNG_CENTRE[0]) - at.y
        drawn.paint(picture, drawn.cover(crescent, 2) * drawn.cover(field, 2), _FLUID + 3)
        edge = drawn.cover(np.abs(crescent - 6) - 5, 4) * drawn.cover(field, 2)
        drawn.paint(picture, 0.8 * edge * (z < 20), 25)
    elif finding.kind == "pneumothorax":
        front = at.y + 74 - finding.size_mm
        free = drawn.cover(front, 1.5) * drawn.cover(field, 2)
        drawn.paint(picture, free, -995)
    elif finding.kind == "consolidation":
        x, y, level = lung_place_mm(finding)
        rough = drawn.texture(np.random.default_rng(5), at.shape, 5)
        ball = np.sqrt((at.x - x) ** 2 + (at.y - y) ** 2 + (z - level) ** 2) - finding.size_mm / 2
        drawn.paint(
            picture, drawn.cover(ball + 3.5 * rough, 8) * drawn.cover(field, 2), 28 + 12 * rough
        )


# Abdomen

_KIDNEY = (62.0, 42.0)


def _abdomen_slice(seed: int, z: float, findings: tuple[drawn.Finding, ...]) -> np.ndarray:
    rng = np.random.default_rng([seed, round(z) + 1000])
    shape_rng = np.random.default_rng(seed)
    at = drawn.grid(SIZE, PIXEL_MM)
    picture, wall = _trunk(at, 164, 116, 20)
    drawn.paint(picture, drawn.cover(wall + 11, 3), _FAT + 4)
    _ribs(at, picture, wall - 1, z + 11)
    _spine(at, picture, 56)
    for sign in (-1, 1):
        psoas = drawn.ellipse(at, (sign * 30, 56), (11, 14), sign * -20)
        drawn.paint(picture, drawn.cover(psoas, 2), _MUSCLE)
    _bowel(at, picture, z, shape_rng)
    _liver(at, picture, wall, z, shape_rng)
    _stomach_and_spleen(at, picture, wall, z)
    for centre, radius in (((12.0, 28.0), 10.0), ((-20.0, 28.0), 11.0)):
        drawn.paint(picture, drawn.cover(drawn.ellipse(at, centre, (radius, radius * 0.9)), 2), 155)
    for sign in (-1, 1):
        _kidney(at, picture, z, sign, findings)
    for finding in findings:
        _add_to_abdomen(at, picture, z, finding)
    return _finish(picture, rng, wall)


def _liver(
    at: drawn.Grid, picture: np.ndarray, wall: np.ndarray, z: float, rng: np.random.Generator
) -> None:
    share = float(np.clip((z + 58) / 64, 0.35, 1)) ** 0.7
    radii = np.array((66, 50, 38, 36, 44, 62, 70, 66, 62, 62, 64, 66, 68, 72, 80, 84)) * share
    shape = drawn.outline(at, (-78 + 18 * (1 - share), -6 + 6 * (1 - share)), tuple(radii))
    field = drawn.cover(np.maximum(shape, wall + 13), 2)
    value = 108 + 4 * drawn.texture(rng, at.shape, 6)
    drawn.paint(picture, field, value)
    if z < -24:
        return
    portal = np.array([[-32.0, -2], [-58, -10], [-84, -4], [-104, 10]])
    hepatic = np.array([[-44.0, -34], [-72, -38], [-98, -30]])
    for points, radius in ((portal, 5.0), (hepatic, 3.6)):
        moved = points + (0.0, 0.25 * z)
        part, distance = drawn.stroke(at, moved, radius + 3)
        drawn.paint(picture[part], drawn.cover(distance - radius, 2.5) * field[part], 165)
    if z < 8:
        bladder = drawn.ellipse(at, (-58, -56), (14, 19), 20)
        drawn.paint(picture, drawn.cover(bladder - 1.5, 2), 60)
        drawn.paint(picture, drawn.cover(bladder, 2), 9)


def _stomach_and_spleen(at: drawn.Grid, picture: np.ndarray, wall: np.ndarray, z: float) -> None:
    if z > -16:
        shape = drawn.outline(at, (62, -34), (46, 42, 36, 34, 40, 50, 48, 42, 44, 46, 44, 46))
        share = drawn.cover(shape, 2)
        drawn.paint(picture, share, 60)
        drawn.paint(picture, drawn.cover(shape + 4, 2), 22)
        gas = np.maximum(shape + 4, at.y + 46)
        drawn.paint(picture, drawn.cover(gas, 1.6), -960)
        spleen = drawn.ellipse(at, (104, 38), (19, 40 - 0.2 * abs(z - 12)), 18)
        drawn.paint(picture, drawn.cover(np.maximum(spleen, wall + 13), 2), 118)
    pancreas = np.array([[-22.0, -10], [2, -16], [30, -8], [64, 6]])
    if -20 < z < 14:
        part, distance = drawn.stroke(at, pancreas + (0, 0.2 * z), 16)
        drawn.paint(picture[part], drawn.cover(distance - 9, 3), 96)


def _bowel(at: drawn.Grid, picture: np.ndarray, z: float, rng: np.random.Generator) -> None:
    loops = [(rng.uniform(-58, 96), rng.uniform(-78, 4), rng.uniform(10, 16)) for _ in range(15)]
    loops += [(88.0, 12.0, 17.0), (-92.0, 30.0, 18.0)]
    lower = float(np.clip((4 - z) / 20, 0, 1))
    for x, y, radius in loops:
        if lower < 0.3 and not (x > 85 and y > 0):
            continue
        size = radius * (0.85 + 0.15 * np.sin(z / 9 + x))
        loop = drawn.ellipse(at, (x + 0.12 * z, y), (size, size * 0.82), x)
        drawn.paint(picture, drawn.cover(loop, 2), 72)
        drawn.paint(picture, drawn.cover(loop + 3, 2), 24)
        if int(x * 7) % 3 == 0:
            gas = np.maximum(loop + 3, at.y - y + 2)
            drawn.paint(picture, drawn.cover(gas, 1.6), -900)


def _kidney(
    at: drawn.Grid, picture: np.ndarray, z: float, sign: int, findings: tuple[drawn.Finding, ...]
) -> None:
    level = -14 if sign < 0 else -6
    share = 1 - ((z - level) / 56) ** 2
    if share <= 0.04:
        return
    share = float(np.sqrt(share))
    centre = (sign * _KIDNEY[0], _KIDNEY[1])
    kidney = drawn.ellipse(at, centre, (25 * share, 33 * share), sign * -26)
    drawn.paint(picture, drawn.cover(kidney, 2), 185)
    medulla = drawn.ellipse(at, centre, (16 * share, 23 * share), sign * -26)
    ripple = drawn.texture(np.random.default_rng(3), at.shape, 3)
    drawn.paint(picture, 0.6 * drawn.cover(medulla + 3 * ripple, 3), 140)
    sinus = drawn.ellipse(
        at, (centre[0] - sign * 11, centre[1] - 4), (14 * share, 10 * share), sign * -26
    )
    drawn.paint(picture, drawn.cover(sinus, 3) * (abs(z - level) < 30), _FAT + 20)
    for finding in findings:
        if finding.kind == "hydronephrosis" and finding.sign == sign:
            _hydronephrosis(at, picture, z, level, finding)


def _hydronephrosis(
    at: drawn.Grid, picture: np.ndarray, z: float, level: float, finding: drawn.Finding
) -> None:
    """A renal pelvis wide with water, with blunt calyces; its width is `size_mm`."""
    share = 1 - ((z - level) / 36) ** 2
    if share <= 0.05:
        return
    root = float(np.sqrt(share))
    x, y = finding.sign * (_KIDNEY[0] - 13), _KIDNEY[1] - 4
    pelvis = drawn.ellipse(at, (x, y), (finding.size_mm / 2 * root, finding.size_mm / 2.6 * root))
    parts = [pelvis]
    for dy, reach in ((-15, 9), (2, 15), (17, 8)):
        parts.append(
            drawn.ellipse(
                at,
                (x + finding.sign * (8 + reach * 0.5), y + dy * root + 3),
                (6.5 * root, 6 * root),
            )
        )
    for part in parts:
        drawn.paint(picture, drawn.cover(part, 2), _FLUID)


ABDOMEN_PLACES = {
    "liver": (-84.0, -14.0, 16.0),
    "kidney": (55.0, 39.0, -8.0),
}


def _add_to_abdomen(at: drawn.Grid, picture: np.ndarray, z: float, finding: drawn.Finding) -> None:
    half = finding.size_mm / 2
    if finding.kind in ("liver lesion", "liver cyst"):
        x, y, level = ABDOMEN_PLACES["liver"]
        ball = np.sqrt((at.x - x) ** 2 + (at.y - y) ** 2 + (z - level) ** 2) - half
        if finding.kind == "liver cyst":
            drawn.paint(picture, drawn.cover(ball, 1.8), _FLUID)
        else:
            rough = drawn.texture(np.random.default_rng(9), at.shape, 3)
            drawn.paint(picture, drawn.cover(ball, 2.5), 58 + 7 * rough)
            drawn.paint(picture, drawn.cover(np.abs(ball + 2) - 1.4, 2), 138)
    elif finding.kind == "kidney stone":
        x, y, level = ABDOMEN_PLACES["kidney"]
        stone = np.sqrt((at.x - finding.sign * x) ** 2 + (at.y - y) ** 2 + (z - level) ** 2) - half
        drawn.paint(picture, drawn.cover(stone, 1.6), 900)
