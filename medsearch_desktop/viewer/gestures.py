"""What drags and keys mean in a stack pane."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, Qt

from medsearch_desktop.imaging import study as studies
from medsearch_desktop.viewer import framing

LEFT, RIGHT, MIDDLE = (
    Qt.MouseButton.LeftButton,
    Qt.MouseButton.RightButton,
    Qt.MouseButton.MiddleButton,
)
_ZOOM_DRAG_PX = 120  # travel that doubles the zoom


@dataclass(frozen=True)
class Drag:
    """What a drag began with; `on_bar` where it began on the slice bar."""

    button: Qt.MouseButton
    start: QPointF
    window: studies.Window | None
    frame: framing.Frame
    on_bar: bool

    @property
    def scrolls(self) -> bool:
        """Say whether the drag moves the knob of the slice bar."""
        return self.on_bar and self.button == LEFT

    @property
    def windows(self) -> bool:
        """Say whether the drag changes the window."""
        return not self.on_bar and self.button == LEFT and self.window is not None

    def placed(self, place: QPointF) -> framing.Frame | None:
        """Return the frame after a drag to `place`, None for a drag that keeps it."""
        moved = place - self.start
        if self.button == RIGHT:
            factor = 2.0 ** (-moved.y() / _ZOOM_DRAG_PX)
            return self.frame.zoomed(factor, self.start.x(), self.start.y())
        if self.button == MIDDLE:
            return self.frame.panned(moved.x(), moved.y())
        return None


def steps(key: int, count: int) -> int | None:
    """Return by how many slices a key scrolls a stack of `count`, None for another key."""
    page = max(1, count // 10)
    moves = {
        Qt.Key.Key_Down: 1,
        Qt.Key.Key_Right: 1,
        Qt.Key.Key_Up: -1,
        Qt.Key.Key_Left: -1,
        Qt.Key.Key_PageDown: page,
        Qt.Key.Key_PageUp: -page,
        Qt.Key.Key_Home: -count,
        Qt.Key.Key_End: count,
    }
    return moves.get(key)
