"""Page of collections: by which encoder each is searched, embedding again, and comparing."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop.gui import editions, installed, library, pages, theme
from medsearch_desktop.viewer import plain


class _Choice(QComboBox):
    """A choice that the wheel scrolls past: it would change by what encoder is searched."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class EditionPage(QScrollArea):
    """One row a collection, with all its editions."""

    said = Signal(str, str)  # a sentence and its kind, for the strip
    begun = Signal(str, str)  # name of the collection, encoder
    compare_requested = Signal(str)  # path of the first edition

    def __init__(
        self, encoders: installed.Installed, known: library.Library, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._installed, self._library = encoders, known
        self.setWidgetResizable(True)
        self.setAccessibleName(self.tr("Collections and their encoders"))
        encoders.changed.connect(self._refresh)
        known.changed.connect(lambda *_: self._refresh())
        known.reembedding.ended.connect(lambda _: self._refresh())
        self._refresh()

    def embed(self, group: editions.Group, encoder: str) -> None:
        """Embed a collection again, or go on with what was begun."""
        found = self._installed.find(encoder)
        out = group.folder_for(encoder, found.digest if found else "")
        problem = self._library.reembedding.start(group.members[0], encoder, out)
        if problem:
            self.said.emit(problem, "warning")
        else:
            self.begun.emit(group.members[0].name, encoder)
        self._refresh()

    def _refresh(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, theme.px(12), theme.px(8), 0)
        column.setSpacing(theme.px(8))
        groups = self._library.groups
        words = self.tr(
            "A collection can be embedded by several encoders. The copies lie side by side; one "
            "of them is searched when the collection is chosen."
        )
        if not groups:
            words = self.tr("There is no collection yet. Build the demo or add a folder.")
        column.addWidget(pages.label(words, "second"))
        for group in groups:
            column.addWidget(self._row(group))
        column.addStretch(1)
        pages.renew(self, inside)

    def _row(self, group: editions.Group) -> QFrame:
        frame = QFrame()
        theme.set_role(frame, "card")
        first, shown = group.members[0], group.shown
        names = QVBoxLayout()
        names.setSpacing(theme.px(2))
        names.addWidget(pages.label(first.name, "strong"))
        names.addWidget(pages.label(self._second_line(group), "small"))
        top = QHBoxLayout()
        top.setSpacing(theme.px(8))
        top.addLayout(names, 1)
        top.addWidget(pages.label(self.tr("Searched by"), "small", wraps=False))
        top.addWidget(self._choice(group))
        top.addWidget(self._embed_button(group))
        top.addWidget(self._compare_button(group))
        column = QVBoxLayout(frame)
        column.setContentsMargins(*(theme.px(n) for n in (12, 8, 12, 8)))
        column.addLayout(top)
        if doubt := self._doubt(shown):
            column.addWidget(pages.warning(doubt))
        if shown.limits:
            column.addWidget(pages.label(shown.limits, "small"))
        return frame

    def _doubt(self, shown: editions.Info) -> str:
        """Return why only words can be searched in an edition, "" where pictures can too."""
        if shown.problem or not self._installed.is_listed:
            return ""
        found = self._installed.find(shown.encoder)
        if found is None:
            words = self.tr(
                "{name} is not installed, so that only words are searched. Import it, or embed "
                "the collection again."
            )
        elif found.problem:
            words = self.tr("{name} cannot be used, so that only words are searched: {why}")
        elif found.digest and shown.digest and found.digest != shown.digest:
            words = self.tr(
                "The {name} that is installed is another version than this was embedded with, so "
                "that only words are searched. Embed the collection again."
            )
        else:
            return ""
        return words.format(name=shown.encoder, why=found.problem if found else "")

    def _second_line(self, group: editions.Group) -> str:
        if problem := group.shown.problem:
            return problem
        cases = self.tr("{n} cases").format(n=f"{group.shown.cases:,}")
        count = len(group.members)
        by = self.tr("1 edition") if count == 1 else self.tr("{n} editions").format(n=count)
        return f"{cases} · {by}"

    def _choice(self, group: editions.Group) -> QComboBox:
        box = _Choice()
        name = self.tr("Encoder by which {name} is searched").format(name=group.members[0].name)
        box.setAccessibleName(plain.line(name))
        for member in group.members:
            box.addItem(plain.line(self._called(member, group)), member.path)
        box.setCurrentIndex(group.members.index(group.shown))
        box.setEnabled(len(group.members) > 1)
        box.setMinimumWidth(theme.px(150))
        box.activated.connect(
            lambda place: self._library.choose_edition(group.path, box.itemData(place))
        )
        return box

    def _called(self, member: editions.Info, group: editions.Group) -> str:
        """Return how an edition is called: by its encoder, and its version where two have it."""
        name = member.encoder or self.tr("unknown")
        return f"{name} ({member.digest[:8]})" if group.encoders.count(name) > 1 else name

    def _embed_button(self, group: editions.Group) -> QPushButton:
        button = QPushButton(self.tr("Embed again with…"))
        button.setAutoDefault(False)
        menu = QMenu(button)
        self._fill(menu, group)
        button.setMenu(menu)
        running = self._library.reembedding.running
        if running is not None and running[0] == group.path:
            button.setText(self.tr("Being embedded…"))
        button.setEnabled(running is None and not group.members[0].problem)
        if running is not None:
            button.setToolTip(self.tr("One collection is embedded at a time; see the jobs."))
        return button

    def _fill(self, menu: QMenu, group: editions.Group) -> None:
        first = group.members[0]
        for one in self._installed.encoders:
            there = group.of(one.name, one.digest)
            if one.problem or (there is not None and there.cases >= first.cases):
                continue
            words = plain.label(one.name)
            if there is not None:
                more = self.tr("{name} ({n} cases missing: goes on)")
                words = more.format(name=words, n=f"{first.cases - there.cases:,}")
            elif group.of(one.name) is not None:
                words = self.tr("{name} (as it is installed now)").format(name=words)
            elif one.name in first.begun:
                words = self.tr("{name} (begun: goes on)").format(name=words)
            action = menu.addAction(words)
            action.triggered.connect(lambda _=False, name=one.name: self.embed(group, name))
        if menu.isEmpty():
            is_read = self._installed.is_listed
            words = self.tr("No other encoder is installed: import one first")
            waits = self.tr("Reading what is installed…")
            menu.addAction(words if is_read else waits).setEnabled(False)

    def _compare_button(self, group: editions.Group) -> QPushButton:
        button = QPushButton(self.tr("Compare…"))
        button.setAutoDefault(False)
        button.setEnabled(len(group.members) > 1)
        tip = self.tr("Ask the same question of two editions and see the answers side by side")
        if len(group.members) < 2:
            tip = self.tr("It needs two editions: embed the collection again with another encoder")
        button.setToolTip(tip)
        button.clicked.connect(lambda: self.compare_requested.emit(group.path))
        return button
