"""Copies of passing pictures that a saved query or a verdict needs, named by digest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from medsearch_desktop import errors, queries
from medsearch_desktop.shelf import database


def is_scratch(shelf: database.Shelf, path: str) -> bool:
    """Say whether a path is a passing picture, which may be gone tomorrow."""
    return Path(path).is_relative_to(shelf.scratch)


def missing(shelf: database.Shelf, query: queries.Query) -> list[str]:
    """Return the passing pictures that a query asks by and that are gone."""
    return [p for p in _image_paths(query) if is_scratch(shelf, p) and not Path(p).exists()]


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
        named = {Path(path).name for row in rows for path in _paths_in(json.loads(row[0]))}
    for copy in shelf.pictures.glob("*"):
        if copy.name not in named:
            copy.unlink(missing_ok=True)


def _image_paths(query: queries.Query) -> list[str]:
    return [term.ref.path for term in query.terms if isinstance(term, queries.ImageTerm)]


def _paths_in(plain: dict[str, Any]) -> list[str]:
    return [term["ref"]["path"] for term in plain.get("terms", ()) if "ref" in term]


def _kept_term(shelf: database.Shelf, term: queries.Term) -> queries.Term:
    if not isinstance(term, queries.ImageTerm) or not is_scratch(shelf, term.ref.path):
        return term
    source = Path(term.ref.path)
    try:
        content = source.read_bytes()
    except OSError:
        return term
    name = hashlib.sha256(content).hexdigest() + source.suffix.lower()
    copy = shelf.pictures / name
    if not copy.exists():
        _write(shelf, copy, content)
    return dataclasses.replace(term, ref=dataclasses.replace(term.ref, path=str(copy)))


def _write(shelf: database.Shelf, copy: Path, content: bytes) -> None:
    """Write beside and rename, so that a name never stands for half a picture."""
    try:
        shelf.pictures.mkdir(mode=0o700, exist_ok=True)
        # A temporary file is the user's alone (0600) from the start.
        handle, beside = tempfile.mkstemp(dir=shelf.pictures, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, copy)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise errors.ShelfError(
            str(shelf.path), f"a picture cannot be copied: {error.strerror or error}."
        ) from error
