"""Jobs and log: what is under way, and what was imported, left out or restarted, and why."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from PySide6.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop.gui import theme
from medsearch_desktop.viewer import plain

_LOG_LINES = 5000
_ROWS = 10


class State(enum.Enum):
    """How a job stands; the value is the state of its bar in the style sheet."""

    RUNNING = ""
    DONE = "done"
    SKIPS = "warning"
    FAILED = "error"


@dataclass(frozen=True)
class Job:
    """One piece of work: a title, a count line, progress (`total` 0: not known), a sentence.

    `again` goes on with one that ended before it was done.
    """

    title: str
    line: str = ""
    sentence: str = ""
    icon: str = "database"
    done: int = 0
    total: int = 0
    state: State = State.RUNNING
    stop: Callable[[], object] | None = None
    report: Callable[[], object] | None = None
    again: Callable[[], object] | None = None


class _Row(QFrame):
    """68 px: icon, name and count, bar and sentence, Report, Stop or Remove."""

    def __init__(self, remove: Callable[[], None], parent: QWidget) -> None:
        super().__init__(parent)
        self.setFixedHeight(theme.px(68))
        self._job: Job | None = None
        self._remove = remove
        self._sign, self._title, self._line = QLabel(), QLabel(), QLabel()
        self._bar, self._sentence = QProgressBar(), QLabel()
        self._button, self._report = QPushButton(), QPushButton(self.tr("Report"))
        self._again = QPushButton(self.tr("Go on"))
        for label in (self._title, self._line, self._sentence):
            label.setTextFormat(Qt.TextFormat.PlainText)
            # A long name is cut at the row's edge and stands whole in the tooltip.
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._sentence.setWordWrap(True)
        theme.set_role(self._title, "strong")
        theme.set_role(self._line, "small")
        theme.set_role(self._sentence, "small")
        theme.set_role(self._button, "flat")
        theme.set_role(self._report, "flat")
        theme.set_role(self._again, "flat")
        self._again.clicked.connect(self._go_on)
        self._report.setToolTip(self.tr("What became of each file"))
        self._report.clicked.connect(self._show_report)
        self._button.clicked.connect(self._press)
        self._bar.setTextVisible(False)
        self._sign.setFixedWidth(theme.px(24))
        names, progress = QVBoxLayout(), QVBoxLayout()
        for column, widgets in (
            (names, (self._title, self._line)),
            (progress, (self._bar, self._sentence)),
        ):
            column.setSpacing(theme.px(4))
            column.addStretch(1)
            for widget in widgets:
                column.addWidget(widget)
            column.addStretch(1)
        row = QHBoxLayout(self)
        row.setContentsMargins(*(theme.px(n) for n in (12, 4, 8, 4)))
        row.setSpacing(theme.px(12))
        row.addWidget(self._sign)
        row.addLayout(names, 2)
        row.addLayout(progress, 3)
        row.addWidget(self._report)
        row.addWidget(self._again)
        row.addWidget(self._button)

    @property
    def job(self) -> Job | None:
        return self._job

    def show_job(self, job: Job) -> None:
        self._job = job
        icon, role = {
            State.SKIPS: ("warning", "warning"),
            State.FAILED: ("warning-octagon", "error"),
            State.DONE: ("check-circle", "like"),
        }.get(job.state, (job.icon, "text2"))
        self._sign.setPixmap(theme.pixmap(icon, 20, role))
        for label, words in (
            (self._title, job.title),
            (self._line, job.line),
            (self._sentence, job.sentence),
        ):
            label.setText(plain.line(words))
            label.setToolTip(plain.tooltip(words))
        is_over = job.state is not State.RUNNING
        # An unknown length is a still bar with a counting sentence; nothing pulses.
        self._bar.setRange(0, max(job.total, 1))
        self._bar.setValue(max(job.total, 1) if is_over else job.done)
        theme.set_role(self._bar, "job", job.state.value)
        self._button.setText(self.tr("Remove") if is_over else self.tr("Stop"))
        self._button.setVisible(is_over or job.stop is not None)
        self._report.setVisible(job.report is not None)
        self._again.setVisible(is_over and job.again is not None)
        self.setAccessibleName(plain.line(f"{job.title}. {job.line} {job.sentence}"))

    def _show_report(self) -> None:
        if self._job is not None and self._job.report is not None:
            self._job.report()

    def _go_on(self) -> None:
        if self._job is not None and self._job.again is not None:
            self._job.again()

    def _press(self) -> None:
        if self._job is not None and self._job.state is State.RUNNING:
            if self._job.stop is not None:
                self._job.stop()
        else:
            self._remove()


class JobsPane(QScrollArea):
    """The jobs of this session, newest first."""

    count_changed = Signal(int)  # jobs that run

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setAccessibleName(self.tr("Jobs"))
        inside = QWidget()
        self._column = QVBoxLayout(inside)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._empty = QLabel(self.tr("Nothing is being imported or built."))
        theme.set_role(self._empty, "second")
        self._empty.setContentsMargins(*(theme.px(12),) * 4)
        self._column.addWidget(self._empty)
        self._column.addStretch(1)
        self.setWidget(inside)
        self._rows: dict[int, _Row] = {}
        self._numbers = itertools.count(1)

    def add(self, job: Job) -> int:
        """Show a job and return the number it is changed by; the oldest finished one may go."""
        number = next(self._numbers)
        over = [n for n, row in self._rows.items() if row.job.state is not State.RUNNING]
        if len(self._rows) >= _ROWS and over:
            self.remove(over[0])
        row = _Row(lambda: self.remove(number), self.widget())
        self._rows[number] = row
        self._column.insertWidget(0, row)
        self.update_job(number, job)
        return number

    def job(self, number: int) -> Job | None:
        """Return a job as it is shown, or None when it was removed."""
        row = self._rows.get(number)
        return None if row is None else row.job

    def update_job(self, number: int, job: Job) -> None:
        """Show a job's new state."""
        if (row := self._rows.get(number)) is not None:
            row.show_job(job)
            self._count()

    def change(self, number: int, **fields: object) -> None:
        """Show a job with some of its fields changed."""
        if (job := self.job(number)) is not None:
            self.update_job(number, replace(job, **fields))

    def remove(self, number: int) -> None:
        """Take a job off the list."""
        if (row := self._rows.pop(number, None)) is not None:
            self._column.removeWidget(row)
            row.deleteLater()
            self._count()

    def running(self) -> tuple[Job, ...]:
        """Return the jobs that run."""
        jobs = [row.job for row in self._rows.values()]
        return tuple(job for job in jobs if job and job.state is State.RUNNING)

    def _count(self) -> None:
        self._empty.setVisible(not self._rows)
        self.count_changed.emit(len(self.running()))


@dataclass(frozen=True)
class Line:
    """One line of the log: when, what (a file, the search process), and what about it."""

    time: str
    what: str
    why: str


class LogModel(QAbstractTableModel):
    """Lines of the log, oldest first, cut at 5,000."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: list[Line] = []

    def add(self, lines: list[Line]) -> None:
        """Append lines."""
        first = len(self._lines)
        self.beginInsertRows(QModelIndex(), first, first + len(lines) - 1)
        self._lines += lines
        self.endInsertRows()
        if (over := len(self._lines) - _LOG_LINES) > 0:
            self.beginRemoveRows(QModelIndex(), 0, over - 1)
            del self._lines[:over]
            self.endRemoveRows()

    def line(self, row: int) -> Line:
        """Return one line."""
        return self._lines[row]

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._lines)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else 3

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return None
        line = self._lines[index.row()]
        words = (line.time, line.what, line.why)[index.column()]
        is_tip = role == Qt.ItemDataRole.ToolTipRole
        return plain.tooltip(words) if is_tip else plain.line(words)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        if role != Qt.ItemDataRole.DisplayRole or orientation is Qt.Orientation.Vertical:
            return None
        return (self.tr("Time"), self.tr("What"), self.tr("What happened, and why"))[section]


class LogPane(QWidget):
    """The log as a table, with Copy for the chosen lines or all."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = LogModel(self)
        self._table = QTreeView()
        self._table.setModel(self.model)
        self._table.setRootIsDecorated(False)
        self._table.setUniformRowHeights(True)
        self._table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self._table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._table.setAccessibleName(self.tr("Log"))
        self._table.setColumnWidth(0, theme.px(80))
        self._table.setColumnWidth(1, theme.px(320))
        copy = QPushButton(self.tr("Copy"))
        theme.set_role(copy, "flat")
        copy.setIcon(theme.icon("copy"))
        copy.clicked.connect(self.copy)
        shortcut = QShortcut(QKeySequence(QKeySequence.StandardKey.Copy), self._table)
        shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
        shortcut.activated.connect(self.copy)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, theme.px(8), theme.px(4))
        row.addWidget(self._table, 1)
        row.addWidget(copy, 0, Qt.AlignmentFlag.AlignTop)

    def add(self, what: str, why: str) -> None:
        """Write one line."""
        self.add_all([(what, why)])

    def add_all(self, lines: list[tuple[str, str]]) -> None:
        """Write lines of (what, why) at once."""
        if lines:
            time = datetime.now().strftime("%H:%M:%S")
            self.model.add([Line(time, what, why) for what, why in lines])
            self._table.scrollToBottom()

    def copy(self) -> None:
        """Put the chosen lines, or all, on the clipboard."""
        rows = sorted({index.row() for index in self._table.selectedIndexes()})
        lines = [self.model.line(row) for row in rows or range(self.model.rowCount())]
        text = "\n".join(f"{line.time}\t{line.what}\t{line.why}" for line in lines)
        QGuiApplication.clipboard().setText(text)
