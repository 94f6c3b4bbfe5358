"""Two encoders side by side: the same question, two columns of cases, and what they share."""

from __future__ import annotations

import dataclasses

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
)

from medsearch_desktop import queries
from medsearch_desktop.gui import (
    bridge,
    compare_rows,
    comparing,
    editions,
    main_window,
    pages,
    terms,
    theme,
)
from medsearch_desktop.viewer import plain

_SIZE = (1040, 720)


class _Column:
    """The heading, the state and the rows of one edition."""

    def __init__(self, dialog: CompareDialog, window: main_window.MainWindow, name: str) -> None:
        self.choice = QComboBox()
        self.choice.setAccessibleName(name)
        self.choice.setMinimumWidth(theme.px(180))
        self.state = pages.label("", "small")
        self.notices = pages.label("", "small")
        self.notices.hide()
        self.view = compare_rows.RowsView(window.work, dialog)
        self.view.setAccessibleName(name)
        head = QHBoxLayout()
        head.setSpacing(theme.px(12))
        head.addWidget(self.choice)
        head.addWidget(self.state, 1)
        self.layout = QVBoxLayout()
        self.layout.setSpacing(theme.px(8))
        self.layout.addLayout(head)
        self.layout.addWidget(self.notices)
        self.layout.addWidget(self.view, 1)


class CompareDialog(QDialog):
    """Asks the question of the window, or other words, of two editions of a collection."""

    open_requested = Signal(object)  # queries.Hit

    def __init__(self, worker: bridge.Bridge, window: main_window.MainWindow) -> None:
        super().__init__(window)
        theme.set_role(self, "sheet")
        self.setWindowTitle(self.tr("Compare two encoders"))
        self._group: editions.Group | None = None
        self._question: queries.Query | None = None
        self.comparing = comparing.Comparing(worker, self)
        self._title = pages.label(self.tr("Compare two encoders"), "title")
        self.words = QLineEdit()
        self.words.setPlaceholderText(self.tr("Words to ask of both"))
        self.words.setAccessibleName(self.tr("Words to ask of both"))
        self._ask = QPushButton(self.tr("Ask both"))
        theme.set_role(self._ask, "primary")
        self._asked = pages.label("", "second")
        self.counts_words = QCheckBox(self.tr("Count words found in reports too"))
        self.counts_words.setToolTip(
            self.tr("They are the same for both encoders and hide where these differ")
        )
        self.overlap = QLabel()
        theme.set_role(self.overlap, "heading")
        self.columns = (
            _Column(self, window, self.tr("Left answer")),
            _Column(self, window, self.tr("Right answer")),
        )
        self._place()
        self._connect()

    def show_group(self, group: editions.Group, question: queries.Query | None) -> None:
        """Open on a collection, and ask the window's question of its first two editions."""
        self._group = group
        others = [one for one in group.members if one is not group.shown]
        for column, wanted in zip(self.columns, (group.shown, others[0]), strict=True):
            column.choice.clear()
            for member in group.members:
                column.choice.addItem(plain.line(member.encoder), member.path)
            column.choice.setCurrentIndex(group.members.index(wanted))
        room = self.screen().availableSize()
        self.resize(
            min(theme.px(_SIZE[0]), room.width() - theme.px(40)),
            min(theme.px(_SIZE[1]), room.height() - theme.px(80)),
        )
        title = self.tr("Compare two encoders: {name}")
        self._title.setText(title.format(name=plain.line(group.members[0].name)))
        self.show()
        self.raise_()
        self.activateWindow()
        self.words.setFocus()
        self._question = question
        self._ask_question()

    def ask_words(self) -> None:
        """Ask what was typed, of both."""
        if words := self.words.text().strip():
            self._question = queries.Query(terms=(queries.TextTerm(words),))
            self._ask_question()

    def closeEvent(self, event: QCloseEvent) -> None:
        self.comparing.forget()
        super().closeEvent(event)

    def reject(self) -> None:
        self.comparing.forget()
        super().reject()

    def _ask_question(self) -> None:
        if self._group is None:
            return
        if self._question is None or not self._question.terms:
            self.comparing.forget()
            return
        members = {member.path: member for member in self._group.members}
        pair = [members[column.choice.currentData()] for column in self.columns]
        plainly = dataclasses.replace(self._question, collections=())
        if not self.counts_words.isChecked():
            plainly = comparing.by_encoders_alone(plainly)
        self.comparing.ask(plainly, pair, self._group.members)

    def _show(self) -> None:
        sides = self.comparing.sides
        question = self._question if sides else None
        asked = self.tr("Ask words here, or ask in the window first and open this again.")
        if question is not None:
            asked = self.tr("Asked: {question}").format(question=terms.label_of_query(question))
        self._asked.setText(asked)
        self.counts_words.setVisible(question is not None and comparing.has_words(question))
        for place, column in enumerate(self.columns):
            side = sides[place] if sides else None
            other = sides[1 - place] if sides else None
            is_there = other is not None and other.results is not None
            column.view.rows.set_rows(
                side.hits if side else (), comparing.ranks(other.hits) if is_there else None
            )
            column.state.setText(self._state(side))
            told = side.results.notices if side and side.results else ()
            column.notices.setText(plain.paragraph(" ".join(told)))
            column.notices.setVisible(bool(told))
        common = self.comparing.common
        words = (
            self.tr("{n} of {all} in common").format(n=common[0], all=common[1]) if common else ""
        )
        self.overlap.setText(words)
        self.overlap.setAccessibleName(words)

    def _state(self, side: comparing.Side | None) -> str:
        if side is None:
            return ""
        if side.problem:
            return plain.line(side.problem)
        if side.results is None:
            return self.tr("Searching.")
        took = dict(side.results.took_ms).get("total")
        count = self.tr("{n} cases ranked").format(n=f"{side.results.total:,}")
        said = [count, *([] if took is None else [f"{took:,.0f} ms"])]
        return plain.line(" · ".join(said))

    def _place(self) -> None:
        close = QPushButton(self.tr("Close"))
        close.setAutoDefault(False)
        close.clicked.connect(self.close)
        top = QHBoxLayout()
        top.setSpacing(theme.px(8))
        top.addWidget(self.words, 1)
        top.addWidget(self._ask)
        line = QHBoxLayout()
        line.addWidget(self._asked, 1)
        line.addWidget(self.counts_words)
        line.addSpacing(theme.px(16))
        line.addWidget(self.overlap)
        both = QHBoxLayout()
        both.setSpacing(theme.px(16))
        for column in self.columns:
            both.addLayout(column.layout, 1)
        foot = QHBoxLayout()
        note = self.tr("The count is over the first ten of each. Thumbs are not given here.")
        foot.addWidget(pages.label(note, "small"), 1)
        foot.addWidget(close, 0, Qt.AlignmentFlag.AlignRight)
        column = QVBoxLayout(self)
        column.setContentsMargins(*(theme.px(16),) * 4)
        column.setSpacing(theme.px(12))
        column.addWidget(self._title)
        column.addLayout(top)
        column.addLayout(line)
        column.addLayout(both, 1)
        column.addLayout(foot)

    def _connect(self) -> None:
        self._ask.clicked.connect(self.ask_words)
        self.counts_words.toggled.connect(lambda _: self._ask_question())
        self.comparing.changed.connect(self._show)
        left, right = (column.view for column in self.columns)
        left.case_chosen.connect(right.choose)
        right.case_chosen.connect(left.choose)
        for column in self.columns:
            column.choice.activated.connect(lambda _: self._ask_question())
            column.view.open_requested.connect(self.open_requested)
