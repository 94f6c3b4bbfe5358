"""The import report: what became of each file of a drop, with the drops of this session."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QAbstractTableModel, QCoreApplication, QModelIndex, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSizePolicy,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop.gui import background, dialogs, theme
from medsearch_desktop.imaging import report
from medsearch_desktop.viewer import plain

# Reports of older drops are forgotten.
_KEPT_DROPS = 20


def _tr(words: str) -> str:
    return QCoreApplication.translate("ImportPane", words)


class Filter(enum.Enum):
    """Which entries are listed."""

    ALL = frozenset[str]()
    OPENED = frozenset({"opened", "marked", "split"})
    MARKED = frozenset({"marked", "split"})
    NOT_OPENED = frozenset({"listed", "left out", "refused"})

    def takes(self, entry: report.Entry) -> bool:
        """Say whether an entry is listed."""
        return self is Filter.ALL or entry.answer in self.value


@dataclass
class Drop:
    """The report of one drop; grows while the drop is read."""

    number: int
    title: str
    entries: list[report.Entry] = field(default_factory=list)
    counts: Counter[tuple[report.Answer, str]] = field(default_factory=Counter)
    is_over: bool = False

    def add(self, entries: Sequence[report.Entry]) -> None:
        """Take further entries."""
        self.entries += entries
        self.counts.update(report.count(entries))

    def replace(self, row: int, entry: report.Entry) -> None:
        """Put another entry in the place of one."""
        before = self.entries[row]
        self.counts[before.answer, before.what] -= 1
        self.counts[entry.answer, entry.what] += 1
        self.entries[row] = entry


class ReportModel(QAbstractTableModel):
    """The entries of one drop that the filter takes."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._drop = Drop(0, "")
        self._filter = Filter.ALL
        self._rows: list[int] = []

    @property
    def drop(self) -> Drop:
        """The drop that is listed."""
        return self._drop

    def show_drop(self, drop: Drop, which: Filter) -> None:
        """List the entries of a drop that the filter takes."""
        self.beginResetModel()
        self._drop, self._filter = drop, which
        self._rows = [row for row, entry in enumerate(drop.entries) if which.takes(entry)]
        self.endResetModel()

    def append(self, first: int) -> None:
        """List the entries of the drop from `first` on, which were added to it."""
        entries = self._drop.entries
        rows = [row for row in range(first, len(entries)) if self._filter.takes(entries[row])]
        if rows:
            at = len(self._rows)
            self.beginInsertRows(QModelIndex(), at, at + len(rows) - 1)
            self._rows += rows
            self.endInsertRows()

    def refresh(self) -> None:
        """Show entries that have changed in their places."""
        self.dataChanged.emit(self.index(0, 0), self.index(max(len(self._rows) - 1, 0), 3))

    def entry(self, row: int) -> report.Entry:
        """Return the entry of one row."""
        return self._drop.entries[self._rows[row]]

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else 4

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        roles = Qt.ItemDataRole
        if role not in (roles.DisplayRole, roles.ToolTipRole, roles.DecorationRole):
            return None
        entry = self.entry(index.row())
        if role == roles.DecorationRole:
            return _sign(entry.answer) if index.column() == 2 else None
        words = (entry.path, entry.what, _answers()[entry.answer], entry.why)[index.column()]
        return plain.line(words) if role == roles.DisplayRole else plain.tooltip(words)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        if role != Qt.ItemDataRole.DisplayRole or orientation is Qt.Orientation.Vertical:
            return None
        names = (_tr("File"), _tr("What it is"), _tr("What was done"), _tr("Why"))
        return names[section]


def _answers() -> dict[str, str]:
    return {
        "opened": _tr("Opened"),
        "marked": _tr("Opened with a mark"),
        "split": _tr("Split into stacks"),
        "listed": _tr("Listed, no image"),
        "left out": _tr("Left out"),
        "refused": _tr("Refused"),
    }


def _sign(answer: str) -> object:
    names = {
        "opened": ("check-circle", "like"),
        "marked": ("warning", "warning"),
        "split": ("warning", "warning"),
        "refused": ("warning-octagon", "error"),
    }
    return theme.icon(*names.get(answer, ("info", "text2")))


class ImportPane(QWidget):
    """One list a drop, its sentence of counts above, a filter, Copy and Save."""

    failed = Signal(object)  # OSError of saving

    def __init__(self, work: background.Background, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._work = work
        self._drops: dict[int, Drop] = {}
        self._filter = Filter.ALL
        self.model = ReportModel(self)
        self._choice = QComboBox()
        self._choice.setAccessibleName(_tr("Drop"))
        self._choice.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._choice.setMinimumContentsLength(18)
        self._choice.activated.connect(lambda row: self.show_drop(self._choice.itemData(row)))
        self._sentence = QLabel(_tr("Nothing was opened yet."))
        self._sentence.setTextFormat(Qt.TextFormat.PlainText)
        # It takes a second line rather than widen the window.
        self._sentence.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._sentence.setWordWrap(True)
        theme.set_role(self._sentence, "strong")
        self._filters = QButtonGroup(self)
        self._copy = _button(_tr("Copy"), "copy", self.copy)
        self._copy.setToolTip(_tr("Copy the list without names of files or patients"))
        self._save = _button(_tr("Save…"), "floppy-disk", self._ask_and_save)
        self._save.setToolTip(_tr("Save the list as text, without names of files or patients"))
        self._table = self._make_table()
        self._place()
        self._show_sentence()

    def begin(self, number: int, title: str) -> None:
        """Begin the report of a drop; it is the one shown."""
        self._drops[number] = Drop(number, plain.line(title, 80))
        for old in list(self._drops)[:-_KEPT_DROPS]:
            del self._drops[old]
        self._fill_choice()
        self.show_drop(number)

    def add(self, number: int, entries: Sequence[report.Entry]) -> None:
        """Add what became of further files of a drop."""
        if (drop := self._drops.get(number)) is None or not entries:
            return
        first = len(drop.entries)
        drop.add(entries)
        if self.model.drop is drop:
            self.model.append(first)
            self._show_sentence()

    def end(self, number: int) -> None:
        """Say that a drop was read to its end."""
        if (drop := self._drops.get(number)) is not None:
            drop.is_over = True
            self._show_sentence()

    def amend(self, said: dict[str, tuple[report.Answer, str]]) -> None:
        """Say of files, in the newest drop that holds them, what came out only later."""
        left = dict(said)
        for drop in reversed(self._drops.values()):
            changed = [row for row, entry in enumerate(drop.entries) if entry.path in left]
            for row in changed:
                entry = drop.entries[row]
                answer, why = left[entry.path]
                known = entry.why if why in entry.why else f"{why} {entry.why}".strip()
                drop.replace(row, dataclasses.replace(entry, answer=answer, why=known))
            for row in changed:
                left.pop(drop.entries[row].path, None)
            if changed and self.model.drop is drop:
                self.model.refresh()
                self._show_sentence()
            if not left:
                return

    def show_drop(self, number: int) -> None:
        """List one drop."""
        if (drop := self._drops.get(number)) is not None:
            self.model.show_drop(drop, self._filter)
            self._choice.setCurrentIndex(self._choice.findData(number))
            self._show_sentence()

    def set_filter(self, which: Filter) -> None:
        """List only some entries."""
        self._filter = which
        self._filters.button(list(Filter).index(which)).setChecked(True)
        self.model.show_drop(self.model.drop, which)

    def drop(self, number: int) -> Drop | None:
        """Return the report of a drop, None where it was forgotten."""
        return self._drops.get(number)

    def counts(self, number: int) -> Counter[tuple[report.Answer, str]]:
        """Return how many files of a drop had which answer, and what they are."""
        drop = self._drops.get(number)
        return Counter() if drop is None else drop.counts

    def copy(self) -> None:
        """Put the list on the clipboard, without names of files or patients."""
        self._as_text(lambda text: QGuiApplication.clipboard().setText(text))

    def save(self, path: Path) -> None:
        """Write the list as text, without names of files or patients."""
        entries = list(self.model.drop.entries)
        self._work.run(
            lambda: path.write_text(report.as_text(entries), encoding="utf-8"),
            then=lambda _: None,
            failed=self._fail,
        )

    def _as_text(self, then: Callable[[str], object]) -> None:
        entries = list(self.model.drop.entries)
        self._work.run(lambda: report.as_text(entries), then=then, failed=self._fail)

    def _ask_and_save(self) -> None:
        path = dialogs.choose_new_file(self, _tr("Save the import report"), "import-report.txt")
        if path is not None:
            self.save(path)

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, OSError):
            raise error
        self.failed.emit(error)

    def _fill_choice(self) -> None:
        self._choice.clear()
        for drop in reversed(self._drops.values()):
            self._choice.addItem(drop.title, drop.number)

    def _show_sentence(self) -> None:
        drop = self.model.drop
        if drop.number:
            words = report.sentence(drop.counts)
            if not drop.is_over:
                words = _tr("Still reading. So far: {words}").format(words=words)
            self._sentence.setText(words)
            self._sentence.setToolTip(plain.tooltip(words))
        for button in (self._copy, self._save, self._choice):
            button.setEnabled(bool(drop.number))

    def _make_table(self) -> QTableView:
        table = QTableView()
        table.setModel(self.model)
        table.setAccessibleName(_tr("Import report"))
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setTabKeyNavigation(False)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        table.setIconSize(theme.icon_size(16))
        table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        # One height for all: 100,000 rows are placed without a look at each.
        rows = table.verticalHeader()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(theme.px(24))
        rows.hide()
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setStretchLastSection(True)
        for column, width in enumerate((250, 150, 160)):
            table.setColumnWidth(column, theme.px(width))
        shortcut = QShortcut(QKeySequence(QKeySequence.StandardKey.Copy), table)
        shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
        shortcut.activated.connect(self.copy)
        return table

    def _place(self) -> None:
        told, chosen = QHBoxLayout(), QHBoxLayout()
        told.addWidget(self._sentence, 1)
        told.addWidget(self._copy)
        told.addWidget(self._save)
        chosen.addWidget(self._choice)
        names = (_tr("All"), _tr("Opened"), _tr("With a mark"), _tr("Not opened"))
        for place, (which, name) in enumerate(zip(Filter, names, strict=True)):
            button = _button(name, "", lambda which=which: self.set_filter(which), "segment")
            button.setCheckable(True)
            button.setChecked(which is self._filter)
            self._filters.addButton(button, place)
            chosen.addWidget(button)
        chosen.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for row in (told, chosen):
            row.setContentsMargins(*(theme.px(n) for n in (12, 2, 8, 2)))
            row.setSpacing(theme.px(8))
            column.addLayout(row)
        column.addWidget(self._table, 1)


def _button(
    words: str, icon: str, pressed: Callable[[], object], role: str = "flat"
) -> QPushButton:
    button = QPushButton(words)
    theme.set_role(button, role)
    if icon:
        button.setIcon(theme.icon(icon))
    button.clicked.connect(lambda: pressed())
    return button
