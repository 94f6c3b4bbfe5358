"""The program of a reader process: it opens, parses and decodes what it is asked to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Only the standard library may be imported here: `serve` first puts the
# search path in order, so that no file of the user's folder is ever imported.
if TYPE_CHECKING:
    from medsearch_desktop import cases
    from medsearch_desktop.imaging import display, study


@dataclass(frozen=True)
class Open:
    """Find the studies in `paths`; the files in `skip` were dealt with before.

    With `grow` studies come as far as they are known, too; with `only` no
    other file is read.
    """

    paths: tuple[str, ...]
    skip: frozenset[str]
    grow: bool = False
    only: frozenset[str] | None = None


@dataclass(frozen=True)
class Load:
    """Decode planes into the shared block: plane k of it is slice `indices[k]`.

    `order` lists the planes in the order in which they are wanted.
    """

    series: study.Series
    indices: tuple[int, ...]
    order: tuple[int, ...]
    block: str


@dataclass(frozen=True)
class Picture:
    """Render one image as uint8 (rows, columns, 3)."""

    ref: cases.ImageRef
    window: display.Windows | None
    max_side: int | None


@dataclass(frozen=True)
class Stop:
    """End the job at hand after the file or plane being read."""


# Replies: ("ready", None) once, then for each job any number of ("at", path),
# ("found", Study | Refused), ("plane", k), ("unread", (plane, path, sentence)),
# ("picture", array), and last one of
# ("done", None), ("failed", (path, reason)) and, when the process ends with it,
# ("lost", (path, reason)).
Reply = tuple[str, Any]


def serve(pipe: Connection, memory_cap_bytes: int, limits_itself: bool) -> None:
    """Answer jobs until the other end closes. Never raises, never writes to the terminal."""
    _shut_in()
    _die_with_parent()
    try:
        from medsearch_desktop.imaging import jobs, limits

        pipe.send(("ready", None))
        while True:
            # Reading NIfTI is learnt while there is nothing to do: it takes a while.
            if not pipe.poll(0.3):
                jobs.prepare()
            job = pipe.recv()
            if isinstance(job, Stop):
                continue
            if limits_itself:
                limits.cap_address_space(memory_cap_bytes + _extra_bytes(job))
            if not _answer(pipe, job, jobs.run):
                return
    except (EOFError, OSError):
        return


def _answer(
    pipe: Connection, job: Any, run: Callable[[Any, Callable[[Reply], None], Any], None]
) -> bool:
    """Run one job; return False when this process should end and be replaced."""
    place = ""

    def send(reply: Reply) -> None:
        nonlocal place
        if reply[0] == "at":
            place = reply[1]
        pipe.send(reply)

    def is_stopped() -> bool:
        return pipe.poll(0)

    try:
        run(job, send, is_stopped)
    except (BrokenPipeError, EOFError):
        return False
    except MemoryError:
        pipe.send(("lost", (place, "It needs more memory than one file may take.")))
        return False
    # A panic in a Rust decoder is a BaseException and no Exception.
    except BaseException as error:  # noqa: BLE001
        path = getattr(error, "path", place)
        reason = getattr(error, "reason", f"It could not be read ({type(error).__name__}).")
        is_sound = isinstance(error, Exception)
        pipe.send(("failed" if is_sound else "lost", (str(path), str(reason))))
        return is_sound
    pipe.send(("done", None))
    return True


def _shut_in() -> None:
    """Leave the folder we were started in, the terminal, and every chance to dump memory."""
    package = Path(__file__).resolve().parents[2]
    here = Path.cwd().resolve()
    first: list[str] = []
    last: list[str] = []
    for entry in sys.path:
        place = Path(entry or ".").resolve()
        if place == package:
            last.append(str(place))
        elif place != here:
            first.append(entry)
    sys.path[:] = first + list(dict.fromkeys(last))
    os.chdir(Path(__file__).resolve().parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The other programs put JSON on their output; decoders may print there.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
    # An absent GDCM cannot be chosen by anything: it ends the process on damaged files.
    sys.modules["gdcm"] = None  # type: ignore[assignment]
    from medsearch_desktop import settings

    settings.private()


def _die_with_parent() -> None:
    from medsearch_desktop.imaging import limits

    parent = multiprocessing.parent_process()
    if parent is not None:
        limits.die_with(int(parent.sentinel))


def _extra_bytes(job: Any) -> int:
    """Return the size of the shared block that a job maps into this process."""
    return job.series.slice_bytes * len(job.indices) if isinstance(job, Load) else 0


def outward(count: int, first: int) -> Sequence[int]:
    """Return 0 to count-1, beginning at `first` and going outward on both sides."""
    first = min(max(first, 0), max(count - 1, 0))
    return sorted(range(count), key=lambda k: (abs(k - first), -k))
