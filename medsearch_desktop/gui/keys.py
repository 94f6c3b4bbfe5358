"""The key table: every key of the window, its name on screen and what it does."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, QKeyCombination, Qt
from PySide6.QtGui import QKeySequence


@dataclass(frozen=True)
class Key:
    """One line of the table: `where` it holds, the `sequence`, and what it `does`."""

    where: str
    sequence: str
    does: str

    @property
    def label(self) -> str:
        """Return the key as the system writes it."""
        return QKeySequence(self.sequence).toString(QKeySequence.SequenceFormat.NativeText)

    def matches(self, pressed: QKeyCombination) -> bool:
        """Say whether a pressed key (`event.keyCombination()`) is this one."""
        return QKeySequence(pressed).matches(QKeySequence(self.sequence)) == (
            QKeySequence.SequenceMatch.ExactMatch
        )


def _tr(words: str) -> str:
    return QCoreApplication.translate("keys", words)


WINDOW = "window"
VIEWER = "viewer"
RESULTS = "results"

OPEN_FILES = Key(WINDOW, "Ctrl+O", "Open files")
OPEN_FOLDER = Key(WINDOW, "Ctrl+Shift+O", "Open a folder")
PASTE = Key(WINDOW, "Ctrl+V", "Find cases like the picture on the clipboard, or add its words")
SEARCH_BOX = Key(WINDOW, "Ctrl+F", "Go to the search box")
SEARCH = Key(WINDOW, "Ctrl+Return", "Search")
UNDO = Key(WINDOW, "Ctrl+Z", "Undo the last thumb")
FOCUS_VIEWER = Key(WINDOW, "Ctrl+1", "Go to the viewer")
FOCUS_RESULTS = Key(WINDOW, "Ctrl+2", "Go to the results")
FOCUS_SHELF = Key(WINDOW, "Ctrl+3", "Go to favourites, jobs and log")
SHOW_KEYS = Key(WINDOW, "F1", "Show the keys")
QUIT = Key(WINDOW, "Ctrl+Q", "Quit")

NEXT_SLICE = Key(VIEWER, "Down", "Next slice (also Right, wheel)")
PREVIOUS_SLICE = Key(VIEWER, "Up", "Previous slice (also Left, wheel)")
PAGE_DOWN = Key(VIEWER, "PgDown", "A tenth of the stack on")
PAGE_UP = Key(VIEWER, "PgUp", "A tenth of the stack back")
FIRST_SLICE = Key(VIEWER, "Home", "First slice")
LAST_SLICE = Key(VIEWER, "End", "Last slice")
DEFAULT_WINDOW = Key(VIEWER, "0", "The window of the file")
PRESET_WINDOW = Key(VIEWER, "1", "First window preset (2 to 9: the others)")
ZOOM_IN = Key(VIEWER, "+", "Zoom in (also right drag, Ctrl+wheel)")
ZOOM_OUT = Key(VIEWER, "-", "Zoom out")
FIT = Key(VIEWER, "F", "Fit to the pane (also double click)")
OVERLAYS = Key(VIEWER, "Space", "Hide or show the overlays")
FIND_SIMILAR = Key(VIEWER, "G", "Find like this")

OPEN_CASE = Key(RESULTS, "Return", "Open the case (also click)")
MORE_LIKE = Key(RESULTS, "G", "More like this")
LIKE = Key(RESULTS, "U", "Thumb up, again to take it back")
DISLIKE = Key(RESULTS, "J", "Thumb down, again to take it back")
KEEP = Key(RESULTS, "S", "Keep in the favourites, again to remove")

TABLE: tuple[Key, ...] = tuple(value for value in globals().values() if isinstance(value, Key))


def with_key(words: str, key: Key) -> str:
    """Return a tooltip: the name and its key, as every icon-only button shows."""
    return f"{words} ({key.label})"


def shown() -> list[tuple[str, str, str]]:
    """Return (where, key, what it does) in the reader's language, in the table's order."""
    return [(_tr(key.where), key.label, _tr(key.does)) for key in TABLE]


def is_plain(modifiers: Qt.KeyboardModifier) -> bool:
    """Say whether no modifier but the keypad's is held."""
    return not modifiers & ~Qt.KeyboardModifier.KeypadModifier
