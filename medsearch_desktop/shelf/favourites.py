"""Folders and notes: cases that are kept and outlive their collection."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.shelf import database

DEFAULT_FOLDER = "Favourites"

# What a field of a damaged row raises: the case is shown without it.
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Favourite:
    """A kept case with all that is needed to show it without its collection.

    `image` names the picture that matched, `thumbnail` holds JPEG or PNG
    bytes (empty for a text-only case), `kept` is UTC in ISO 8601.
    """

    case_id: str
    collection: str
    folder: str
    title: str = ""
    text: str = ""
    labels: tuple[str, ...] = ()
    facets: cases.Facets = field(default_factory=cases.Facets)
    provenance: cases.Provenance = field(default_factory=cases.Provenance)
    image: cases.ImageRef | None = None
    thumbnail: bytes = b""
    note: str = ""
    kept: str = ""


def add(
    shelf: database.Shelf,
    hit: queries.Hit,
    folder: str = DEFAULT_FOLDER,
    *,
    thumbnail: bytes,
) -> Favourite:
    """Keep a hit in a folder, which is made if it is not there.

    A case that lies there already keeps its note and takes the new content.
    """
    with shelf.transaction() as db:
        folder_id = _folder_id(db, folder) or _new_folder(db, folder)
        kept = _found(shelf, folder_id, hit.case.case_id, hit.collection)
        row = _row(hit, thumbnail) | {"folder": folder_id}
        if kept is None:
            db["favourites"].insert(row | {"note": "", "kept": database.now()})
        else:
            db["favourites"].update(kept, row)
        return _favourites(
            shelf,
            "f.folder = ? AND f.collection = ? AND f.case_id = ?",
            (folder_id, hit.collection, hit.case.case_id),
        )[0]


def remove(shelf: database.Shelf, case_id: str, collection: str, folder: str) -> None:
    """Take a case out of one folder; nothing happens if it is not there."""
    with shelf.transaction() as db:
        db.execute(
            "DELETE FROM favourites WHERE collection = ? AND case_id = ? AND folder ="
            " (SELECT id FROM folders WHERE name = ? COLLATE NOCASE)",
            (collection, case_id, folder),
        )


def move(
    shelf: database.Shelf, case_id: str, collection: str, *, from_folder: str, to_folder: str
) -> None:
    """Put a favourite into another folder, with its note; the folder is made if needed.

    A favourite that lies in the other folder already is replaced.
    """
    with shelf.transaction() as db:
        source = _folder_id(db, from_folder)
        kept = None if source is None else _found(shelf, source, case_id, collection)
        target = _folder_id(db, to_folder) or _new_folder(db, to_folder)
        if kept is None or source == target:
            return
        if (there := _found(shelf, target, case_id, collection)) is not None:
            db["favourites"].delete(there)
        db["favourites"].update(kept, {"folder": target})


def listed(shelf: database.Shelf, folder: str | None = None) -> list[Favourite]:
    """Return the favourites of a folder, or of all, newest first."""
    with shelf.reading():
        if folder is None:
            return _favourites(shelf, "1", ())
        return _favourites(shelf, "d.name = ? COLLATE NOCASE", (folder,))


def note(shelf: database.Shelf, case_id: str, collection: str, folder: str, text: str) -> None:
    """Write the reader's own words beside a favourite; "" takes them away."""
    with shelf.transaction() as db:
        db.execute(
            "UPDATE favourites SET note = ? WHERE collection = ? AND case_id = ? AND folder ="
            " (SELECT id FROM folders WHERE name = ? COLLATE NOCASE)",
            (text, collection, case_id, folder),
        )


def is_kept(shelf: database.Shelf, case_id: str, collection: str) -> bool:
    """Say whether a case lies in any folder."""
    with shelf.reading() as db:
        found = db.execute(
            "SELECT 1 FROM favourites WHERE collection = ? AND case_id = ? LIMIT 1",
            (collection, case_id),
        ).fetchone()
    return found is not None


def kept(shelf: database.Shelf) -> frozenset[tuple[str, str]]:
    """Return (collection, case id) of every case that lies in any folder."""
    with shelf.reading() as db:
        return frozenset(db.execute("SELECT DISTINCT collection, case_id FROM favourites"))


def folders(shelf: database.Shelf) -> list[tuple[str, int]]:
    """Return each folder's name and number of favourites, in order of name."""
    with shelf.reading() as db:
        return [
            (str(name), int(count))
            for name, count in db.execute(
                "SELECT d.name, count(f.id) FROM folders d LEFT JOIN favourites f"
                " ON f.folder = d.id GROUP BY d.id ORDER BY d.name COLLATE NOCASE"
            )
        ]


def create_folder(shelf: database.Shelf, name: str) -> None:
    """Make an empty folder; raises FolderNameError for a name that is empty or taken."""
    with shelf.transaction() as db:
        _refuse_taken(db, name)
        _new_folder(db, name)


def rename_folder(shelf: database.Shelf, name: str, new_name: str) -> None:
    """Give a folder another name; raises FolderNameError for one that is empty or taken."""
    with shelf.transaction() as db:
        folder_id = _folder_id(db, name)
        if folder_id is None:
            raise errors.FolderNameError(name, "there is no folder of that name.")
        if _folder_id(db, new_name) != folder_id:
            _refuse_taken(db, new_name)
        db["folders"].update(folder_id, {"name": _clean(new_name)})


def remove_folder(shelf: database.Shelf, name: str) -> None:
    """Remove a folder and the favourites in it; nothing happens if it is not there."""
    with shelf.transaction() as db:
        if (folder_id := _folder_id(db, name)) is not None:
            db["favourites"].delete_where("folder = ?", [folder_id])
            db["folders"].delete(folder_id)


def _clean(name: str) -> str:
    cleaned = " ".join(name.split())
    if not cleaned:
        raise errors.FolderNameError(name, "a folder needs a name.")
    return cleaned


def _folder_id(db: Any, name: str) -> int | None:
    found = db.execute(
        "SELECT id FROM folders WHERE name = ? COLLATE NOCASE", (_clean(name),)
    ).fetchone()
    return None if found is None else int(found[0])


def _refuse_taken(db: Any, name: str) -> None:
    if _folder_id(db, name) is not None:
        raise errors.FolderNameError(name, "there is already a folder of that name.")


def _new_folder(db: Any, name: str) -> int:
    row = {"name": _clean(name), "created": database.now()}
    return int(db["folders"].insert(row).last_pk)


def _found(shelf: database.Shelf, folder_id: int, case_id: str, collection: str) -> int | None:
    found = shelf.db.execute(
        "SELECT id FROM favourites WHERE folder = ? AND collection = ? AND case_id = ?",
        (folder_id, collection, case_id),
    ).fetchone()
    return None if found is None else int(found[0])


def _row(hit: queries.Hit, thumbnail: bytes) -> dict[str, object]:
    case = hit.case
    image = hit.evidence.images[0].ref if hit.evidence.images else None
    if image is None and case.images:
        image = case.images[0].ref
    return {
        "collection": hit.collection,
        "case_id": case.case_id,
        "title": case.title,
        "text": case.text,
        "labels": json.dumps(case.labels),
        "facets": json.dumps(dataclasses.asdict(case.facets)),
        "licence": case.provenance.licence,
        "source": case.provenance.source,
        "source_url": case.provenance.source_url,
        "image": "" if image is None else json.dumps(dataclasses.asdict(image)),
        "thumbnail": thumbnail,
    }


_FIELDS = (
    "f.case_id, f.collection, d.name, f.title, f.text, f.labels, f.facets,"
    " f.licence, f.source, f.source_url, f.image, f.thumbnail, f.note, f.kept"
)


def _favourites(shelf: database.Shelf, where: str, values: tuple[object, ...]) -> list[Favourite]:
    rows = shelf.db.execute(
        f"SELECT {_FIELDS} FROM favourites f JOIN folders d ON d.id = f.folder"
        f" WHERE {where} ORDER BY f.id DESC",
        values,
    )
    return [_favourite(row) for row in rows]


def _favourite(row: tuple[Any, ...]) -> Favourite:
    case_id, collection, folder, title, text, labels, facets = row[:7]
    licence, source, source_url, image, thumbnail, written, when = row[7:]
    return Favourite(
        case_id=str(case_id),
        collection=str(collection),
        folder=str(folder),
        title=_words(title),
        text=_words(text),
        labels=_labels(labels),
        facets=_facets(facets),
        provenance=cases.Provenance(_words(licence), _words(source), _words(source_url)),
        image=_image(image),
        thumbnail=thumbnail if isinstance(thumbnail, bytes) else b"",
        note=_words(written),
        kept=_words(when),
    )


def _words(plain: object) -> str:
    return "" if plain is None else str(plain)


def _labels(plain: str) -> tuple[str, ...]:
    try:
        found = json.loads(plain)
    except UNREADABLE:
        return ()
    return tuple(str(one) for one in found) if isinstance(found, list) else ()


def _facets(plain: str) -> cases.Facets:
    try:
        return cases.Facets(**json.loads(plain))
    except UNREADABLE:
        return cases.Facets()


def _image(plain: str) -> cases.ImageRef | None:
    if not plain:
        return None
    try:
        fields = json.loads(plain)
        if fields["region"]:
            fields["region"] = cases.Region(**fields["region"])
        return cases.ImageRef(**fields)
    except UNREADABLE:
        return None
