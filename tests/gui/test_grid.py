"""Window grid: the widths of the look, and what never goes."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel

from medsearch_desktop.gui import grid, grips, search_bar

LEFT = Qt.MouseButton.LeftButton


@pytest.mark.parametrize(
    ("size", "left", "results", "card", "bottom"),
    [
        ((1920, 1080), 208, 600, "M", 196),
        ((1799, 1000), 208, 408, "M", 32),
        ((1366, 768), 88, 376, "S", 32),
        ((1024, 600), 0, 200, "S", 32),
    ],
)
def test_that_each_width_has_the_columns_of_the_look(size, left, results, card, bottom):
    found = grid.grid_for(*size)
    assert (found.left, found.results, found.card, found.bottom) == (left, results, card, bottom)


def test_that_a_scale_counts_as_a_smaller_window():
    assert grid.grid_for(3840, 2160, 2.0) == grid.grid_for(1920, 1080)


def test_that_a_low_window_folds_its_menu_away():
    assert grid.grid_for(1366, 719).is_folded
    assert not grid.grid_for(1366, 720).is_folded


@pytest.mark.parametrize("size", [(1920, 1080), (1500, 900), (1366, 768), (1280, 700), (1024, 600)])
def test_that_docks_take_their_widths_and_notice_and_light_stay_in_sight(
    program, toys, qtbot, size
):
    window = program(size=size).window
    wanted = grid.grid_for(*size)
    qtbot.waitUntil(lambda: window.results.width() == wanted.results, timeout=3000)
    if wanted.left:
        assert window.strip.width() == wanted.left
    else:
        assert not window.strip.isVisible()
    notice = next(
        label for label in window.findChildren(QLabel) if "Not for diagnostic use" in label.text()
    )
    light = window.findChild(search_bar.DeviceLight)
    for widget in (notice, light, window.search_bar.box, window.search_bar.picker):
        assert widget.isVisible()
        corner = widget.mapTo(window, widget.rect().bottomRight())
        assert corner.x() <= window.width()
    assert window.menus.bar.isVisible() is not wanted.is_folded


def test_that_the_line_between_docks_can_be_grabbed_within_8_px(program, toys, qtbot):
    window = program(size=(1920, 1080)).window
    qtbot.waitUntil(lambda: window.results.width() == 600, timeout=3000)
    edge = window.results.mapTo(window, QPoint(0, 300))
    for offset in (-3, 3):
        place = edge + QPoint(offset, 0)
        # The grips follow the docks by a timer.
        qtbot.waitUntil(lambda place=place: isinstance(window.childAt(place), grips.Grip))
    grip = window.childAt(edge)
    start = grip.mapFrom(window, edge)
    qtbot.mousePress(grip, LEFT, pos=start)
    end = QPointF(start - QPoint(40, 0))
    none = Qt.KeyboardModifier.NoModifier
    moved = QMouseEvent(
        QEvent.Type.MouseMove, end, QPointF(grip.mapToGlobal(end)), LEFT, LEFT, none
    )
    QApplication.sendEvent(grip, moved)
    qtbot.mouseRelease(grip, LEFT)
    qtbot.waitUntil(lambda: window.results.width() == 640)


def test_that_the_strip_opens_over_the_viewer_where_there_is_no_room_beside_it(
    program, toys, qtbot
):
    window = program(size=(1024, 600)).window
    before = window.viewer.width()
    window.viewer.strip_requested.emit()
    assert window.strip.isVisible()
    assert window.viewer.width() == before
    window.viewer.strip_requested.emit()
    assert not window.strip.isVisible()
    window.resize(1920, 1080)
    qtbot.waitUntil(lambda: window.strip.isVisible() and window.strip.width() == 208)
