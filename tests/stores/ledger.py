"""What a shelf must hold after some deeds, kept as plain dictionaries beside it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import toy_collection

from medsearch_desktop import cases, queries
from medsearch_desktop.shelf import database, favourites, history, verdicts

COLLECTION = "/collections/toys"
FOLDERS = ("Favourites", "To teach", "Später fragen")
# A deed is a list of plain values, its kind first, so that it crosses a pipe as JSON.
Deed = list


def hit(number: int) -> queries.Hit:
    """Return case `number` of the toys as a search would."""
    return queries.Hit(toy_collection.case(number), COLLECTION, 1, 0.5)


def question(words: str, picture: str = "") -> queries.Query:
    """Return a question of words, and of a picture where one is named."""
    terms: list[queries.Term] = [queries.TextTerm(words)]
    if picture:
        terms.append(queries.ImageTerm(cases.ImageRef(picture)))
    return queries.Query(terms=tuple(terms), collections=(COLLECTION,))


def deeds(seed: int) -> Iterator[Deed]:
    """Yield what a reader may do with the shelf, without end, the same for the same seed."""
    chance = random.Random(seed)
    while True:
        number, folder = chance.randrange(60), chance.choice(FOLDERS)
        words = f"question {chance.randrange(8)}"
        yield chance.choice(
            [
                ["star", number, folder, chance.randrange(1 << 30)],
                ["star", number, folder, chance.randrange(1 << 30)],
                ["note", number, folder, f"note {chance.randrange(1000)}"],
                ["unstar", number, folder],
                ["thumb", words, number, chance.choice([-1, 1])],
                ["thumb", words, number, chance.choice([-1, 1])],
                ["undo", words, number],
                ["save", f"search {chance.randrange(10)}", words, chance.randrange(5)],
                ["forget", f"search {chance.randrange(10)}"],
                ["ask", words],
            ]
        )


def thumbnail(seed: int) -> bytes:
    """Return the bytes that stand for a thumbnail: 0.2 to 8 kB, told by a number."""
    chance = random.Random(seed)
    return chance.randbytes(chance.randrange(200, 8000))


def scratch_picture(shelf: database.Shelf, number: int) -> str:
    """Return a passing picture of the shelf, made where it is not there."""
    shelf.scratch.mkdir(parents=True, exist_ok=True)
    path = shelf.scratch / f"{number}.png"
    if not path.exists():
        path.write_bytes(f"picture {number}".encode() * 300)
    return str(path)


def do(shelf: database.Shelf, deed: Deed) -> None:
    """Do a deed with the shelf's own functions."""
    kind, *given = deed
    if kind == "star":
        favourites.add(shelf, hit(given[0]), given[1], thumbnail=thumbnail(given[2]))
    elif kind == "note":
        favourites.note(shelf, f"case-{given[0]}", COLLECTION, given[1], given[2])
    elif kind == "unstar":
        favourites.remove(shelf, f"case-{given[0]}", COLLECTION, given[1])
    elif kind == "thumb":
        asked = question(given[0])
        verdict = queries.Verdict(
            asked.fingerprint(), f"case-{given[1]}", COLLECTION, given[2], 3, "digest"
        )
        verdicts.give(shelf, verdict, asked)
    elif kind == "undo":
        verdicts.undo(shelf, question(given[0]).fingerprint(), f"case-{given[1]}", COLLECTION)
    elif kind == "save":
        picture = scratch_picture(shelf, given[2])
        history.save(shelf, given[0], question(given[1], picture))
    elif kind == "forget":
        history.forget(shelf, given[0])
    else:
        history.asked(shelf, question(given[0]))


class Ledger:
    """What stands after some deeds: favourites, thumbs and saved searches."""

    def __init__(self, done: Sequence[Deed] = ()) -> None:
        self.favourites: dict[tuple[str, str], tuple[str, str]] = {}
        self.thumbs: dict[tuple[str, str], int] = {}
        self.saved: dict[str, tuple[str, str]] = {}
        for deed in done:
            self.note(deed)

    def note(self, deed: Deed) -> None:
        """Take a deed that was done into the ledger."""
        kind, *given = deed
        if kind == "star":
            place = (given[1], f"case-{given[0]}")
            words = self.favourites.get(place, ("", ""))[1]
            self.favourites[place] = (_digest(thumbnail(given[2])), words)
        elif kind == "note":
            place = (given[1], f"case-{given[0]}")
            if place in self.favourites:
                self.favourites[place] = (self.favourites[place][0], given[2])
        elif kind == "unstar":
            self.favourites.pop((given[1], f"case-{given[0]}"), None)
        elif kind == "thumb":
            self.thumbs[given[0], f"case-{given[1]}"] = given[2]
        elif kind == "undo":
            self.thumbs.pop((given[0], f"case-{given[1]}"), None)
        elif kind == "save":
            self.saved[given[0]] = (given[1], _digest(f"picture {given[2]}".encode() * 300))
        elif kind == "forget":
            self.saved.pop(given[0], None)


def held(shelf: database.Shelf) -> Ledger:
    """Return what a shelf holds, read with its own functions."""
    found = Ledger()
    for kept in favourites.listed(shelf):
        place = (kept.folder, kept.case_id)
        found.favourites[place] = (_digest(kept.thumbnail), kept.note)
    for number in range(8):
        words = f"question {number}"
        for (_, case), thumb in verdicts.standing(shelf, question(words).fingerprint()).items():
            found.thumbs[words, case] = thumb
    for saved in history.saved(shelf):
        text, picture = saved.query.terms
        assert isinstance(text, queries.TextTerm)
        assert isinstance(picture, queries.ImageTerm)
        copy = Path(picture.ref.path)
        found.saved[saved.name] = (
            text.words,
            _digest(copy.read_bytes()) if copy.exists() else "its picture is gone",
        )
    return found


def lost(shelf: database.Shelf, done: Sequence[Deed], begun: Deed | None = None) -> list[str]:
    """Return a line for each thing that differs from what was done.

    `begun` is a deed that was not acknowledged: it may have been done or not.
    """
    found = held(shelf)
    differing = _differing(Ledger(done), found)
    if differing and begun is not None:
        differing = min(differing, _differing(Ledger([*done, begun]), found), key=len)
    return differing


def _differing(wanted: Ledger, found: Ledger) -> list[str]:
    lines = []
    for name in ("favourites", "thumbs", "saved"):
        ours, theirs = getattr(wanted, name), getattr(found, name)
        for key in sorted(set(ours) | set(theirs)):
            if ours.get(key) != theirs.get(key):
                lines.append(f"{name} {key}: {theirs.get(key)} instead of {ours.get(key)}")
    return lines


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
