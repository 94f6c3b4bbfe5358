"""One flipped bit in any file: found before use, repaired, or found by `verify`; nothing lost."""

from __future__ import annotations

import itertools
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import toy_collection
from stores import checks, ledger, test_kills

from medsearch_desktop import errors
from medsearch_desktop.engine import collection
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.shelf import database, history, pictures

SEED = 20261122
# Flips in each kind of file: 200 and more in the long tier.
FLIPS = 12 if checks.IS_TRIAL else 1
HEAD = ("file", "flips", "found at opening", "repaired", "by verify only", "without effect", "lost")


@dataclass
class Outcomes:
    """What came of the flips in each kind of file."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    unmet: list[str] = field(default_factory=list)

    def note(self, kind: str, outcome: str, told: str = "") -> None:
        """Count a flip; `told` is what is printed when it must not be."""
        self.counts.setdefault(kind, Counter())[outcome] += 1
        if told:
            self.unmet.append(f"{kind}: {outcome}: {told}")

    def show(self, title: str) -> None:
        """Print the table."""
        rows = [HEAD]
        for kind, counted in sorted(self.counts.items()):
            cells = [str(counted[name]) for name in HEAD[2:]]
            rows.append((kind, str(sum(counted.values())), *cells))
        total = Counter[str]()
        for counted in self.counts.values():
            total += counted
        rows.append(("all", str(sum(total.values())), *(str(total[name]) for name in HEAD[2:])))
        checks.table(title, rows)


def flip(path: Path, chance: random.Random) -> str:
    """Turn one bit of a file over and say which."""
    content = bytearray(path.read_bytes())
    at, bit = chance.randrange(len(content)), chance.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {at} of {path.name}"


def by_kind(folder: Path, named: Callable[[Path], str]) -> dict[str, list[Path]]:
    """Return the files of a store that hold anything, by their kind, relative to it."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size and (kind := named(path.relative_to(folder))):
            kinds.setdefault(kind, []).append(path.relative_to(folder))
    return kinds


def of_collection(path: Path) -> str:
    if path.parts[0] == "words":
        kind = path.name if path.name.endswith(".json") else f"*{path.suffix}"
        return f"words/{path.parts[1]}/{kind}"
    return re.sub(r"\d+", "N", path.as_posix())


def seen(path: Path) -> tuple[str, list[object]]:
    """Return a collection's notice, and all that a search could show of it."""
    with collection.open_collection(path) as opened:
        shown: list[object] = [opened.manifest.name, opened.manifest.counts]
        for place in opened.all_places():
            case = opened.case(place)
            shown.append((case.case_id, case.title, case.text, case.labels, case.facets))
            shown.append([vectors.tobytes() for vectors in opened.vectors_of(place)])
            for image in case.images:
                if image.thumbnail is not None:
                    kept = image.thumbnail
                    with Path(kept.file).open("rb") as file:
                        file.seek(kept.offset)
                        shown.append(file.read(kept.length))
        found = opened.matching("red fracture nodule", 100)
        shown.append([(match.place, match.score) for match in found])
        return opened.notice, shown


@pytest.mark.slow
def test_that_a_flipped_bit_in_a_collection_is_found(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    whole = tmp_path / "whole"
    for first, last in ((0, 4), (4, 9), (9, 12)):
        toy_collection.write(whole, range(first, last))
    _, right = seen(whole)
    outcomes = Outcomes()
    for kind, paths in by_kind(whole, of_collection).items():
        for _ in range(FLIPS):
            path = tmp_path / "flipped"
            shutil.copytree(whole, path)
            chosen = chance.choice(paths)
            what = flip(path / chosen, chance)
            look_at_collection(kind, path, chosen, what, right, outcomes)
            shutil.rmtree(path)
    outcomes.show("Flipped bits in a collection")
    assert outcomes.unmet == []


def look_at_collection(
    kind: str, path: Path, chosen: Path, what: str, right: list[object], outcomes: Outcomes
) -> None:
    """Open and verify a collection with a flipped bit and note what came of it."""
    problems: list[str] = []
    try:
        problems = collection.verify(path)
    except errors.CollectionError as error:
        problems = [str(error)]
    is_named = any(chosen.name in line for line in problems)
    told = "" if is_named else f"{what}: verify says {problems}"
    try:
        notice, shown = seen(path)
    except errors.MedsearchError as error:
        if chosen.name not in str(error):
            told += f" {what}: {error}"
        outcomes.note(kind, "found at opening", told)
        return
    if notice:
        outcomes.note(kind, "repaired", told)
    elif shown != right:
        outcomes.note(kind, "lost", f"{what}: the collection answers otherwise")
    elif problems:
        outcomes.note(kind, "by verify only", told)
    else:
        outcomes.note(kind, "without effect", told)


@pytest.mark.slow
def test_that_a_flipped_bit_in_each_of_two_generations_never_shows_another_content(
    tmp_path: Path,
) -> None:
    chance = random.Random(SEED + 3)
    whole = tmp_path / "whole"
    toy_collection.write(whole, range(4))
    _, older = seen(whole)
    toy_collection.write(whole, range(4, 9))
    _, newer = seen(whole)
    outcomes = Outcomes()
    kinds = by_kind(whole, of_collection)
    spare = [paths for kind, paths in kinds.items() if kind.startswith(("generations", "words/1"))]
    for paths in spare:
        for _ in range(FLIPS):
            path = tmp_path / "flipped"
            shutil.copytree(whole, path)
            chosen = chance.choice(paths)
            what = flip(path / "manifest.json", chance) + ", " + flip(path / chosen, chance)
            try:
                _, shown = seen(path)
            except errors.CollectionError:
                outcomes.note(of_collection(chosen), "found at opening")
            else:
                is_right = shown in (older, newer)
                told = "" if is_right else f"{what}: the collection answers otherwise"
                outcomes.note(of_collection(chosen), "repaired" if is_right else "lost", told)
            shutil.rmtree(path)
    outcomes.show("Flipped bits in the manifest and in the older generation")
    assert outcomes.unmet == []


def of_shelf(path: Path) -> str:
    if path.parts[0] == "scratch" or path.name.endswith("-shm"):
        return ""
    if path.parts[0] in ("backups", "shelf-pictures"):
        return f"{path.parts[0]}/*"
    return path.name


@pytest.mark.slow
@pytest.mark.parametrize("was_closed", [True, False])
def test_that_a_flipped_bit_in_the_shelf_loses_nothing(tmp_path: Path, was_closed: bool) -> None:
    chance = random.Random(SEED + was_closed)
    done = list(itertools.islice(ledger.deeds(SEED), 80))
    live = tmp_path / "live"
    live.mkdir()
    shelf = database.open_shelf(live / "shelf.db")
    for deed in done[:60]:
        ledger.do(shelf, deed)
    shelf.close()
    shelf = database.open_shelf(live / "shelf.db")
    for deed in done[60:]:
        ledger.do(shelf, deed)
    if was_closed:
        shelf.close()
    shutil.copytree(live, tmp_path / "whole")
    shelf.close()
    outcomes = Outcomes()
    for kind, paths in by_kind(tmp_path / "whole", of_shelf).items():
        for _ in range(FLIPS):
            # Under the name it had: kept pictures are named by their whole path.
            shutil.rmtree(live)
            shutil.copytree(tmp_path / "whole", live)
            what = flip(live / chance.choice(paths), chance)
            look_at_shelf(kind, live, what, done, outcomes)
    outcomes.show(f"Flipped bits in a shelf that was {'closed' if was_closed else 'killed'}")
    assert outcomes.unmet == []


def look_at_shelf(
    kind: str, folder: Path, what: str, done: list[ledger.Deed], outcomes: Outcomes
) -> None:
    """Open a shelf with a flipped bit and note what came of it."""
    try:
        shelf = database.open_shelf(folder / "shelf.db")
    except errors.MedsearchError as error:
        outcomes.note(kind, "found at opening", f"{what}: {error}")
        return
    try:
        lost = ledger.lost(shelf, done)
        notices = shelf.notices
        gone = [s for s in history.saved(shelf) if pictures.missing(shelf, s.query)]
    finally:
        shelf.close()
    if gone and all(line.startswith("saved") for line in lost):
        # Its one copy: the shelf can only say that it is no longer there.
        outcomes.note(kind, "found at opening")
    elif lost:
        outcomes.note(kind, "lost", f"{what}: {lost[:3]} {notices}")
    else:
        outcomes.note(kind, "repaired" if notices else "without effect")
    # And the next start finds nothing to do.
    again = database.open_shelf(folder / "shelf.db")
    try:
        assert ledger.lost(again, done) == lost
        assert again.notices == ()
    finally:
        again.close()


@pytest.mark.slow
def test_that_a_flipped_bit_in_a_model_is_found_before_it_is_used(tmp_path: Path) -> None:
    chance = random.Random(SEED + 7)
    given = test_kills.model_named("small", tmp_path)
    # Words for people: nothing of it is used, and a flip in its checksum means nothing.
    for words in ("CARD.md", "training.log"):
        (given / words).unlink()
    from indexer import models

    models.copy_in(given, tmp_path / "models", "cpu")
    folder = tmp_path / "models" / "small"
    # Compared when a model is checked, and not read when it is loaded.
    (folder / "reference.json").unlink()
    outcomes = Outcomes()
    for path in sorted(folder.iterdir()):
        for _ in range(FLIPS):
            kept = path.read_bytes()
            what = flip(path, chance)
            try:
                base.load_folder(folder, device="cpu")
            except errors.EncoderError as error:
                is_named = path.name in str(error) or "SHA256SUMS" in str(error)
                outcomes.note(path.name, "found at opening", "" if is_named else f"{what}: {error}")
            else:
                outcomes.note(path.name, "without effect", f"{what} is used")
            finally:
                path.write_bytes(kept)
    outcomes.show("Flipped bits in a model folder")
    assert outcomes.unmet == []
