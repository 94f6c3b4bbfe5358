"""Facet bar: counts of the answer, each a filter that can be switched on."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QPushButton, QToolButton, QWidget

from medsearch_desktop import queries
from medsearch_desktop.gui import theme
from medsearch_desktop.viewer import plain

# Shown as buttons in this order while there is room; everything is in the menu.
_FIRST = ("modality", "body_part", "origin", "view", "sex")
_MOST_BUTTONS = 12


class FacetBar(QWidget):
    """36 px: chosen facets first, then the most frequent, then More and Clear."""

    filters_changed = Signal(tuple)  # queries.Filter

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(theme.px(36))
        self._chosen: tuple[queries.Filter, ...] = ()
        self._counts: dict[tuple[str, str], int] = {}
        self._buttons: list[QToolButton] = []
        self._menu = QMenu(self)
        self._fields: list[QMenu] = []
        self._more = QToolButton()
        theme.set_role(self._more, "facet")
        self._more.setText(self.tr("More"))
        self._more.setMenu(self._menu)
        self._more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._clear = QPushButton(self.tr("Clear"))
        theme.set_role(self._clear, "link")
        self._clear.clicked.connect(lambda: self.filters_changed.emit(()))
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(theme.px(12), theme.px(4), theme.px(8), theme.px(4))
        self._row.setSpacing(theme.px(6))
        self._row.addWidget(self._more)
        self._row.addStretch(1)
        self._row.addWidget(self._clear)
        self.hide()

    def show_facets(self, results: queries.Results, chosen: tuple[queries.Filter, ...]) -> None:
        """Show the counts of an answer and the filters that made it."""
        self._chosen = chosen
        self._counts = {
            (field, value): count
            for field, values in results.facets
            for value, count in values
            if count and field != "age"
        }
        self._rebuild()
        self.setVisible(bool(self._counts or self._chosen))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _rebuild(self) -> None:
        for button in self._buttons:
            self._row.removeWidget(button)
            button.hide()
            button.deleteLater()
        chosen = [(f.field, f.value) for f in self._chosen if not f.negated]
        order = {field: place for place, field in enumerate(_FIRST)}
        others = sorted(
            (pair for pair in self._counts if pair[0] in order and not self._is_chosen(pair)),
            key=lambda pair: (order[pair[0]], -self._counts[pair]),
        )
        wanted = [*chosen, *others[:_MOST_BUTTONS]]
        self._buttons = [self._button(pair) for pair in wanted]
        for place, button in enumerate(self._buttons):
            self._row.insertWidget(place, button)
        self._clear.setVisible(bool(self._chosen))
        self._fill_menu()
        self._fit()

    def _button(self, pair: tuple[str, str]) -> QToolButton:
        button = QToolButton()
        is_on = self._is_chosen(pair)
        theme.set_role(button, "facet", "on" if is_on else "")
        count = self._counts.get(pair, 0)
        button.setText(f"{plain.label(pair[1])} {count:,}" + ("  ×" if is_on else ""))
        name = self.tr("Remove the filter {value}") if is_on else self.tr("Only {value}")
        name = name.format(value=plain.line(pair[1]))
        button.setToolTip(plain.tooltip(name))
        button.setAccessibleName(name)
        button.clicked.connect(lambda: self._toggle(pair))
        return button

    def _fill_menu(self) -> None:
        # `clear` takes the menus of the fields off, and would leave one set alive an answer:
        # without a parent they end with the last mention of them.
        for inside in self._fields:
            inside.setParent(None)
        self._fields.clear()
        self._menu.clear()
        fields = dict.fromkeys(field for field, _ in self._counts)
        for field in fields:
            inside = self._menu.addMenu(field.replace("_", " ").capitalize())
            self._fields.append(inside)
            for pair, count in self._counts.items():
                if pair[0] == field:
                    action = inside.addAction(f"{pair[1]}   {count:,}")
                    action.setCheckable(True)
                    action.setChecked(self._is_chosen(pair))
                    action.triggered.connect(lambda _=False, pair=pair: self._toggle(pair))

    def _fit(self) -> None:
        room = self.width() - self._more.sizeHint().width() - theme.px(32)
        room -= self._clear.sizeHint().width() if self._chosen else 0
        for button in self._buttons:
            room -= button.sizeHint().width() + self._row.spacing()
            button.setVisible(room >= 0)

    def _is_chosen(self, pair: tuple[str, str]) -> bool:
        return any(
            f.field == pair[0] and f.value.casefold() == pair[1].casefold() for f in self._chosen
        )

    def _toggle(self, pair: tuple[str, str]) -> None:
        rest = tuple(
            f
            for f in self._chosen
            if (f.field, f.value.casefold()) != (pair[0], pair[1].casefold())
        )
        if len(rest) == len(self._chosen):
            # Filters are joined by "and": another value of one field takes the older's place.
            rest = tuple(f for f in rest if f.field != pair[0] or f.field == "label")
            rest = (*rest, queries.Filter(*pair))
        self.filters_changed.emit(rest)
