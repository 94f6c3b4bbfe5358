"""Result cards: the model, the words, the pictures, and what mouse and keys ask for."""

from __future__ import annotations

import dataclasses
import io
import itertools

import pytest
from PIL import Image
from PySide6.QtCore import QEvent, QModelIndex, QPoint, QPointF, QRect, Qt
from PySide6.QtGui import QColor, QHelpEvent, QImage, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.gui import (
    background,
    card_places,
    card_texts,
    lines,
    results_model,
    results_panel,
    theme,
    thumbnails,
)

LEFT = Qt.MouseButton.LeftButton


def picture_bytes(size=(40, 30), colour=(200, 10, 10), border=0) -> bytes:
    image = Image.new("RGB", (size[0] + 2 * border, size[1] + 2 * border))
    image.paste(colour, (border, border, border + size[0], border + size[1]))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def stored(tmp_path):
    """A function that appends a picture to a file and says where it lies."""
    file = tmp_path / "thumbs.bin"

    def put(data: bytes) -> cases.Thumbnail:
        offset = file.stat().st_size if file.exists() else 0
        with file.open("ab") as stream:
            stream.write(data)
        return cases.Thumbnail(str(file), offset, len(data))

    return put


def hit(number, *, pictures=(), strength=None, words=(), folded=0, vector=1, word=None, **fields):
    images = tuple(
        cases.CaseImage(cases.ImageRef(f"/images/{number}-{k}.png"), thumbnail=picture)
        for k, picture in enumerate(pictures)
    )
    given = {"title": f"Case number {number}", "text": "A round nodule in the upper lobe."}
    case = cases.Case(f"case-{number}", images=images, **(given | fields))
    evidence = queries.Evidence(vector, word, tuple((w, 1.0) for w in words))
    thumbnail = pictures[0] if pictures else None
    return queries.Hit(case, "demo", number, 1 / number, strength, evidence, thumbnail, folded)


@pytest.fixture
def hits(stored):
    """Nine hits with a picture each; the fourth is text alone, the fifth holds three pictures."""
    made = []
    for number in range(1, 10):
        count = {4: 0, 5: 3}.get(number, 1)
        pictures = tuple(stored(picture_bytes(colour=(200, 40 * k, 10))) for k in range(count))
        made.append(hit(number, pictures=pictures))
    return made


@pytest.fixture
def panel(qapp, qtbot):
    theme.apply(qapp, 100, high_contrast=False)
    work = background.Background()
    made = results_panel.ResultsPanel(work)
    qtbot.addWidget(made)
    made.resize(600, 900)
    made.show()
    yield made
    work.close()


@pytest.fixture
def view(panel, hits):
    panel.show_results(queries.Results(1, tuple(hits), 812))
    panel.view.setFocus()
    return panel.view


def order(view):
    return [h.case.case_id for h in view.results_model().hits()]


def reordered(hits, *numbers):
    by = {h.rank: h for h in hits}
    return [dataclasses.replace(by[n], rank=rank) for rank, n in enumerate(numbers, 1)]


def cell(view, row) -> QRect:
    return view.visualRect(view.results_model().index(row))


def button(view, row, name) -> QPoint:
    size = card_places.SIZES[view.card_size()]
    return card_places.places(cell(view, row), size).buttons[name].center()


# The model


def test_that_verdicts_and_stars_follow_their_case_into_a_new_order(view, hits):
    model = view.results_model()
    model.set_verdict(hits[2], 1)
    model.set_is_kept(hits[2], True)
    model.set_hits(reordered(hits, 3, 1, 2), reranked=True)
    first = model.index(0)
    assert first.data(results_model.Role.VERDICT) == 1
    assert first.data(results_model.Role.KEPT) is True


def test_that_cards_say_how_far_they_moved_only_after_a_re_ranking(view, hits):
    model = view.results_model()
    after = reordered(hits, 3, 1, 2)
    model.set_hits(after, reranked=True)
    assert [model.change(h) for h in model.hits()] == [2, -1, -1]
    model.set_hits(after)
    assert [model.change(h) for h in model.hits()] == [0, 0, 0]


def test_that_two_answers_to_one_question_are_compared_with_the_order_before_both(view, hits):
    model = view.results_model()
    model.set_hits(reordered(hits, 2, 1, 3), reranked=True, ticket=5)
    model.set_hits(reordered(hits, 3, 2, 1), reranked=True, ticket=5)
    assert [model.change(h) for h in model.hits()] == [2, 0, -2]


def test_that_a_case_that_is_new_in_the_list_shows_no_move(view, hits):
    model = view.results_model()
    model.set_hits(hits[:2])
    model.set_hits(reordered(hits, 9, 1), reranked=True)
    assert model.change(model.hits()[0]) == 0


def test_that_a_card_is_spoken_with_rank_words_and_state(view, hits):
    model = view.results_model()
    facets = cases.Facets("CT", "axial", "Chest", "M", 45.0, "drawn")
    spoken = hit(2, strength=99.4, facets=facets, title="Pulmonary sarcoidosis")
    model.set_hits([hits[0], spoken])
    model.set_verdict(spoken, 1)
    model.set_is_kept(spoken, True)
    said = model.index(1).data(Qt.ItemDataRole.AccessibleTextRole)
    assert said == (
        "Rank 2, very close, Pulmonary sarcoidosis, CT · chest · axial · M 45, "
        "drawn by a program, liked, kept"
    )


# Words


@pytest.mark.parametrize(
    ("percentile", "said"),
    [
        (99.4, (4, "Very close", "P 99.4")), (75, (4, "Very close", "P 75.0")),
        (74.9, (3, "Close", "P 74.9")), (39, (2, "Loose", "P 39.0")), (4, (1, "Ordinary", "P 4.0")),
    ],
)  # fmt: skip
def test_that_a_strength_has_its_word_and_bars(percentile, said):
    assert card_texts.strength(hit(1, strength=percentile)) == said


def test_that_an_uncalibrated_strength_makes_no_claim():
    plain = hit(1, vector=1, word=2)
    assert card_texts.strength(plain) is None
    assert card_texts.found_by(plain) == "By likeness and words"
    assert "has not been calibrated" in card_texts.tooltip(plain)
    assert "close" not in card_texts.spoken(plain, 0, False)


@pytest.mark.parametrize(
    ("typed", "text", "marked"),
    [
        ("effusion", "Effusions on both sides", ["Effusions"]),
        ("effusions", "a small effusion", ["effusion"]),
        ("nodul", "Nodular, nodules; no mode", ["Nodular", "nodules"]),
        ("lung", "a lump, prolonged", []),
        ("ct", "CT of the actor", ["CT"]),
    ],
)
def test_that_the_forms_of_a_found_word_are_marked_in_the_text(typed, text, marked):
    pieces = card_texts.marked(text, hit(1, words=(typed,)))
    assert [word for word, found in pieces if found] == marked
    assert "".join(word for word, _ in pieces) == text


def test_that_the_why_line_writes_words_as_the_case_does():
    why = card_texts.why(hit(1, words=("nodul", "lobe")))
    assert [word for word, found in why if found] == ["nodule", "lobe"]
    assert card_texts.why(hit(1, pictures=(None,))) == (("Image only", False),)


def test_that_the_tooltip_escapes_what_a_collection_says():
    evil = hit(1, title="<img src=x>", text="a < b & c")
    tip = card_texts.tooltip(evil)
    assert "<img" not in tip
    assert "a &lt; b &amp; c" in tip


def test_that_the_licence_stands_without_its_version_and_whole_in_the_tooltip():
    known = hit(1, provenance=cases.Provenance("CC BY 4.0", "MedPix"))
    assert card_texts.source(known, with_licence=True) == "MedPix · CC BY"
    assert card_texts.source(known, with_licence=False) == "MedPix"
    assert "MedPix · CC BY 4.0" in card_texts.tooltip(known)


@pytest.mark.parametrize(
    ("made", "badge"),
    [
        (hit(1), "Text only"),
        (hit(1, pictures=(None,)), ""),
        (hit(1, pictures=(None,) * 4), "4 images"),
        (hit(1, pictures=(None,), folded=3), "+3 alike"),
    ],
)
def test_that_the_badge_counts_images_or_folded_cases(made, badge):
    assert card_texts.badge(made) == badge


def test_that_a_case_without_a_title_shows_its_text_then_its_id():
    assert card_texts.title(hit(1, title="", text="First line\nsecond")) == "First line"
    assert card_texts.title(hit(1, title="", text="", labels=())) == "case-1"


# Lines


def test_that_a_long_title_fills_its_lines_and_ends_in_an_ellipsis(panel):
    face = lines.Face(13, 600)
    title = "Cryptococcal pneumonia in an immunocompetent patient with a long history"
    made = lines.wrapped(title, face, 168, 2)
    assert len(made) == 2
    assert made[1].endswith("…")
    assert title.startswith(made[0])
    assert lines.wrapped("Short", face, 168, 2) == ("Short",)


def test_that_characters_beyond_the_basic_plane_do_not_shift_the_lines(panel):
    title = "\U0001f9e0 " * 3 + "ventricle enlarged compared with the examination before"
    made = lines.wrapped(title, lines.Face(13), 120, 9)
    assert " ".join(made).split() == title.split()


# Pictures


def test_that_black_borders_are_trimmed_and_the_rest_is_letterboxed():
    image = QImage.fromData(picture_bytes((40, 20), border=15))
    assert thumbnails.content(image) == QRect(15, 15, 40, 20)
    made = thumbnails.square(image, 80)
    assert (made.width(), made.height()) == (80, 80)
    red = [y for y in range(80) if made.pixelColor(40, y).red() > 100]
    assert (red[0], red[-1]) == (20, 59)


def test_that_a_black_picture_keeps_its_size():
    image = QImage.fromData(picture_bytes((10, 10), (0, 0, 0)))
    assert thumbnails.content(image) == image.rect()


def test_that_a_small_bright_spot_is_not_blown_up_to_the_whole_card():
    image = QImage.fromData(picture_bytes((4, 4), border=48))
    assert thumbnails.content(image) == image.rect()


def test_that_a_picture_that_is_no_picture_says_so_on_the_card(panel, stored, qtbot):
    bad = cases.Thumbnail(stored(b"not a picture").file, 0, 13)
    panel.show_results(queries.Results(1, (hit(1, pictures=(bad,)),), 1))
    size = card_places.SIZES["M"].image
    pictures = panel.view.findChild(thumbnails.Thumbnails)
    qtbot.waitUntil(lambda: pictures.pixmap(bad, size, 1.0) == (None, True))


def test_that_a_damaged_length_is_refused_before_reading(stored):
    good = stored(picture_bytes())
    for length in (0, -5, 1 << 40):
        with pytest.raises(ValueError, match="length"):
            thumbnails.read(dataclasses.replace(good, length=length))


def test_that_the_picture_of_a_card_is_read_in_the_background_and_painted(view, hits, qtbot):
    size = card_places.SIZES["M"]
    place = card_places.places(cell(view, 0), size).image.center()

    def is_painted():
        image = QImage(view.viewport().size(), QImage.Format.Format_RGB32)
        view.viewport().render(image)
        return image.pixelColor(place).red() > 150

    qtbot.waitUntil(is_painted)


# Mouse


@pytest.mark.parametrize("size", ["S", "M", "L"])
@pytest.mark.parametrize("name", card_places.BUTTONS)
def test_that_buttons_are_28_px_inside_the_card_and_apart(panel, size, name):
    chosen = card_places.SIZES[size]
    at = card_places.places(QRect(QPoint(0, 0), card_places.cell_size(chosen)), chosen)
    assert at.buttons[name].size().toTuple() == (28, 28)
    assert at.card.contains(at.buttons[name])
    others = [rect for other, rect in at.buttons.items() if other != name]
    assert not any(at.buttons[name].intersects(rect) for rect in (*others, at.source, at.facets))
    assert at.card.size().toTuple() == (chosen.width, chosen.height)
    assert at.image.size().toTuple() == (chosen.image, chosen.image)


@pytest.mark.parametrize("size", ["S", "M", "L"])
def test_that_nothing_on_a_card_overlaps(panel, size):
    chosen = card_places.SIZES[size]
    at = card_places.places(QRect(QPoint(0, 0), card_places.cell_size(chosen)), chosen)
    rows = [r for r in (at.image, at.strength, at.title, at.facets, at.why) if r.height()]
    assert all(a.bottom() < b.top() for a, b in itertools.pairwise(rows))
    assert rows[-1].bottom() < at.buttons["like"].top()


@pytest.mark.parametrize(("name", "thumb"), [("like", 1), ("dislike", -1)])
def test_that_a_click_on_a_thumb_gives_it_and_a_second_takes_it_back(
    view, hits, qtbot, name, thumb
):
    with qtbot.waitSignal(view.thumb_given) as said, qtbot.assertNotEmitted(view.open_requested):
        qtbot.mouseClick(view.viewport(), LEFT, pos=button(view, 1, name))
    assert said.args == [hits[1], thumb]
    view.results_model().set_verdict(hits[1], thumb)
    with qtbot.waitSignal(view.thumb_given) as said:
        qtbot.mouseClick(view.viewport(), LEFT, pos=button(view, 1, name))
    assert said.args == [hits[1], 0]


def test_that_a_click_on_the_star_toggles_it_and_opens_nothing(view, hits, qtbot):
    with qtbot.waitSignal(view.star_toggled) as said, qtbot.assertNotEmitted(view.open_requested):
        qtbot.mouseClick(view.viewport(), LEFT, pos=button(view, 2, "keep"))
    assert said.args == [hits[2]]


def test_that_a_click_on_the_card_opens_it(view, hits, qtbot):
    with qtbot.waitSignal(view.open_requested) as said:
        qtbot.mouseClick(view.viewport(), LEFT, pos=cell(view, 4).center())
    assert said.args == [hits[4]]


def test_that_a_press_that_leaves_its_button_does_nothing(view, qtbot):
    with qtbot.assertNotEmitted(view.thumb_given), qtbot.assertNotEmitted(view.open_requested):
        qtbot.mousePress(view.viewport(), LEFT, pos=button(view, 1, "like"))
        qtbot.mouseRelease(view.viewport(), LEFT, pos=button(view, 1, "keep"))


def test_that_the_mouse_over_an_image_picks_one_of_several(view, hits, qtbot):
    delegate = view.itemDelegate()
    image = card_places.places(cell(view, 4), delegate.size).image
    for part, which in ((0.1, 0), (0.5, 1), (0.95, 2)):
        at = QPointF(image.left() + part * image.width(), image.center().y())
        move = QMouseEvent(
            QEvent.Type.MouseMove, at, view.viewport().mapToGlobal(at),
            Qt.MouseButton.NoButton, Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
        )  # fmt: skip
        QApplication.sendEvent(view.viewport(), move)
        index = view.results_model().index(4)
        assert delegate.state(index, hovered=True).which == which


def test_that_tooltips_tell_the_case_or_the_button_with_its_key(view, hits, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "medsearch_desktop.gui.cards.QToolTip.showText", lambda place, text, *_: shown.append(text)
    )
    for place in (cell(view, 0).center(), button(view, 0, "keep")):
        event = QHelpEvent(QEvent.Type.ToolTip, place, view.viewport().mapToGlobal(place))
        QApplication.sendEvent(view.viewport(), event)
    assert "A round nodule" in shown[0]
    assert shown[1] == "Keep as a favourite (S)"


# Keyboard


def test_that_the_arrows_walk_the_cards_as_they_lie(view, hits, qtbot):
    view.setCurrentIndex(view.results_model().index(0))
    seen = []
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Left, Qt.Key.Key_Up, Qt.Key.Key_Up):
        qtbot.keyClick(view, key)
        seen.append(view.currentIndex().row())
    assert seen == [1, 4, 3, 0, 0]
    qtbot.keyClick(view, Qt.Key.Key_End)
    assert view.currentIndex().row() == 8
    qtbot.keyClick(view, Qt.Key.Key_Home)
    assert view.currentIndex().row() == 0


def test_that_every_wish_has_a_key(view, hits, qtbot):
    view.setCurrentIndex(view.results_model().index(3))
    for key, signal, args in (
        (Qt.Key.Key_Return, view.open_requested, [hits[3]]),
        (Qt.Key.Key_U, view.thumb_given, [hits[3], 1]),
        (Qt.Key.Key_J, view.thumb_given, [hits[3], -1]),
        (Qt.Key.Key_S, view.star_toggled, [hits[3]]),
        (Qt.Key.Key_G, view.more_like_requested, [hits[3]]),
    ):
        with qtbot.waitSignal(signal) as said:
            qtbot.keyClick(view, key)
        assert said.args == args


def test_that_the_ring_of_focus_is_for_the_keyboard_alone(view, qtbot):
    qtbot.mouseClick(view.viewport(), LEFT, pos=cell(view, 1).center())
    assert not view.itemDelegate().shows_ring
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert view.itemDelegate().shows_ring


def test_that_the_keyboard_stays_on_its_case_when_the_order_changes(view, hits, qtbot):
    view.setCurrentIndex(view.results_model().index(5))
    view.show_hits(reordered(hits, 6, 1, 2, 3), reranked=True)
    assert view.current_hit().case.case_id == "case-6"
    assert view.currentIndex().row() == 0


def test_that_a_new_question_is_read_from_its_first_card_and_a_refined_answer_stays(view, hits):
    bar = view.verticalScrollBar()
    view.show_hits(hits, ticket=7)
    bar.setValue(bar.maximum())
    assert bar.value() > 0
    view.show_hits(hits, ticket=7)
    assert bar.value() > 0
    view.show_hits(reordered(hits, 6, 1, 2, 3, 4, 5), ticket=8)
    assert bar.value() == 0


def test_that_control_and_the_wheel_change_the_size_of_the_cards(view, qtbot):
    at = QPointF(cell(view, 0).center())
    for delta, size in ((120, "L"), (-120, "M"), (-120, "S")):
        event = QWheelEvent(
            at, view.viewport().mapToGlobal(at), QPoint(), QPoint(0, delta),
            Qt.MouseButton.NoButton, Qt.KeyboardModifier.ControlModifier,
            Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        with qtbot.waitSignal(view.card_size_changed) as said:
            QApplication.sendEvent(view.viewport(), event)
        assert said.args == [size]
    assert view.gridSize() == card_places.cell_size(card_places.SIZES["S"])


# Order under a moving mouse


def test_that_the_order_waits_while_the_mouse_moves_over_the_list(view, hits, qtbot, monkeypatch):
    monkeypatch.setattr(type(view.viewport()), "underMouse", lambda _: True)
    at = QPointF(cell(view, 0).center())
    move = QMouseEvent(
        QEvent.Type.MouseMove, at, view.viewport().mapToGlobal(at),
        Qt.MouseButton.NoButton, Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    QApplication.sendEvent(view.viewport(), move)
    view.show_hits(reordered(hits, 3, 1, 2), reranked=True)
    assert order(view)[0] == "case-1"
    qtbot.waitUntil(lambda: order(view)[0] == "case-3", timeout=3000)


def test_that_cards_glide_to_their_new_places_and_rest_there(view, hits, qtbot):
    view.show_hits(reordered(hits, 3, 1, 2), reranked=True)
    assert sorted(view.itemDelegate().offsets) == [0, 1, 2]
    qtbot.waitUntil(lambda: not view.itemDelegate().offsets)


# The panel


def test_that_nothing_asked_shows_how_to_begin(panel, qtbot):
    assert panel.state == "empty"
    panel.show_busy("Reading the image.", done=3, total=36)
    assert (panel.state, panel.ribbon_text()) == ("list", "Reading the image.")


def test_that_an_answer_that_is_not_complete_keeps_its_progress(panel, hits):
    panel.show_busy("Refining: 23 of 36 slices read.", done=23, total=36)
    panel.show_results(queries.Results(1, tuple(hits), 812, complete=False))
    assert panel.ribbon_text() == "Refining: 23 of 36 slices read."
    panel.show_results(queries.Results(1, tuple(hits), 812, notices=("Words only.",)))
    assert panel.ribbon_text() == "Words only."


def test_that_an_empty_answer_says_so(panel):
    panel.show_results(queries.Results(1, (), 0))
    assert panel.state == "nothing"


def test_that_a_re_ranked_list_offers_undo(panel, hits, qtbot):
    panel.show_results(queries.Results(2, tuple(hits), 9), reranked=True)
    assert panel.ribbon_text() == "Re-ranked by your thumbs."


def test_that_an_error_is_a_card_and_leaves_the_list_alone(panel, hits, qtbot):
    panel.show_results(queries.Results(1, tuple(hits), 9))
    panel.show_error(errors.WorkerLostError("it was killed"))
    assert [kind.value for kind in panel.problems.shown()] == ["error"]
    assert panel.state == "list"


@pytest.mark.parametrize("size", ["S", "M", "L"])
def test_that_every_state_of_a_card_can_be_painted(view, hits, size):
    model = view.results_model()
    view.set_card_size(size)
    model.set_hits([*reordered(hits, 5, 4, 1, 2), hit(5, strength=80.0, words=("nodule",))])
    model.set_verdicts({("demo", "case-5"): 1, ("demo", "case-4"): -1})
    model.set_kept([("demo", "case-1")])
    model.set_opened(("demo", "case-2"))
    view.setCurrentIndex(model.index(0))
    image = QImage(view.viewport().size(), QImage.Format.Format_RGB32)
    view.viewport().render(image)
    liked, disliked = (cell(view, row) for row in (0, 1))
    x, y = card_places.GAP + 1, liked.height() // 2
    assert QColor(image.pixel(liked.left() + x, liked.top() + y)) == theme.colour("like")
    assert QColor(image.pixel(disliked.left() + x, disliked.top() + y)) == theme.colour("dislike")
    assert isinstance(view.indexAt(liked.center()), QModelIndex)


def test_that_a_new_question_that_fails_leaves_no_card_of_the_one_before(panel, hits):
    panel.show_results(queries.Results(1, tuple(hits), 9))
    panel.show_busy("Searching.")
    panel.show_unanswered()
    panel.show_error(errors.WorkerLostError("it was killed"))
    assert panel.state == "unanswered"
    assert panel.view.results_model().hits() == ()
    assert panel._count.text() == ""
    assert [kind.value for kind in panel.problems.shown()] == ["error"]
    panel.show_busy("Searching.")
    panel.show_results(queries.Results(2, tuple(hits), 9))
    assert panel.state == "list"


def test_that_a_long_ribbon_is_elided_after_four_lines_and_whole_in_its_tooltip(panel, qtbot):
    panel.resize(300, 500)
    panel.show()
    words = "The word search is off, because a file of the collection is missing. " * 9
    panel.show_ribbon(words, ("undo",))
    qtbot.wait(20)
    shown = panel._sentence
    assert shown.text().count("\n") == 3
    assert shown.text().endswith("…")
    assert shown.height() >= 4 * shown.fontMetrics().lineSpacing()
    assert words.split()[-1] in shown.toolTip()
    assert shown.accessibleName() == panel.ribbon_text() == words
    panel.show_ribbon("Stopped.")
    assert (shown.text(), shown.toolTip()) == ("Stopped.", "")
