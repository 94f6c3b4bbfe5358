"""Generations: opening the newest sound state of a collection, checking all, going back to one."""

from __future__ import annotations

import datetime
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsearch_desktop import errors
from medsearch_desktop.engine import damage, manifest, segments, snapshot

FOLDER = "generations"
_SET_ASIDE = "damaged.json"
# What is raised where files that are as the manifest says hold what they should not.
_UNSOUND = (OSError, ValueError, KeyError, IndexError, OverflowError, sqlite3.Error)


@dataclass(frozen=True)
class Repaired:
    """What going back did. `lost` counts the cases that are gone, None where nobody can say.

    `problem` is what was wrong, "" when nothing was and nothing was done.
    """

    generation: int
    cases: int
    lost: int | None = 0
    problem: str = ""


def open_collection(
    path: str | os.PathLike[str], known: Sequence[damage.Problem] = ()
) -> snapshot.Collection:
    """Open the newest sound generation of the collection in the folder `path`.

    `known` are files found damaged since they were compared last. Where the
    newest generation is damaged, the one before it is taken; where that is
    not sound either, the newest without its damaged vectors or pictures. The
    collection's `notice` says so. Raises CollectionDamagedError that names the
    file, or CollectionError when the folder holds no collection.
    """
    folder = Path(path)
    return _unchanged(folder, lambda: _opened(folder, known))


def open_current(path: str | os.PathLike[str]) -> snapshot.Collection:
    """Open the newest generation, whole; raises as `open_collection`, also where that goes back."""
    folder = Path(path)
    return _unchanged(folder, lambda: _sound(folder, manifest.read(folder), ()))


def _unchanged(folder: Path, open_it: Callable[[], snapshot.Collection]) -> snapshot.Collection:
    while True:
        stamp = snapshot.stamp(folder)
        try:
            return open_it()
        except errors.CollectionDamagedError:
            # A writer may have removed this generation after publishing newer ones.
            if snapshot.stamp(folder) == stamp:
                raise


def _opened(folder: Path, known: Sequence[damage.Problem]) -> snapshot.Collection:
    newest: manifest.Manifest | None = None
    try:
        newest = manifest.read(folder)
        return _sound(folder, newest, known)
    except errors.CollectionDamagedError as error:
        problem = error
    except errors.CollectionError:
        # A folder that had a manifest once has lost it; another holds no collection.
        if newest is not None or not any(_older(folder, None)):
            raise
        problem = errors.CollectionDamagedError(str(folder), f"{manifest.NAME} is missing")
    for older in _older(folder, newest):
        try:
            opened = _sound(folder, older, known)
        except errors.CollectionDamagedError:
            continue
        opened.notice = (
            f"The newest state of {older.name} is damaged ({problem.reason}); the one of "
            f"{_date(older)} ({older.counts.cases:,} cases) is searched."
        )
        return opened
    if newest is None:
        raise problem
    return _in_parts(folder, newest, known, problem)


def _sound(
    folder: Path, described: manifest.Manifest, known: Sequence[damage.Problem]
) -> snapshot.Collection:
    """Open a generation whose files are all as the manifest says."""
    for problem in _problems(folder, described, known):
        raise errors.CollectionDamagedError(str(folder), str(problem))
    return _made(folder, described, frozenset())


def _problems(
    folder: Path, described: manifest.Manifest, known: Sequence[damage.Problem]
) -> Iterator[damage.Problem]:
    listed = {entry.path for entry in described.files()}
    yield from (problem for problem in known if problem.path in listed)
    yield from damage.problems(folder, described, damage.at_opening(described))


def _made(
    folder: Path, described: manifest.Manifest, without: frozenset[str]
) -> snapshot.Collection:
    try:
        return snapshot.Collection(folder, described, without)
    except _UNSOUND as error:
        raise errors.CollectionDamagedError(str(folder), str(error)) from error


def _in_parts(
    folder: Path,
    described: manifest.Manifest,
    known: Sequence[damage.Problem],
    problem: errors.CollectionDamagedError,
) -> snapshot.Collection:
    """Open a generation without the vectors or pictures that are damaged, if that is all."""
    found = frozenset(one.path for one in _problems(folder, described, known))
    if not found or any(Path(path).name not in segments.SPARED for path in found):
        raise problem
    opened = _made(folder, described, found)
    left = "with fewer pictures shown"
    if any(Path(path).name != segments.THUMBS for path in found):
        left = "in part, also by its vectors" if opened.has_vectors else "by words only"
    opened.notice = f"{described.name} is damaged ({problem.reason}); it is searched {left}."
    return opened


def _older(folder: Path, newest: manifest.Manifest | None) -> Iterator[manifest.Manifest]:
    """Yield the generations before `newest` that are still described, newest first."""
    numbers = [int(p.stem) for p in (folder / FOLDER).glob("*.json") if p.stem.isdecimal()]
    for number in sorted(numbers, reverse=True):
        if newest is not None and number >= newest.generation:
            continue
        try:
            described = manifest.read_file(folder, folder / FOLDER / f"{number}.json")
        except errors.CollectionError:
            continue
        if described.generation == number:
            yield described


def _date(described: manifest.Manifest) -> str:
    try:
        return datetime.datetime.fromisoformat(described.created).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return f"generation {described.generation}"


def verify(path: str | os.PathLike[str]) -> list[str]:
    """Check every file, count and case of the newest generation; a sentence for each problem.

    Raises CollectionError when the folder holds no collection at all.
    """
    folder = Path(path)
    newest: manifest.Manifest | None = None
    try:
        newest = manifest.read(folder)
        found = _verified(folder, newest)
    except errors.CollectionDamagedError as error:
        found = [error.reason]
    except errors.CollectionError:
        if not any(_older(folder, None)):
            raise
        found = [f"{manifest.NAME} is missing"]
    return found + [words for _, words in _unsound_older(folder, newest)]


def _unsound_older(folder: Path, newest: manifest.Manifest | None) -> Iterator[tuple[Path, str]]:
    """Yield each earlier generation that could not be gone back to, with a sentence."""
    sound = {older.generation: older for older in _older(folder, newest)}
    for path in sorted((folder / FOLDER).glob("*.json")):
        number = int(path.stem) if path.stem.isdecimal() else 0
        if not number or (newest is not None and number >= newest.generation):
            continue
        words = [f"{FOLDER}/{path.name} cannot be understood"]
        if number in sound:
            words = _verified(folder, sound[number])
        for one in words[:1]:
            yield path, f"the earlier generation {number} cannot be gone back to: {one}"


def _verified(folder: Path, described: manifest.Manifest) -> list[str]:
    found = [str(problem) for problem in damage.problems(folder, described, described.files())]
    if found:
        return found
    try:
        with _made(folder, described, frozenset()) as opened:
            listed = sum(1 for _ in opened.all_cases())
            for name, count in (("cases.db", listed), ("the words index", opened.words.count())):
                if count != described.counts.cases:
                    found.append(f"{name} has {count} cases instead of {described.counts.cases}")
    except errors.CollectionError as error:
        found.append(str(error))
    return found


def go_back(folder: Path) -> Repaired:
    """Make the newest generation that is sound in every byte the current one.

    Call it while no other program writes. The manifest of the damaged one is
    set aside in generations/. Raises CollectionDamagedError when none is
    sound, CollectionError when the folder holds no collection.
    """
    newest: manifest.Manifest | None = None
    try:
        newest = manifest.read(folder)
        if not (found := _verified(folder, newest)):
            return _without_older(folder, newest)
        problem = found[0]
    except errors.CollectionDamagedError as error:
        problem = error.reason
    except errors.CollectionError:
        if not any(_older(folder, None)):
            raise
        problem = f"{manifest.NAME} is missing"
    for older in _older(folder, newest):
        if _verified(folder, older):
            continue
        _set_aside(folder)
        manifest.write(folder, older)
        lost = newest.counts.cases - older.counts.cases if newest else None
        return Repaired(older.generation, older.counts.cases, lost, problem)
    raise errors.CollectionDamagedError(
        str(folder), f"{problem}, and no earlier state of it is sound"
    )


def _without_older(folder: Path, newest: manifest.Manifest) -> Repaired:
    """Forget the earlier generations that are damaged, where the newest is whole."""
    problem = ""
    for path, words in list(_unsound_older(folder, newest)):
        path.unlink()
        manifest.sync_folder(path.parent)
        problem = words
    return Repaired(newest.generation, newest.counts.cases, 0, problem)


def _set_aside(folder: Path) -> None:
    if (folder / manifest.NAME).exists():
        content = (folder / manifest.NAME).read_bytes()
        manifest.write_durably(folder / FOLDER / _SET_ASIDE, content)
