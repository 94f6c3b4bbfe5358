"""The shelf against a dictionary, through any order of steps, closings and openings."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.shelf import database, favourites, history, verdicts

_CASES = st.sampled_from(["case 1", "case 2", "case 3"])
_COLLECTIONS = st.sampled_from(["/one", "/two"])
_FOLDERS = st.sampled_from(["Chest", "chest", "Brain", "Für Lehre"])
_QUERIES = st.sampled_from(["q1", "q2"])


class ShelfStates(RuleBasedStateMachine):
    """Keeps what the shelf should hold in plain dictionaries, and compares after each step."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "copy 0" / "shelf.db"
        self._copies = 0
        self._shelf = database.open_shelf(self._path)
        # folder key -> (name as shown, {(collection, case): (thumbnail, note)})
        self._kept: dict[str, tuple[str, dict[tuple[str, str], tuple[bytes, str]]]] = {}
        self._thumbs: dict[str, dict[tuple[str, str], int]] = {"q1": {}, "q2": {}}
        self._rows = 0
        self._recent: list[str] = []
        self._saved: dict[str, str] = {}

    def teardown(self) -> None:
        self._shelf.close()
        self._folder.cleanup()

    @rule(case=_CASES, collection=_COLLECTIONS, folder=_FOLDERS, picture=st.binary(max_size=4))
    def keep(self, case: str, collection: str, folder: str, picture: bytes) -> None:
        hit = queries.Hit(cases.Case(case), collection, 1, 1.0)
        favourites.add(self._shelf, hit, folder, thumbnail=picture)
        _, inside = self._kept.setdefault(folder.casefold(), (folder, {}))
        note = inside.get((collection, case), (b"", ""))[1]
        inside[collection, case] = (picture, note)

    @rule(case=_CASES, collection=_COLLECTIONS, folder=_FOLDERS)
    def take_out(self, case: str, collection: str, folder: str) -> None:
        favourites.remove(self._shelf, case, collection, folder)
        self._kept.get(folder.casefold(), ("", {}))[1].pop((collection, case), None)

    @rule(case=_CASES, collection=_COLLECTIONS, folder=_FOLDERS, words=st.text(max_size=5))
    def write_note(self, case: str, collection: str, folder: str, words: str) -> None:
        words = words.encode("utf-8", "ignore").decode()
        favourites.note(self._shelf, case, collection, folder, words)
        _, inside = self._kept.get(folder.casefold(), ("", {}))
        if (collection, case) in inside:
            inside[collection, case] = (inside[collection, case][0], words)

    @rule(case=_CASES, collection=_COLLECTIONS, old=_FOLDERS, new=_FOLDERS)
    def move(self, case: str, collection: str, old: str, new: str) -> None:
        favourites.move(self._shelf, case, collection, from_folder=old, to_folder=new)
        inside = self._kept.get(old.casefold(), ("", {}))[1]
        there = self._kept.setdefault(new.casefold(), (new, {}))[1]
        if (collection, case) in inside:
            there[collection, case] = inside.pop((collection, case))

    @rule(folder=_FOLDERS, name=_FOLDERS)
    def rename(self, folder: str, name: str) -> None:
        may = folder.casefold() in self._kept and (
            name.casefold() not in self._kept or name.casefold() == folder.casefold()
        )
        try:
            favourites.rename_folder(self._shelf, folder, name)
        except errors.FolderNameError:
            assert not may
            return
        assert may
        self._kept[name.casefold()] = (name, self._kept.pop(folder.casefold())[1])

    @rule(folder=_FOLDERS)
    def remove_folder(self, folder: str) -> None:
        favourites.remove_folder(self._shelf, folder)
        self._kept.pop(folder.casefold(), None)

    @rule(query=_QUERIES, case=_CASES, collection=_COLLECTIONS, thumb=st.sampled_from([-1, 1]))
    def give_thumb(self, query: str, case: str, collection: str, thumb: int) -> None:
        verdicts.give(self._shelf, queries.Verdict(query, case, collection, thumb, 1, "d"))
        self._thumbs[query].pop((collection, case), None)
        self._thumbs[query][collection, case] = thumb
        self._rows += 1

    @rule(query=_QUERIES, case=_CASES, collection=_COLLECTIONS)
    def undo_thumb(self, query: str, case: str, collection: str) -> None:
        verdicts.undo(self._shelf, query, case, collection)
        if self._thumbs[query].pop((collection, case), None) is not None:
            self._rows += 1

    @rule(words=st.sampled_from(["a", "b", "c"]))
    def ask(self, words: str) -> None:
        history.asked(self._shelf, queries.Query((queries.TextTerm(words),)))
        self._recent = [words, *(w for w in self._recent if w != words)]

    @rule(name=st.sampled_from(["N", "n", "m"]), words=st.sampled_from(["a", "b"]))
    def save(self, name: str, words: str) -> None:
        history.save(self._shelf, name, queries.Query((queries.TextTerm(words),)))
        self._saved[name.casefold()] = words

    @rule(name=st.sampled_from(["N", "m"]))
    def forget(self, name: str) -> None:
        history.forget(self._shelf, name)
        self._saved.pop(name.casefold(), None)

    @rule()
    def close_and_open(self) -> None:
        self._shelf.close()
        self._shelf = database.open_shelf(self._path)
        assert self._shelf.notices == ()

    @rule()
    def end_uncleanly(self) -> None:
        """Go on with a copy of the open files, as a kill leaves them."""
        self._copies += 1
        folder = self._path.parent.with_name(f"copy {self._copies}")
        shutil.copytree(self._path.parent, folder)
        self._shelf.close()
        self._path = folder / "shelf.db"
        self._shelf = database.open_shelf(self._path)
        assert self._shelf.notices == ()

    @rule(
        which=st.sampled_from(["shelf.db", "shelf-mirror.db"]),
        place=st.floats(0, 1, exclude_max=True),
        bit=st.integers(0, 7),
    )
    def flip_a_bit(self, which: str, place: float, bit: int) -> None:
        self._shelf.close()
        file = self._path.with_name(which)
        content = bytearray(file.read_bytes())
        content[int(place * len(content))] ^= 1 << bit
        file.write_bytes(content)
        self._shelf = database.open_shelf(self._path)
        assert len(self._shelf.notices) == 1

    @rule(which=st.sampled_from(["shelf.db", "shelf-mirror.db"]))
    def lose_a_copy(self, which: str) -> None:
        self._shelf.close()
        self._path.with_name(which).unlink()
        self._shelf = database.open_shelf(self._path)
        assert len(self._shelf.notices) == 1

    @invariant()
    def holds_what_the_dictionaries_hold(self) -> None:
        found = {
            (kept.folder, kept.collection, kept.case_id): (kept.thumbnail, kept.note)
            for kept in favourites.listed(self._shelf)
        }
        assert found == {
            (name, collection, case): content
            for name, inside in self._kept.values()
            for (collection, case), content in inside.items()
        }
        assert dict(favourites.folders(self._shelf)) == {
            name: len(inside) for name, inside in self._kept.values()
        }
        for query, thumbs in self._thumbs.items():
            assert list(verdicts.standing(self._shelf, query).items()) == list(thumbs.items())
        rows = self._shelf.db.execute("SELECT count(*) FROM verdicts").fetchone()[0]
        assert rows == self._rows
        asked = [q.terms[0] for q in history.recent(self._shelf)]
        assert asked == [queries.TextTerm(words) for words in self._recent]
        saved = {s.name.casefold(): s.query.terms[0] for s in history.saved(self._shelf)}
        assert saved == {name: queries.TextTerm(words) for name, words in self._saved.items()}


TestShelfStates = ShelfStates.TestCase
TestShelfStates.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
