"""What is no anatomy in a picture: uniform borders are cut, burned-in markers filled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Lines are looked at on a grid of about so many points a side, markers on a finer one.
_LINE_POINTS, _MARKER_POINTS = 250, 500
# A line belongs to the border when all but so many of its points are of the border's colour,
# give or take what JPEG does to a flat area. A body seen head-on enters a line so slowly that
# two points in a hundred are less than a pixel of it.
_STRAY, _NOISE = 0.02, 12
# A picture of few greys has a border only where lines are flat beside its contrast.
_NOISE_OF_CONTRAST = 0.1
# A frame, the film's clear edge and the shutters: so many borders may lie in one another.
_LAYERS = 4
# At least this part of a side stays, so that a wrong guess never leaves a stamp of the body.
_LEAST_KEPT = 1 / 3
_SMALLEST_SIDE = 16

# Markers are sought in cells of so many points, in the outer fifth of each side: side letters
# and dates stand there, and what is bright further in is taken for the body.
_CELL, _MARGIN = 5, 0.2
# No letter is taller, no line of text wider than this part of the picture.
_TALLEST, _WIDEST = 0.12, 0.35
# Lead and print are nearly white, and far brighter than what lies around them, which is flat.
_BRIGHT_OF_MOST, _LEAST_STEP, _FLAT = 0.8, 60, 45
# More islands than this are texture and no letters.
_MOST_CELLS = 400
# Whatever joins a bright cell of the margin to the body is shorter than this many cells.
_STEPS = 40


def trimmed(picture: np.ndarray, *, markers: bool = True) -> np.ndarray:
    """Return what an encoder should see of uint8 (h, w, 3): the same or a smaller picture.

    Borders of one colour are cut, at most two thirds of a side; with
    `markers` small bright letters on a flat ground near the edge are first
    filled with that ground. A blank picture comes back as it is. The rule
    depends on the pixels alone, so that one picture gives one vector
    whatever file it comes from. May return a view of `picture`.
    """
    inner = _without_borders(picture)
    if not markers:
        return inner
    cleared = _without_markers(inner)
    return inner if cleared is inner else _without_borders(cleared)


def _without_borders(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if min(height, width) < _SMALLEST_SIDE:
        return picture
    step = max(1, max(height, width) // _LINE_POINTS)
    # Green alone: films are grey, and a coloured frame is as flat in green.
    points = picture[::step, ::step, 1].astype(np.int16)
    low, high = np.percentile(points[::4, ::4], (1, 99))
    tolerance = min(_NOISE, _NOISE_OF_CONTRAST * float(high - low))
    rows = _kept(points, tolerance)
    columns = _kept(np.ascontiguousarray(points[rows[0] : rows[1]].T), tolerance)
    # Rows seen without the side borders are often flat where the whole lines were not.
    rows = _kept(points[:, columns[0] : columns[1]], tolerance)
    top, bottom = _enough(rows, len(points), height, step)
    left, right = _enough(columns, points.shape[1], width, step)
    return picture[top:bottom, left:right]


def _kept(lines: np.ndarray, tolerance: float) -> tuple[int, int]:
    """Return first and last + 1 of the lines (n, m) that are no border."""
    first = _border(lines, tolerance)
    if first == len(lines):
        return 0, len(lines)
    return first, len(lines) - _border(lines[::-1], tolerance)


def _border(lines: np.ndarray, tolerance: float) -> int:
    """Return how many lines from the first on are flat, in at most _LAYERS colours."""
    allowed = _STRAY * lines.shape[1]
    begun = 0
    for _ in range(_LAYERS):
        if begun == len(lines):
            break
        ground = np.median(lines[begun])
        # Most pictures have no border: a few lines tell.
        for reach in (begun + 4, len(lines)):
            off = np.abs(lines[begun:reach] - ground) > tolerance
            strays = np.count_nonzero(off, axis=1) > allowed
            if strays.any():
                break
        flat = int(strays.argmax()) if strays.any() else len(strays)
        if flat == 0:
            break
        begun += flat
    return begun


def _enough(kept: tuple[int, int], points: int, side: int, step: int) -> tuple[int, int]:
    """Return the pixels of a side that stay: one point of margin, and never too few."""
    first = max(0, (kept[0] - 1) * step) if kept[0] else 0
    last = side if kept[1] == points else min(side, (kept[1] + 1) * step)
    least = int(np.ceil(side * _LEAST_KEPT))
    if last - first < least:
        first = min(max(0, (first + last - least) // 2), side - least)
        last = first + least
    return first, last


def _without_markers(picture: np.ndarray) -> np.ndarray:
    """Return the picture, or a copy of it in which markers have the colour around them."""
    step = max(1, max(picture.shape[:2]) // _MARKER_POINTS)
    side = step * _CELL
    if min(picture.shape[:2]) < _SMALLEST_SIDE * side:
        return picture
    boxes = _Cells.of(picture, step).markers()
    if not boxes:
        return picture
    filled = picture.copy()
    for top, bottom, left, right in boxes:
        # One cell more, because the edges of letters are soft.
        rows = slice(max(0, top - 1) * side, (bottom + 1) * side)
        columns = slice(max(0, left - 1) * side, (right + 1) * side)
        filled[rows, columns] = np.median(picture[rows, columns][::step, ::step], axis=(0, 1))
    return filled


@dataclass(frozen=True, eq=False)
class _Cells:
    """The largest and the smallest green in each cell of a picture, int16 (rows, columns)."""

    most: np.ndarray
    least: np.ndarray

    @staticmethod
    def of(picture: np.ndarray, step: int) -> _Cells:
        rows, columns = (size // (step * _CELL) * _CELL * step for size in picture.shape[:2])
        points = np.ascontiguousarray(picture[:rows:step, :columns:step, 1])
        return _Cells(_folded(np.maximum, points), _folded(np.minimum, points))

    def markers(self) -> list[tuple[int, int, int, int]]:
        """Return (top, bottom, left, right) of what is small and bright on a flat ground."""
        found = []
        # Over tissue only what is nearly white is a letter, over the dark of a film any print.
        dark = int(np.median(self.least[:2])) + _LEAST_STEP
        for level in (_BRIGHT_OF_MOST * int(self.most.max()), dark):
            islands = _islands(self.most >= max(level, _LEAST_STEP))
            if 0 < np.count_nonzero(islands) <= _MOST_CELLS:
                found += [box for box in _boxes(islands) if self._is_marker(*box)]
        return found

    def _is_marker(self, top: int, bottom: int, left: int, right: int) -> bool:
        rows, columns = self.most.shape
        if bottom - top > max(2, _TALLEST * rows) or right - left > max(2, _WIDEST * columns):
            return False
        first = max(0, top - 2), max(0, left - 2)
        around = slice(first[0], bottom + 2), slice(first[1], right + 2)
        is_ring = np.ones(self.most[around].shape, bool)
        # The cells beside it hold its soft edges.
        is_ring[
            max(0, top - 1 - first[0]) : bottom + 1 - first[0],
            max(0, left - 1 - first[1]) : right + 1 - first[1],
        ] = False
        if not is_ring.any():
            return False
        ground = float(np.median(self.least[around][is_ring]))
        step = int(self.most[top:bottom, left:right].max()) - ground
        return bool(self.most[around][is_ring].max() - ground <= _FLAT and step >= _LEAST_STEP)


def _folded(fold: np.ufunc, points: np.ndarray) -> np.ndarray:
    """Return one value a cell, int16 (rows, columns), of the points (n, m)."""
    bands = fold.reduce(points.reshape(-1, _CELL, points.shape[1]), axis=1)
    cells = bands[:, ::_CELL]
    for aside in range(1, _CELL):
        cells = fold(cells, bands[:, aside::_CELL])
    folded: np.ndarray = cells.astype(np.int16)
    return folded


def _islands(bright: np.ndarray) -> np.ndarray:
    """Return the bright cells of the margin that are not joined to bright ones further in."""
    rows, columns = bright.shape
    margin = int(_MARGIN * rows), int(_MARGIN * columns)
    body = np.zeros_like(bright)
    inner = slice(margin[0], rows - margin[0]), slice(margin[1], columns - margin[1])
    body[inner] = bright[inner]
    count = -1
    for _ in range(_STEPS):
        grown = _spread(body) & bright
        if (now := int(np.count_nonzero(grown))) == count:
            break
        body, count = grown, now
    islands: np.ndarray = bright & ~body
    return islands


def _spread(cells: np.ndarray) -> np.ndarray:
    """Return the cells and their eight neighbours."""
    rows = cells.copy()
    rows[1:] |= cells[:-1]
    rows[:-1] |= cells[1:]
    spread = rows.copy()
    spread[:, 1:] |= rows[:, :-1]
    spread[:, :-1] |= rows[:, 1:]
    return spread


def _boxes(islands: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """Yield (top, bottom, left, right) of each island; cells two apart are one, as letters are."""
    left_over = {(int(row), int(column)) for row, column in np.argwhere(islands)}
    while left_over:
        waiting = [left_over.pop()]
        found = list(waiting)
        while waiting:
            row, column = waiting.pop()
            near = [
                (row + down, column + aside)
                for down in (-1, 0, 1)
                for aside in (-2, -1, 0, 1, 2)
                if (row + down, column + aside) in left_over
            ]
            left_over.difference_update(near)
            waiting += near
            found += near
        heights, widths = zip(*found, strict=True)
        yield min(heights), max(heights) + 1, min(widths), max(widths) + 1
