"""A backup of the shelf a day, and the newest sound one where both copies are gone."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from datetime import date
from pathlib import Path

from medsearch_desktop.shelf import connections, places, soundness

_KEPT = 3
# The number rises with each backup, so that a clock set back changes no order.
_NAME = re.compile(r"shelf-(\d{6,})-(\d{4}-\d\d-\d\d)\.db")


def listed(at: places.Places) -> list[Path]:
    """Return the backups, newest first."""
    found = [path for path in at.backups.glob("shelf-*.db") if _NAME.fullmatch(path.name)]
    return sorted(found, key=_number, reverse=True)


def daily(db: sqlite3.Connection, at: places.Places, today: date | None = None) -> Path | None:
    """Write today's backup where there is none yet, and drop all but the newest three.

    Raises sqlite3.Error or OSError, and leaves the backups as they were, where
    there is no room.
    """
    day = (today or date.today()).isoformat()
    before = listed(at)
    if any(path.stem.endswith(day) for path in before):
        return None
    at.backups.mkdir(mode=0o700, exist_ok=True)
    number = _number(before[0]) + 1 if before else 1
    target = at.backups / f"shelf-{number:06d}-{day}.db"
    copied(db, target)
    for old in listed(at)[_KEPT:]:
        old.unlink(missing_ok=True)
    return target


def newest_sound(at: places.Places) -> Path | None:
    """Return the newest backup that is whole, or None."""
    for path in listed(at):
        with contextlib.suppress(sqlite3.Error, OSError):
            if soundness.inspect(path, connections.reading).is_sound:
                return path
    return None


def copied(db: sqlite3.Connection, target: Path) -> None:
    """Write all of an open database to a fresh file, and give it its name when it is whole."""
    beside = target.with_name(target.name + ".new")
    places.removed(beside)
    try:
        places.made_private(beside)
        db.execute("VACUUM main INTO ?", (str(beside),))
        places.put_in_place(beside, target)
    except BaseException:
        places.removed(beside)
        raise


def _number(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else 0
