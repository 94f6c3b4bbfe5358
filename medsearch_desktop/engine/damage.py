"""Damage: which files of a collection differ from its manifest, found before they are used."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from medsearch_desktop.engine import manifest

# Collections up to this size are hashed whole at each opening. Chosen so that the reader does not
# wait longer than half a second for it on a slow disk's cache: SHA-256 reads 0.4 GB a second and
# more on one core without instructions of its own for it.
WHOLE_BYTES = 200_000_000
# Of larger collections, files up to this size are hashed at opening whatever they are.
SMALL_BYTES = 1 << 20
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Problem:
    """A file of the manifest, and in words what is wrong with it."""

    path: str
    words: str

    def __str__(self) -> str:
        return f"{self.path} {self.words}"


def at_opening(described: manifest.Manifest) -> tuple[manifest.FileEntry, ...]:
    """Return the files whose content is compared each time the collection is opened.

    All of a collection up to WHOLE_BYTES; of a larger one its cases, its words
    and small files.
    """
    files = tuple(described.files())
    if sum(entry.size for entry in files) <= WHOLE_BYTES:
        return files
    words = set(described.words)
    return tuple(
        entry
        for entry in files
        if entry in words or entry.size <= SMALL_BYTES or entry.path.endswith("/cases.db")
    )


def later(described: manifest.Manifest) -> tuple[manifest.FileEntry, ...]:
    """Return the files that `at_opening` leaves, to be compared while they are in use."""
    compared = set(at_opening(described))
    return tuple(entry for entry in described.files() if entry not in compared)


def problems(
    folder: Path,
    described: manifest.Manifest,
    hashed: Iterable[manifest.FileEntry],
) -> Iterator[Problem]:
    """Yield each file that is missing, of another size, or among `hashed` of other content."""
    root, compared = folder.resolve(), set(hashed)
    for entry in described.files():
        words = _misplaced(root, folder / entry.path, entry.size)
        if not words and entry in compared:
            words = differs(folder, entry)
        if words:
            yield Problem(entry.path, words)


def _misplaced(root: Path, path: Path, size: int) -> str:
    try:
        found = path.stat()
        if not path.resolve().is_relative_to(root):
            return "is a link that leads out of the collection"
    except FileNotFoundError:
        return "is missing"
    except (OSError, RuntimeError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if not stat.S_ISREG(found.st_mode):
        return "is no file"
    return "" if found.st_size == size else f"has {found.st_size} bytes instead of {size}"


def differs(
    folder: Path, entry: manifest.FileEntry, cancelled: Callable[[], bool] = lambda: False
) -> str:
    """Return what is wrong with the content of a file, "" when it is right or once `cancelled`."""
    seen = hashlib.sha256()
    try:
        with (folder / entry.path).open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                if cancelled():
                    return ""
                seen.update(chunk)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return "" if seen.hexdigest() == entry.sha256 else "differs from its checksum"
