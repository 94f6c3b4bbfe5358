"""The look: contrast, one place for colours, font, icons, and the key table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PySide6.QtGui import QFont, QFontInfo, QFontMetricsF, QPalette
from PySide6.QtWidgets import QApplication, QComboBox, QLineEdit, QPushButton

from medsearch_desktop import gui, settings, viewer
from medsearch_desktop.gui import keys, theme

# The table of the look: contrast of a token on black, bg1, bg2, bg3 and bg4.
GROUNDS = ("black", "bg1", "bg2", "bg3", "bg4")
CONTRAST = {
    "text1": (14.8, 13.0, 12.2, 11.0, 10.1),
    "text2": (10.6, 9.3, 8.7, 7.9, 7.2),
    "text3": (7.2, 6.3, 5.9, 5.3, 4.9),
    "line1": (1.7, 1.5, 1.4, 1.2, 1.1),
    "line2": (4.7, 4.1, 3.9, 3.5, 3.2),
    "accent": (10.4, 9.1, 8.6, 7.7, 7.1),
    "like": (11.3, 9.9, 9.3, 8.4, 7.7),
    "dislike": (8.8, 7.7, 7.2, 6.5, 6.0),
    "warning": (16.1, 14.2, 13.3, 12.0, 11.0),
    "error": (6.8, 5.9, 5.6, 5.0, 4.6),
}
ON_BLACK = {"measure": 17.6, "roi": 7.2, "region": 8.5, "match": 8.1, "reference": 11.7}


def luminance(colour: str) -> float:
    """Relative luminance of "#RRGGBB" by WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio by WCAG 2.2, from 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def over_white(opacity: float) -> str:
    """Black of this opacity over white."""
    level = round(255 * (1 - opacity))
    return f"#{level:02X}{level:02X}{level:02X}"


@pytest.mark.parametrize("name", CONTRAST)
def test_that_the_contrast_table_of_the_look_is_that_of_the_tokens(name):
    tokens = theme.NORMAL
    found = [contrast(getattr(tokens, name), getattr(tokens, g)) for g in GROUNDS]
    assert found == pytest.approx(CONTRAST[name], abs=0.06)


def test_that_marks_on_images_have_the_contrast_of_the_look():
    found = {name: contrast(getattr(theme.NORMAL, name), "#000000") for name in ON_BLACK}
    assert found == pytest.approx(ON_BLACK, abs=0.06)


def test_that_both_depths_of_reading_text_reach_seven_to_one_on_every_ground():
    for tokens in (theme.NORMAL, theme.HIGH_CONTRAST):
        for name in ("text1", "text2"):
            for ground in GROUNDS:
                assert contrast(getattr(tokens, name), getattr(tokens, ground)) >= 7


def test_that_borders_of_fields_stand_out_three_to_one():
    for tokens in (theme.NORMAL, theme.HIGH_CONTRAST):
        assert all(contrast(tokens.line2, getattr(tokens, g)) >= 3 for g in GROUNDS[1:])
    assert contrast(theme.HIGH_CONTRAST.line2, theme.HIGH_CONTRAST.bg3) == pytest.approx(
        6.1, abs=0.06
    )


def test_that_text_on_a_plate_can_be_read_over_pure_white():
    tokens = theme.NORMAL
    assert contrast(tokens.text1, over_white(tokens.plate)) == pytest.approx(7.7, abs=0.06)
    assert contrast(tokens.text1, over_white(tokens.badge)) == pytest.approx(9.6, abs=0.1)
    assert contrast(tokens.on_accent, tokens.accent_fill) == pytest.approx(7.8, abs=0.06)


def sources():
    for package in (gui, viewer):
        yield from sorted(Path(package.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("pattern", [r"#[0-9a-fA-F]{6}\b", r"QColor\(\s*\d", r"setStyleSheet\("])
def test_that_colours_and_style_sheets_stand_in_the_theme_alone(pattern):
    found = [
        f"{path.name}:{number}"
        for path in sources()
        if path.name != "theme.py"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not found


def test_that_the_style_sheet_holds_names_and_no_colours_or_sizes_of_its_own():
    text = settings.resource("look.qss").read_text("utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(|\b[1-9]\d*px\b", text)


def test_that_an_unknown_name_in_the_style_sheet_stops_the_start(tmp_path, monkeypatch):
    (tmp_path / "look.qss").write_text("QLabel { color: $no_such_token; }")
    (tmp_path / "icons").mkdir()
    monkeypatch.setattr(settings, "resource", lambda name: tmp_path / name)
    with pytest.raises(KeyError, match="no_such_token"):
        theme.style_sheet(theme.Theme())


def test_that_every_picture_of_the_style_sheet_is_shipped():
    names = re.findall(r"\$icons/([\w-]+\.svg)", settings.resource("look.qss").read_text("utf-8"))
    assert names
    assert all(settings.resource(f"icons/{name}").is_file() for name in names)


@pytest.fixture
def dressed(qapp):
    theme.apply(qapp, 100, high_contrast=False)
    yield qapp
    theme.apply(qapp, 100, high_contrast=False)


def test_that_the_palette_follows_the_tokens(dressed):
    role = QPalette.ColorRole
    shown = {r: QApplication.palette().color(r).name().upper() for r in (role.Window, role.Accent)}
    assert shown == {role.Window: theme.NORMAL.bg1, role.Accent: theme.NORMAL.accent}


@pytest.mark.parametrize("weight", [400, 500, 600])
def test_that_the_bundled_font_is_the_one_that_is_drawn(dressed, weight):
    info = QFontInfo(theme.font(13, weight))
    assert (info.family().split()[0], info.weight(), info.pixelSize()) == ("Inter", weight, 13)


def test_that_figures_are_equally_wide(dressed):
    metrics = QFontMetricsF(theme.font(13))
    assert len({round(metrics.horizontalAdvance(figure * 8), 3) for figure in "0123456789"}) == 1
    plain = QFont(theme.font(13))
    plain.unsetFeature(QFont.Tag("tnum"))
    assert QFontMetricsF(plain).horizontalAdvance("1") < metrics.horizontalAdvance("1")


def test_that_all_sizes_grow_with_the_scale(dressed):
    assert theme.px(28) == 28
    theme.apply(dressed, 200, high_contrast=False)
    assert (theme.px(28), theme.font(13).pixelSize()) == (56, 26)
    assert "min-height: 60px" in dressed.styleSheet()


def test_that_a_field_keeps_its_size_when_it_gets_the_focus(dressed, qtbot):
    for widget in (QLineEdit(), QPushButton("Open")):
        qtbot.addWidget(widget)
        before = widget.sizeHint()
        widget.show()
        widget.setFocus()
        assert widget.sizeHint() == before


def test_that_high_contrast_takes_the_second_depth_of_text_away(dressed):
    theme.apply(dressed, 100, high_contrast=True)
    tokens = theme.current().tokens
    assert (tokens.text2, tokens.plate, tokens.ring) == (tokens.text1, 1.0, 3)


def test_that_an_icon_takes_the_colour_of_its_token(dressed):
    image = theme.icon("star-fill", "like").pixmap(32, 32).toImage()
    middle = image.pixelColor(16, 18)
    assert middle.name().upper() == theme.NORMAL.like


def test_that_an_unknown_icon_is_refused_by_name(dressed):
    with pytest.raises(KeyError, match="no-such-icon"):
        theme.icon("no-such-icon")


def test_that_the_overlay_colours_carry_plates_and_scale(dressed):
    colours = theme.overlay_colours()
    assert colours.plate.alphaF() == pytest.approx(theme.NORMAL.plate, abs=0.01)
    assert (colours.scale, colours.ring) == (1.0, 2)


def test_that_no_two_keys_of_one_place_are_the_same():
    taken = [(key.where, key.sequence) for key in keys.TABLE]
    assert len(taken) == len(set(taken))
    window = {key.sequence for key in keys.TABLE if key.where == keys.WINDOW}
    assert not window & {key.sequence for key in keys.TABLE if key.where != keys.WINDOW}


def test_that_a_tooltip_names_its_key(qapp):
    assert keys.with_key("Like", keys.LIKE) == "Like (U)"
    assert all(words and label for _, label, words in keys.shown())


@pytest.mark.parametrize("percent", [100, 200])
def test_that_the_list_of_a_choice_shows_all_its_rows_at_the_height_of_a_menu(qapp, qtbot, percent):
    theme.apply(qapp, percent)
    box = QComboBox()
    qtbot.addWidget(box)
    box.addItems(["compact", "biomedclip", "another"])
    box.show()
    box.showPopup()
    view = box.view()
    last = view.visualRect(box.model().index(2, 0))
    assert last.height() == theme.px(28)
    assert last.bottom() < view.viewport().height()
    box.hidePopup()
    theme.apply(qapp)


def test_that_the_sign_of_a_button_grows_with_the_look(qapp, qtbot):
    theme.apply(qapp, 200)
    button = QPushButton("Remove")
    qtbot.addWidget(button)
    button.show()
    assert button.iconSize().width() == theme.px(16) == 32
    theme.apply(qapp)
