"""Study strip: what is open, with a picture of each series that streams in."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPoint,
    QRect,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QFontMetrics, QPainter, QPen, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop.gui import keys, strip_rows, theme
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.viewer import plain

# Rows; laying out one takes some 5 µs.
_LAID_OUT_AT_ONCE = 1000

SeriesKey = tuple[str, str]  # study UID, key of the series


def key_of(study: studies.Study, series: studies.Series) -> SeriesKey:
    """Name one open series."""
    return study.study_uid, series.key


class StripModel(QAbstractListModel):
    """Studies in the order they were opened; in a narrow strip only their series."""

    opened = Signal()  # another series is in the viewer

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._studies: dict[str, studies.Study] = {}
        self._rows: list[strip_rows.Row] = []
        self._pictures: dict[SeriesKey, QPixmap] = {}
        self._open: SeriesKey | None = None
        self._is_narrow = False

    @property
    def studies(self) -> tuple[studies.Study, ...]:
        """All that is open."""
        return tuple(self._studies.values())

    @property
    def is_narrow(self) -> bool:
        """Say whether only pictures with one line are shown."""
        return self._is_narrow

    @property
    def open_series(self) -> SeriesKey | None:
        """The series in the viewer."""
        return self._open

    def add(self, study: studies.Study) -> None:
        """Show a study; one opened again takes the place of its older self."""
        self.add_all((study,))

    def add_all(self, found: Sequence[studies.Study]) -> None:
        """Show studies at once; those opened again take the places of their older selves."""
        if found:
            self._studies.update((study.study_uid, study) for study in found)
            self._rebuild()

    def remove(self, study: studies.Study) -> None:
        """Take a study off the strip."""
        self._studies.pop(study.study_uid, None)
        self._rebuild()

    def set_open(self, key: SeriesKey | None) -> None:
        """Mark the series that is in the viewer."""
        before, self._open = self._open, key
        if key is not None and key != before:
            self.opened.emit()
        if before is None or key is None or before[0] != key[0]:
            self._rebuild()
        elif self._rows:
            self.dataChanged.emit(self.index(0), self.index(len(self._rows) - 1))

    def open_index(self) -> QModelIndex:
        """Return the row of the series in the viewer; one that is not valid where there is none."""
        for number in range(len(self._rows) - 1, -1, -1):
            row = self._rows[number]
            if row.series is not None and self.is_open(row):
                return self.index(number)
        return QModelIndex()

    def set_narrow(self, narrow: bool) -> None:
        """Show studies and series, or only pictures."""
        if narrow != self._is_narrow:
            self._is_narrow = narrow
            self._rebuild()

    def set_picture(self, key: SeriesKey, picture: QPixmap) -> None:
        """Show the picture of a series."""
        self._pictures[key] = picture
        self.dataChanged.emit(self.index(0), self.index(len(self._rows) - 1))

    def row(self, index: QModelIndex) -> strip_rows.Row:
        """Return what a row shows."""
        return self._rows[index.row()]

    def picture(self, row: strip_rows.Row) -> QPixmap | None:
        """Return the picture of a series row, or None until it has come."""
        return self._pictures.get(key_of(row.study, row.series)) if row.series else None

    def picture_of(self, key: SeriesKey) -> QPixmap | None:
        """Return the picture of a series, or None until it has come."""
        return self._pictures.get(key)

    def clear(self) -> None:
        """Take everything off the strip."""
        self._studies, self._pictures, self._open = {}, {}, None
        self._rebuild()

    def is_open(self, row: strip_rows.Row) -> bool:
        """Say whether a row is, or holds, the series in the viewer."""
        if self._open is None:
            return False
        if row.series is None:
            return row.kind is strip_rows.Kind.STUDY and row.study.study_uid == self._open[0]
        return key_of(row.study, row.series) == self._open

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        row = self._rows[index.row()]
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            words = "\n".join(line for line in strip_rows.lines_of(row) if line)
            return plain.tooltip(words) if role == Qt.ItemDataRole.ToolTipRole else words
        return strip_rows.lines_of(row)[0] if role == Qt.ItemDataRole.DisplayRole else None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        if self._rows[index.row()].kind is strip_rows.Kind.HEADING:
            return Qt.ItemFlag.NoItemFlags
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable

    def _rebuild(self) -> None:
        rows = self._rows_now()
        # Only what is new is put in: a list that is set anew begins to lay itself out again,
        # and stays blank while studies stream in.
        first, gone, come = strip_rows.changed(self._rows, rows)
        if gone > first:
            self.beginRemoveRows(QModelIndex(), first, gone - 1)
            del self._rows[first:gone]
            self.endRemoveRows()
        if come > first:
            self.beginInsertRows(QModelIndex(), first, come - 1)
            self._rows = rows
            self.endInsertRows()
        self._rows = rows
        if rows:
            self.dataChanged.emit(self.index(0), self.index(len(rows) - 1))

    def _rows_now(self) -> list[strip_rows.Row]:
        rows = []
        for study in self._studies.values():
            if not self._is_narrow:
                rows.append(strip_rows.Row(strip_rows.Kind.STUDY, study))
        for study in self._studies.values():
            is_chosen = self._open is None or study.study_uid == self._open[0]
            if self._is_narrow or is_chosen:
                if not self._is_narrow:
                    rows.append(strip_rows.Row(strip_rows.Kind.HEADING, study))
                rows += [
                    strip_rows.Row(strip_rows.Kind.SERIES, study, series) for series in study.series
                ]
        return rows


class _Delegate(QStyledItemDelegate):
    """Paints studies of 48 px and series with a picture cropped to its middle."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        model: StripModel = index.model()
        kind = model.row(index).kind
        if kind is strip_rows.Kind.STUDY:
            height = 48
        elif kind is strip_rows.Kind.HEADING:
            height = 32
        else:
            height = 94 if model.is_narrow else 84
        return QSize(theme.px(80), theme.px(height))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        model: StripModel = index.model()
        row = model.row(index)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = option.rect.adjusted(theme.px(4), theme.px(2), -theme.px(4), -theme.px(2))
        is_hovered = bool(option.state & QStyle.StateFlag.State_MouseOver)
        is_series = row.kind is strip_rows.Kind.SERIES
        can_open = row.kind is not strip_rows.Kind.HEADING
        if can_open and (model.is_open(row) or is_hovered):
            self._ground(
                painter, box, framed=model.is_open(row) and row.kind is strip_rows.Kind.SERIES
            )
        if (
            option.state & QStyle.StateFlag.State_HasFocus
            and row.kind is not strip_rows.Kind.HEADING
        ):
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.colour("text1"), theme.current().tokens.ring))
            painter.drawRoundedRect(box.adjusted(3, 3, -3, -3), 4, 4)
        if is_series:
            self._series(painter, box, row, model)
        else:
            self._words(painter, box, row)
        painter.restore()

    def _ground(self, painter: QPainter, box: QRect, *, framed: bool) -> None:
        painter.setBrush(theme.colour("bg4"))
        ring = theme.current().tokens.ring
        edge = QPen(theme.colour("accent"), ring) if framed else QPen(Qt.PenStyle.NoPen)
        painter.setPen(edge)
        inset = ring // 2
        painter.drawRoundedRect(box.adjusted(inset, inset, -inset, -inset), 6, 6)

    def _words(self, painter: QPainter, box: QRect, row: strip_rows.Row) -> None:
        title, second = strip_rows.lines_of(row)
        inside = box.adjusted(theme.px(8), theme.px(4), -theme.px(8), -theme.px(4))
        if row.kind is strip_rows.Kind.HEADING:
            painter.setPen(theme.colour("line1"))
            painter.drawLine(box.topLeft(), box.topRight())
            _line(painter, inside, title, 12, 600, "text1")
            painter.setFont(theme.font(12))
            painter.setPen(theme.colour("text2"))
            painter.drawText(inside, int(Qt.AlignmentFlag.AlignRight), second)
            return
        rest = _line(painter, inside, title, 13, 600, "text1")
        _line(painter, rest, second, 12, 400, "text2")

    def _series(
        self, painter: QPainter, box: QRect, row: strip_rows.Row, model: StripModel
    ) -> None:
        side = theme.px(64 if model.is_narrow else 72)
        left = (box.width() - side) // 2 if model.is_narrow else theme.px(4)
        frame = QRect(box.topLeft() + QPoint(left, theme.px(4)), QSize(side, side))
        painter.fillRect(frame, theme.colour("bg0"))
        if (picture := model.picture(row)) is not None:
            painter.drawPixmap(frame, picture)
        count = len(row.series.slices)
        _badge(painter, frame, str(count))
        lines = strip_rows.lines_of(row)
        if model.is_narrow:
            words = (
                f"{lines[0]} {row.series.modality}" if row.series.number is not None else lines[0]
            )
            room = QRect(box.left() + theme.px(4), frame.bottom() + 2, box.width(), theme.px(16))
            _line(painter, room, words, 11, 400, "text2")
            return
        room = box.adjusted(side + theme.px(14), theme.px(6), -theme.px(6), 0)
        room = _line(painter, room, lines[0], 13, 600, "text1")
        for words in lines[1:]:
            room = _line(painter, room, words, 12, 400, "text2")


def _line(painter: QPainter, room: QRect, words: str, size: int, weight: int, role: str) -> QRect:
    """Draw one elided line at the top of `room` and return the room below it."""
    font = theme.font(size, weight)
    metrics = QFontMetrics(font)
    painter.setFont(font)
    painter.setPen(theme.colour(role))
    shown = metrics.elidedText(words, Qt.TextElideMode.ElideRight, room.width())
    painter.drawText(room, int(Qt.AlignmentFlag.AlignLeft), shown)
    return room.adjusted(0, metrics.height() + 1 if words else 0, 0, 0)


def _badge(painter: QPainter, frame: QRect, words: str) -> None:
    font = theme.font(11)
    painter.setFont(font)
    width = QFontMetrics(font).horizontalAdvance(words) + theme.px(8)
    height = theme.px(16)
    plate = QRect(frame.right() - width + 1, frame.bottom() - height + 1, width, height)
    painter.fillRect(plate, theme.colour("black", theme.current().tokens.badge))
    painter.setPen(theme.colour("text1"))
    painter.drawText(plate, int(Qt.AlignmentFlag.AlignCenter), words)


class StudyStrip(QWidget):
    """The left dock."""

    series_chosen = Signal(object, object)  # studies.Study, studies.Series
    open_requested = Signal()
    widened = Signal()  # the button of the narrow strip

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        theme.set_role(self, "dock")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.model = StripModel(self)
        self._title = QLabel(self.tr("Studies"))
        theme.set_role(self._title, "heading")
        opener = QToolButton()
        theme.set_role(opener, "tool")
        opener.setIcon(theme.icon("folder-open"))
        opener.setIconSize(theme.icon_size(18))
        opener.setToolTip(keys.with_key(self.tr("Open files"), keys.OPEN_FILES))
        opener.setAccessibleName(self.tr("Open files"))
        opener.clicked.connect(self.open_requested)
        head = QHBoxLayout()
        head.setContentsMargins(theme.px(12), theme.px(4), theme.px(8), theme.px(4))
        head.addWidget(self._title, 1)
        head.addWidget(opener)
        self._list = QListView()
        self._list.setModel(self.model)
        self._list.setItemDelegate(_Delegate(self._list))
        self._list.setMouseTracking(True)
        # Thousands of studies are laid out in parts, between the reader's own events; as many
        # as are usually open, in one part, so that the list is never seen half made.
        self._list.setLayoutMode(QListView.LayoutMode.Batched)
        self._list.setBatchSize(_LAID_OUT_AT_ONCE)
        self._list.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setAccessibleName(self.tr("Studies and series"))
        self._list.clicked.connect(self._choose)
        self._list.activated.connect(self._choose)
        # The shown series stays in view while studies come, until the reader looks elsewhere.
        self._follows = True
        self._scrolling = QTimer(self, singleShot=True, interval=0)
        self._scrolling.timeout.connect(self._scroll_to_open)
        self.model.opened.connect(self._follow)
        self.model.rowsInserted.connect(lambda *_: self._scrolling.start())
        self._list.verticalScrollBar().actionTriggered.connect(lambda _: self._let_go())
        self._list.selectionModel().currentChanged.connect(lambda *_: self._let_go())
        self._hint = QLabel(self.tr("Drop a study, an image\nor words anywhere"))
        theme.set_role(self._hint, "drop")
        self._hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._hint.setFixedHeight(theme.px(72))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, theme.px(8))
        column.setSpacing(0)
        column.addLayout(head)
        column.addWidget(self._list, 1)
        below = QHBoxLayout()
        below.setContentsMargins(theme.px(8), 0, theme.px(8), 0)
        below.addWidget(self._hint)
        column.addLayout(below)

    def set_narrow(self, narrow: bool) -> None:
        """Show pictures only (88 px), or studies and series (208 px)."""
        self.model.set_narrow(narrow)
        self._title.setVisible(not narrow)
        self._hint.setVisible(not narrow)

    def _follow(self) -> None:
        self._follows = True
        self._scrolling.start()

    def _let_go(self) -> None:
        self._follows = False

    def _scroll_to_open(self) -> None:
        index = self.model.open_index()
        if self._follows and index.isValid():
            self._list.scrollTo(index)

    def _choose(self, index: QModelIndex) -> None:
        row = self.model.row(index)
        if row.kind is not strip_rows.Kind.HEADING:
            self.series_chosen.emit(row.study, row.series or largest(row.study))


def largest(study: studies.Study) -> studies.Series:
    """Return the series with the most slices; the first of them where several have."""
    return max(study.series, key=lambda series: len(series.slices))
