"""Before the shelf is used: both copies are checked, and what is damaged is made anew."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from sqlite_utils import Database

from medsearch_desktop import errors
from medsearch_desktop.shelf import (
    backups,
    connections,
    copies,
    digests,
    formats,
    places,
    seal,
    soundness,
)

# The folder for favourites whose own folder could not be read any more.
_FOUND_AGAIN = "Found again"


def made_sound(at: places.Places) -> tuple[str, ...]:
    """Make both copies whole and alike; return a sentence for each thing that was wrong.

    Afterwards both are sound, or the first is of an old format and the second
    missing, or both are missing. Raises ShelfError for a shelf of a newer
    format and for one of which nothing can be read; both are left alone.
    """
    sealed = seal.compared(at)
    if sealed.kind is seal.Kind.WHOLE:
        return ()
    notices = _checked(at, sealed)
    seal.broken(at)
    return notices


def _checked(at: places.Places, sealed: seal.Verdict) -> tuple[str, ...]:
    """Check every row of both copies."""
    for copy in (at.main, at.mirror):
        places.removed(_fresh(copy))
    main, mirror = soundness.inspect(at.main), soundness.inspect(at.mirror)
    refuse_newer(main, mirror)
    if main.is_missing and mirror.is_missing:
        return _from_backup(at, sealed)
    if not main.is_sound and not mirror.is_sound:
        return _put_together(at, main, mirror)
    places.removed(at.rebuilt)
    if main.is_sound and mirror.is_sound:
        return _alike(at, main, mirror, sealed)
    if main.is_sound:
        if main.format < formats.HASHED and mirror.is_missing:
            return ()
        return _renewed(at.main, mirror)
    return _renewed(at.mirror, main)


def renew(source: Path, target: Path, *, keep: bool) -> Path | None:
    """Make one copy anew from the other; the old one is kept aside and named, or removed.

    At each moment the name stands for the old file, for nothing, or for the whole new one.
    """
    fresh = _fresh(target)
    with contextlib.closing(connections.opened(source)) as db:
        backups.copied(db, fresh)
    aside = places.set_aside(target) if keep and places.is_there(target) else None
    if aside is None:
        places.removed(target)
    places.put_in_place(fresh, target)
    return aside


def _fresh(path: Path) -> Path:
    return path.with_name(path.name + ".fresh")


def refuse_newer(*found: soundness.Finding) -> None:
    """Raise ShelfError where a copy was written by a later program."""
    for one in found:
        if one.is_newer:
            raise errors.ShelfError(
                str(one.path),
                f"it was written by a newer version (format {one.format}, this program knows "
                f"{len(formats.MIGRATIONS)}).",
            )


def _alike(
    at: places.Places, main: soundness.Finding, mirror: soundness.Finding, sealed: seal.Verdict
) -> tuple[str, ...]:
    """Compare two sound copies: the one with more changes wins, the first where they disagree."""
    if main.record is None or mirror.record is None or main.record.shelf != mirror.record.shelf:
        aside = renew(at.main, at.mirror, keep=True)
        return (f"The second copy of the shelf was another shelf's; it is kept as {_name(aside)}.",)
    if main.changes != mirror.changes:
        if not _differ_still(at):
            return ()
        behind = at.mirror if main.changes > mirror.changes else at.main
        if behind == at.main:
            renew(at.mirror, at.main, keep=False)
        else:
            _bring_forward(at)
        return (
            f"{behind.name} lacked the last changes after an unclean end; it was brought up to date"
            " from its second copy, and nothing that was kept is lost.",
        )
    if main.record != mirror.record:
        aside = renew(at.main, at.mirror, keep=True)
        return (f"The two copies of the shelf differed; the second is kept as {_name(aside)}.",)
    return _loosely_damaged(at, sealed)


def _differ_still(at: places.Places) -> bool:
    """Compare at one moment: another window may have written between the two checks."""
    with contextlib.closing(connections.opened(at.main)) as db:
        connections.attach(db, at.mirror)
        db.execute("BEGIN IMMEDIATE")
        differ = not copies.are_alike(db)
        db.rollback()
        return differ


def _bring_forward(at: places.Places) -> None:
    """Write what the mirror lacks; on a full disk the next write does it."""
    with contextlib.closing(connections.opened(at.main)) as db:
        connections.attach(db, at.mirror)
        try:
            db.execute("BEGIN IMMEDIATE")
            copies.bring_forward(db)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            db.rollback()
            if not connections.is_full(error, at.main.parent):
                raise


def _loosely_damaged(at: places.Places, sealed: seal.Verdict) -> tuple[str, ...]:
    """Both copies hold the same sound rows; a bit may have changed where none lies."""
    # A seal that is gone by now was broken by another window, which writes.
    if sealed.kind is seal.Kind.MISSING or not at.seal.exists():
        return ()
    changed = [p for p in (at.main, at.mirror) if p.name not in sealed.unchanged]
    if sealed.kind is seal.Kind.DIFFERS and len(changed) == 1:
        source = at.mirror if changed[0] == at.main else at.main
        aside = renew(source, changed[0], keep=True)
        return (_damage(changed[0], aside, ""),)
    return (
        "A file of the shelf was changed since it was closed; every kept row was checked, and"
        " nothing is lost.",
    )


def _renewed(source: Path, broken: soundness.Finding) -> tuple[str, ...]:
    aside = renew(source, broken.path, keep=True)
    if broken.is_missing:
        return (f"{broken.path.name} was missing and has been made anew from its second copy.",)
    return (_damage(broken.path, aside, broken.fault),)


def _damage(path: Path, aside: Path | None, fault: str) -> str:
    why = f" ({fault})" if fault else ""
    return (
        f"{path.name} was damaged on the disk{why} and has been made anew from its second copy;"
        f" nothing that was kept is lost, and the damaged file is kept as {_name(aside)}."
    )


def _from_backup(at: places.Places, sealed: seal.Verdict) -> tuple[str, ...]:
    if places.is_there(at.rebuilt) and soundness.inspect(at.rebuilt).is_sound:
        return _put_back(at, at.rebuilt)
    places.removed(at.rebuilt)
    if (backup := backups.newest_sound(at)) is not None:
        return _put_back(at, backup)
    if sealed.kind is seal.Kind.MISSING:
        return ()
    return ("The shelf's files and their backups are gone; an empty shelf was begun.",)


def _put_back(at: places.Places, source: Path) -> tuple[str, ...]:
    with contextlib.closing(connections.reading(source)) as db:
        backups.copied(db, at.main)
    return (
        f"Both copies of the shelf were missing; it was restored from {source.name}, and what was"
        " kept later is gone.",
    )


def _put_together(
    at: places.Places, main: soundness.Finding, mirror: soundness.Finding
) -> tuple[str, ...]:
    """Put the sound rows of two damaged copies together, the newer first."""
    # One that is there already was left by a kill; what it lacked was said to nobody.
    lost = True
    if not (places.is_there(at.rebuilt) and soundness.inspect(at.rebuilt).is_sound):
        lost = _rebuild(at, sorted((main, mirror), key=lambda one: one.changes, reverse=True))
    asides = [renew(at.rebuilt, one.path, keep=True) for one in (main, mirror)]
    places.removed(at.rebuilt)
    named = " and ".join(aside.name for aside in asides if aside is not None)
    end = "some of what was kept may be lost" if lost else "nothing that was kept is lost"
    return (
        "Neither copy of the shelf was whole; it was put together from what is not damaged in"
        f" them, {end}, and the damaged files are kept as {named}.",
    )


def _rebuild(at: places.Places, found_in: list[soundness.Finding]) -> bool:
    """Write the rows of all copies to one fresh file; say whether some may be missing."""
    found = soundness.Salvage()
    for one in found_in:
        found.add(soundness.salvage(one.path))
    records = [one.record for one in found_in if one.record is not None]
    is_whole = bool(records) and found.total() == records[0].total
    if not is_whole and (backup := backups.newest_sound(at)) is not None:
        found.add(soundness.salvage(backup))
    if found.count() == 0 and not is_whole:
        raise errors.ShelfError(str(at.main), f"the file is damaged ({found_in[0].fault}).")
    beside = at.rebuilt.with_name(at.rebuilt.name + ".new")
    places.removed(beside)
    places.made_private(beside)
    with contextlib.closing(connections.opened(beside)) as connection:
        formats.migrate(Database(connection, execute_plugins=False))
        _fill(connection, found, records)
    with contextlib.closing(connections.opened(beside)) as connection:
        backups.copied(connection, at.rebuilt)
    places.removed(beside)
    return not is_whole


def _fill(db: sqlite3.Connection, found: soundness.Salvage, records: list[digests.State]) -> None:
    db.execute("BEGIN IMMEDIATE")
    for table, rows in found.rows.items():
        names = digests.columns(db, "main", table)
        listed, marks = ", ".join(f'"{n}"' for n in names), ", ".join("?" * len(names))
        for row in rows.values():
            if table == "favourites":
                _make_folder(db, row["folder"])
            db.execute(
                f"INSERT OR IGNORE INTO {table} ({listed}) VALUES ({marks})",
                [row.get(name) for name in names],
            )
    if records:
        digests.write_state(db, records[0])
    digests.renew_all(db, len(formats.MIGRATIONS))
    db.execute("COMMIT")


def _make_folder(db: sqlite3.Connection, number: int) -> None:
    """Make a folder for a favourite whose own was not found, so that it is still shown."""
    if db.execute("SELECT 1 FROM folders WHERE id = ?", (number,)).fetchone() is None:
        name = f"{_FOUND_AGAIN} {number}"
        db.execute("INSERT INTO folders (id, name, created) VALUES (?, ?, '')", (number, name))


def _name(path: Path | None) -> str:
    return "" if path is None else path.name
