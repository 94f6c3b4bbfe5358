"""Middle of the window: a tool bar over the pane, and the first-run page in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop.gui import keys, theme

if TYPE_CHECKING:
    from medsearch_desktop.viewer import slice_pane


class FirstRun(QWidget):
    """Shown while there is no collection: what can be done about it."""

    demo_requested = Signal()
    add_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        title = QLabel(self.tr("Find cases like the one you are reading"))
        second = QLabel(self.tr("Pick a collection to search. Nothing leaves this computer."))
        theme.set_role(title, "title")
        theme.set_role(second, "second")
        cards = QHBoxLayout()
        cards.setSpacing(theme.px(16))
        cards.addStretch(1)
        self._demo = self._card(
            cards,
            "graduation-cap",
            self.tr("Build the demo collection"),
            self.tr("Real series that come with open packages, and drawn phantoms."),
            self.tr("Build demo"),
            self.demo_requested,
        )
        theme.set_role(self._demo, "primary")
        self._card(
            cards,
            "folder-open",
            self.tr("Add a collection folder"),
            self.tr("A folder that medsearch-index build has written."),
            self.tr("Choose folder…"),
            self.add_requested,
        )
        cards.addStretch(1)
        self._line = QLabel()
        self._line.setTextFormat(Qt.TextFormat.PlainText)
        theme.set_role(self._line, "second")
        column = QVBoxLayout(self)
        column.setSpacing(theme.px(8))
        column.addStretch(1)
        column.addWidget(title, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(second, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addSpacing(theme.px(16))
        column.addLayout(cards)
        column.addSpacing(theme.px(8))
        column.addWidget(self._line, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(1)

    def set_building(self, sentence: str) -> None:
        """Say how far the demo is; "" when nothing is being built."""
        self._demo.setEnabled(not sentence)
        self._line.setText(sentence)

    def _card(
        self, row: QHBoxLayout, icon: str, title: str, words: str, action: str, pressed: Signal
    ) -> QPushButton:
        card = QFrame()
        theme.set_role(card, "card")
        card.setFixedWidth(theme.px(264))
        sign, head, body = QLabel(), QLabel(title), QLabel(words)
        sign.setPixmap(theme.pixmap(icon, 32))
        theme.set_role(head, "heading")
        theme.set_role(body, "second")
        body.setWordWrap(True)
        button = QPushButton(action)
        button.clicked.connect(lambda: pressed.emit())
        column = QVBoxLayout(card)
        column.setContentsMargins(*(theme.px(20),) * 4)
        column.setSpacing(theme.px(8))
        for widget in (sign, head, body):
            column.addWidget(widget)
        column.addStretch(1)
        column.addWidget(button)
        row.addWidget(card)
        return button


class ViewerArea(QWidget):
    """The tool bar of 40 px and the pane below it."""

    find_requested = Signal()
    find_slice_requested = Signal()
    strip_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.pane: slice_pane.SlicePane | None = None
        self.first_run = FirstRun()
        ground = QWidget()
        theme.set_role(ground, "pane")
        ground.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._stack = QStackedWidget()
        self._stack.addWidget(ground)
        self._stack.addWidget(self.first_run)
        self.bar = QWidget()
        theme.set_role(self.bar, "bar")
        self.bar.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.bar.setFixedHeight(theme.px(40))
        self._strip = self._tool("layout", self.tr("Studies"), self.strip_requested.emit)
        self._strip.hide()
        self._fit = self._tool(
            "arrows-out", keys.with_key(self.tr("Fit"), keys.FIT), self._fit_pane
        )
        self._overlays = self._tool(
            "eye", keys.with_key(self.tr("Overlays"), keys.OVERLAYS), self._toggle_overlays
        )
        self._windows = self._window_button()
        self._slice = QPushButton(self.tr("This slice"))
        self._slice.setToolTip(self.tr("Find cases like the slice that is shown"))
        self._slice.clicked.connect(self.find_slice_requested)
        self._find = QPushButton(self.tr("Find like this"))
        theme.set_role(self._find, "accent")
        self._find.setIcon(theme.icon("magnifying-glass", "text1"))
        self._find.setToolTip(keys.with_key(self.tr("Find like this"), keys.FIND_SIMILAR))
        self._find.clicked.connect(self.find_requested)
        row = QHBoxLayout(self.bar)
        row.setContentsMargins(theme.px(8), theme.px(4), theme.px(8), theme.px(4))
        row.setSpacing(theme.px(4))
        for widget in (self._strip, self._windows, self._fit, self._overlays):
            row.addWidget(widget)
        row.addStretch(1)
        for widget in (self._slice, self._find):
            widget.setFixedHeight(theme.px(30))
            row.addWidget(widget)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.bar)
        column.addWidget(self._stack, 1)
        self.set_content(slices=0)

    def set_pane(self, pane: slice_pane.SlicePane) -> None:
        """Put the pane where only its black ground was."""
        is_first_run = self._stack.currentIndex() == 1
        self._stack.removeWidget(self._stack.widget(0))
        self._stack.insertWidget(0, pane)
        self.pane = pane
        self.show_first_run(is_first_run)

    def set_content(self, *, slices: int) -> None:
        """Offer the tools that the shown series has use for; 0 slices: nothing is open."""
        for widget in (self._fit, self._overlays, self._windows, self._find, self._slice):
            widget.setEnabled(slices > 0)
        self._slice.setVisible(slices > 1)

    def show_first_run(self, shown: bool) -> None:
        """Show the first-run page instead of the pane."""
        self._stack.setCurrentIndex(1 if shown else 0)

    def set_strip_button(self, shown: bool) -> None:
        """Offer the study strip as an overlay, where the window has no room for it."""
        self._strip.setVisible(shown)

    def _tool(self, icon: str, name: str, pressed: object) -> QToolButton:
        button = QToolButton()
        theme.set_role(button, "tool")
        button.setIcon(theme.icon(icon))
        button.setIconSize(theme.icon_size(20))
        button.setToolTip(name)
        button.setAccessibleName(name)
        button.clicked.connect(lambda: pressed())
        return button

    def _fit_pane(self) -> None:
        if self.pane is not None:
            self.pane.fit()

    def _toggle_overlays(self) -> None:
        if self.pane is not None:
            self.pane.set_overlays_hidden(not self.pane.overlays_hidden)
            hidden = self.pane.overlays_hidden
            self._overlays.setIcon(theme.icon("eye-slash" if hidden else "eye"))

    def _window_button(self) -> QToolButton:
        menu = QMenu(self)
        menu.aboutToShow.connect(lambda: self._fill_windows(menu))
        button = self._tool("circle-half", self.tr("Window"), lambda: None)
        button.setMenu(menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        return button

    def _fill_windows(self, menu: QMenu) -> None:
        menu.clear()
        for number, window in enumerate(self.pane.presets() if self.pane is not None else ()):
            name = window.name.replace("&", "&&") or self.tr("Window of the file")
            words = f"{name}   W {window.width:g}  C {window.centre:g}"
            menu.addAction(words, lambda number=number: self.pane.choose_preset(number))
        if menu.isEmpty():
            menu.addAction(self.tr("No presets for this image")).setEnabled(False)
