"""Copies of passing pictures that a saved query or a verdict needs, named by digest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from medsearch_desktop import errors, queries
from medsearch_desktop.shelf import database, places


def is_scratch(shelf: database.Shelf, path: str) -> bool:
    """Say whether a path is a passing picture, which may be gone tomorrow."""
    return Path(path).is_relative_to(shelf.scratch)


def missing(shelf: database.Shelf, query: queries.Query) -> list[str]:
    """Return the pictures that a query asks by and that cannot be used.

    Passing ones that are gone, and kept ones that are gone or whose content is
    no longer what their name says.
    """
    return [path for path in _image_paths(query) if not _can_be_used(shelf, Path(path))]


def kept(shelf: database.Shelf, query: queries.Query) -> queries.Query:
    """Return the query with its scratch pictures copied to the shelf and named there.

    A picture that is gone already stays named as it was. Raises ShelfError
    when a copy cannot be written.
    """
    return dataclasses.replace(query, terms=tuple(_kept_term(shelf, t) for t in query.terms))


def sweep(shelf: database.Shelf) -> None:
    """Remove the copies that no saved query and no verdict names any more."""
    with shelf.reading() as db:
        rows = db.execute("SELECT query FROM saved UNION ALL SELECT query FROM questions")
        try:
            named = {Path(path).name for row in rows for path in _paths_in(json.loads(row[0]))}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # A damaged question may need any of them.
            return
    for copy in shelf.pictures.glob("*"):
        if copy.name not in named:
            copy.unlink(missing_ok=True)


def _image_paths(query: queries.Query) -> list[str]:
    return [term.ref.path for term in query.terms if isinstance(term, queries.ImageTerm)]


def _paths_in(plain: dict[str, Any]) -> list[str]:
    return [term["ref"]["path"] for term in plain.get("terms", ()) if "ref" in term]


def _can_be_used(shelf: database.Shelf, path: Path) -> bool:
    if path.is_relative_to(shelf.pictures):
        return _is_whole(path)
    return path.exists() or not is_scratch(shelf, str(path))


def _is_whole(copy: Path) -> bool:
    """Say whether a kept picture still has the digest that it is named by."""
    try:
        return _digest(copy) == copy.stem
    except OSError:
        return False


def _kept_term(shelf: database.Shelf, term: queries.Term) -> queries.Term:
    if not isinstance(term, queries.ImageTerm) or not is_scratch(shelf, term.ref.path):
        return term
    source = Path(term.ref.path)
    try:
        copy = _copied(shelf, source)
    except errors.UnreadableFileError:
        return term
    return dataclasses.replace(term, ref=dataclasses.replace(term.ref, path=str(copy)))


def _copied(shelf: database.Shelf, source: Path) -> Path:
    """Copy beside and rename, so that a name never stands for half a picture."""
    # Only here: no start of the window waits for what reads pictures.
    from medsearch_desktop.imaging import files

    beside = shelf.pictures / f".{source.name}.new"
    try:
        shelf.pictures.mkdir(mode=0o700, exist_ok=True)
        try:
            # The copy is named by its own digest: a preamble that is a program is not copied.
            files.copied(source, beside)
            copy = shelf.pictures / f"{_digest(beside)}{source.suffix.lower()}"
            if not _is_whole(copy):
                places.put_in_place(beside, copy)
            return copy
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise errors.ShelfError(
            str(shelf.path), f"a picture cannot be copied: {error.strerror or error}."
        ) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
