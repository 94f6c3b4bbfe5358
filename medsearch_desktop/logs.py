"""Logging set-up in every process; keeps patient data out."""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import traceback
from pathlib import Path

_OURS = ("medsearch_desktop", "indexer")
# What may name a patient: paths, UIDs and DICOM person names.
_PATH = re.compile(r"(?:[A-Za-z]:\\|\\\\|/)[^\s'\",;)]{2,}")
_UID = re.compile(r"\b\d+(?:\.\d+){4,}\b")
_PERSON = re.compile(r"\b[^\s^'\"]+\^[^\s'\"]*")


def redact(text: str) -> str:
    """Return `text` with paths, UIDs and person names replaced by their kind."""
    return _PERSON.sub("<name>", _UID.sub("<uid>", _PATH.sub("<path>", text)))


class _Redacting(logging.Formatter):
    """Writes one line a record; a traceback keeps places in our code and no message values."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record)} {record.levelname} {record.name} {record.getMessage()}"
        if record.levelno >= logging.INFO:
            line = redact(line)
        if record.exc_info and record.exc_info[0] is not None:
            frames = traceback.extract_tb(record.exc_info[2])
            places = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
            line += f" [{record.exc_info[0].__name__} at {places}]"
        return line


def start(folder: Path, process: str, *, level: str | None = None) -> None:
    """Log to one rotating file of this process (`logs/PROCESS.log`, 3 files of 1 MB).

    `level` defaults to MEDSEARCH_LOG, else INFO. A folder that cannot be
    written leaves the program without a log, not without a start.
    """
    root = logging.getLogger()
    root.setLevel(logging.WARNING)  # of libraries, which do not know what may be written
    for name in _OURS:
        logging.getLogger(name).setLevel((level or os.environ.get("MEDSEARCH_LOG", "INFO")).upper())
    stop()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler: logging.Handler = logging.handlers.RotatingFileHandler(
            folder / f"{process}.log", maxBytes=1_000_000, backupCount=2, encoding="utf-8"
        )
        os.chmod(folder / f"{process}.log", 0o600)
    except OSError:
        handler = logging.NullHandler()
    handler.setFormatter(_Redacting())
    handler.set_name("medsearch")
    root.addHandler(handler)


def stop() -> None:
    """Close and remove the handler that `start` added."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if h.get_name() == "medsearch"]:
        root.removeHandler(handler)
        handler.close()
