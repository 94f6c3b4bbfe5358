"""The collections a reader can choose from: found in the data folder or added by hand."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "manifest.json"
# How the folders are called beside a collection that is being built again.
REBUILT, SET_ASIDE = ".rebuilt", ".damaged"
# Stands between the folder of a collection and the encoder of another edition beside it.
SIGN = "@"
# The engine reads no larger manifest either (engine.manifest, which the window must not import).
_MOST_BYTES = 4 << 20
_MOST_LETTERS, _MOST_LIMITS = 200, 2000


@dataclass(frozen=True)
class Part:
    """What one build or add of a collection read, as `engine.manifest.Part` has it."""

    inputs: tuple[str, ...]
    input_format: str = "auto"
    columns: str = ""
    limit: int | None = None
    slices_per_volume: int | None = None

    @property
    def is_there(self) -> bool:
        """Say whether all that was read is still where it was."""
        there = (os.path.isabs(path) and os.path.exists(path) for path in self.inputs)
        return bool(self.inputs) and all(there)


@dataclass(frozen=True)
class CollectionInfo:
    """What the picker shows of a collection, read from its manifest alone.

    `has_sources` says whether all of its `parts` could be read again when it was looked at.
    `limits` are the use limits of its encoder, `digest` is that of its files. `begun` names the
    encoders by which an edition was begun beside it and not finished.
    """

    path: str
    name: str
    cases: int
    encoder: str
    generation: int = 0
    problem: str = ""
    parts: tuple[Part, ...] = ()
    has_sources: bool = False
    limits: str = ""
    digest: str = ""
    begun: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """The folders added by hand and the collections that are searched; () means the first found.

    `editions` holds, for a collection with several, the path of the one that is searched.
    """

    added: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    editions: tuple[tuple[str, str], ...] = ()


def read_info(folder: Path) -> CollectionInfo:
    """Return what the manifest of a collection says; `problem` says why it says nothing.

    Where the newest manifest is damaged or gone, an earlier generation's
    speaks for the collection: the engine searches that one.
    """
    try:
        return _info(folder, folder / MANIFEST)
    except FileNotFoundError:
        problem = "This folder holds no collection."
    except _UNREADABLE:
        problem = "The manifest of this collection cannot be read."
    earlier = [p for p in (folder / "generations").glob("*.json") if p.stem.isdecimal()]
    for path in sorted(earlier, key=lambda path: int(path.stem), reverse=True):
        with contextlib.suppress(*_UNREADABLE):
            return _info(folder, path)
    return CollectionInfo(str(folder), folder.name, 0, "", problem=problem)


# All that JSON of a stranger can do to its reader.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)


def _info(folder: Path, path: Path) -> CollectionInfo:
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError("larger than any manifest")
    plain = json.loads(content.decode("utf-8"))
    parts = _parts(plain.get("recipe", {}))
    return CollectionInfo(
        path=str(folder),
        name=_one_line(plain.get("name") or folder.name),
        cases=int(plain["counts"]["cases"]),
        encoder=_one_line(plain["encoder"]["name"]),
        generation=int(plain.get("generation", 0)),
        parts=parts,
        has_sources=bool(parts) and all(part.is_there for part in parts),
        limits=_one_line(plain["encoder"].get("limits") or "", _MOST_LIMITS),
        digest=_one_line(plain["encoder"].get("digest") or ""),
    )


def _parts(recipe: object) -> tuple[Part, ...]:
    """Return the parts of a recipe, also of the single form that earlier versions wrote.

    One part that cannot be understood leaves none: the rest would be another collection.
    """
    try:
        plain = recipe.get("parts", [recipe] if recipe.get("inputs") else [])
        return tuple(_part(part) for part in plain)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return ()


def _part(plain: dict) -> Part:
    limit, slices = plain.get("limit"), plain.get("slices_per_volume")
    return Part(
        _strings(plain.get("inputs", ())),
        str(plain.get("input_format", "auto")),
        str(plain.get("columns", "")),
        None if limit is None else int(limit),
        None if slices is None else int(slices),
    )


def _one_line(text: object, letters: int = _MOST_LETTERS) -> str:
    """Return a text of the manifest without what would break a line of the screen."""
    return "".join(c if c.isprintable() else " " for c in str(text)[:letters])


def available(collections: Path, choice: Choice) -> tuple[CollectionInfo, ...]:
    """Return the collections of the data folder in order of name, then the added ones.

    Editions that lie beside an added one are found with it.
    """
    inside = _within(collections, "")
    added: list[Path] = []
    for folder in map(Path, choice.added):
        added += [folder, *_within(folder.parent, folder.name + SIGN)]
    folders = dict.fromkeys(map(str, [*inside, *added]))
    return tuple(
        dataclasses.replace(read_info(Path(folder)), begun=_begun(Path(folder)))
        for folder in folders
    )


def _within(folder: Path, beginning: str) -> list[Path]:
    """Return the collections in a folder whose names begin so, in order of name."""
    try:
        found = [entry for entry in folder.iterdir() if entry.name.startswith(beginning)]
        kept = [entry for entry in found if entry.suffix not in (REBUILT, SET_ASIDE)]
        return sorted(filter(is_collection, kept))
    except OSError:
        return []


def _begun(folder: Path) -> tuple[str, ...]:
    """Return the encoders of unfinished editions beside a collection."""
    try:
        beside = [entry for entry in folder.parent.iterdir() if entry.is_dir()]
    except OSError:
        return ()
    start = folder.name + SIGN
    names = [e.name.removeprefix(start) for e in beside if e.name.startswith(start)]
    return tuple(n for n in sorted(names) if not is_collection(folder.with_name(start + n)))


def is_collection(folder: Path) -> bool:
    """Tell whether a folder holds a collection, or held one before its manifest was lost."""
    return (folder / MANIFEST).is_file() or any((folder / "generations").glob("*.json"))


def load_choice(file: Path) -> Choice:
    """Return what `save_choice` wrote; an empty choice where there is none or it is unreadable."""
    try:
        plain = json.loads(file.read_text("utf-8"))
        editions = plain.get("editions", {}).items()
        return Choice(
            _strings(plain.get("added", [])),
            _strings(plain.get("chosen", [])),
            tuple((base, path) for base, path in editions if isinstance(path, str)),
        )
    except (OSError, ValueError, AttributeError):
        return Choice()


def save_choice(file: Path, choice: Choice) -> None:
    """Write the choice beside the collections, whole or not at all; raises OSError."""
    import tempfile  # with what it imports 8 ms, which the first window does not wait for

    handle, beside = tempfile.mkstemp(dir=file.parent, prefix=".choice")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            plain = {"added": choice.added, "chosen": choice.chosen}
            json.dump(plain | {"editions": dict(choice.editions)}, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, file)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _strings(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str))
