"""Search box: chips, weights, mode, filters, and what a text field must not do."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QLineEdit

from medsearch_desktop import cases, queries
from medsearch_desktop.gui import chips, drops, search_box

IMAGE = chips.Part(queries.ImageTerm(cases.ImageRef("/a/b.png")), "b.png")
WORDS = chips.Part(queries.TextTerm("nodule"), "nodule")


@pytest.fixture
def box(dressed, qtbot):
    made = search_box.SearchBox()
    qtbot.addWidget(made)
    made.resize(1000, 40)
    made.show()
    return made


def shown_chips(box) -> list[chips.Chip]:
    return [chip for chip in box.findChildren(chips.Chip) if chip.parent() is box]


def test_that_typed_words_become_a_chip_and_are_asked(box, qtbot):
    with qtbot.waitSignal(box.asked):
        qtbot.keyClicks(box.words, "  pleural   effusion ")
        qtbot.keyClick(box.words, Qt.Key.Key_Return)
    assert box.terms() == (queries.TextTerm("pleural effusion"),)
    assert box.words.text() == ""


def test_that_backspace_in_the_empty_field_gives_the_last_words_back_for_editing(box, qtbot):
    box.set_parts((IMAGE, WORDS))
    qtbot.keyClick(box.words, Qt.Key.Key_Backspace)
    assert box.words.text() == "nodule"
    assert box.parts == (IMAGE,)


def test_that_the_mode_decides_which_terms_take_part(box):
    box.set_parts((IMAGE, WORDS))
    box.set_mode(search_box.Mode.IMAGE)
    assert box.terms() == (IMAGE.term,)
    box.set_mode(search_box.Mode.TEXT)
    assert box.terms() == (WORDS.term,)
    box.set_mode(search_box.Mode.BOTH)
    assert box.terms() == (IMAGE.term, WORDS.term)


def test_that_a_term_which_the_mode_leaves_out_turns_the_mode_to_both(box):
    box.set_mode(search_box.Mode.TEXT)
    box.add_part(IMAGE)
    assert box.mode is search_box.Mode.BOTH


def test_that_the_same_image_added_twice_is_one_chip(box):
    box.add_part(IMAGE)
    box.add_part(IMAGE.weighted(0.4))
    assert len(box.parts) == 1


def test_that_dragging_a_weight_left_of_zero_asks_for_cases_unlike_it(box, qtbot):
    box.set_parts((WORDS,))
    (chip,) = shown_chips(box)
    with qtbot.waitSignal(box.changed, timeout=2000):
        chip.slider.setValue(-4)
    assert box.terms() == (queries.TextTerm("nodule", -0.4),)


def test_that_wheel_and_arrow_keys_change_a_weight_by_a_tenth(box, qtbot):
    box.set_parts((WORDS,))
    (chip,) = shown_chips(box)
    qtbot.keyClick(chip.slider, Qt.Key.Key_Left)
    qtbot.keyClick(chip.slider, Qt.Key.Key_Left)
    qtbot.keyClick(chip.slider, Qt.Key.Key_Right)
    assert box.terms()[0].weight == pytest.approx(0.9)


def test_that_a_removed_chip_is_asked_without(box, qtbot):
    box.set_parts((IMAGE, WORDS))
    button = next(
        b
        for b in shown_chips(box)[0].children()
        if getattr(b, "accessibleName", str)() == "Remove b.png"
    )
    with qtbot.waitSignal(box.changed, timeout=2000):
        button.click()
    assert box.terms() == (WORDS.term,)


def test_that_chips_without_room_are_counted_in_a_button(box, qtbot):
    box.set_parts(tuple(chips.Part(queries.TextTerm(f"w{n}"), f"word {n}") for n in range(12)))
    box.resize(700, 40)
    more = next(b for b in box.children() if getattr(b, "text", str)().startswith("+"))
    hidden = [chip for chip in shown_chips(box) if chip.isHidden()]
    qtbot.waitUntil(lambda: not more.isHidden())
    assert more.text() == f"+{len(hidden)}"
    assert box.words.width() >= 100


def test_that_filters_are_chips_of_their_own_without_a_weight(box, qtbot):
    chosen = (queries.Filter("modality", "CT"), queries.Filter("body_part", "chest"))
    box.set_filters(chosen)
    assert box.filters() == chosen
    assert len(box.findChildren(chips.FilterChip)) >= 2
    box.set_level(2)
    visible = [chip for chip in box.findChildren(chips.FilterChip) if not chip.isHidden()]
    assert len(visible) == 1


def test_that_no_text_field_of_the_window_takes_a_drop(program, toys):
    fields = program().window.findChildren(QLineEdit)
    assert fields
    assert not any(field.acceptDrops() for field in fields)


def test_that_a_file_dropped_on_the_words_field_reaches_the_window(program, drop, toys, pictures):
    started = program()
    started.wait_for_collections()
    # Qt gives a drop to the widget under the mouse, or to the next parent that takes drops.
    target = started.box.words
    while not target.acceptDrops():
        target = target.parentWidget()
    assert target is started.window
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(pictures / "red.png"))])
    assert drop(started.window, mime, drops.Zone.FIND, on=target)
    started.wait(started.answered)
    assert started.box.words.text() == ""
    assert started.hit(1).case.title == "red square"


def test_that_a_picture_pasted_into_the_words_field_becomes_a_term(program, toys):
    started = program()
    started.wait_for_collections()
    image = QImage(24, 24, QImage.Format.Format_RGB32)
    image.fill(0xFF0000FF)
    QApplication.clipboard().setImage(image)
    started.box.words.setFocus()
    started.bot.keyClick(started.box.words, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    started.wait(started.answered)
    assert started.hit(1).case.title == "blue square"
    (part,) = started.box.parts
    assert part.label != ""
    QApplication.clipboard().clear()


def test_that_words_pasted_into_the_field_stay_words(box, qtbot):
    QApplication.clipboard().setText("left effusion")
    box.words.setFocus()
    qtbot.keyClick(box.words, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert box.words.text() == "left effusion"
    assert box.parts == ()
