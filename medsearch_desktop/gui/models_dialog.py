"""Models: what is installed and what it is for, bringing in and removing, and the editions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from medsearch_desktop.gui import (
    demo_build,
    dialogs,
    edition_page,
    encoder_page,
    installed,
    library,
    pages,
    theme,
)
from medsearch_desktop.viewer import plain

_SIZE = (940, 640)
_SIGNS = {
    "": ("info", "text2"),
    "done": ("check-circle", "like"),
    "warning": ("warning", "warning"),
    "error": ("warning-octagon", "error"),
}
Action = tuple[str, Callable[[], object]]


class Strip(QFrame):
    """One sentence on what is done or was done, with a bar while it runs and its buttons."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sign, self._words = QLabel(), QLabel()
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setWordWrap(True)
        self._bar = QProgressBar(textVisible=False)
        self._buttons = QHBoxLayout()
        middle = QVBoxLayout()
        middle.addWidget(self._words)
        middle.addWidget(self._bar)
        row = QHBoxLayout(self)
        row.setContentsMargins(*(theme.px(n) for n in (12, 10, 8, 10)))
        row.setSpacing(theme.px(12))
        row.addWidget(self._sign, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(middle, 1)
        row.addLayout(self._buttons)
        self.hide()

    @property
    def words(self) -> str:
        """The sentence shown, "" while there is none."""
        return self._words.text() if not self.isHidden() else ""

    def say(self, words: str, kind: str = "", actions: tuple[Action, ...] = ()) -> None:
        """Show a sentence: kind "" (notice), "done", "warning" or "error"."""
        self._set(words, kind, actions)
        self._bar.hide()

    def take_focus(self) -> None:
        """Give the keyboard to the last button: the one that changes nothing."""
        if (item := self._buttons.itemAt(self._buttons.count() - 1)) is not None:
            item.widget().setFocus()

    def show_progress(
        self, words: str, done: int, total: int, actions: tuple[Action, ...] = ()
    ) -> None:
        """Show how far something is; `total` 0 is not known."""
        if not self._bar.isVisibleTo(self) or self.isHidden():
            self._set(words, "", actions)
            self._bar.show()
        self._words.setText(plain.line(words))
        self.setAccessibleName(plain.line(words))
        # What is not known is a still bar beside a counting sentence.
        self._bar.setRange(0, max(total, 1))
        self._bar.setValue(min(done, total))

    def _set(self, words: str, kind: str, actions: tuple[Action, ...]) -> None:
        while (item := self._buttons.takeAt(0)) is not None:
            item.widget().hide()
            item.widget().deleteLater()
        theme.set_role(self, "problem", kind)
        self._sign.setPixmap(theme.pixmap(_SIGNS[kind][0], 20, _SIGNS[kind][1]))
        self._words.setText(plain.paragraph(words, 2000))
        self.setAccessibleName(plain.line(words, 2000))
        for name, act in actions:
            button = QPushButton(name)
            theme.set_role(button, "flat")
            button.clicked.connect(lambda _=False, act=act: act())
            self._buttons.addWidget(button)
            button.show()  # at once: it may be given the keyboard
        self.show()


class ModelsDialog(QDialog):
    """Two pages over one strip: encoders, and collections with their editions."""

    compare_requested = Signal(str)  # path of the first edition
    jobs_requested = Signal()

    def __init__(
        self, encoders: installed.Installed, known: library.Library, parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._installed, self._library = encoders, known
        theme.set_role(self, "sheet")
        self.setWindowTitle(self.tr("Models"))
        self.encoders = encoder_page.EncoderPage(encoders, known)
        self.editions = edition_page.EditionPage(encoders, known)
        self.strip = Strip()
        self._pages = QTabWidget()
        self._pages.addTab(self.encoders, theme.icon("brain"), self.tr("Encoders"))
        self._pages.addTab(self.editions, theme.icon("database"), self.tr("Collections"))
        self._pages.setDocumentMode(True)
        self._pages.setIconSize(theme.icon_size(18))
        self._place()
        self._connect()

    def show_page(self, page: int = 0) -> None:
        """Open, read anew what is installed, and take the keyboard."""
        room = self.screen().availableSize()
        self.resize(
            min(theme.px(_SIZE[0]), room.width() - theme.px(40)),
            min(theme.px(_SIZE[1]), room.height() - theme.px(80)),
        )
        self._pages.setCurrentIndex(page)
        self._installed.refresh()
        self.show()
        self.raise_()
        self.activateWindow()
        self.encoders.take_focus()

    def import_folder(self, folder: Path) -> None:
        """Bring in the model in a folder."""
        self._installed.bring_in(folder)

    def _place(self) -> None:
        close = QPushButton(self.tr("Close"))
        close.clicked.connect(self.close)
        close.setAutoDefault(False)
        self._import = QPushButton(self.tr("Import a model folder…"))
        self._import.setIcon(theme.icon("download-simple", "on_accent", active="on_accent"))
        self._import.setIconSize(theme.icon_size(18))
        self._import.setAutoDefault(False)
        theme.set_role(self._import, "primary")
        foot = QHBoxLayout()
        foot.setSpacing(theme.px(8))
        foot.addWidget(self._import)
        foot.addStretch(1)
        foot.addWidget(close)
        column = QVBoxLayout(self)
        column.setContentsMargins(*(theme.px(16),) * 4)
        column.setSpacing(theme.px(12))
        column.addWidget(pages.label(self.tr("Models"), "title"))
        column.addWidget(self._pages, 1)
        column.addWidget(self.strip)
        column.addLayout(foot)

    def _connect(self) -> None:
        self._import.clicked.connect(self._ask_for_folder)
        self._installed.began.connect(self._show_begun)
        self._installed.progressed.connect(self._show_progress)
        self._installed.ended.connect(self._show_ended)
        self.encoders.remove_requested.connect(self._ask_to_remove)
        self.editions.said.connect(self.strip.say)
        self.editions.compare_requested.connect(self.compare_requested)
        self.editions.begun.connect(self._show_embedding)
        self._library.reembedding.ended.connect(self._show_embedded)

    def _ask_for_folder(self) -> None:
        folder = dialogs.choose_folder(self, self.tr("Import a model folder"))
        if folder is not None:
            self.import_folder(folder)

    def _ask_to_remove(self, name: str) -> None:
        """Ask once more; what needs the encoder is named."""
        needing = [info.name for info in self._library.known if info.encoder == name]
        words = self.tr("Remove {name} from this computer?").format(name=name)
        if (self._library.reembedding.running or ("", ""))[1] == name:
            words = f"{words} {self.tr('A collection is being embedded with it right now.')}"
        if needing:
            more = self.tr(
                "These collections need it and can then be searched by words only: {all}"
            )
            words = f"{words} {more.format(all=', '.join(needing))}."
        remove = (self.tr("Remove"), lambda: self._installed.remove(name))
        keep = (self.tr("Keep"), self.strip.hide)
        self.strip.say(words, "warning", (remove, keep))
        self.strip.take_focus()

    def _show_begun(self, task: installed.Task) -> None:
        self._import.setEnabled(False)
        self.encoders.set_busy(True)
        self._say_progress(task, self.tr("the files are looked at"), 0, 0)

    def _show_progress(self, said: dict) -> None:
        done, total = int(said.get("done") or 0), int(said.get("total") or 0)
        stage = str(said.get("stage") or "")
        line = self._stages().get(stage, stage)
        if total > 1:
            line = demo_build.line_of({**said, "stage": line})
        self._say_progress(self._installed.task, line, done, total)

    def _stages(self) -> dict[str, str]:
        """Return the indexer's stages of an import in words."""
        return {
            "copying": self.tr("copying the files"),
            "converting": self.tr("converting the weights"),
            "checking": self.tr("checking that it runs without a network"),
            "load": self.tr("making a version that is fast on this processor"),
            "export": self.tr("making a version that is fast on this processor"),
            "compare": self.tr("comparing it with the original, images"),
            "compare int8": self.tr("comparing it with the original, images in int8"),
            "compare texts": self.tr("comparing it with the original, texts"),
            "compare texts in int8": self.tr("comparing it with the original, texts in int8"),
            "done": self.tr("done"),
        }

    def _say_progress(self, task: installed.Task, line: str, done: int, total: int) -> None:
        if task is installed.Task.REMOVE:
            self.strip.show_progress(self.tr("Removing"), 0, 0)
            return
        words = self.tr("Importing: {line}").format(line=line)
        stop = (self.tr("Stop"), self._installed.stop)
        self.strip.show_progress(words, done, total, (stop,))

    def _show_ended(self, ended: installed.Ended) -> None:
        is_busy = self._installed.task is not installed.Task.NONE  # while only the list failed
        self._import.setEnabled(not is_busy)
        self.encoders.set_busy(is_busy)
        close = (self.tr("Hide"), self.strip.hide)
        if ended.was_stopped:
            self.strip.say(self.tr("Stopped; nothing was installed."), "", (close,))
        elif ended.problem:
            self.strip.say(ended.problem, "error", (close,))
        elif ended.task is installed.Task.IMPORT:
            words = self.tr("{name} is installed and runs here. Read its limits and its licence.")
            self.encoders.choose(ended.name)
            said = " ".join([words.format(name=ended.name), *ended.notices])
            self.strip.say(said, "done", (close,))
        else:
            words = self.tr("{name} was removed.").format(name=ended.name)
            self.strip.say(words, "done", (close,))

    def _show_embedding(self, name: str, encoder: str) -> None:
        words = self.tr("{name} is embedded again with {encoder}. You can go on working meanwhile.")
        jobs = (self.tr("Show jobs"), self.jobs_requested.emit)
        self.strip.say(words.format(name=name, encoder=encoder), "", (jobs,))

    def _show_embedded(self, problem: str) -> None:
        close = (self.tr("Hide"), self.strip.hide)
        words = problem or self.tr("The new edition is there; choose here which one is searched.")
        self.strip.say(words, "warning" if problem else "done", (close,))
