"""The seal of a shelf that was closed: the digests of its files, gone while it is written to.

With it a start reads both copies once instead of checking each row, and finds
a flipped bit even where SQLite keeps nothing. Without it the end was unclean.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from medsearch_desktop.shelf import places

# A seal has some two hundred bytes; more is none.
_MOST_BYTES = 4096


class Kind(enum.Enum):
    """What a seal says."""

    MISSING = "missing"  # the shelf was not closed, or is new
    DAMAGED = "damaged"  # the seal itself cannot be read
    DIFFERS = "differs"  # a file is not what it was when the shelf was closed
    WHOLE = "whole"


@dataclass(frozen=True)
class Verdict:
    """What a seal says, and which of the files are still what they were."""

    kind: Kind
    unchanged: frozenset[str] = frozenset()


def compared(at: places.Places) -> Verdict:
    """Compare the files of a shelf with its seal."""
    try:
        # A pipe in its place would never end, and a link is nothing that was written here.
        if not stat.S_ISREG(at.seal.lstat().st_mode):
            return Verdict(Kind.DAMAGED)
        with at.seal.open("rb") as file:
            content = file.read(_MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return Verdict(Kind.MISSING)
    except OSError:
        return Verdict(Kind.DAMAGED)
    digests = _digests(content)
    if digests is None:
        return Verdict(Kind.DAMAGED)
    files = {path.name: path for path in (at.main, at.mirror)}
    unchanged = frozenset(
        name
        for name, digest in digests.items()
        if name in files and places.log_is_empty(files[name]) and _digest(files[name]) == digest
    )
    return Verdict(Kind.WHOLE if unchanged == set(files) else Kind.DIFFERS, unchanged)


def broken(at: places.Places) -> None:
    """Take the seal away, on the disk before this returns; nothing happens where none is."""
    try:
        if stat.S_ISDIR(at.seal.lstat().st_mode):
            places.set_folder_aside(at.seal)
        else:
            at.seal.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    places.sync(at.seal.parent)


def put_on(at: places.Places) -> None:
    """Seal a closed shelf; nothing happens while another program holds its files open."""
    files = (at.main, at.mirror)
    if is_held(at) or at.seal.exists() or not all(places.is_there(path) for path in files):
        return
    beside = at.seal.with_name(at.seal.name + ".new")
    # A disk too full for a seal costs the next start a full check, nothing else.
    with contextlib.suppress(OSError):
        body = json.dumps({path.name: _digest(path) for path in files}).encode()
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(body + b"\n" + hashlib.sha256(body).hexdigest().encode())
        places.put_in_place(beside, at.seal)


def is_held(at: places.Places) -> bool:
    """Say whether a program has the files open: a log lies beside one of them."""
    return any(places.log_of(path).exists() for path in (at.main, at.mirror))


def _digests(content: bytes) -> dict[str, str] | None:
    """Return the digests that a seal holds by name, None where it is none."""
    body, _, mark = content.rpartition(b"\n")
    if mark != hashlib.sha256(body).hexdigest().encode():
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict) and all(isinstance(digest, str) for digest in found.values()):
        return found
    return None


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
