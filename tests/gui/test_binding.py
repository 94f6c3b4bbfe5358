"""What we rely on in the Qt binding."""

from __future__ import annotations

import sys

from PySide6.QtCore import QObject, Qt, QTimer, Signal


class _Sender(QObject):
    sent = Signal(object)


def test_that_signals_and_timers_keep_the_references_of_none_true_and_false(qapp):
    # PySide6 6.12.0 drops one or two with each call on Python 3.11: the program aborts in hours.
    sender, seen = _Sender(), []
    sender.sent.connect(lambda value: seen.append(1), Qt.ConnectionType.QueuedConnection)
    before = [sys.getrefcount(value) for value in (None, True, False)]
    for _ in range(300):
        sender.sent.emit(None)
        QTimer.singleShot(0, lambda: None)
        qapp.processEvents()
    after = [sys.getrefcount(value) for value in (None, True, False)]
    assert len(seen) == 300
    assert all(now > then - 100 for now, then in zip(after, before, strict=True))
