"""Pictures drawn in code, as varied as radiology's: what a conversion is tried with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

_SIDE = 160


def pictures(count: int) -> list[np.ndarray]:
    """Return uint8 (h, w, 3) pictures, the same at each call and each unlike the others.

    Sections of bodies and heads, projections with ribs, fans of ultrasound,
    long bones and stained tissue, of changing shape, noise and contrast.
    """
    drawers = (_section, _projection, _fan, _bone, _tissue)
    return [drawers[k % len(drawers)](np.random.default_rng(k)) for k in range(count)]


def _grid(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of each pixel, from -1 to 1, turned and shifted a little."""
    height, width = (_SIDE + int(n) for n in random.integers(-40, 80, 2))
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    turn, (right, down) = random.normal(0, 0.15), random.normal(0, 0.06, 2)
    x, y = x - right, y - down
    return x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)


def _disc(x: np.ndarray, y: np.ndarray, at: tuple[float, float], size: np.ndarray) -> np.ndarray:
    """Return 1 inside of an ellipse, falling to 0 over a soft edge."""
    distance = ((x - at[0]) / size[0]) ** 2 + ((y - at[1]) / size[1]) ** 2
    return np.asarray(1 / (1 + np.exp(np.clip((distance - 1) * 12, -60, 60))))


def _section(random: np.random.Generator) -> np.ndarray:
    x, y = _grid(random)
    size = random.uniform(0.55, 0.95, 2)
    light = 0.45 * _disc(x, y, (0, 0), size)
    light += random.uniform(0, 0.5) * (
        _disc(x, y, (0, 0), size) - _disc(x, y, (0, 0), size * random.uniform(0.8, 0.95))
    )
    for _ in range(int(random.integers(2, 9))):
        at = tuple(random.uniform(-0.5, 0.5, 2))
        light += random.uniform(-0.4, 0.5) * _disc(x, y, at, random.uniform(0.05, 0.35, 2))
    return _shown(light, random)


def _projection(random: np.random.Generator) -> np.ndarray:
    x, y = _grid(random)
    light = 0.75 - 0.2 * np.abs(x)
    for side in (-0.42, 0.42):
        lung = random.uniform((0.22, 0.45), (0.38, 0.75))
        light -= random.uniform(0.2, 0.5) * _disc(x, y, (side, random.normal(0, 0.08)), lung)
    light += random.uniform(0.1, 0.4) * _disc(x, y, (0.12, 0.3), random.uniform(0.2, 0.4, 2))
    ribs = np.sin((y + random.uniform(0.1, 0.5) * x**2) * random.uniform(14, 26))
    return _shown(light + random.uniform(0.02, 0.1) * ribs, random)


def _fan(random: np.random.Generator) -> np.ndarray:
    x, y = _grid(random)
    distance, angle = np.hypot(x, y + 1.1), np.arctan2(x, y + 1.1)
    is_seen = (np.abs(angle) < random.uniform(0.4, 0.8)) & (distance < 2) & (distance > 0.3)
    speckle = random.gamma(1.5, 0.16, x.shape)
    at = tuple(random.uniform(-0.4, 0.4, 2))
    hole = 1 - 0.9 * _disc(x, y, at, random.uniform(0.1, 0.4, 2))
    bands = 1 + 0.3 * np.sin(distance * random.uniform(4, 15))
    return _shown(is_seen * speckle * hole * bands, random)


def _bone(random: np.random.Generator) -> np.ndarray:
    x, y = _grid(random)
    light = 0.25 * np.exp(-((x / random.uniform(0.3, 0.7)) ** 2))
    for _ in range(int(random.integers(1, 4))):
        shift, width = random.uniform(-0.4, 0.4), random.uniform(0.08, 0.2)
        across = np.abs(x - shift - 0.1 * y) / (width * (1 + random.uniform(0, 1.5) * y**4))
        light += np.where(across < 1, 0.25 + 0.35 * across**4, 0)
    return _shown(light, random)


def _tissue(random: np.random.Generator) -> np.ndarray:
    height, width = _grid(random)[0].shape
    coarse = random.uniform(0, 1, (int(random.integers(4, 30)), int(random.integers(4, 30)), 3))
    small = Image.fromarray((coarse * 255).astype(np.uint8))
    stain = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)) / 255
    tint = random.uniform((0.6, 0.2, 0.5), (1.0, 0.8, 1.0))
    cells = random.uniform(0, 0.4) * (random.random((height, width)) < random.uniform(0, 0.1))
    light = tint * (0.5 + 0.5 * stain) - cells[..., None]
    return np.asarray(np.clip(light * 255, 0, 255), np.uint8)


def _shown(light: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return grey values as a picture, with noise, a tone curve and at times a frame."""
    noisy = light + random.normal(0, random.uniform(0.005, 0.06), light.shape)
    toned = np.clip(noisy, 0, 1) ** random.uniform(0.6, 1.7)
    grey = np.asarray(toned * 255, np.uint8)
    change: Callable[[np.ndarray], np.ndarray] = (
        (lambda a: 255 - a) if random.random() < 0.1 else (lambda a: a)
    )
    return np.repeat(change(grey)[..., None], 3, axis=2)
