"""Search box: mode, chips, words field and the Search button."""

from __future__ import annotations

import dataclasses
import enum

from PySide6.QtCore import QEvent, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop import queries
from medsearch_desktop.gui import chips, keys, theme
from medsearch_desktop.viewer import plain

# Weights are dragged; the search follows when the hand rests this long.
_REST_MS = 350
_WORDS_PX = 120


class Mode(enum.Enum):
    """Which terms take part: images and cases, words, or both."""

    IMAGE = "image"
    TEXT = "text"
    BOTH = "both"


class WordsField(QLineEdit):
    """Takes words; leaves files to the window and hands it what is pasted but is no words."""

    pasted = Signal(object)  # QMimeData
    emptied = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        theme.set_role(self, "bare")
        self.setAcceptDrops(False)  # a line edit would take a dropped file as its name
        self.setMinimumWidth(theme.px(_WORDS_PX))
        self.setPlaceholderText(self.tr("Add words, or drop a study or an image"))
        self.setAccessibleName(self.tr("Search words"))
        self.setMaxLength(2000)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Paste):
            mime = QGuiApplication.clipboard().mimeData()
            if mime.hasImage() or any(url.isLocalFile() for url in mime.urls()):
                self.pasted.emit(mime)
                return
        if event.key() == Qt.Key.Key_Backspace and not self.text():
            self.emptied.emit()
            return
        super().keyPressEvent(event)


class SearchBox(QFrame):
    """The parts of a question as chips; `asked` on Enter, `changed` when a part changed."""

    asked = Signal()
    changed = Signal()
    pasted = Signal(object)  # QMimeData

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        theme.set_role(self, "field")
        self.setFixedHeight(theme.px(40))
        self._parts: list[chips.Part] = []
        self._filters: list[queries.Filter] = []
        self._level = 0
        self._chips: list[QWidget] = []
        self._rest = QTimer(self, singleShot=True, interval=_REST_MS)
        self._rest.timeout.connect(self.changed)
        self.words = WordsField()
        self.words.returnPressed.connect(self.ask)
        self.words.pasted.connect(self.pasted)
        self.words.emptied.connect(self._take_back)
        self.words.installEventFilter(self)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(*(theme.px(4),) * 4)
        self._row.setSpacing(theme.px(6))
        self._modes = QButtonGroup(self)
        self._mode_row = self._build_modes()
        self._more = self._tool("dots-three", self.tr("Show all terms"), self._show_all)
        self._weights = self._tool("sliders-horizontal", self.tr("Weights"), self._show_all)
        self._search = QToolButton()
        self._build_search()
        self._row.addWidget(self._mode_row)
        self._row.addWidget(self._more)
        self._row.addWidget(self.words, 1)
        self._row.addWidget(self._weights)
        self._row.addWidget(self._search)
        self._rebuild()

    # what is asked

    @property
    def parts(self) -> tuple[chips.Part, ...]:
        """All parts, those the mode leaves out included."""
        return tuple(self._parts)

    @property
    def mode(self) -> Mode:
        """Which terms take part."""
        return list(Mode)[max(self._modes.checkedId(), 0)]

    def terms(self) -> tuple[queries.Term, ...]:
        """Return the terms that take part."""
        return tuple(part.term for part in self._parts if self._is_used(part))

    def filters(self) -> tuple[queries.Filter, ...]:
        """Return the filters, in the order they were chosen."""
        return tuple(self._filters)

    def set_parts(self, parts: tuple[chips.Part, ...]) -> None:
        """Replace all parts; a mode that would leave them all out becomes Both."""
        self._parts = list(parts)
        if self._parts and not self.terms():
            self.set_mode(Mode.BOTH)
        self._rebuild()

    def add_part(self, part: chips.Part) -> None:
        """Add a part; the same image or case replaces its older chip."""
        bare = part.weighted(1.0).term
        self._parts = [old for old in self._parts if old.weighted(1.0).term != bare]
        self._parts.append(part)
        if not self._is_used(part):
            self.set_mode(Mode.BOTH)
        self._rebuild()

    def set_picture(self, term: queries.Term, picture: QPixmap) -> None:
        """Show a picture on the chip of a term, whatever its weight is now."""
        for place, part in enumerate(self._parts):
            if part.weighted(1.0).term == term:
                self._parts[place] = dataclasses.replace(part, picture=picture)
                self._rebuild()

    def set_filters(self, filters: tuple[queries.Filter, ...]) -> None:
        """Replace the filters."""
        self._filters = list(filters)
        self._rebuild()

    def set_mode(self, mode: Mode) -> None:
        """Choose which terms take part."""
        self._modes.button(list(Mode).index(mode)).setChecked(True)
        self._rebuild()

    def set_words(self, words: str) -> None:
        """Put words into the field, as if typed."""
        self.words.setText(words)

    def ask(self) -> None:
        """Turn the words in the field into a chip, and ask."""
        if words := " ".join(self.words.text().split()):
            self.words.clear()
            self.add_part(chips.Part(queries.TextTerm(words), words))
        self._rest.stop()
        self.asked.emit()

    def set_level(self, level: int) -> None:
        """Take away what a narrower window has no room for (0 is the widest, 3 the narrowest)."""
        if level == self._level:
            return
        self._level = level
        is_narrow = level >= 2
        for button, mode in zip(self._modes.buttons(), Mode, strict=True):
            self._dress_mode(button, mode, as_icon=is_narrow and mode is not Mode.BOTH)
        only_icon = Qt.ToolButtonStyle.ToolButtonIconOnly
        beside = Qt.ToolButtonStyle.ToolButtonTextBesideIcon
        self._search.setToolButtonStyle(only_icon if is_narrow else beside)
        self._rebuild()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def eventFilter(self, watched: object, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.FocusIn, QEvent.Type.FocusOut):
            theme.set_role(self, "field", "focus" if event.type() is QEvent.Type.FocusIn else "")
        return False

    # building

    def _build_modes(self) -> QWidget:
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.px(2))
        for number, mode in enumerate(Mode):
            button = QToolButton(checkable=True)
            theme.set_role(button, "segment")
            self._dress_mode(button, mode, as_icon=False)
            self._modes.addButton(button, number)
            row.addWidget(button)
        self._modes.button(2).setChecked(True)
        self._modes.idClicked.connect(self._change_mode)
        return holder

    def _dress_mode(self, button: QToolButton, mode: Mode, *, as_icon: bool) -> None:
        words = {
            Mode.IMAGE: self.tr("Image"),
            Mode.TEXT: self.tr("Text"),
            Mode.BOTH: self.tr("Both"),
        }[mode]
        tips = {
            Mode.IMAGE: self.tr("Search with the images alone"),
            Mode.TEXT: self.tr("Search with the words alone"),
            Mode.BOTH: self.tr("Search with images and words"),
        }
        button.setText(words)
        button.setAccessibleName(tips[mode])
        button.setToolTip(tips[mode])
        icon = {Mode.IMAGE: "image", Mode.TEXT: "text-t", Mode.BOTH: "plus"}[mode]
        button.setIcon(theme.icon(icon))
        button.setIconSize(theme.icon_size(18))
        style = Qt.ToolButtonStyle
        button.setToolButtonStyle(style.ToolButtonIconOnly if as_icon else style.ToolButtonTextOnly)

    def _build_search(self) -> None:
        theme.set_role(self._search, "primary")
        self._search.setText(self.tr("Search"))
        self._search.setIcon(theme.icon("magnifying-glass", "on_accent", active="on_accent"))
        self._search.setIconSize(theme.icon_size(16))
        self._search.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._search.setToolTip(keys.with_key(self.tr("Search"), keys.SEARCH))
        self._search.setAccessibleName(self.tr("Search"))
        self._search.clicked.connect(self.ask)

    def _tool(self, icon: str, name: str, pressed: object) -> QToolButton:
        button = QToolButton()
        theme.set_role(button, "tool")
        button.setIcon(theme.icon(icon))
        button.setIconSize(theme.icon_size(18))
        button.setToolTip(name)
        button.setAccessibleName(name)
        button.clicked.connect(pressed)
        return button

    def _rebuild(self) -> None:
        for old in self._chips:
            self._row.removeWidget(old)
            old.hide()
            old.deleteLater()
        self._chips = []
        at = self._row.indexOf(self._mode_row) + 1
        for made in [*map(self._chip, self._parts), *self._filter_chips()]:
            self._row.insertWidget(at, made)
            self._chips.append(made)
            at += 1
        self._weights.setVisible(bool(self._parts))
        self._fit()

    def _chip(self, part: chips.Part) -> chips.Chip:
        slider = 44 if self._level == 0 else 0
        chip = chips.Chip(part, slider_px=slider, is_used=self._is_used(part), parent=self)
        self._connect(chip, part)
        return chip

    def _connect(self, chip: chips.Chip, part: chips.Part) -> None:
        place = self._parts.index(part)
        chip.weighted.connect(lambda weight: self._weigh(place, weight))
        chip.removed.connect(lambda: self._remove(place))
        chip.edited.connect(lambda: self._edit(place))

    def _filter_chips(self) -> list[QWidget]:
        made = []
        if self._level >= 2 and len(self._filters) > 1:
            chip = chips.FilterChip(str(len(self._filters)), self)
            chip.setToolTip(plain.tooltip(", ".join(f.value for f in self._filters)))
            chip.removed.connect(lambda: self._remove_filters(tuple(self._filters)))
            return [chip]
        for chosen in self._filters:
            chip = chips.FilterChip(chosen.value, self)
            chip.removed.connect(lambda chosen=chosen: self._remove_filters((chosen,)))
            made.append(chip)
        return made

    def _fit(self) -> None:
        """Show as many chips as fit beside the words; the "+3" button opens the rest."""
        shown = [self._mode_row, self._search]
        shown += [self._weights] if self._parts else []
        space, margins = self._row.spacing(), self._row.contentsMargins()
        room = self.width() - margins.left() - margins.right() - theme.px(_WORDS_PX) - space
        room -= sum(widget.sizeHint().width() + space for widget in shown)
        wanted = [chip.sizeHint().width() + space for chip in self._chips]
        if sum(wanted) > room:
            room -= self._more.sizeHint().width() + space
        hidden = 0
        for chip, width in zip(self._chips, wanted, strict=True):
            room -= width
            chip.setVisible(room >= 0)
            hidden += room < 0
        self._more.setVisible(hidden > 0)
        self._more.setText(f"+{hidden}")
        self._more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)

    # changing

    def _is_used(self, part: chips.Part) -> bool:
        return self.mode is Mode.BOTH or (self.mode is Mode.TEXT) == part.has_words

    def _change_mode(self) -> None:
        self._rebuild()
        self._rest.start()

    def _weigh(self, place: int, weight: float) -> None:
        self._parts[place] = self._parts[place].weighted(weight)
        self._rest.start()

    def _remove(self, place: int) -> None:
        del self._parts[place]
        self._rebuild()
        self._rest.start()

    def _remove_filters(self, gone: tuple[queries.Filter, ...]) -> None:
        self._filters = [kept for kept in self._filters if kept not in gone]
        self._rebuild()
        self._rest.start()

    def _edit(self, place: int) -> None:
        if self._parts[place].has_words:
            self.words.setText(self._parts[place].label)
            self.words.setFocus()
            del self._parts[place]
            self._rebuild()

    def _take_back(self) -> None:
        """Backspace in the empty field: words return to it, another chip goes."""
        if not self._parts:
            return
        if self._parts[-1].has_words:
            self._edit(len(self._parts) - 1)
        else:
            self._remove(len(self._parts) - 1)

    def _show_all(self) -> None:
        """Open the list of all terms with long sliders below the box."""
        sheet = QFrame(self, Qt.WindowType.Popup)
        sheet.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        theme.set_role(sheet, "popup")
        column = QVBoxLayout(sheet)
        for place, part in enumerate(self._parts):
            chip = chips.Chip(part, slider_px=160, is_used=self._is_used(part))
            chip.weighted.connect(lambda weight, place=place: self._weigh(place, weight))
            chip.removed.connect(sheet.close)
            chip.removed.connect(lambda place=place: self._remove(place))
            column.addWidget(chip)
        sheet.destroyed.connect(self._rebuild)
        sheet.move(self.mapToGlobal(QPoint(0, self.height())))
        sheet.show()
