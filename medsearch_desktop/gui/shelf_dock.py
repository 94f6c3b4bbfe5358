"""Favourites: folders, pictures of what is kept, and what can be done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QAbstractListModel, QModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QPainter, QPen, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QLineEdit,
    QListView,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop import queries
from medsearch_desktop.gui import keeping, theme
from medsearch_desktop.viewer import plain

if TYPE_CHECKING:
    from medsearch_desktop.shelf import database, favourites

DEFAULT_FOLDER = "Favourites"


class FavouritesModel(QAbstractListModel):
    """The favourites of one folder, newest first."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kept: list[favourites.Favourite] = []
        self._pictures: dict[int, QPixmap] = {}

    def show_all(self, kept: list[favourites.Favourite]) -> None:
        """Replace what is shown."""
        self.beginResetModel()
        self._kept, self._pictures = list(kept), {}
        self.endResetModel()

    def favourite(self, row: int) -> favourites.Favourite | None:
        """Return one favourite, or None beyond the end."""
        return self._kept[row] if 0 <= row < len(self._kept) else None

    def picture(self, row: int) -> QPixmap:
        """Return the stored picture, decoded when it is first seen; null where there is none."""
        if row not in self._pictures:
            picture = QPixmap()
            picture.loadFromData(self._kept[row].thumbnail)
            self._pictures[row] = picture
        return self._pictures[row]

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._kept)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        kept = self._kept[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return plain.line(kept.title)
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            source = " · ".join(filter(None, (kept.provenance.source, kept.provenance.licence)))
            words = "\n".join(filter(None, (kept.title, kept.note, kept.text, source)))
            is_tip = role == Qt.ItemDataRole.ToolTipRole
            return plain.tooltip(words) if is_tip else plain.paragraph(words)
        return None


class _Delegate(QStyledItemDelegate):
    """A picture of 104 x 88 with two lines below it."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        return QSize(theme.px(116), theme.px(132))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        model: FavouritesModel = index.model()
        kept = model.favourite(index.row())
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        self._ground(painter, option)
        left, top = option.rect.left() + theme.px(6), option.rect.top() + theme.px(6)
        frame = QRect(left, top, theme.px(104), theme.px(88))
        painter.fillRect(frame, theme.colour("black"))
        picture = model.picture(index.row())
        if picture.isNull():
            painter.setPen(theme.colour("text2"))
            painter.setFont(theme.font(11))
            wrap = Qt.TextFlag.TextWordWrap
            words = plain.paragraph(kept.text or kept.title, 2000)
            painter.drawText(frame.adjusted(4, 4, -4, -4), int(wrap), words)
        else:
            size = picture.size().scaled(frame.size(), Qt.AspectRatioMode.KeepAspectRatio)
            target = QRect(0, 0, size.width(), size.height())
            target.moveCenter(frame.center())
            painter.drawPixmap(target, picture)
        second = kept.note or " · ".join(
            filter(None, (kept.facets.modality, kept.facets.body_part))
        )
        room = QRect(left, frame.bottom() + theme.px(4), frame.width(), theme.px(16))
        for words, role in ((plain.line(kept.title), "text1"), (plain.line(second), "text2")):
            font = theme.font(12)
            painter.setFont(font)
            painter.setPen(theme.colour(role))
            shown = QFontMetrics(font).elidedText(words, Qt.TextElideMode.ElideRight, room.width())
            painter.drawText(room, int(Qt.AlignmentFlag.AlignLeft), shown)
            room.translate(0, theme.px(16))
        painter.restore()

    def _ground(self, painter: QPainter, option: QStyleOptionViewItem) -> None:
        box = option.rect.adjusted(1, 1, -1, -1)
        state = QStyle.StateFlag
        if option.state & (state.State_MouseOver | state.State_Selected):
            painter.setBrush(theme.colour("bg4"))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawRoundedRect(box, 6, 6)
        for flag, role in ((state.State_Selected, "accent"), (state.State_HasFocus, "text1")):
            if option.state & flag:
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.setPen(QPen(theme.colour(role), theme.current().tokens.ring))
                painter.drawRoundedRect(box, 6, 6)
                box = box.adjusted(3, 3, -3, -3)


class FavouritesPane(QWidget):
    """Folders at the left, pictures in the middle, actions at the right."""

    open_requested = Signal(object)  # favourites.Favourite
    more_like_requested = Signal(object)
    kept_changed = Signal(object)  # frozenset of (collection, case id)

    def __init__(self, shelf: keeping.Keeping, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shelf = shelf
        self.model = FavouritesModel(self)
        self._folders = QListWidget()
        self._pictures = QListView()
        self._empty = QLabel()
        self._words = QLineEdit()
        self._note = QLineEdit()
        self._buttons: list[QPushButton] = []
        row = QHBoxLayout(self)
        row.setContentsMargins(0, theme.px(4), theme.px(8), theme.px(4))
        row.setSpacing(theme.px(8))
        row.addLayout(self._build_folders())
        row.addWidget(self._empty, 1)
        row.addWidget(self._build_pictures(), 1)
        row.addLayout(self._build_actions())
        self._show_chosen()

    @property
    def folder(self) -> str:
        """The folder that is open, into which a star puts a case."""
        item = self._folders.currentItem()
        return DEFAULT_FOLDER if item is None else item.data(Qt.ItemDataRole.UserRole)

    def reload(self) -> None:
        """Read the folders, the open folder and what is kept from the shelf."""
        folder, words = self.folder, self._words.text().strip()
        self._shelf.run(lambda shelf: _read(shelf, folder, words), self._show)

    def keep(self, hit: queries.Hit, thumbnail: bytes) -> None:
        """Keep a case in the open folder."""
        folder = self.folder
        self._shelf.keep(lambda shelf: _add(shelf, hit, folder, thumbnail), self._after_change)

    def let_go(self, case_id: str, collection: str) -> None:
        """Take a case out of every folder."""
        self._shelf.keep(lambda shelf: _remove(shelf, case_id, collection), self._after_change)

    def _after_change(self, _: object) -> None:
        self.reload()

    def _build_folders(self) -> QVBoxLayout:
        self._folders.setFixedWidth(theme.px(196))
        self._folders.setAccessibleName(self.tr("Folders of favourites"))
        self._folders.currentItemChanged.connect(self._change_folder)
        self._words.setFixedWidth(theme.px(196))
        self._words.setAcceptDrops(False)
        self._words.setClearButtonEnabled(True)
        self._words.setPlaceholderText(self.tr("Words in this folder"))
        self._words.setAccessibleName(self.tr("Words to find in the open folder"))
        self._words.textChanged.connect(self.reload)
        new = QPushButton(self.tr("New folder"))
        theme.set_role(new, "flat")
        new.setIcon(theme.icon("folder-plus"))
        new.clicked.connect(self._new_folder)
        column = QVBoxLayout()
        column.setContentsMargins(theme.px(8), 0, 0, 0)
        column.setSpacing(theme.px(2))
        column.addWidget(self._words)
        column.addWidget(self._folders, 1)
        column.addWidget(new, 0, Qt.AlignmentFlag.AlignLeft)
        return column

    def _build_pictures(self) -> QListView:
        view = self._pictures
        view.setModel(self.model)
        view.setItemDelegate(_Delegate(view))
        view.setViewMode(QListView.ViewMode.IconMode)
        view.setMovement(QListView.Movement.Static)
        view.setResizeMode(QListView.ResizeMode.Adjust)
        view.setUniformItemSizes(True)
        view.setMouseTracking(True)
        view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        view.setAccessibleName(self.tr("Favourites"))
        view.activated.connect(lambda index: self._emit(self.open_requested))
        view.selectionModel().selectionChanged.connect(self._show_chosen)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        theme.set_role(self._empty, "second")
        return view

    def _build_actions(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(theme.px(6))
        for words, icon, pressed in (
            (self.tr("Open"), "arrows-out", lambda: self._emit(self.open_requested)),
            (
                self.tr("More like this"),
                "magnifying-glass",
                lambda: self._emit(self.more_like_requested),
            ),
            (self.tr("Remove"), "trash", self._remove_chosen),
        ):
            button = QPushButton(words)
            button.setIcon(theme.icon(icon))
            button.setFixedWidth(theme.px(192))
            button.clicked.connect(pressed)
            self._buttons.append(button)
            column.addWidget(button)
        self._note.setFixedWidth(theme.px(192))
        self._note.setAcceptDrops(False)
        self._note.setPlaceholderText(self.tr("Note"))
        self._note.setAccessibleName(self.tr("Note on the chosen favourite"))
        self._note.editingFinished.connect(self._write_note)
        column.insertWidget(2, self._note)
        column.addStretch(1)
        return column

    def _chosen(self) -> favourites.Favourite | None:
        rows = self._pictures.selectedIndexes()
        return self.model.favourite(rows[0].row()) if rows else None

    def _emit(self, wanted: Signal) -> None:
        if (kept := self._chosen()) is not None:
            wanted.emit(kept)

    def _show(self, read: tuple[list, list, frozenset]) -> None:
        folders, kept, everywhere = read
        current = self.folder
        self._folders.blockSignals(True)
        self._folders.clear()
        names = dict(folders)
        names.setdefault(DEFAULT_FOLDER, 0)
        for name, count in names.items():
            item = QListWidgetItem(theme.icon("folder"), f"{name}   {count}")
            item.setData(Qt.ItemDataRole.UserRole, name)
            self._folders.addItem(item)
            if name == current:
                self._folders.setCurrentItem(item)
        self._folders.blockSignals(False)
        self.model.show_all(kept)
        self._empty.setText(
            self.tr("No favourite in this folder holds these words.")
            if self._words.text().strip()
            else self.tr("A star on a case keeps it here, with its text and source.")
        )
        self._empty.setVisible(not kept)
        self._pictures.setVisible(bool(kept))
        self._show_chosen()
        self.kept_changed.emit(everywhere)

    def _show_chosen(self) -> None:
        kept = self._chosen()
        for widget in (*self._buttons, self._note):
            widget.setEnabled(kept is not None)
        self._note.setText("" if kept is None else kept.note)

    def _change_folder(self) -> None:
        self.reload()

    def _remove_chosen(self) -> None:
        if (kept := self._chosen()) is not None:
            case = (kept.case_id, kept.collection, kept.folder)
            self._shelf.keep(lambda shelf: _remove(shelf, *case), self._after_change)

    def _write_note(self) -> None:
        kept, text = self._chosen(), self._note.text().strip()
        if kept is not None and text != kept.note:
            case = (kept.case_id, kept.collection, kept.folder)
            self._shelf.keep(lambda shelf: _note(shelf, *case, text), self._after_change)

    def _new_folder(self) -> None:
        name, is_given = QInputDialog.getText(
            self, self.tr("New folder"), self.tr("Name of the folder")
        )
        if is_given and name.strip():
            self._shelf.keep(lambda shelf: _create(shelf, name), self._after_change)


# The shelf is imported on its own thread: sqlite-utils has no place in the start of the window.


def _read(shelf: database.Shelf, folder: str, words: str) -> tuple[list, list, frozenset]:
    from medsearch_desktop.shelf import favourites

    listed = favourites.listed(shelf, folder)
    if words:
        listed = _holding(listed, words)
    return favourites.folders(shelf), listed, favourites.kept(shelf)


def _holding(listed: list[favourites.Favourite], words: str) -> list[favourites.Favourite]:
    """Return the favourites that hold one of the words, the best match first."""
    from medsearch_desktop.shelf import scoring

    texts = [" ".join((one.title, one.text, *one.labels, one.note)) for one in listed]
    scores = scoring.rank_within(texts, words)
    ranked = sorted(
        zip(scores, range(len(listed)), strict=True), key=lambda pair: (-pair[0], pair[1])
    )
    return [listed[place] for score, place in ranked if score > 0]


def _add(shelf: database.Shelf, hit: queries.Hit, folder: str, thumbnail: bytes) -> None:
    from medsearch_desktop.shelf import favourites

    favourites.add(shelf, hit, folder, thumbnail=thumbnail)


def _remove(shelf: database.Shelf, case_id: str, collection: str, folder: str = "") -> None:
    from medsearch_desktop.shelf import favourites

    for name in [folder] if folder else [name for name, _ in favourites.folders(shelf)]:
        favourites.remove(shelf, case_id, collection, name)


def _note(shelf: database.Shelf, case_id: str, collection: str, folder: str, text: str) -> None:
    from medsearch_desktop.shelf import favourites

    favourites.note(shelf, case_id, collection, folder, text)


def _create(shelf: database.Shelf, name: str) -> None:
    from medsearch_desktop.shelf import favourites

    favourites.create_folder(shelf, name)
