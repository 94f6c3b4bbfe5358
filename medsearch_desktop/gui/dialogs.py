"""Dialogs that the menus open: files, folders, the keys, and what this program is."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QCoreApplication, QDir, QSettings, Qt
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QGridLayout,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

import medsearch_desktop
from medsearch_desktop.gui import keys, theme


def _tr(words: str) -> str:
    return QCoreApplication.translate("dialogs", words)


def _keep_no_places() -> None:
    """Let Qt's own dialog write the folders it has been in to where they end with the program.

    Else they lie in a file of all Qt programs, outside the data folder:
    names of folders are often names of patients.
    """
    QSettings.setPath(QSettings.Format.NativeFormat, QSettings.Scope.UserScope, QDir.tempPath())


def choose_files(parent: QWidget) -> list[Path]:
    """Ask for files to open; DICOM files often have no suffix, so all are offered."""
    _keep_no_places()
    names, _ = QFileDialog.getOpenFileNames(parent, _tr("Open files"))
    return [Path(name) for name in names]


def choose_folder(parent: QWidget, title: str) -> Path | None:
    """Ask for one folder."""
    _keep_no_places()
    name = QFileDialog.getExistingDirectory(parent, title)
    return Path(name) if name else None


def choose_new_file(parent: QWidget, title: str, name: str) -> Path | None:
    """Ask for a file to write; the system asks before another one is replaced."""
    _keep_no_places()
    chosen, _ = QFileDialog.getSaveFileName(parent, title, name)
    return Path(chosen) if chosen else None


def show_keys(parent: QWidget) -> None:
    """Show the table of keys."""
    inside = QWidget()
    table = QGridLayout(inside)
    table.setHorizontalSpacing(theme.px(16))
    for line, (where, key, does) in enumerate(keys.shown()):
        for column, (words, role) in enumerate(((where, "second"), (key, "key"), (does, ""))):
            label = QLabel(words)
            label.setTextFormat(Qt.TextFormat.PlainText)
            theme.set_role(label, role)
            table.addWidget(label, line, column)
    area = QScrollArea()
    area.setWidget(inside)
    area.setWidgetResizable(True)
    _sheet(parent, _tr("Keys"), area, (640, 560))


def show_about(parent: QWidget) -> None:
    """Show the version, the notice and where to read the licence."""
    words = QLabel(
        _tr(
            "MedSearch Desktop {version}\n\n"
            "Finds similar radiology cases on one workstation, without a network.\n"
            "Research and teaching. Not for diagnostic use.\n\n"
            "MIT licence. Icons: Phosphor (MIT). Font: Inter (OFL)."
        ).format(version=medsearch_desktop.__version__)
    )
    words.setWordWrap(True)
    _sheet(parent, _tr("About MedSearch Desktop"), words, (440, 240))


def _sheet(parent: QWidget, title: str, content: QWidget, size: tuple[int, int]) -> None:
    sheet = QDialog(parent)
    theme.set_role(sheet, "sheet")
    sheet.setWindowTitle(title)
    column = QVBoxLayout(sheet)
    column.setContentsMargins(*(theme.px(16),) * 4)
    heading = QLabel(title)
    theme.set_role(heading, "title")
    column.addWidget(heading)
    column.addWidget(content, 1)
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    buttons.rejected.connect(sheet.close)
    column.addWidget(buttons)
    sheet.resize(theme.px(size[0]), theme.px(size[1]))
    sheet.exec()
    sheet.deleteLater()
