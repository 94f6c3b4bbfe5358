"""The collections a reader can choose from: found in the data folder or added by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class CollectionInfo:
    """What the picker shows of a collection, read from its manifest alone."""

    path: str
    name: str
    cases: int
    encoder: str
    generation: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Choice:
    """The folders added by hand and the collections that are searched; () means the first found."""

    added: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()


def read_info(folder: Path) -> CollectionInfo:
    """Return what the manifest of a collection says; `problem` says why it says nothing."""
    try:
        plain = json.loads((folder / MANIFEST).read_text("utf-8"))
        return CollectionInfo(
            path=str(folder),
            name=str(plain.get("name") or folder.name),
            cases=int(plain["counts"]["cases"]),
            encoder=str(plain["encoder"]["name"]),
            generation=int(plain.get("generation", 0)),
        )
    except FileNotFoundError:
        problem = "This folder holds no collection."
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        problem = "The manifest of this collection cannot be read."
    return CollectionInfo(str(folder), folder.name, 0, "", problem=problem)


def available(collections: Path, choice: Choice) -> tuple[CollectionInfo, ...]:
    """Return the collections of the data folder in order of name, then the added ones."""
    try:
        inside = sorted(entry for entry in collections.iterdir() if (entry / MANIFEST).is_file())
    except OSError:
        inside = []
    folders = dict.fromkeys([*map(str, inside), *choice.added])
    return tuple(read_info(Path(folder)) for folder in folders)


def load_choice(file: Path) -> Choice:
    """Return what `save_choice` wrote; an empty choice where there is none or it is unreadable."""
    try:
        plain = json.loads(file.read_text("utf-8"))
        return Choice(_strings(plain.get("added", [])), _strings(plain.get("chosen", [])))
    except (OSError, ValueError, AttributeError):
        return Choice()


def save_choice(file: Path, choice: Choice) -> None:
    """Write the choice beside the collections, whole or not at all; raises OSError."""
    import tempfile  # with what it imports 8 ms, which the first window does not wait for

    handle, beside = tempfile.mkstemp(dir=file.parent, prefix=".choice")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump({"added": choice.added, "chosen": choice.chosen}, out)
        os.replace(beside, file)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _strings(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str))
