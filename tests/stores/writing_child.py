"""A program that writes to stores, says what it has done, and is killed for it.

It imports everything once and forks for each job it is told on stdin, one JSON object a line, so
that a trial of hundreds of kills does not wait for imports. What is done is said on stdout, after
the call has returned: what was said must not be lost.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import toy_collection
import toy_encoder
from stores import ledger

from indexer import models
from medsearch_desktop.engine import collection
from medsearch_desktop.shelf import database


def say(**said: Any) -> None:
    """Say one thing in one write, which a kill cannot cut."""
    os.write(1, (json.dumps(said) + "\n").encode())


def shelf(folder: str, seed: int, **_: Any) -> None:
    """Do deeds with a shelf without end, and close and open it now and then."""
    path = Path(folder) / "shelf.db"
    opened = database.open_shelf(path)
    for number, deed in enumerate(ledger.deeds(seed)):
        say(begun=deed)
        ledger.do(opened, deed)
        say(done=deed)
        if number % 25 == 24:
            opened.close()
            opened = database.open_shelf(path)


def _writer(folder: str, *, resume: bool) -> collection.CollectionWriter:
    card = toy_encoder.ToyEncoder().card
    return collection.CollectionWriter(folder, name="Toys", card=card, resume=resume)


def build(folder: str, first: int, last: int, **_: Any) -> None:
    """Go on with a build to its commit; each case takes one second of this program's clock."""
    clock = [time.monotonic()]
    time.monotonic = lambda: clock[0]
    with _writer(folder, resume=True) as writer:
        say(resumed=writer.resumed)
        for number in range(first + writer.resumed, last):
            clock[0] += 1
            toy_collection.add(writer, [number])
            say(added=number + 1 - first)
        say(committing=last)
        writer.commit()
        say(committed=last)


def commit(folder: str, first: int, last: int, **_: Any) -> None:
    """Add some cases and commit them."""
    with _writer(folder, resume=False) as writer:
        toy_collection.add(writer, range(first, last))
        say(committing=last)
        writer.commit()
        say(committed=last)


def swap(folder: str, first: int, last: int, **_: Any) -> None:
    """Commit one generation after the other, a case each."""
    for number in range(first, last):
        with _writer(folder, resume=False) as writer:
            toy_collection.add(writer, [number])
            writer.commit()
        say(committed=number + 1)


def importing(folder: str, model: str, **_: Any) -> None:
    """Copy a model folder in."""
    say(committing=model)
    models.copy_in(Path(model), Path(folder), "cpu")
    say(committed=model)


def unsynced(folder: str, **_: Any) -> None:
    """Write as one must not: temporary file and rename, nothing synced."""
    for number in range(1_000_000):
        beside = Path(folder) / "beside"
        beside.write_bytes(b"%d" % number * 1000)
        os.replace(beside, Path(folder) / "naive")
        say(committed=number)


JOBS = {
    "shelf": shelf,
    "build": build,
    "commit": commit,
    "swap": swap,
    "import": importing,
    "unsynced": unsynced,
}


def main() -> None:
    say(ready=os.getpid())
    for line in sys.stdin:
        told = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setpgid(0, 0)
                JOBS[told.pop("job")](**told)
                status = 0
            except Exception as error:
                say(raised=f"{type(error).__name__}: {error}")
            finally:
                os._exit(status)
        say(pid=child)
        _, status = os.waitpid(child, 0)
        say(ended=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
