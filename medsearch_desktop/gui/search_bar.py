"""Search row: search box, collection picker, device light and the notice that never goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMenu, QToolButton, QWidget

from medsearch_desktop.gui import collection_picker, search_box, theme
from medsearch_desktop.viewer import plain

if TYPE_CHECKING:
    from medsearch_desktop.worker import messages


class DeviceLight(QWidget):
    """Says where searches are computed, and whether the search process stands."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._words = QLabel(self.tr("CPU"))
        self._is_ready = False
        sign = QLabel()
        sign.setPixmap(theme.pixmap("cpu", 18))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, theme.px(12), 0)
        row.setSpacing(theme.px(4))
        row.addWidget(sign)
        row.addWidget(self._words)
        self.set_waiting()

    def set_waiting(self) -> None:
        """Show that the search process is being started."""
        self._is_ready = False
        self._say(self.tr("The search process is starting"))

    def set_device(self, device: str) -> None:
        """Show the device that the worker named: "CPU" or a GPU's name."""
        self._is_ready = True
        self._words.setText(self._short(device))
        self._say(self.tr("Ready. Searches run on: {device}").format(device=device or "CPU"))

    def set_placed(self, placed: tuple[messages.Placed, ...]) -> None:
        """Show where the encoders run and how precisely: "CPU, int8"; the tooltip says all."""
        self._is_ready = True
        short = [f"{self._short(one.device)}, {one.precision}" for one in placed]
        self._words.setText(" + ".join(dict.fromkeys(short)) or self.tr("CPU"))
        lines = [f"{one.encoder}: {one.words} ({one.runtime or 'numpy'})" for one in placed]
        self._say(plain.paragraph("\n".join([self.tr("Ready. Searches run on:"), *lines])))

    def _short(self, device: str) -> str:
        """Return "CPU" or "GPU": the name of a GPU is long and stands in the status bar."""
        on_cpu = device.strip().upper() in ("", "CPU")
        return self.tr("CPU") if on_cpu else self.tr("GPU")

    def _say(self, sentence: str) -> None:
        self.setToolTip(plain.tooltip(sentence))
        self.setAccessibleName(plain.line(sentence))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        side = theme.px(7)
        box = (self.width() - side - 1, (self.height() - side) // 2, side, side)
        if self._is_ready:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour("like"))
        else:  # a ring, so that the state is no matter of colour alone
            painter.setPen(theme.colour("text3"))
        painter.drawEllipse(*box)
        painter.end()


class SearchBar(QWidget):
    """The row of 60 px at the top."""

    def __init__(self, menu: QMenu, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        theme.set_role(self, "bar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.box = search_box.SearchBox()
        self.picker = collection_picker.CollectionPicker()
        self.device = DeviceLight()
        self._menu = self._menu_button(menu)
        # A hard line break: two lines beside the light, as wide as the longer one.
        notice = QLabel(self.tr("Research and teaching.\nNot for diagnostic use."))
        notice.setFont(theme.font(11))
        theme.set_role(notice, "notice")
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(12), theme.px(8), theme.px(12), theme.px(8))
        row.setSpacing(theme.px(12))
        row.addWidget(self._menu)
        row.addWidget(self.box, 1)
        row.addWidget(self.picker)
        row.addWidget(self.device)
        row.addWidget(notice)
        self.set_folded(False)

    def set_folded(self, folded: bool) -> None:
        """In a low window the menu stands here as the first button, and the row is lower."""
        self._menu.setVisible(folded)
        self.setFixedHeight(theme.px(56 if folded else 60))

    def _menu_button(self, menu: QMenu) -> QToolButton:
        button = QToolButton()
        theme.set_role(button, "tool")
        button.setIcon(theme.icon("list"))
        button.setIconSize(theme.icon_size(20))
        button.setMenu(menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setToolTip(self.tr("Menu"))
        button.setAccessibleName(self.tr("Menu"))
        return button
