"""The stack pane: what it shows and what mouse and keys do."""

from __future__ import annotations

import dataclasses
import math
import time

import numpy as np
import phantoms
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QFocusEvent, QImage, QKeyEvent, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication

from medsearch_desktop.gui import theme
from medsearch_desktop.imaging import display, study, volume

LEFT, RIGHT, MIDDLE = (
    Qt.MouseButton.LeftButton,
    Qt.MouseButton.RightButton,
    Qt.MouseButton.MiddleButton,
)
MIDDLE_OF_PANE = QPoint(320, 320)


@pytest.fixture
def ct(tmp_path, show):
    """Twelve slices of a ramp of HU, 64 x 64 pixels of 1.5 x 1.25 mm, at slice 5."""
    phantoms.write_ct_series(tmp_path / "ct")
    return show(tmp_path / "ct", 5)


def wheel(pane, delta, held=Qt.KeyboardModifier.NoModifier):
    place = QPointF(MIDDLE_OF_PANE)
    event = QWheelEvent(
        place, QPointF(pane.mapToGlobal(MIDDLE_OF_PANE)), QPoint(), QPoint(0, delta),
        Qt.MouseButton.NoButton, held, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(pane, event)


def mouse(pane, kind, place, button, held):
    at = QPointF(place)
    event = QMouseEvent(
        kind, at, QPointF(pane.mapToGlobal(place)), button, held, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(pane, event)


def drag(pane, button, start, end):
    none = Qt.MouseButton.NoButton
    mouse(pane, QEvent.Type.MouseButtonPress, start, button, button)
    mouse(pane, QEvent.Type.MouseMove, end, none, button)
    mouse(pane, QEvent.Type.MouseButtonRelease, end, button, none)


def hover(pane, place):
    none = Qt.MouseButton.NoButton
    mouse(pane, QEvent.Type.MouseMove, place, none, none)


def drawn(pane) -> QImage:
    image = QImage(pane.size(), QImage.Format.Format_RGB32)
    pane.render(image)
    return image


def has_colour(image, rect, colour) -> bool:
    left, top, wide, high = rect
    return any(
        QColor(image.pixel(x, y)).rgb() == colour.rgb()
        for x in range(left, left + wide)
        for y in range(top, top + high)
    )


# Scrolling


@pytest.mark.parametrize(("delta", "index"), [(-120, 6), (120, 4), (-360, 8), (1200, 0)])
def test_that_the_wheel_scrolls_towards_later_slices_when_turned_down(pane, ct, delta, index):
    wheel(pane, delta)
    assert pane.current_index == index


def test_that_the_small_steps_of_a_touchpad_add_up_to_one_slice(pane, ct):
    for _ in range(3):
        wheel(pane, -40)
    assert pane.current_index == 6


@pytest.mark.parametrize(
    ("key", "index"),
    [
        (Qt.Key.Key_Down, 6), (Qt.Key.Key_Right, 6), (Qt.Key.Key_Up, 4), (Qt.Key.Key_Left, 4),
        (Qt.Key.Key_PageDown, 6), (Qt.Key.Key_PageUp, 4),
        (Qt.Key.Key_Home, 0), (Qt.Key.Key_End, 11),
    ],
)  # fmt: skip
def test_that_the_keys_scroll(pane, ct, qtbot, key, index):
    with qtbot.waitSignal(pane.slice_changed) as said:
        qtbot.keyClick(pane, key)
    assert (pane.current_index, said.args) == (index, [index])


def test_that_scrolling_ends_at_the_ends_without_a_signal(pane, ct, qtbot):
    pane.go_to(99)
    assert pane.current_index == 11
    with qtbot.assertNotEmitted(pane.slice_changed):
        pane.go_to(12)


def test_that_a_drag_along_the_slice_bar_scrolls(pane, ct):
    drag(pane, LEFT, QPoint(630, 320), QPoint(630, 639))
    assert pane.current_index == 11
    assert pane.window == display.default_window(ct[2])


# Window


def test_that_a_drag_to_the_right_widens_the_window_and_upwards_brightens(pane, ct, qtbot):
    start = pane.window
    with qtbot.waitSignal(pane.window_changed):
        drag(pane, LEFT, MIDDLE_OF_PANE, MIDDLE_OF_PANE + QPoint(125, 0))
    assert pane.window.width == pytest.approx(start.width * math.exp(0.5))
    assert pane.window.centre == start.centre
    wide = pane.window
    before = drawn(pane).pixelColor(MIDDLE_OF_PANE).red()
    drag(pane, LEFT, MIDDLE_OF_PANE, MIDDLE_OF_PANE + QPoint(0, -50))
    assert pane.window.centre == pytest.approx(wide.centre - wide.width * 50 / 250)
    assert drawn(pane).pixelColor(MIDDLE_OF_PANE).red() > before


def test_that_a_window_never_gets_narrower_than_one_stored_value(pane, ct):
    drag(pane, LEFT, MIDDLE_OF_PANE, MIDDLE_OF_PANE + QPoint(-6000, 0))
    assert pane.window.width == 1.0


def test_that_number_keys_choose_presets_and_zero_goes_back(pane, ct, qtbot):
    first = pane.window
    names = [window.name for window in pane.presets()]
    assert names[0] == first.name
    assert {"Lung", "Bone"} <= set(names)
    qtbot.keyClick(pane, Qt.Key.Key_2)
    assert pane.window == pane.presets()[2]
    qtbot.keyClick(pane, Qt.Key.Key_0)
    assert pane.window == first


def test_that_the_window_stays_while_scrolling(pane, ct):
    pane.set_window(study.Window(-600, 1500, "Lung"))
    pane.go_to(9)
    assert pane.window.name == "Lung"


# Zoom and pan


def test_that_a_right_drag_upwards_zooms_in_about_its_start(pane, ct):
    before = pane.frame
    start = QPoint(200, 200)
    place = before.to_image(200, 200)
    drag(pane, RIGHT, start, start + QPoint(0, -120))
    assert pane.frame.scale == pytest.approx(2 * before.scale)
    assert pane.frame.to_image(200, 200) == pytest.approx(place)


def test_that_the_wheel_with_control_zooms_and_does_not_scroll(pane, ct):
    before = pane.frame.scale
    wheel(pane, 120, Qt.KeyboardModifier.ControlModifier)
    assert pane.frame.scale == pytest.approx(1.25 * before)
    assert pane.current_index == 5


def test_that_a_middle_drag_pans_and_a_double_click_fits(pane, ct, qtbot):
    fitted = pane.frame
    drag(pane, MIDDLE, MIDDLE_OF_PANE, MIDDLE_OF_PANE + QPoint(30, 10))
    assert pane.frame.to_pane(32, 32) == pytest.approx((350, 330))
    qtbot.mouseDClick(pane, LEFT, pos=MIDDLE_OF_PANE)
    assert pane.frame == fitted


def test_that_a_fitted_slice_follows_the_size_of_the_pane_and_a_zoomed_one_does_not(pane, ct):
    pane.resize(320, 320)
    assert pane.frame.scale == pytest.approx(pane.frame.fitted_scale)
    pane.zoom(2)
    zoomed = pane.frame.scale
    pane.resize(640, 640)
    assert pane.frame.scale == zoomed


# What is shown


def test_that_the_value_under_the_mouse_is_that_of_the_formula(pane, ct, qtbot):
    found = []
    pane.value_under_cursor.connect(found.append)
    series = ct[1]
    affine = np.array(series.affine)
    for column, row in ((3, 7), (40, 12), (60, 60)):
        x, y = pane.frame.to_pane(column + 0.5, row + 0.5)
        hover(pane, QPoint(round(x), round(y)))
        lps = (affine @ [pane.current_index, row, column, 1])[:3]
        value = round(float(phantoms.ramp(*lps)))
        assert found[-1] == f"HU {value}".replace("-", "−")


def test_that_the_value_vanishes_beside_the_slice_and_when_the_mouse_leaves(pane, ct):
    found = []
    pane.value_under_cursor.connect(found.append)
    hover(pane, MIDDLE_OF_PANE)
    QApplication.sendEvent(pane, QEvent(QEvent.Type.Leave))
    assert found[-1] == ""
    assert found[-2].startswith("HU")


def test_that_the_grey_that_is_drawn_is_that_of_the_window(pane, ct):
    _, _, read = ct
    pane.set_overlays_hidden(True)
    grey = display.to_8bit(read.modality_values(5), pane.window)
    image = drawn(pane)
    for column, row in ((20, 20), (40, 50), (9, 33)):
        x, y = pane.frame.to_pane(column + 0.5, row + 0.5)
        shown = QColor(image.pixel(round(x), round(y))).red()
        assert shown == pytest.approx(int(grey[row, column]), abs=2)


def test_that_pixels_that_are_not_square_are_drawn_in_their_true_shape(pane, ct):
    _, _, width, height = pane.frame.target()
    assert height / width == pytest.approx(1.5 / 1.25)


def test_that_the_letters_stand_at_the_edges_and_outlive_the_space_key(pane, ct, qtbot):
    text = theme.colour("text1")
    edges = ((6, 310, 20, 20), (310, 6, 20, 20))
    assert all(has_colour(drawn(pane), edge, text) for edge in edges)
    corner = (6, 6, 60, 50)
    assert has_colour(drawn(pane), corner, text)
    qtbot.keyClick(pane, Qt.Key.Key_Space)
    assert pane.overlays_hidden
    assert all(has_colour(drawn(pane), edge, text) for edge in edges)
    assert not has_colour(drawn(pane), corner, text)


def test_that_a_nifti_slice_hangs_with_the_front_up_and_keeps_its_values(pane, show, tmp_path):
    _, series, _ = show(phantoms.write_nifti(tmp_path / "head.nii"), 4)
    found = []
    pane.value_under_cursor.connect(found.append)
    affine = np.array(series.affine)
    x, y = pane.frame.to_pane(2.5, 3.5)
    hover(pane, QPoint(round(x), round(y)))
    # The third column from the patient's right, the fourth row from the front (LPS).
    right = min(float(affine[0] @ [4, 0, c, 1]) for c in (0, series.columns - 1))
    front = min(float(affine[1] @ [4, r, 0, 1]) for r in (0, series.rows - 1))
    z = float(affine[2] @ [4, 0, 0, 1])
    value = phantoms.ramp(right + 2 * 2.0, front + 3 * 2.0, z)
    assert found[-1] == f"Value {float(value):.0f}".replace("-", "−")
    assert pane.accessibleDescription().startswith("head.nii. image 5 of 10")


def test_that_a_plane_that_is_not_read_yet_leaves_the_pane_black_until_it_comes(
    pane, opened, tmp_path
):
    phantoms.write_ct_series(tmp_path / "ct")
    found, series, filling = opened(tmp_path / "ct", filled=False)
    pane.show_series(found, series, 5)
    assert pane.window is None
    pane.set_volume(filling)
    place = QPoint(200, 450)
    assert drawn(pane).pixelColor(place).red() == 0
    pane.plane_ready(4)
    assert drawn(pane).pixelColor(place).red() == 0
    pane.plane_ready(5)
    assert pane.window == display.default_window(filling)
    assert drawn(pane).pixelColor(place).red() > 0


def test_that_a_volume_of_some_slices_shows_those_and_no_others(pane, opened, tmp_path):
    phantoms.write_ct_series(tmp_path / "ct")
    found, series, whole = opened(tmp_path / "ct")
    some = volume.Volume(series, whole.voxels[[2, 8]], (2, 8), np.ones(2, bool))
    pane.show_series(found, series, 8)
    pane.set_volume(some)
    pane.set_overlays_hidden(True)
    place = QPoint(200, 450)
    assert drawn(pane).pixelColor(place).red() > 0
    pane.go_to(7)
    assert drawn(pane).pixelColor(place).red() == 0


def test_that_a_volume_of_another_series_is_refused(pane, ct, opened, tmp_path):
    phantoms.write_ct_series(tmp_path / "other", name="other")
    with pytest.raises(ValueError, match="another series"):
        pane.set_volume(opened(tmp_path / "other")[2])


def test_that_a_colour_image_shows_its_colours_and_has_no_window(pane, show, tmp_path, qtbot):
    pixels = phantoms.picture((48, 64))
    show(phantoms.write_picture(tmp_path / "a.png", pixels))
    assert (pane.window, pane.presets()) == (None, ())
    found = []
    pane.value_under_cursor.connect(found.append)
    x, y = (round(v) for v in pane.frame.to_pane(30.5, 20.5))
    hover(pane, QPoint(x, y))
    red, green, blue = (int(v) for v in pixels[20, 30])
    assert found[-1] == f"RGB {red} {green} {blue}"
    shown = drawn(pane).pixelColor(x, y)
    assert (shown.red(), shown.green(), shown.blue()) == pytest.approx((red, green, blue), abs=3)
    with qtbot.assertNotEmitted(pane.window_changed):
        drag(pane, LEFT, MIDDLE_OF_PANE, MIDDLE_OF_PANE + QPoint(50, 50))


def test_that_monochrome1_shows_low_values_bright(pane, show, tmp_path):
    ramp = np.tile(np.arange(64, dtype=np.uint16) * 16, (64, 1))
    path = phantoms.write_dicom_image(
        tmp_path / "x.dcm", ramp, stored=12, PhotometricInterpretation="MONOCHROME1"
    )
    show(path)
    pane.set_overlays_hidden(True)
    image = drawn(pane)
    low, high = (image.pixelColor(x, 200).red() for x in (40, 600))
    assert low > high
    drag(pane, LEFT, MIDDLE_OF_PANE, MIDDLE_OF_PANE + QPoint(0, -40))
    assert drawn(pane).pixelColor(320, 200).red() > image.pixelColor(320, 200).red()


def test_that_a_message_is_shown_and_spoken_and_a_volume_takes_it_away(pane, ct):
    pane.set_message("The file is cut short.", is_error=True)
    assert pane.accessibleDescription() == "The file is cut short."
    assert has_colour(drawn(pane), (300, 270, 40, 40), theme.colour("error"))
    pane.set_volume(ct[2])
    assert pane.message == ""


def test_that_the_pane_speaks_its_series_slice_window_and_warnings(pane, show, tmp_path):
    phantoms.write_ct_series(tmp_path / "ct", skip=(4,))
    _, series, _ = show(tmp_path / "ct", 2)
    assert series.marks
    said = pane.accessibleDescription()
    assert said.startswith("CT Phantom series. image 3 of 11. W 400  C 40")
    assert series.marks[0] in said
    assert has_colour(drawn(pane), (100, 26, 440, 90), theme.colour("warning"))


def test_that_only_focus_by_keyboard_draws_the_ring(pane, ct):
    accent = theme.colour("accent")
    for reason, ringed in (
        (Qt.FocusReason.TabFocusReason, True),
        (Qt.FocusReason.MouseFocusReason, False),
    ):
        QApplication.sendEvent(pane, QFocusEvent(QEvent.Type.FocusIn, reason))
        assert (QColor(drawn(pane).pixel(0, 300)).rgb() == accent.rgb()) is ringed


def test_that_a_clear_pane_is_black_and_says_nothing(pane, ct):
    pane.clear()
    assert (pane.series, pane.volume, pane.accessibleDescription()) == (None, None, "")
    assert drawn(pane).allGray()
    assert drawn(pane).pixelColor(300, 300).red() == 0


@pytest.mark.parametrize("size", [(130, 130), (200, 240), (390, 300), (1400, 800)])
def test_that_every_size_of_pane_can_be_drawn(pane, ct, size):
    pane.resize(*size)
    assert not drawn(pane).isNull()


def test_that_a_screen_of_double_density_gets_its_own_pixels(pane, ct):
    image = QImage(1280, 1280, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(2)
    pane.render(image)
    small = drawn(pane)
    for x, y in ((200, 450), (400, 250)):
        fine, plain = image.pixelColor(2 * x, 2 * y).red(), small.pixelColor(x, y).red()
        assert fine == pytest.approx(plain, abs=3)


def test_that_keys_of_the_window_pass_through(pane, ct):
    for key, held in (
        (Qt.Key.Key_G, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_Down, Qt.KeyboardModifier.ControlModifier),
    ):
        event = QKeyEvent(QEvent.Type.KeyPress, key, held)
        pane.keyPressEvent(event)
        assert not event.isAccepted()
    assert pane.current_index == 5


def test_that_repainting_a_slice_stays_far_below_one_frame(pane, show, tmp_path):
    phantoms.write_ct_series(tmp_path / "ct", slices=3, size=(512, 512), spacing_mm=(0.7, 0.7))
    show(tmp_path / "ct", 1)
    pane.resize(900, 900)
    image = QImage(900, 900, QImage.Format.Format_RGB32)
    pane.render(image)
    spent = []
    for _ in range(15):
        begin = time.process_time()
        pane.render(image)
        spent.append(time.process_time() - begin)
    assert sorted(spent)[7] < 0.016


def test_that_a_large_slice_is_drawn_in_its_place_at_every_zoom(pane, show, tmp_path):
    rows, columns = np.mgrid[:1100, :1300]
    blocks = ((rows // 100 + 2 * (columns // 100)) * 9 % 256).astype(np.uint8)
    show(phantoms.write_picture(tmp_path / "large.png", blocks))
    pane.set_overlays_hidden(True)
    pane.set_window(study.WHOLE_8_BIT)
    for factor in (1.0, 1.6, 4.0):
        pane.zoom(factor, QPointF(200, 250))
        image = drawn(pane)
        for x, y in ((250, 350), (450, 450), (650, 550)):
            left, top = (round(v) for v in pane.frame.to_pane(x, y))
            if image.rect().contains(left, top):
                assert image.pixelColor(left, top).red() == pytest.approx(blocks[y, x], abs=2)


def test_that_a_large_slice_gets_its_window_without_a_look_at_every_pixel(pane, opened, tmp_path):
    wide = (np.add.outer(np.arange(900), np.arange(900)) % 1000).astype(np.uint16)
    path = phantoms.write_dicom_image(tmp_path / "x.dcm", wide, stored=12)
    found, series, whole = opened(path)
    pane.show_series(found, series)
    pane.set_volume(whole)
    exact = display.percentile_window(whole.modality_values(0))
    assert pane.window.centre == pytest.approx(exact.centre, abs=10)
    assert pane.window.width == pytest.approx(exact.width, abs=20)


# Slices that cannot be read, and pixels in several volumes


def part_of(opened, indices, *, ready=True, faults=None):
    """Return a volume of some slices of an opened series."""
    _, series, whole = opened
    voxels = whole.voxels[list(indices)]
    return volume.Volume(
        series, voxels, tuple(indices), np.full(len(indices), ready), dict(faults or {})
    )


def test_that_a_slice_which_cannot_be_read_is_a_sentence_over_black(pane, opened, tmp_path, qtbot):
    phantoms.write_ct_series(tmp_path / "ct")
    found = opened(tmp_path / "ct")
    voxels = found[2].voxels.copy()
    voxels[5] = 4000  # were it ever drawn, it would be white
    ready = np.arange(12) != 5
    read = volume.Volume(found[1], voxels, tuple(range(12)), ready, {5: "Its data is cut off."})
    pane.show_series(found[0], found[1], 4)
    pane.set_volume(read)
    neighbour = drawn(pane)
    assert QColor(neighbour.pixel(200, 450)) != QColor("black")
    with qtbot.assertNotEmitted(pane.value_under_cursor, wait=10):
        pane.go_to(5)
        hover(pane, QPoint(200, 450))
    blank = drawn(pane)
    assert QColor(blank.pixel(200, 450)) == QColor("black")
    assert "Image 6 of 12 cannot be read. Its data is cut off." in pane.accessibleDescription()
    assert "1 of 12 slices cannot be read." in pane.accessibleDescription()
    assert has_colour(blank, (620, 40, 12, 560), theme.overlay_colours().warning)
    pane.go_to(6)
    assert "Image 6" not in pane.accessibleDescription()
    assert "1 of 12 slices cannot be read." in pane.accessibleDescription()


def test_that_a_fault_that_comes_while_reading_is_shown_at_once(pane, opened, tmp_path):
    phantoms.write_ct_series(tmp_path / "ct")
    found = opened(tmp_path / "ct", filled=False)
    pane.show_series(found[0], found[1], 3)
    pane.set_volume(found[2])
    pane.slice_failed(3, "The reader ended.")
    assert "The reader ended." in pane.accessibleDescription()
    assert pane.faults == {3: "The reader ended."}


def test_that_slices_lie_in_several_volumes_and_those_let_go_are_missing(pane, opened, tmp_path):
    phantoms.write_ct_series(tmp_path / "ct")
    found = opened(tmp_path / "ct")
    pane.show_series(found[0], found[1], 1)
    low, high = part_of(found, range(3)), part_of(found, range(6, 9))
    pane.add_volume(low)
    pane.add_volume(high)
    assert np.flatnonzero(pane.ready).tolist() == [0, 1, 2, 6, 7, 8]
    assert pane.volume is low
    pane.go_to(7)
    assert pane.volume is high
    pane.drop_volumes([low])
    assert np.flatnonzero(pane.ready).tolist() == [6, 7, 8]
    assert pane.volumes == (high,)


def test_that_a_series_that_grows_keeps_slice_window_and_zoom(pane, opened, tmp_path):
    phantoms.write_ct_series(tmp_path / "ct")
    found, whole, read = opened(tmp_path / "ct")
    few = dataclasses.replace(
        whole, slices=whole.slices[4:8], slope=whole.slope[4:8], intercept=whole.intercept[4:8]
    )
    pane.show_series(dataclasses.replace(found, series=(few,)), few, 1)
    pane.set_volume(volume.Volume(few, read.voxels[4:8], (0, 1, 2, 3), np.ones(4, dtype=bool)))
    pane.set_window(study.Window(100.0, 700.0))
    pane.zoom(2.0)
    frame, before = pane.frame, drawn(pane).copy(100, 300, 300, 200)
    kept = volume.Volume(whole, read.voxels[4:8], (4, 5, 6, 7), np.ones(4, dtype=bool))
    pane.grow_series(found, whole, 5, [kept], {})
    assert pane.current_index == 5
    assert pane.window == study.Window(100.0, 700.0)
    assert pane.frame == frame
    assert drawn(pane).copy(100, 300, 300, 200) == before
