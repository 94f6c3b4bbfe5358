"""Before the shelf is used: both copies are checked, and what is damaged is made anew."""

from __future__ import annotations

import contextlib
import dataclasses
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
    merging,
    places,
    seal,
    soundness,
)

# The folder for favourites whose own folder could not be read any more.
_FOUND_AGAIN = "Found again"


@dataclasses.dataclass(frozen=True)
class _Rebuilt:
    """Whether something may be missing, and how many favourites only the backup knew."""

    may_lack: bool
    again: int


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
    # README: the way to put a backup back leaves it alone there.
    is_put_back = sealed.kind is seal.Kind.MISSING and not places.is_there(at.mirror)
    notices = _without_foreign_log(at) if is_put_back else ()
    notices += _made_alike(at, sealed)
    return notices if is_put_back else notices + _with_backup(at)


def _made_alike(at: places.Places, sealed: seal.Verdict) -> tuple[str, ...]:
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


def _without_foreign_log(at: places.Places) -> tuple[str, ...]:
    """Put a log aside that is not of this file: played in, it would spoil a backup put back.

    A file that has a log says so in its header, which is written before the log is begun;
    a backup says that it has none.
    """
    if not places.is_there(at.main) or places.log_is_empty(at.main):
        return ()
    with at.main.open("rb") as file:
        if file.read(20)[18:20] != b"\x01\x01":
            return ()
    aside = places.set_log_aside(at.main)
    return (f"A log of another file lay beside {at.main.name}; it is kept as {aside.name}.",)


def _with_backup(at: places.Places) -> tuple[str, ...]:
    """Add what a later backup of the same shelf holds: both copies were older ones."""
    if not places.is_there(at.main) or (backup := backups.newest_sound(at)) is None:
        return ()
    found = soundness.inspect(backup, connections.reading)
    with contextlib.closing(connections.opened(at.main)) as db:
        if formats.version_of(db) != len(formats.MIGRATIONS):
            return ()
        ours, theirs = digests.state(db), found.record
        if ours is None or theirs is None or theirs.shelf != ours.shelf:
            return ()
        if theirs.changes <= ours.changes:
            return ()
        added = merging.add(db, soundness.salvage(backup, connections.reading))
        # From here on it counts as later than the backup.
        digests.write_state(db, dataclasses.replace(_state(db), changes=theirs.changes + 1))
        db.commit()
    renew(at.main, at.mirror, keep=False)
    return (
        f"Both copies of the shelf were older than {backup.name}; what it alone held ({added}) was"
        " added, so something removed may be there again.",
    )


def _state(db: sqlite3.Connection) -> digests.State:
    record = digests.state(db)
    if record is None:
        raise sqlite3.DatabaseError("the record of the shelf is malformed")
    return record


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
    """Compare two sound copies: the later state of one history wins, two histories are merged."""
    if main.record is None or mirror.record is None or main.record.shelf != mirror.record.shelf:
        aside = renew(at.main, at.mirror, keep=True)
        return (f"The second copy of the shelf was another shelf's; it is kept as {_name(aside)}.",)
    if main.changes != mirror.changes:
        if not _differ_still(at):
            return ()
        ahead, behind = (mirror, main) if main.changes < mirror.changes else (main, mirror)
        if not _is_past(ahead, behind):
            return _merged(ahead, behind)
        if behind.path == at.main:
            renew(at.mirror, at.main, keep=False)
        else:
            _bring_forward(at)
        return (
            f"{behind.path.name} lacked the last changes after an unclean end; it was brought up to"
            " date from its second copy, and nothing that was kept is lost.",
        )
    if main.record != mirror.record:
        return _merged(main, mirror)
    return _loosely_damaged(at, sealed)


def _is_past(ahead: soundness.Finding, behind: soundness.Finding) -> bool:
    older = soundness.salvage(behind.path)
    with contextlib.closing(connections.opened(ahead.path)) as db:
        return behind.record is not None and merging.is_past(db, behind.record, older)


def _merged(ahead: soundness.Finding, other: soundness.Finding) -> tuple[str, ...]:
    """Add what the other copy alone holds, and make that anew; its old file is kept aside."""
    found = soundness.salvage(other.path)
    with contextlib.closing(connections.opened(ahead.path)) as db:
        added = merging.add(db, found)
    aside = renew(ahead.path, other.path, keep=True)
    return (
        f"The two copies of the shelf had gone different ways. What {other.path.name} alone held"
        f" ({added}) was added to {ahead.path.name}, so something removed may be there again, and"
        f" its old file is kept as {_name(aside)}.",
    )


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
    made = _Rebuilt(may_lack=True, again=0)
    if not (places.is_there(at.rebuilt) and soundness.inspect(at.rebuilt).is_sound):
        made = _rebuild(at, sorted((main, mirror), key=lambda one: one.changes, reverse=True))
    asides = [renew(at.rebuilt, one.path, keep=True) for one in (main, mirror)]
    places.removed(at.rebuilt)
    named = " and ".join(aside.name for aside in asides if aside is not None)
    end = "some of what was kept may be lost" if made.may_lack else "nothing that was kept is lost"
    if made.again:
        end += f" ({made.again} favourites that only the backup knew are in '{_FOUND_AGAIN}')"
    return (
        "Neither copy of the shelf was whole; it was put together from what is not damaged in"
        f" them, {end}, and the damaged files are kept as {named}.",
    )


def _rebuild(at: places.Places, found_in: list[soundness.Finding]) -> _Rebuilt:
    """Write the rows of all copies to one fresh file."""
    found = soundness.Salvage()
    for one in found_in:
        found.add(soundness.salvage(one.path))
    records = [one.record for one in found_in if one.record is not None]
    is_whole = bool(records) and found.total() == records[0].total
    again: list[soundness.Row] = []
    if not is_whole and (backup := backups.newest_sound(at)) is not None:
        again = found.add_older(soundness.salvage(backup, connections.reading))
    if found.count() == 0 and not again and not is_whole:
        raise errors.ShelfError(str(at.main), f"the file is damaged ({found_in[0].fault}).")
    beside = at.rebuilt.with_name(at.rebuilt.name + ".new")
    places.removed(beside)
    places.made_private(beside)
    with contextlib.closing(connections.opened(beside)) as connection:
        formats.migrate(Database(connection, execute_plugins=False))
        _fill(connection, found, records)
        _put_in_folder(connection, again)
    with contextlib.closing(connections.opened(beside)) as connection:
        backups.copied(connection, at.rebuilt)
    places.removed(beside)
    return _Rebuilt(not is_whole, len(again))


def _put_in_folder(db: sqlite3.Connection, rows: list[soundness.Row]) -> None:
    """Put favourites that only the backup knew into a folder of their own: to be looked at."""
    if not rows:
        return
    older = soundness.Salvage()
    older.rows["folders"][0] = {"id": 0, "name": _FOUND_AGAIN, "created": ""}
    older.rows["favourites"] = {row["id"]: row | {"folder": 0} for row in rows}
    merging.add(db, older)


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
