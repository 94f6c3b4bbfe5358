"""Archives whose files have names that mean something: those of documents, and of folders."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import phantoms

from hostile.expected import Hostile, hostile

Writer = Callable[[Path], Sequence[Path]]


def _picture() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return phantoms.write_picture(Path(folder) / "a.png").read_bytes()


def _zip(*members: tuple[str, bytes]) -> Writer:
    """Write an archive of some members, stored as they are."""

    def write(folder: Path) -> list[Path]:
        with zipfile.ZipFile(folder / "packed.zip", "w") as packed:
            for name, data in members:
                packed.writestr(zipfile.ZipInfo(name), data)
        return [folder / "packed.zip"]

    return write


_TEXT = b"application/vnd.oasis.opendocument.text"

CASES: tuple[Hostile, ...] = (
    hostile(
        "zip that is an OpenDocument file",
        _zip(("mimetype", _TEXT), ("Pictures/a.png", _picture())),
        "refused",
        words="OpenDocument",
    ),
    hostile(
        "zip with files named as those of documents",
        _zip(("mimetype", b"x"), ("[Content_Types].xml", b"<x/>"), ("a.png", _picture())),
        "refused",
        "opened",
        words="a text file",
        series=1,
    ),
    hostile(
        "zip whose second file is called mimetype",
        _zip(("a.png", _picture()), ("mimetype", _TEXT)),
        "refused",
        "opened",
        words="a text file",
        series=1,
    ),
    hostile(
        "zip with data under the name of a folder",
        _zip(("folder/", _picture()), ("empty/", b""), ("a.png", _picture())),
        "refused",
        "opened",
        words="that of a folder",
        series=1,
    ),
)
