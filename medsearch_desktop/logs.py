"""Logging set-up in every process; keeps patient data out."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import logging.handlers
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

_OURS = ("medsearch_desktop", "indexer")
_log = logging.getLogger(__name__)

# What may name a patient: paths, file names, UIDs and DICOM person names. Where a path with
# blanks ends nobody can tell, so that too much goes rather than too little.
_ENDINGS = "dcm|dicom|ima|nii|gz|hdr|img|png|jpe?g|tiff?|bmp|gif|zip|tar|npz|npy|csv|jsonl?|parquet"
_LAST = r"""(?:[^\\/:*?"'<>|\r\n]*?\.\w{1,8}\b|[^\s'",;)]*)"""
_PATH = re.compile(
    r"(?i:file):/+\S+"
    rf"""|(?:\b[A-Za-z]:[\\/]|\\\\)(?:[^\\/:*?"'<>|\r\n]*[\\/])*{_LAST}"""
    rf"""|(?<![\w<)/])~?/(?=[^\s/])(?:[^/:'"<>|\r\n]*/)*{_LAST}"""
    rf"""|(?:[^\W\d_a-z][\w-]*[ _,]+)*[^\s\\/'"(<]+\.(?i:{_ENDINGS})\b"""
)
_QUOTED = re.compile(r"'[^'\r\n]*'|\"[^\"\r\n]*\"|‘[^’]*’|“[^”]*”")
_UID = re.compile(r"\b\d+(?:\.\d+){4,}\b")
_PERSON = re.compile(r"[^\n'\",;:<>()]*\^[^\n'\",;:<>()]*")
# Words of ours in an argument: a command, the name of a type, a device.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z_]{0,40}(?:[ :.-]?\d{1,6})?")
_salt = b""
# The interpreter's own hooks, while `watch` has taken their place.
_watched: list[tuple[Any, Any, Any]] = []


def redact(text: str) -> str:
    """Return `text` with paths, file names, quotes, UIDs and person names told by kind alone."""
    text = _PATH.sub(lambda found: _marked("path", found[0]), text)
    text = _UID.sub(lambda found: _marked("uid", found[0]), text)
    return _PERSON.sub(" <name> ", _QUOTED.sub("<quoted>", text))


def _marked(kind: str, value: str) -> str:
    """Tell the kind, and by a digest salted for this installation whether it is the same again."""
    if not _salt:
        return f"<{kind}>"
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=_salt, digest_size=4)
    return f"<{kind} {digest.hexdigest()}>"


def _told(value: Any) -> Any:
    """Return an argument of a record as it may be written."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, os.PathLike):
        return _marked("path", os.fsdecode(value))
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    kind = "path" if re.search(rf"[\\/]|\.(?:{_ENDINGS})$", text, re.IGNORECASE) else "text"
    return _marked("uid" if _UID.fullmatch(text) else kind, text)


class _Redacting(logging.Formatter):
    """Writes one line a record; a traceback keeps places in our code and no message values."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record)} {record.levelname} {record.name} {_words(record)}"
        if record.exc_info and record.exc_info[0] is not None:
            line += f" [{record.exc_info[0].__name__} at {_places(record.exc_info[2])}]"
        return line


class _Quiet(logging.handlers.RotatingFileHandler):
    """Leaves out a line that a full disk refuses: no traceback, and the program goes on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        pass


def _words(record: logging.LogRecord) -> str:
    if not record.name.startswith(_OURS):
        # A library does not know what may be written: its message may quote what it read.
        return f"a message of the library, from {Path(record.pathname).name}:{record.lineno}"
    if record.levelno < logging.INFO:
        return record.getMessage()
    if isinstance(record.args, tuple) and record.args:
        return redact(str(record.msg) % tuple(_told(value) for value in record.args))
    return redact(str(record.msg))


def _places(trace: TracebackType | None) -> str:
    frames = reversed(traceback.extract_tb(trace))
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)


def start(folder: Path, process: str, *, level: str | None = None) -> None:
    """Log to one rotating file of this process (`logs/PROCESS.log`, 3 files of 1 MB).

    `level` defaults to MEDSEARCH_LOG, else INFO. A folder that cannot be
    written leaves the program without a log, not without a start.
    """
    global _salt
    root = logging.getLogger()
    root.setLevel(logging.WARNING)  # of libraries, which do not know what may be written
    for name in _OURS:
        logging.getLogger(name).setLevel((level or os.environ.get("MEDSEARCH_LOG", "INFO")).upper())
    stop()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _salt = _own_salt(folder.parent / "log-salt")
        handler: logging.Handler = _Quiet(
            folder / f"{process}.log", maxBytes=1_000_000, backupCount=2, encoding="utf-8"
        )
        os.chmod(folder / f"{process}.log", 0o600)
    except OSError:
        handler = logging.NullHandler()
    handler.setFormatter(_Redacting())
    handler.set_name("medsearch")
    root.addHandler(handler)


def stop() -> None:
    """Close and remove the handler that `start` added, and end what `watch` began."""
    if _watched:
        sys.excepthook, threading.excepthook, sys.unraisablehook = _watched.pop()
    root = logging.getLogger()
    for handler in [h for h in root.handlers if h.get_name() == "medsearch"]:
        root.removeHandler(handler)
        with contextlib.suppress(OSError):  # what it still held does not fit on a full disk
            handler.close()


def _own_salt(file: Path) -> bytes:
    """Return the salt of this installation, made once; never leaves the data folder."""
    with contextlib.suppress(FileExistsError):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as made:
            made.write(os.urandom(16))
    return file.read_bytes()[:64]


def watch(tell: Callable[[str], object] | None = None) -> None:
    """Log what nobody catches, on any thread, by type and places: a value may name a patient.

    `tell` is then called with the name of the error's type, on the thread it
    happened on, once for each place; without it one sentence goes to stderr.
    """
    if not _watched:
        _watched.append((sys.excepthook, threading.excepthook, sys.unraisablehook))
    seen: set[str] = set()

    def met(kind: type[BaseException], trace: TracebackType | None) -> None:
        if issubclass(kind, (KeyboardInterrupt, SystemExit)):
            return
        place = f"{kind.__name__} at {_places(trace)}"
        if place in seen:  # a fault in a paint event would come sixty times a second
            return
        seen.add(place)
        _log.error("nobody caught it", exc_info=(kind, None, trace))  # type: ignore[arg-type]
        if tell is not None:
            tell(kind.__name__)
        elif sys.stderr is not None:
            sys.stderr.write(f"Something went wrong inside: {kind.__name__}.\n")

    sys.excepthook = lambda kind, error, trace: met(kind, trace)
    threading.excepthook = lambda args: met(args.exc_type, args.exc_traceback)
    sys.unraisablehook = lambda args: met(args.exc_type, args.exc_traceback)
