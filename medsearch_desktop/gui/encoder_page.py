"""Page of encoders: a list, and all of one: kind, limits in full, licence, device and speed."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop.gui import installed, library, pages, theme
from medsearch_desktop.worker import messages

_LIST_WIDE = 240
_NAME = Qt.ItemDataRole.UserRole + 1


class EncoderPage(QWidget):
    """Shows what is installed; removing is asked for, measuring done."""

    remove_requested = Signal(str)

    def __init__(
        self, encoders: installed.Installed, known: library.Library, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._installed, self._library = encoders, known
        self._wanted, self._is_busy = installed.DEFAULT, False
        self._list = QListWidget()
        self._list.setAccessibleName(self.tr("Installed encoders"))
        self._list.setFixedWidth(theme.px(_LIST_WIDE))
        self._list.setIconSize(theme.icon_size(20))
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setAccessibleName(self.tr("About the chosen encoder"))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, theme.px(12), 0, 0)
        row.setSpacing(theme.px(16))
        row.addWidget(self._list)
        row.addWidget(self._area, 1)
        self._list.currentItemChanged.connect(self._take_choice)
        encoders.changed.connect(self._refresh)
        known.changed.connect(lambda *_: self._show_details())
        self._refresh()

    @property
    def chosen(self) -> str:
        """The name of the encoder that is shown."""
        return self._wanted

    def choose(self, name: str) -> None:
        """Show an encoder, now or as soon as it is listed."""
        self._wanted = name
        self._refresh()

    def take_focus(self) -> None:
        """Give the keyboard to the list."""
        self._list.setFocus()

    def set_busy(self, busy: bool) -> None:
        """Offer neither removing nor measuring while something is imported or removed."""
        self._is_busy = busy
        self._show_details()

    def words(self) -> str:
        """Return all that is said of the chosen encoder, for those who cannot see it."""
        labels = self._area.widget().findChildren(QLabel) if self._area.widget() else []
        return "\n".join(label.text() for label in labels)

    # list

    def _refresh(self) -> None:
        found = self._installed.encoders
        if found and not self._installed.is_listing and self._installed.find(self._wanted) is None:
            self._wanted = found[0].name  # what was shown was removed
        self._list.blockSignals(True)
        self._list.clear()
        for encoder in self._installed.encoders:
            item = QListWidgetItem(f"{encoder.name}\n{self._second_line(encoder)}")
            icon, role = ("warning-octagon", "error") if encoder.problem else ("brain", "text2")
            item.setIcon(theme.icon(icon, role))
            item.setData(_NAME, encoder.name)
            self._list.addItem(item)
            if encoder.name == self._wanted:
                self._list.setCurrentItem(item)
        self._list.blockSignals(False)
        self._show_details()

    def _take_choice(self, item: QListWidgetItem | None, _: object = None) -> None:
        if item is not None:
            self._wanted = item.data(_NAME)
            self._show_details()

    def _second_line(self, encoder: installed.Encoder) -> str:
        if encoder.problem:
            return self.tr("cannot be used")
        return f"{encoder.kind} · {self._abilities(encoder)}"

    def _abilities(self, encoder: installed.Encoder) -> str:
        names = {"images": self.tr("images"), "texts": self.tr("texts")}
        return self.tr(" and ").join(names.get(one, one) for one in encoder.abilities)

    # details

    def _show_details(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, theme.px(12), 0)
        column.setSpacing(theme.px(8))
        encoder = self._installed.find(self._wanted)
        if encoder is None:
            self._say_nothing(column)
        else:
            self._describe(column, encoder)
        if self._only_built_in():
            column.addSpacing(theme.px(12))
            column.addWidget(pages.label(self._how_to_import(), "second"))
        column.addStretch(1)
        pages.renew(self._area, inside)

    def _say_nothing(self, column: QVBoxLayout) -> None:
        if self._installed.is_listing:
            words = self.tr("Reading what is installed.")
        elif not self._installed.is_listed:
            words = self.tr("What is installed could not be read.")
        else:
            words = self.tr("Choose an encoder on the left.")
        column.addWidget(pages.label(words, "second"))

    def _only_built_in(self) -> bool:
        found = self._installed.encoders
        return self._installed.is_listed and all(one.is_built_in for one in found)

    def _how_to_import(self) -> str:
        return self.tr(
            "No other model is installed. Download one where there is a network (BiomedCLIP, "
            "CLIP, SigLIP, BiomedVLP-BioViL-T or an image model of timm), bring its folder here "
            "on a stick and import it. Nothing is ever downloaded by this program."
        )

    def _describe(self, column: QVBoxLayout, encoder: installed.Encoder) -> None:
        column.addWidget(pages.label(encoder.name, "title"))
        if encoder.problem:
            column.addWidget(self._framed(self.tr("It cannot be used"), encoder.problem, "error"))
        else:
            line = self.tr("{kind} · {n} numbers a vector · {able}").format(
                kind=encoder.kind, n=encoder.dimension, able=self._abilities(encoder)
            )
            column.addWidget(pages.label(line, "second"))
            limits = encoder.limits or self.tr(
                "It names no limits. Take it as not meant for diagnosis."
            )
            column.addWidget(self._framed(self.tr("Limits of use"), limits, "warning"))
        column.addLayout(self._table(encoder))
        column.addLayout(self._buttons(encoder))

    def _framed(self, heading: str, words: str, state: str) -> QFrame:
        frame = QFrame()
        theme.set_role(frame, "problem", state)
        sign = QLabel()
        sign.setPixmap(
            theme.pixmap("warning-octagon" if state == "error" else "warning", 20, state)
        )
        column = QVBoxLayout()
        column.setSpacing(theme.px(4))
        column.addWidget(pages.label(heading, "strong"))
        column.addWidget(pages.label(words))
        row = QHBoxLayout(frame)
        row.setContentsMargins(*(theme.px(n) for n in (12, 10, 12, 10)))
        row.setSpacing(theme.px(12))
        row.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(column, 1)
        return frame

    def _table(self, encoder: installed.Encoder) -> QGridLayout:
        unknown = self.tr("not stated")
        needing = [info.name for info in self._library.known if info.encoder == encoder.name]
        lines = [
            (self.tr("Licence"), encoder.licence or unknown),
            (self.tr("Source"), encoder.source or unknown),
            (self.tr("Made for"), ", ".join(encoder.modalities) or unknown),
            (self.tr("Runs on"), self._place_of(encoder)),
            (self.tr("Speed here"), self._speed_of(encoder)),
            (self.tr("Needed by"), ", ".join(needing) or self.tr("no collection")),
        ]
        table = QGridLayout()
        table.setHorizontalSpacing(theme.px(16))
        table.setVerticalSpacing(theme.px(6))
        table.setColumnStretch(1, 1)
        for place, (name, words) in enumerate(lines):
            top = Qt.AlignmentFlag.AlignTop
            table.addWidget(pages.label(name, "second"), place, 0, top)
            table.addWidget(pages.label(words), place, 1, top)
        return table

    def _place_of(self, encoder: installed.Encoder) -> str:
        measured = self._installed.measured(encoder.name)
        if measured is not None and measured.placed is not None:
            placed = measured.placed
        else:
            device = "CPU" if encoder.device in ("", "cpu") else encoder.device
            placed = messages.Placed(
                encoder.name, device, encoder.precision, runtime=encoder.runtime
            )
        if encoder.problem:
            return self.tr("not known")
        by = self.tr("{place}, by {runtime}").format(place=placed.words, runtime=placed.runtime)
        return by if placed.runtime else placed.words

    def _speed_of(self, encoder: installed.Encoder) -> str:
        measured = self._installed.measured(encoder.name)
        if self._installed.is_measuring(encoder.name):
            return self.tr("Being measured; a search goes first.")
        if measured is None:
            return self.tr("not measured yet")
        if measured.problem:
            return measured.problem
        parts = []
        if measured.image_ms is not None:
            parts.append(self.tr("{ms} ms an image").format(ms=_ms(measured.image_ms)))
        if measured.text_ms is not None:
            parts.append(self.tr("{ms} ms a text").format(ms=_ms(measured.text_ms)))
        return " · ".join(parts)

    def _buttons(self, encoder: installed.Encoder) -> QHBoxLayout:
        measure = QPushButton(self.tr("Measure here"))
        measure.setIcon(theme.icon("timer"))
        can_measure = not encoder.problem and not self._installed.is_measuring(encoder.name)
        measure.setEnabled(can_measure and not self._is_busy)
        measure.clicked.connect(lambda: self._installed.measure(encoder.name))
        remove = QPushButton(self.tr("Remove…"))
        remove.setIcon(theme.icon("trash"))
        remove.setEnabled(not encoder.is_built_in and not self._is_busy)
        if encoder.is_built_in:
            remove.setToolTip(self.tr("It comes with the program and cannot be removed."))
        remove.clicked.connect(lambda: self.remove_requested.emit(encoder.name))
        row = QHBoxLayout()
        row.setSpacing(theme.px(8))
        for button in (measure, remove):
            button.setAutoDefault(False)
            button.setIconSize(theme.icon_size(18))
            row.addWidget(button)
        if encoder.is_built_in:
            row.addWidget(pages.label(self.tr("Comes with the program."), "small"))
        row.addStretch(1)
        return row


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"
