"""Shapes, textures and the record that all drawn phantoms share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# A picture drawn by a program says so in its title.
BADGE = "Drawn"


@dataclass(frozen=True)
class Finding:
    """One drawn abnormality, in the words of its report.

    `side` is the patient's own ("right", "left" or ""), `size_mm` the extent
    that the report states: a diameter, a thickness or a height.
    """

    kind: str
    side: str = ""
    place: str = ""
    size_mm: float = 0.0

    @property
    def sign(self) -> int:
        """Return the direction on screen: -1 (patient's right, screen left), +1 (left) or 0."""
        return {"right": -1, "left": 1}.get(self.side, 0)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A drawn series and what is true of it.

    `values` is (z, y, x) int16, rows run down and columns to the patient's
    left; for CT they are HU and plane 0 is the lowest. `spacing_mm` is
    (slice, row, column). `findings` are what was drawn, `sentences` the report
    of just that; `shown` are the planes that stand for the series in a case.
    """

    key: str
    title: str
    sentences: tuple[str, ...]
    labels: tuple[str, ...]
    findings: tuple[Finding, ...]
    modality: str
    body_part: str
    view: str
    values: np.ndarray
    spacing_mm: tuple[float, float, float]
    window: tuple[float, float]
    shown: tuple[int, ...] = (0,)
    lowest_mm: float = 0.0


@dataclass(frozen=True, eq=False)
class Grid:
    """Pixel centres in mm: `x` (1, columns) to the patient's left, `y` (rows, 1) down."""

    x: np.ndarray
    y: np.ndarray
    pixel_mm: float

    @property
    def shape(self) -> tuple[int, int]:
        """Return (rows, columns)."""
        return self.y.shape[0], self.x.shape[1]


def grid(size: int, pixel_mm: float) -> Grid:
    """Return a square grid of `size` pixels a side around (0, 0)."""
    centres = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * np.float32(pixel_mm)
    return Grid(centres[None, :], centres[:, None], pixel_mm)


def ellipse(
    at: Grid, centre: tuple[float, float], radii: tuple[float, float], turn_deg: float = 0.0
) -> np.ndarray:
    """Return the approximate distance in mm to an ellipse's edge, negative inside."""
    dx, dy = at.x - centre[0], at.y - centre[1]
    cosine, sine = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    u, v = dx * cosine + dy * sine, dy * cosine - dx * sine
    return np.asarray((np.hypot(u / radii[0], v / radii[1]) - 1) * min(radii))


def outline(at: Grid, centre: tuple[float, float], radii: Sequence[float]) -> np.ndarray:
    """Return the radial distance in mm to a closed smooth outline, negative inside.

    `radii` are the distances from the centre at equal steps of angle, first to
    the patient's left, then clockwise on screen.
    """
    dx, dy = at.x - centre[0], at.y - centre[1]
    spectrum = np.fft.rfft(np.asarray(radii, dtype=np.float64))
    fine = np.fft.irfft(np.pad(spectrum, (0, 181 - len(spectrum))), 360) * (360 / len(radii))
    angle = np.degrees(np.arctan2(dy, dx)) % 360
    # 361 entries, so that the step back to 0 degrees is interpolated as well.
    edge = np.interp(angle, np.arange(361), np.append(fine, fine[0]))
    return np.asarray(np.hypot(dx, dy) - edge, dtype=np.float32)


def cover(distance: np.ndarray, softness_mm: float) -> np.ndarray:
    """Return the share of each pixel that lies inside: 1 deep inside, 0 outside."""
    return np.clip(0.5 - distance / softness_mm, 0, 1)


def paint(picture: np.ndarray, share: np.ndarray, value: float | np.ndarray) -> None:
    """Replace `share` of each pixel of `picture` by `value`, in place."""
    picture += share * (value - picture)


def dome(depth: np.ndarray, reach_mm: float) -> np.ndarray:
    """Return how much of the full thickness a round edge has at `depth` mm inside: 0 to 1."""
    return np.sqrt(1 - (1 - np.clip(depth / reach_mm, 0, 1)) ** 2)


def blur(picture: np.ndarray, sigma_px: float) -> np.ndarray:
    """Return `picture` (rows, columns) smoothed by a Gaussian, wrapping at the edges."""
    rows = np.exp(-2 * (np.pi * sigma_px * np.fft.fftfreq(picture.shape[0])) ** 2)
    columns = np.exp(-2 * (np.pi * sigma_px * np.fft.rfftfreq(picture.shape[1])) ** 2)
    spectrum = np.fft.rfft2(picture) * rows[:, None] * columns[None, :]
    return np.asarray(np.fft.irfft2(spectrum, picture.shape), dtype=np.float32)


def texture(seed: np.random.Generator, shape: tuple[int, int], sigma_px: float) -> np.ndarray:
    """Return smooth noise with mean 0 and standard deviation 1."""
    noise = blur(seed.standard_normal(shape).astype(np.float32), sigma_px)
    return np.asarray((noise - noise.mean()) / noise.std())


def stroke(at: Grid, points: np.ndarray, reach_mm: float) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return a part of the grid and the distance in mm there to a line through `points`.

    `points` is (n, 2), (x, y) in mm. Pixels farther than `reach_mm` are infinite.
    """
    origin = np.array([at.x[0, 0], at.y[0, 0]])
    low = np.floor((points.min(axis=0) - reach_mm - origin) / at.pixel_mm).astype(int)
    high = np.ceil((points.max(axis=0) + reach_mm - origin) / at.pixel_mm).astype(int) + 1
    limits = np.array(at.shape)[::-1]
    low, high = np.clip(low, 0, limits), np.clip(high, 0, limits)
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    distance = np.full((high[1] - low[1], high[0] - low[0]), np.inf, dtype=np.float32)
    for start, end in itertools.pairwise(points):
        _approach(at, distance, (low[0], low[1]), (start, end), reach_mm)
    return part, distance


def _approach(
    at: Grid,
    distance: np.ndarray,
    corner: tuple[int, int],
    segment: tuple[np.ndarray, np.ndarray],
    reach_mm: float,
) -> None:
    """Lower `distance` around one straight segment."""
    start, end = segment
    origin = np.array([at.x[0, 0], at.y[0, 0]])
    near = (np.minimum(start, end) - reach_mm - origin) / at.pixel_mm
    far = (np.maximum(start, end) + reach_mm - origin) / at.pixel_mm
    x0, y0 = np.maximum(np.floor(near).astype(int) - corner, 0)
    x1, y1 = np.maximum(np.ceil(far).astype(int) + 1 - corner, 0)
    window = distance[y0:y1, x0:x1]
    if window.size == 0:
        return
    dx = at.x[:, corner[0] + x0 : corner[0] + x0 + window.shape[1]] - start[0]
    dy = at.y[corner[1] + y0 : corner[1] + y0 + window.shape[0], :] - start[1]
    along = end - start
    share = np.clip((dx * along[0] + dy * along[1]) / max(float(along @ along), 1e-6), 0, 1)
    np.minimum(window, np.hypot(dx - share * along[0], dy - share * along[1]), out=window)


def tube(distance: np.ndarray, radius_mm: float) -> np.ndarray:
    """Return the path in mm of a ray that passes a round tube at `distance` from its axis."""
    inside = radius_mm**2 - np.minimum(distance, radius_mm) ** 2
    return np.asarray(2 * np.sqrt(np.clip(inside, 0, None)))


def branches(
    seed: np.random.Generator, start: np.ndarray, heading_deg: float, radius_mm: float
) -> list[tuple[np.ndarray, float]]:
    """Return the lines and radii of a vessel tree, (n, 2) points in mm each.

    Each branch is thinner than its parent by the cube law of equal flow.
    """
    found: list[tuple[np.ndarray, float]] = []
    todo = [(start, heading_deg, radius_mm)]
    while todo:
        at, heading, radius = todo.pop()
        if radius < 0.75:
            continue
        points = [at]
        for _ in range(4):
            heading += float(seed.normal(0, 7))
            direction = np.array([np.cos(np.radians(heading)), np.sin(np.radians(heading))])
            points.append(points[-1] + direction * radius * 2.6)
        found.append((np.array(points), radius))
        opening = float(seed.uniform(18, 34))
        todo.append((points[-1], heading - opening, radius * float(seed.uniform(0.70, 0.80))))
        todo.append((points[-1], heading + opening, radius * float(seed.uniform(0.74, 0.86))))
    return found
