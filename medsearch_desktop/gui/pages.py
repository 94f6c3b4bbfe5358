"""Pages whose content is made anew when something changes; the keyboard stays where it was."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QWidget,
)

from medsearch_desktop.gui import theme
from medsearch_desktop.viewer import plain


def renew(area: QScrollArea, inside: QWidget) -> None:
    """Show other content at the same place; the control at the place of the focused one has it.

    What was shown goes later: it may be what was just pressed.
    """
    place, at = None, area.verticalScrollBar().value()
    if area.widget() is not None:
        has_it = area.window().focusWidget()
        controls = _controls(area.widget())
        place = next((n for n, one in enumerate(controls) if one is has_it), None)
        before = area.takeWidget()
        before.hide()
        before.deleteLater()
    area.setWidget(inside)
    # Qt lets both be filled with the ground of the window; the sheet behind them is lighter.
    inside.setAutoFillBackground(False)
    area.viewport().setAutoFillBackground(False)
    area.verticalScrollBar().setValue(at)
    if place is not None:
        _give_keyboard(_controls(inside), place)


def _give_keyboard(controls: list[QWidget], place: int) -> None:
    """Focus the control at a place, else the next button: a key would change another choice."""
    usable = [one for one in controls[place:] + controls[:place] if one.isEnabled()]
    if place < len(controls) and controls[place].isEnabled():
        controls[place].setFocus()
    elif buttons := [one for one in usable if isinstance(one, QPushButton)]:
        buttons[0].setFocus()


def _controls(inside: QWidget) -> list[QWidget]:
    return [one for one in inside.findChildren(QWidget) if isinstance(one, QPushButton | QComboBox)]


def label(words: str, role: str = "", *, wraps: bool = True) -> QLabel:
    """Return words as they stand, never as markup."""
    made = QLabel(plain.paragraph(words))
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setWordWrap(wraps)
    theme.set_role(made, role)
    return made


def warning(words: str) -> QWidget:
    """Return words behind the sign of a warning."""
    made, sign, said = QWidget(), QLabel(), label(words)
    sign.setPixmap(theme.pixmap("warning", 16, "warning"))
    row = QHBoxLayout(made)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(theme.px(8))
    row.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
    row.addWidget(said, 1)
    return made
