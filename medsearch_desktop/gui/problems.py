"""Problem cards: at most one error, one warning and one notice, never over an image."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QEvent, Qt, QTimer
from PySide6.QtGui import QEnterEvent, QGuiApplication
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop import errors
from medsearch_desktop.gui import theme
from medsearch_desktop.viewer import plain

# A notice without an action goes by itself after this long, unless the mouse rests on it.
_NOTICE_MS = 8000
_LETTERS = 600


class Kind(enum.Enum):
    """How bad it is; each has its bar, icon and place in the order."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True)
class Problem:
    """What happened, in a sentence and a second line; one way on; details to copy."""

    kind: Kind
    title: str
    line: str = ""
    action: str = ""
    act: Callable[[], object] | None = None
    details: str = ""
    about: str = ""  # what it is about, by which it is taken away when that is mended


_ICONS = {
    Kind.ERROR: ("warning-octagon", "error"),
    Kind.WARNING: ("warning", "warning"),
    Kind.NOTICE: ("info", "text2"),
}


class _Card(QFrame):
    def __init__(self, problem: Problem, host: Problems) -> None:
        super().__init__(host)
        theme.set_role(self, "problem", problem.kind.value)
        self.setAccessibleName(plain.line(f"{problem.title} {problem.line}", _LETTERS))
        self._host, self._kind, self.about = host, problem.kind, problem.about
        self._timer = QTimer(self, singleShot=True, interval=_NOTICE_MS)
        self._timer.timeout.connect(self.dismiss)
        # One that offers something to do stays until it is closed.
        self._goes = problem.kind is Kind.NOTICE and problem.act is None
        if self._goes:
            self._timer.start()
        row = QHBoxLayout(self)
        row.setContentsMargins(*(theme.px(n) for n in (12, 10, 8, 10)))
        row.setSpacing(theme.px(12))
        sign = QLabel()
        name, role = _ICONS[problem.kind]
        sign.setPixmap(theme.pixmap(name, 20, role))
        row.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(self._words(problem), 1)
        row.addWidget(self._close_button(), 0, Qt.AlignmentFlag.AlignTop)

    def dismiss(self) -> None:
        """Take the card away."""
        self._timer.stop()
        self._host.remove(self._kind)

    def enterEvent(self, event: QEnterEvent) -> None:
        self._timer.stop()

    def leaveEvent(self, event: QEvent) -> None:
        if self._goes:
            self._timer.start()

    def _words(self, problem: Problem) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(theme.px(4))
        for words, role in ((problem.title, "strong"), (problem.line, "second")):
            if words:
                label = QLabel(plain.line(words, _LETTERS))
                label.setTextFormat(Qt.TextFormat.PlainText)
                label.setWordWrap(True)
                theme.set_role(label, role)
                column.addWidget(label)
        if problem.action or problem.details:
            column.addLayout(self._buttons(problem))
        return column

    def _buttons(self, problem: Problem) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(theme.px(8))
        if problem.action and problem.act is not None:
            button = QPushButton(problem.action)
            theme.set_role(button, "primary" if problem.kind is Kind.ERROR else "link")
            button.clicked.connect(lambda: self._act(problem))
            row.addWidget(button)
        if problem.details:
            copy = QPushButton(self.tr("Copy details"))
            theme.set_role(copy, "flat")
            copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(problem.details))
            row.addWidget(copy)
        row.addStretch(1)
        return row

    def _act(self, problem: Problem) -> None:
        """Go, then act: what is done may show a card of the same kind, which shall stay."""
        self.dismiss()
        if problem.act is not None:
            problem.act()

    def _close_button(self) -> QToolButton:
        button = QToolButton()
        theme.set_role(button, "tool")
        button.setIcon(theme.icon("x"))
        button.setIconSize(theme.icon_size(16))
        button.setToolTip(self.tr("Close"))
        button.setAccessibleName(self.tr("Close"))
        button.clicked.connect(self.dismiss)
        return button


class Problems(QWidget):
    """Holds the cards; a newer one takes the place of an older one of its kind."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        theme.set_role(self, "dock")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._cards: dict[Kind, _Card] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(*(theme.px(n) for n in (8, 8, 8, 0)))
        self._column.setSpacing(theme.px(8))
        self.hide()

    def show_problem(self, problem: Problem) -> None:
        """Show a card."""
        self.remove(problem.kind)
        card = _Card(problem, self)
        self._cards[problem.kind] = card
        at = sum(kind in self._cards for kind in Kind if _order(kind) < _order(problem.kind))
        self._column.insertWidget(at, card)
        self.show()

    def show_error(
        self, error: BaseException, action: str = "", act: Callable[[], object] | None = None
    ) -> None:
        """Show an error's sentence and what to do about it."""
        line = error.action if isinstance(error, errors.MedsearchError) else ""
        title = errors.with_stop(str(error))
        details = f"{type(error).__name__}: {error}"
        self.show_problem(Problem(Kind.ERROR, title, line, action, act, details))

    def remove(self, kind: Kind) -> None:
        """Take the card of this kind away."""
        if (card := self._cards.pop(kind, None)) is not None:
            self._column.removeWidget(card)
            card.hide()
            card.deleteLater()
        self.setVisible(bool(self._cards))

    def remove_about(self, about: str) -> None:
        """Take the cards about this away, whatever their kind."""
        for kind in [kind for kind, card in self._cards.items() if card.about == about]:
            self.remove(kind)

    def shown(self) -> tuple[Kind, ...]:
        """Return the kinds of the cards shown, in their order."""
        return tuple(kind for kind in Kind if kind in self._cards)


def _order(kind: Kind) -> int:
    return list(Kind).index(kind)
