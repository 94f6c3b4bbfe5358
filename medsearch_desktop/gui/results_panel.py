"""Results dock: heading, progress and ribbon over the cards, and the states without cards."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop import queries
from medsearch_desktop.gui import background, lines, problems, results, theme
from medsearch_desktop.viewer import plain

# The look of the role "small", and how many lines of it a ribbon takes at most.
_SMALL, _LINES = lines.Face(12), 4


class _Sentence(QLabel):
    """At most four whole lines of a sentence; all of it is in the tooltip and for readers."""

    def __init__(self) -> None:
        super().__init__()
        self._words = ""
        theme.set_role(self, "small")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    @property
    def words(self) -> str:
        """The whole sentence."""
        return self._words

    def set_words(self, words: str) -> None:
        """Show a sentence."""
        self._words = words
        self.setAccessibleName(words)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        room = self.contentsRect().width()
        fitted = lines.wrapped(self._words, _SMALL, room, _LINES)
        self.setText("\n".join(fitted))
        is_cut = " ".join(fitted).split() != self._words.split()
        self.setToolTip(plain.tooltip(self._words) if is_cut else "")


class ResultsPanel(QWidget):
    """The whole right dock.

    `view` is the list, whose signals go to the window directly. `tools` is a
    row at the right of the heading and `below_heading` a column under it, for
    the window's own buttons and facets.
    """

    open_files_requested = Signal()
    recent_requested = Signal()
    stop_requested = Signal()
    undo_requested = Signal()
    retry_requested = Signal()

    def __init__(self, work: background.Background, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        theme.set_role(self, "dock")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.view = results.ResultsView(work)
        self.problems = problems.Problems()
        self.tools = QHBoxLayout()
        self.below_heading = QVBoxLayout()
        self._count = QLabel()
        self._counts = (0, 0)
        theme.set_role(self._count, "second")
        # In the narrowest window the count gives way and the heading stays whole.
        self._count.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._progress = QProgressBar(textVisible=False)
        theme.set_role(self._progress, "edge")
        self._progress.setAccessibleName(self.tr("Progress of the search"))
        self._ribbon, self._sentence, self._links = self._make_ribbon()
        self._states = QStackedWidget()
        self._empty = self._make_empty()
        self._nothing = self._make_nothing()
        self._unanswered = self._make_unanswered()
        for page in (self.view, self._empty, self._nothing, self._unanswered):
            self._states.addWidget(page)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._make_heading())
        column.addLayout(self.below_heading)
        column.addWidget(self._progress)
        column.addWidget(self._ribbon)
        column.addWidget(self.problems)
        column.addWidget(self._states, 1)
        self.show_empty()

    # States

    @property
    def state(self) -> str:
        """Return "list", "empty", "nothing" or "unanswered": what stands under the heading."""
        return ("list", "empty", "nothing", "unanswered")[self._states.currentIndex()]

    def show_empty(self) -> None:
        """Nothing has been asked: say how to begin."""
        self.view.clear()
        self._counts = (0, 0)
        self._tell_counts()
        self._end_progress()
        self.show_ribbon("")
        self._states.setCurrentWidget(self._empty)

    def show_busy(self, sentence: str, *, done: int = 0, total: int = 0) -> None:
        """Say what is being done, with Stop; cards that stand stay. `total` 0: not known."""
        # Unknown progress is a still bar: Qt's own moves to and fro.
        self._progress.setRange(0, max(total, 1))
        self._progress.setValue(done if total else 0)
        self._progress.setVisible(True)
        self.show_ribbon(sentence, ("stop",))
        if self.state in ("empty", "unanswered"):
            self._states.setCurrentWidget(self.view)

    def show_results(self, found: queries.Results, *, reranked: bool = False) -> None:
        """List an answer; an answer that is not complete yet keeps the progress and its ribbon."""
        self.view.show_hits(found.hits, reranked=reranked, ticket=found.ticket)
        shown = len(found.hits)
        self._counts = (shown, found.total)
        self._tell_counts()
        self._states.setCurrentWidget(self.view if found.hits else self._nothing)
        if found.complete:
            self._end_progress()
            self.show_ribbon(self._notices(found, reranked), ("undo",) if reranked else ())

    def _tell_counts(self) -> None:
        """Say how many were found; in a narrow window the short way, and never half a number."""
        shown, total = self._counts
        words = str(shown) if shown else ""
        if total > shown:
            words = self.tr("{} · best {} shown").format(f"{total:,}", shown)
            if self.fontMetrics().horizontalAdvance(words) > self._count.width():
                words = self.tr("{} of {}").format(shown, f"{total:,}")
            if self.fontMetrics().horizontalAdvance(words) > self._count.width():
                words = str(shown)
        self._count.setText(words)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._tell_counts()

    def show_stopped(self, sentence: str = "") -> None:
        """End the progress where there was no answer; "" takes the ribbon away."""
        self._end_progress()
        self.show_ribbon(sentence)
        if not self.view.results_model().hits() and self.state != "unanswered":
            self._states.setCurrentWidget(self._empty)

    def show_unanswered(self) -> None:
        """A new question has failed: the cards of the one before are no answer to it."""
        self.view.clear()
        self._counts = (0, 0)
        self._tell_counts()
        self.show_stopped()
        self._states.setCurrentWidget(self._unanswered)

    def show_error(self, error: BaseException) -> None:
        """Say what went wrong, with one way on; cards that stand stay."""
        self.show_stopped()
        self.problems.show_error(error, self.tr("Try again"), self.retry_requested.emit)

    def show_ribbon(self, sentence: str, actions: Sequence[str] = ()) -> None:
        """Write a sentence over the cards with links ("stop", "undo"); "" hides it."""
        self._sentence.set_words(sentence)
        self._ribbon.setAccessibleName(sentence)
        self._ribbon.setVisible(bool(sentence))
        for name, link in self._links.items():
            link.setVisible(name in actions)

    def ribbon_text(self) -> str:
        """Return the sentence of the ribbon, "" where there is none."""
        return self._sentence.words

    # Inside

    def _notices(self, found: queries.Results, reranked: bool) -> str:
        said = [self.tr("Re-ranked by your thumbs.")] if reranked else []
        return " ".join([*said, *found.notices])

    def _end_progress(self) -> None:
        self._progress.setVisible(False)

    def _make_heading(self) -> QWidget:
        heading = QWidget()
        row = QHBoxLayout(heading)
        row.setContentsMargins(theme.px(12), theme.px(4), theme.px(8), theme.px(4))
        row.setSpacing(theme.px(8))
        title = QLabel(self.tr("Similar cases"))
        theme.set_role(title, "heading")
        row.addWidget(title)
        row.addWidget(self._count, 1)
        row.addLayout(self.tools)
        heading.setFixedHeight(theme.px(40))
        return heading

    def _make_ribbon(self) -> tuple[QFrame, _Sentence, dict[str, QPushButton]]:
        ribbon = QFrame()
        theme.set_role(ribbon, "ribbon")
        row = QHBoxLayout(ribbon)
        row.setContentsMargins(theme.px(10), theme.px(2), theme.px(4), theme.px(2))
        sentence = _Sentence()
        row.addWidget(sentence, 1)
        links = {}
        for name, words, signal in (
            ("undo", self.tr("Undo"), self.undo_requested),
            ("stop", self.tr("Stop"), self.stop_requested),
        ):
            link = QPushButton(words)
            theme.set_role(link, "link")
            link.clicked.connect(signal)
            row.addWidget(link)
            links[name] = link
        return ribbon, sentence, links

    def _make_empty(self) -> QWidget:
        page, column = self._page(
            "download-simple",
            self.tr("Drop a study, an image or words"),
            self.tr("or open one, or type words above"),
        )
        row = QHBoxLayout()
        row.setSpacing(theme.px(8))
        for words, icon, signal in (
            (self.tr("Open…"), "folder-open", self.open_files_requested),
            (self.tr("Recent searches"), "clock-counter-clockwise", self.recent_requested),
        ):
            button = QPushButton(words)
            button.setIcon(theme.icon(icon))
            button.clicked.connect(signal)
            row.addWidget(button)
        row.insertStretch(0, 1)
        row.addStretch(1)
        column.insertSpacing(column.count() - 1, theme.px(4))
        column.insertLayout(column.count() - 1, row)
        return page

    def _make_nothing(self) -> QWidget:
        page, _ = self._page(
            "magnifying-glass",
            self.tr("No case was found"),
            self.tr("Try other words, fewer filters or another collection"),
        )
        return page

    def _make_unanswered(self) -> QWidget:
        page, _ = self._page(
            "warning-octagon",
            self.tr("No case was found, because the question failed"),
            self.tr("What went wrong stands above"),
        )
        return page

    def _page(self, icon: str, title: str, line: str) -> tuple[QWidget, QVBoxLayout]:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(theme.px(16), 0, theme.px(16), 0)
        column.setSpacing(theme.px(8))
        column.addStretch(1)
        sign = QLabel()
        sign.setPixmap(theme.pixmap(icon, 40))
        heading, second = QLabel(title), QLabel(line)
        theme.set_role(heading, "heading")
        theme.set_role(second, "second")
        for label in (sign, heading, second):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            label.setWordWrap(True)
            column.addWidget(label)
        column.addStretch(1)
        return page, column
