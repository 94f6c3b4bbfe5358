"""Collection picker: the button of the search row and the list that opens from it."""

from __future__ import annotations

import html
from collections.abc import Sequence

from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop.gui import collection_list, theme
from medsearch_desktop.viewer import plain

# How wide the limits of an encoder run, in the list.
_WIDE = 340


class CollectionPicker(QPushButton):
    """Shows which collections are searched; opens a list to choose one or several."""

    chosen = Signal(tuple)  # paths
    add_requested = Signal()
    demo_requested = Signal()
    models_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._known: tuple[collection_list.CollectionInfo, ...] = ()
        self._chosen: tuple[str, ...] = ()
        self._sheet: QFrame | None = None
        self._offers_demo = True
        self.setFixedHeight(theme.px(40))
        self._name, self._count = QLabel(), QLabel()
        self._build()
        self.clicked.connect(self.open_list)
        self.set_collections((), ())

    @property
    def chosen_paths(self) -> tuple[str, ...]:
        """The collections that are searched."""
        return self._chosen

    def set_collections(
        self, known: Sequence[collection_list.CollectionInfo], chosen: Sequence[str]
    ) -> None:
        """Show these collections and which of them are searched."""
        self._known, self._chosen = tuple(known), tuple(chosen)
        searched = [info for info in self._known if info.path in self._chosen]
        if not searched:
            name, count = self.tr("No collection"), self.tr("Choose what to search")
        else:
            name = searched[0].name
            if len(searched) > 1:
                name = self.tr("{n} collections").format(n=len(searched))
            cases = sum(info.cases for info in searched)
            count = self.tr("{n} cases").format(n=f"{cases:,}")
        room = theme.px(150)
        metrics = self._name.fontMetrics()
        self._name.setText(metrics.elidedText(name, Qt.TextElideMode.ElideRight, room))
        self._count.setText(count)
        self.setAccessibleName(self.tr("Collections searched: {name}").format(name=name))
        self.setToolTip(_plain("\n".join(_line(info) for info in searched) or name))
        self.updateGeometry()

    def set_demo_offered(self, offered: bool) -> None:
        """Say whether the list offers to build the demo collection."""
        self._offers_demo = offered

    def sizeHint(self) -> QSize:
        return QSize(self.layout().sizeHint().width(), theme.px(40))

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def open_list(self) -> None:
        """Open the list below the button."""
        sheet = QFrame(self, Qt.WindowType.Popup)
        sheet.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        theme.set_role(sheet, "popup")
        column = QVBoxLayout(sheet)
        column.setContentsMargins(*(theme.px(8),) * 4)
        boxes = [self._row(info, column) for info in self._known]
        if not boxes:
            column.addWidget(QLabel(self.tr("There is no collection yet.")))
        for box, info in zip(boxes, self._known, strict=True):
            box.toggled.connect(lambda on, path=info.path: self._choose(path, on))
        for encoder, words in dict.fromkeys((i.encoder, i.limits) for i in self._known if i.limits):
            column.addWidget(self._limits(encoder, words))
        self._button(column, self.tr("Add a collection folder…"), "folder-plus", self.add_requested)
        if self._offers_demo:
            words = self.tr("Build the demo collection")
            self._button(column, words, "graduation-cap", self.demo_requested)
        self._button(column, self.tr("Models…"), "brain", self.models_requested)
        sheet.adjustSize()
        corner = self.mapToGlobal(QPoint(self.width() - sheet.width(), self.height() + 2))
        sheet.move(corner)
        sheet.show()
        self._sheet = sheet

    def _build(self) -> None:
        sign, caret = QLabel(), QLabel()
        sign.setPixmap(theme.pixmap("database", 20))
        caret.setPixmap(theme.pixmap("caret-down", 16))
        theme.set_role(self._name, "strong")
        theme.set_role(self._count, "small")
        for label in (self._name, self._count, sign, caret):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            label.setTextFormat(Qt.TextFormat.PlainText)
        lines = QVBoxLayout()
        lines.setSpacing(0)
        lines.addWidget(self._name)
        lines.addWidget(self._count)
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(10), theme.px(2), theme.px(10), theme.px(2))
        row.setSpacing(theme.px(8))
        row.addWidget(sign)
        row.addLayout(lines, 1)
        row.addWidget(caret)

    def _row(self, info: collection_list.CollectionInfo, column: QVBoxLayout) -> QCheckBox:
        box = QCheckBox(info.name.replace("&", "&&"))
        box.setChecked(info.path in self._chosen)
        box.setEnabled(not info.problem)
        box.setToolTip(_plain(info.path))
        second = QLabel(info.problem or _second_line(info))
        second.setTextFormat(Qt.TextFormat.PlainText)
        theme.set_role(second, "small")
        second.setIndent(theme.px(24))
        column.addWidget(box)
        column.addWidget(second)
        return box

    def _limits(self, encoder: str, words: str) -> QLabel:
        """Return what an encoder is not for, in full."""
        limits = QLabel(plain.paragraph(f"{encoder}: {words}"))
        limits.setTextFormat(Qt.TextFormat.PlainText)
        limits.setWordWrap(True)
        limits.setFixedWidth(theme.px(_WIDE))
        theme.set_role(limits, "small")
        return limits

    def _button(self, column: QVBoxLayout, words: str, icon: str, pressed: Signal) -> None:
        button = QPushButton(words)
        theme.set_role(button, "flat")
        button.setIcon(theme.icon(icon))
        button.setIconSize(theme.icon_size(18))
        button.clicked.connect(lambda: self._sheet and self._sheet.close())
        button.clicked.connect(lambda: pressed.emit())
        column.addWidget(button)

    def _choose(self, path: str, on: bool) -> None:
        rest = tuple(other for other in self._chosen if other != path)
        order = [info.path for info in self._known]
        chosen = sorted((*rest, path) if on else rest, key=order.index)
        self.set_collections(self._known, tuple(chosen))
        self.chosen.emit(self._chosen)


def _second_line(info: collection_list.CollectionInfo) -> str:
    return f"{info.cases:,} cases · {info.encoder}"


def _line(info: collection_list.CollectionInfo) -> str:
    return f"{info.name}: {info.problem or _second_line(info)}"


def _plain(text: str) -> str:
    """Return a tooltip that shows what a stranger wrote as it stands, never as markup."""
    return html.escape(text).replace("\n", "<br>").join(("<span>", "</span>"))
