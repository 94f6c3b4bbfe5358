"""Another program: a small window from which files are dragged. Arguments: x y FILE..."""

from __future__ import annotations

import sys

from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QDrag, QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel


class Source(QLabel):
    """Starts a drag of its files on a press of the mouse."""

    def __init__(self, paths: list[str]) -> None:
        super().__init__("drag me")
        self._paths = paths
        self.setWindowTitle("drag_source")
        self.setWindowFlags(Qt.WindowType.FramelessWindowHint | Qt.WindowType.WindowStaysOnTopHint)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        drag = QDrag(self)
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(path) for path in self._paths])
        drag.setMimeData(mime)
        drag.exec(Qt.DropAction.CopyAction)
        # The data is asked for again after the drop: this window stays until it is ended.


if __name__ == "__main__":
    application = QApplication([])
    source = Source(sys.argv[3:])
    source.setGeometry(int(sys.argv[1]), int(sys.argv[2]), 90, 40)
    source.show()
    application.exec()
