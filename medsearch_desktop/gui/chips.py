"""Chips of the search box: one term or filter each, with its weight and a way to remove it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from PySide6.QtCore import QRect, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPixmap, QWheelEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSlider, QToolButton, QWidget

from medsearch_desktop import queries
from medsearch_desktop.gui import theme
from medsearch_desktop.viewer import plain

# A weight is a tenth: the slider counts whole steps from -10 to 10.
_STEPS = 10


@dataclass(frozen=True)
class Part:
    """A term as the reader sees it: `label` in words, `picture` 24 px square or None."""

    term: queries.Term
    label: str
    picture: QPixmap | None = None

    @property
    def has_words(self) -> bool:
        """Say whether the term is words, as against images and cases."""
        return isinstance(self.term, queries.TextTerm)

    def weighted(self, weight: float) -> Part:
        """Return the part with another weight."""
        return dataclasses.replace(self, term=dataclasses.replace(self.term, weight=weight))


class WeightSlider(QSlider):
    """0 to 1 in steps of 0.1; dragging left of 0 asks for cases unlike the term."""

    def __init__(self, weight: float, width: int, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setRange(-_STEPS, _STEPS)
        self.setValue(round(weight * _STEPS))
        self.setFixedSize(theme.px(width), theme.px(24))
        self.setAccessibleName(self.tr("Weight"))

    @property
    def weight(self) -> float:
        """The weight from -1 to 1."""
        return self.value() / _STEPS

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(True)
        self.mouseMoveEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        share = event.position().x() / max(self.width(), 1)
        self.setValue(max(-_STEPS, min(_STEPS, round(share * _STEPS))))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self.setValue(self.value() + (1 if event.angleDelta().y() > 0 else -1))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Down: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: 1}
        if (step := steps.get(Qt.Key(event.key()))) is None:
            super().keyPressEvent(event)
        else:
            self.setValue(self.value() + step)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        thick, knob = theme.px(4), theme.px(10)
        room = self.width() - knob
        track = QRect(knob // 2, (self.height() - thick) // 2, room, thick)
        painter.setBrush(theme.colour("fill"))
        painter.drawRoundedRect(track, thick / 2, thick / 2)
        filled = round(room * abs(self.weight))
        painter.setBrush(theme.colour("dislike" if self.value() < 0 else "accent"))
        painter.drawRoundedRect(QRect(track.topLeft(), QSize(filled, thick)), thick / 2, thick / 2)
        painter.setBrush(theme.colour("accent" if self.hasFocus() else "text1"))
        painter.drawEllipse(QRect(filled, (self.height() - knob) // 2, knob, knob))
        painter.end()


class Chip(QFrame):
    """One term: picture or sign, label, slider and number, and a button that removes it."""

    weighted = Signal(float)
    removed = Signal()
    edited = Signal()

    def __init__(
        self, part: Part, *, slider_px: int = 0, is_used: bool = True, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        theme.set_role(self, "chip")
        self.setFixedHeight(theme.px(30))
        self._part = part
        self._sign = QLabel()
        self._number = QLabel()
        self._number.setFont(theme.font(12))
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(4), 0, theme.px(2), 0)
        row.setSpacing(theme.px(6))
        row.addWidget(self._sign)
        row.addWidget(self._label(part, is_used))
        row.addStretch(1)
        self.slider = WeightSlider(part.term.weight, slider_px or 44)
        self.slider.setVisible(slider_px > 0)
        self.slider.valueChanged.connect(self._weigh)
        row.addWidget(self.slider)
        row.addWidget(self._number)
        row.addWidget(
            _close(self.tr("Remove {what}").format(what=plain.line(part.label)), self.removed)
        )
        for label in (self._sign, self._number):
            label.setEnabled(is_used)
        self._show_weight()
        self.setAccessibleName(
            self.tr("{what}, weight {weight}").format(
                what=plain.line(part.label), weight=part.term.weight
            )
        )
        if not is_used:
            self.setToolTip(self.tr("Not used in this mode"))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.edited.emit()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        # The slider stands open in wide windows; in narrow ones a click shows it.
        if event.button() is Qt.MouseButton.LeftButton:
            self.slider.show()

    def _label(self, part: Part, is_used: bool) -> QLabel:
        label = QLabel()
        label.setFont(theme.font(13))
        label.setTextFormat(Qt.TextFormat.PlainText)
        metrics = label.fontMetrics()
        label.setText(
            metrics.elidedText(plain.line(part.label), Qt.TextElideMode.ElideMiddle, theme.px(180))
        )
        label.setToolTip(plain.tooltip(part.label))
        label.setEnabled(is_used)
        return label

    def _weigh(self) -> None:
        self._part = self._part.weighted(self.slider.weight)
        self._show_weight()
        self.weighted.emit(self.slider.weight)

    def _show_weight(self) -> None:
        weight = self._part.term.weight
        self._number.setText(f"{weight:.1f}".replace("-", "−"))
        if self._part.picture is not None and weight >= 0:
            self._sign.setPixmap(self._part.picture)
            return
        sign = theme.icon("minus" if weight < 0 else "plus", "dislike" if weight < 0 else "text2")
        self._sign.setPixmap(sign.pixmap(theme.icon_size(16)))


class FilterChip(QFrame):
    """One filter: dashed, with a funnel and no weight."""

    removed = Signal()

    def __init__(self, label: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        theme.set_role(self, "filter")
        self.setFixedHeight(theme.px(30))
        label = plain.line(label)
        funnel, words = QLabel(), QLabel(label)
        funnel.setPixmap(theme.pixmap("funnel", 16))
        words.setTextFormat(Qt.TextFormat.PlainText)
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(6), 0, theme.px(2), 0)
        row.setSpacing(theme.px(4))
        row.addWidget(funnel)
        row.addWidget(words)
        row.addWidget(_close(self.tr("Remove the filter {what}").format(what=label), self.removed))
        self.setAccessibleName(self.tr("Filter: {what}").format(what=label))


def _close(name: str, pressed: Signal) -> QToolButton:
    button = QToolButton()
    theme.set_role(button, "tool")
    button.setIcon(theme.icon("x"))
    button.setIconSize(theme.icon_size(12))
    button.setFixedSize(theme.px(24), theme.px(28))
    button.setToolTip(plain.tooltip(name))
    button.setAccessibleName(name)
    button.clicked.connect(lambda: pressed.emit())
    return button
