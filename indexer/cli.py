"""Commands: words in, text or JSON and an exit status out."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from medsearch_desktop import errors, logs, settings

from . import arguments, commands, progress

parser = arguments.parser

_log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit status.

    0 done, 1 failed, 2 wrong usage, 3 done with some inputs skipped, 4 the
    collection is damaged, 130 interrupted and resumable.
    """
    settings.private()
    as_json = "--json" in argv
    for stream in (sys.stdout, sys.stderr):
        # A file name that is no Unicode, or a terminal that is not UTF-8, is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        given = parser().parse_args(argv)
    except arguments.UsageError as error:
        _fail(as_json, "UsageError", error.sentence, f"{error.usage}")
        return commands.USAGE
    folders = settings.folders(given.home)
    with contextlib.suppress(OSError):
        # A data folder that cannot be made is told of by the command that needs it.
        folders.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _interrupting(), settings.temporary(folders):
        return _run(given, folders, as_json)


@contextlib.contextmanager
def _interrupting() -> Iterator[None]:
    """Take a request of the system to end, or of a terminal that is closed, as Ctrl-C."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(given: argparse.Namespace, folders: settings.Folders, as_json: bool) -> int:
    logs.start(folders.logs, "index")
    logs.watch()
    kind: progress.Kind = given.progress or ("bar" if sys.stderr.isatty() else "none")
    shown = progress.Progress("none" if given.quiet else kind, sys.stderr)
    try:
        outcome = commands.run(given, commands.Setting(folders, shown))
        shown.close()
        _print(outcome, as_json, quiet=given.quiet)
    except errors.MedsearchError as error:
        shown.close()
        _log.info("%s: %s", given.command, type(error).__name__)
        _fail(as_json, type(error).__name__, str(error), error.action)
        return commands.status_of(error)
    except KeyboardInterrupt:
        shown.close()
        _fail(as_json, "Interrupted", "Interrupted.", "Run the same command again.")
        return commands.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has closed it (`| head`); the interpreter must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return commands.FAILED
    except OSError as error:
        # A disk that is full, a folder that is read-only or gone: the system's words say it.
        shown.close()
        _log.error("%s failed", given.command, exc_info=True)
        place = f" ({error.filename})" if error.filename else ""
        _fail(
            as_json,
            type(error).__name__,
            f"The system says: {error.strerror or error}{place}.",
            "Check that the folder is there, may be written and has room, and run it again.",
        )
        return commands.FAILED
    except Exception as error:  # noqa: BLE001  the last line of the command line
        shown.close()
        _log.error("%s failed", given.command, exc_info=True)
        _fail(
            as_json,
            type(error).__name__,
            f"Something went wrong inside: {error}",
            f"Report it with the log in {folders.logs}.",
        )
        return commands.FAILED
    finally:
        logs.stop()
    return outcome.status


def _print(outcome: commands.Outcome, as_json: bool, *, quiet: bool) -> None:
    if as_json:
        _print_json(outcome.report)
    elif not quiet:
        for line in outcome.lines:
            print(line)
    sys.stdout.flush()


def _fail(as_json: bool, kind: str, sentence: str, action: str) -> None:
    sentence = errors.with_stop(sentence)
    if as_json:
        _print_json({"error": {"type": kind, "message": sentence, "action": action}})
    else:
        print(f"{sentence}\n{action}", file=sys.stderr)


def _print_json(plain: dict[str, Any]) -> None:
    # ASCII only: a pipe whose encoding is not UTF-8 must not break the object.
    print(json.dumps(plain, ensure_ascii=True, indent=1))
