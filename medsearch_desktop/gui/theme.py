"""Tokens of the look: colours, sizes, font and icons, applied once to the application."""

from __future__ import annotations

import dataclasses
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QIcon, QPalette, QPixmap
from PySide6.QtWidgets import QApplication

from medsearch_desktop import settings
from medsearch_desktop.gui import icons

if TYPE_CHECKING:
    from medsearch_desktop.viewer import overlays


@dataclass(frozen=True)
class Tokens:
    """Every colour of the window; the contrast of each pair is checked by a test.

    `plate` and `badge` are opacities of black under text on images, `line` of
    the black line under marks, `ring` the width of a focus ring in px.
    """

    black: str = "#000000"
    bg0: str = "#0C0E10"
    bg1: str = "#121417"
    bg2: str = "#181B1F"
    bg3: str = "#20242A"
    bg4: str = "#262B32"
    fill: str = "#39414B"
    accent_fill: str = "#1F4E7A"
    on_accent: str = "#EAF4FD"
    text1: str = "#D5D9DF"
    text2: str = "#B2B9C3"
    text3: str = "#8F98A4"
    line1: str = "#2E343B"
    line2: str = "#6F7884"
    accent: str = "#79BDF5"
    like: str = "#3FD69B"
    dislike: str = "#E69633"
    warning: str = "#F2E55C"
    error: str = "#F4625D"
    measure: str = "#FBEF50"
    roi: str = "#3C9FDD"
    region: str = "#E08BB4"
    region_text: str = "#E8A0C4"
    match: str = "#EE8722"
    reference: str = "#4EDB78"
    plate: float = 0.76
    badge: float = 0.82
    line: float = 0.85
    ring: int = 2


NORMAL = Tokens()
HIGH_CONTRAST = dataclasses.replace(
    NORMAL, text2=NORMAL.text1, line2="#9AA3AE", plate=1.0, badge=1.0, ring=3
)

FAMILIES = ("Inter", "Noto Sans")
_FONT_FILES = ("Inter-Regular.otf", "Inter-Medium.otf", "Inter-SemiBold.otf")
# Pixel sizes that the style sheet asks for by name (`$px28`); all grow with the scale.
_PIXELS = (*range(1, 33), 36, 40, 44, 48, 60, 72, 88, 120, 176, 196, 208, 376, 600)


@dataclass(frozen=True)
class Theme:
    """The tokens in use and the scale of all sizes (1.0 is 100 %)."""

    tokens: Tokens = NORMAL
    scale: float = 1.0
    reduced_motion: bool = False


_active = Theme()


def current() -> Theme:
    """Return what `apply` chose last."""
    return _active


def apply(
    app: QApplication, scale_percent: int = 100, *, high_contrast: bool | None = None
) -> Theme:
    """Dress the application: Fusion, palette, font and style sheet. Called once at start.

    `high_contrast` None asks the system. Raises KeyError when the style sheet
    names an unknown token.
    """
    global _active
    wants_contrast, reduced = _system_wishes()
    tokens = (
        HIGH_CONTRAST if high_contrast or (high_contrast is None and wants_contrast) else NORMAL
    )
    _active = Theme(tokens, scale_percent / 100, reduced)
    for name in _FONT_FILES:
        path = str(settings.resource(f"fonts/{name}"))
        if name not in _loaded and QFontDatabase.addApplicationFont(path) >= 0:
            _loaded.add(name)
    app.setStyle("Fusion")
    app.setPalette(palette(tokens))
    app.setFont(font(13))
    app.setStyleSheet(style_sheet(_active))
    return _active


_loaded: set[str] = set()


def _system_wishes() -> tuple[bool, bool]:
    """Return whether the system asks for high contrast and for less motion (Qt 6.10 on)."""
    hints = QGuiApplication.styleHints()  # kept: the accessibility object belongs to it
    accessibility = getattr(hints, "accessibility", lambda: None)()
    if accessibility is None:
        return False, False
    contrast = accessibility.contrastPreference() == Qt.ContrastPreference.HighContrast
    motion = getattr(accessibility, "motionPreference", lambda: None)()
    return contrast, getattr(motion, "name", "") == "ReducedMotion"


def style_sheet(theme: Theme) -> str:
    """Return `resources/look.qss` with each `$name` replaced; KeyError for an unknown one."""
    names: dict[str, str] = {
        name: value
        for name, value in dataclasses.asdict(theme.tokens).items()
        if isinstance(value, str)
    }
    names |= {f"px{size}": f"{max(1, round(size * theme.scale))}px" for size in _PIXELS}
    # A focused field has a wider border and as much less padding, so nothing shifts.
    names["ring"] = f"{theme.tokens.ring}px"
    names["family"] = ", ".join(f'"{family}"' for family in FAMILIES)
    names["icons"] = settings.resource("icons").as_posix()
    template = settings.resource("look.qss").read_text("utf-8")
    return string.Template(template).substitute(names)


def palette(tokens: Tokens) -> QPalette:
    """Return the palette that Fusion and every own painting start from."""
    role, group = QPalette.ColorRole, QPalette.ColorGroup
    made = QPalette()
    for name, value in (
        (role.Window, tokens.bg1),
        (role.Base, tokens.bg2),
        (role.AlternateBase, tokens.bg3),
        (role.Button, tokens.bg3),
        (role.Text, tokens.text1),
        (role.WindowText, tokens.text1),
        (role.ButtonText, tokens.text1),
        (role.BrightText, tokens.text1),
        (role.PlaceholderText, tokens.text3),
        (role.Highlight, tokens.accent_fill),
        (role.HighlightedText, tokens.on_accent),
        (role.Link, tokens.accent),
        (role.LinkVisited, tokens.accent),
        (role.Accent, tokens.accent),
        (role.ToolTipBase, tokens.bg4),
        (role.ToolTipText, tokens.text1),
        (role.Light, tokens.bg4),
        (role.Midlight, tokens.bg4),
        (role.Mid, tokens.line1),
        (role.Dark, tokens.bg0),
        (role.Shadow, tokens.bg0),
    ):
        made.setColor(name, QColor(value))
    for name in (role.Text, role.WindowText, role.ButtonText, role.HighlightedText):
        made.setColor(group.Disabled, name, QColor(tokens.text3))
    return made


def px(size: float) -> int:
    """Return a size of the look in pixels at the present scale, at least 1."""
    return max(1, round(size * _active.scale))


def font(size: int, weight: int = 400) -> QFont:
    """Return Inter at a pixel size of the look (11, 12, 13, 15 or 20) with tabular figures."""
    made = QFont(list(FAMILIES))
    made.setPixelSize(px(size))
    made.setWeight(QFont.Weight(weight))
    made.setFeature(QFont.Tag("tnum"), 1)
    return made


def colour(name: str, opacity: float = 1.0) -> QColor:
    """Return the token `name` as a colour; AttributeError for an unknown one."""
    made = QColor(getattr(_active.tokens, name))
    made.setAlphaF(opacity)
    return made


def motion_ms(duration_ms: int) -> int:
    """Return how long a movement takes: 0 when the system asks for less motion."""
    return 0 if _active.reduced_motion else duration_ms


def set_role(widget: object, role: str, state: str = "") -> None:
    """Give a widget a variant of the style sheet (`role`, `state`) and redraw it.

    Roles: primary, accent, flat, tool, link on buttons; heading, second, small on labels.
    """
    widget.setProperty("role", role)  # type: ignore[attr-defined]
    widget.setProperty("state", state)  # type: ignore[attr-defined]
    widget.style().unpolish(widget)  # type: ignore[attr-defined]
    widget.style().polish(widget)  # type: ignore[attr-defined]


def overlay_colours() -> overlays.OverlayColours:
    """Return what the viewer needs of the look."""
    from medsearch_desktop.viewer import overlays  # loads numpy, which the first window waits for

    tokens = _active.tokens
    return overlays.OverlayColours(
        ground=colour("black"),
        text=colour("text1"),
        second=colour("text2"),
        plate=colour("black", tokens.plate),
        line=colour("black", tokens.line),
        track=colour("fill"),
        border=colour("line1"),
        accent=colour("accent"),
        warning=colour("warning"),
        error=colour("error"),
        reference=colour("reference"),
        scale=_active.scale,
        ring=tokens.ring,
    )


def icon(name: str, role: str = "text2", *, active: str = "text1") -> QIcon:
    """Return the Phosphor icon `name` ("star", "star-fill") in a token's colour.

    Hovered icons take `active`, selected ones `on_accent`, disabled ones
    `text3`. Raises KeyError for a name that the font does not hold.
    """
    key = (name, role, active, _active.tokens)
    if key not in _icons:
        tokens = _active.tokens
        mode = QIcon.Mode
        shown = {
            mode.Normal: getattr(tokens, role),
            mode.Active: getattr(tokens, active),
            mode.Selected: tokens.on_accent,
            mode.Disabled: tokens.text3,
        }
        colours = {of: QColor(value) for of, value in shown.items()}
        _icons[key] = icons.glyph_icon(name, colours)
    return QIcon(_icons[key])


_icons: dict[tuple[str, str, str, Tokens], QIcon] = {}
_pixmaps: dict[tuple[object, ...], QPixmap] = {}


def pixmap(name: str, size: int, role: str = "text2") -> QPixmap:
    """Return an icon as a picture of `size` px, made once: each new one a label is given stays."""
    key = (name, role, size, _active.tokens, px(size))
    if key not in _pixmaps:
        _pixmaps[key] = icon(name, role).pixmap(icon_size(size))
    return _pixmaps[key]


def icon_size(size: int) -> QSize:
    """Return a square icon size of the look (16, 18, 20 or 40 px) at the present scale."""
    return QSize(px(size), px(size))
