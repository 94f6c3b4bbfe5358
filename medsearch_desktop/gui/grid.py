"""Window grid: how wide each part is, and what a narrower window takes away."""

from __future__ import annotations

from dataclasses import dataclass

TABS_ONLY = 32
BOTTOM_OPEN = 196
SMALLEST = (1024, 600)
# Below this height the menu folds into the first button of the search row.
FOLDED_BELOW = 720


@dataclass(frozen=True)
class Grid:
    """Sizes in pixels at 100 %; `level` counts what was taken away (0: nothing)."""

    level: int
    left: int
    results: int
    card: str
    bottom: int
    is_folded: bool

    @property
    def is_strip_narrow(self) -> bool:
        """Say whether the study strip shows pictures only."""
        return self.left < 208


def grid_for(width: int, height: int, scale: float = 1.0) -> Grid:
    """Return the grid of a client area of `width` x `height` pixels."""
    width, height = round(width / scale), round(height / scale)
    folded = height < FOLDED_BELOW
    if width >= 1800:
        return Grid(0, 208, 600, "M", BOTTOM_OPEN, folded)
    if width >= 1500:
        return Grid(1, 208, 408, "M", TABS_ONLY, folded)
    if width >= 1280:
        return Grid(2, 88, 376, "S", TABS_ONLY, folded)
    return Grid(3, 0, 200, "S", TABS_ONLY, folded)
