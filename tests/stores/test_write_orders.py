"""Power cuts where nothing can be mounted: only what was synced stays, in any order."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import toy_collection
import toy_encoder
from stores import checks, ledger, ordering

from medsearch_desktop import errors
from medsearch_desktop.engine import collection
from medsearch_desktop.shelf import database, pictures

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders are not synced there")

SEED = 20261122
# What is left is made up so often at each call that may be the last, in the ordinary tier at each
# fourth of them.
DRAWS = 4 if checks.IS_TRIAL else 0.25


def after_cuts(
    root: Path,
    aside: Path,
    work: Callable[[], object],
    look: Callable[[Path, bool], None],
    *,
    seed: int = SEED,
    draws: float = DRAWS,
) -> int:
    """Do `work` below `root` and show `look` what a power cut at each call may leave.

    `look` is told too whether the work had ended before the cut. Returns the number of cuts.
    """
    chance = random.Random(seed)
    lefts: list[tuple[Path, bool]] = []

    def cut(disk: ordering.Disk, *, is_done: bool = False) -> None:
        for _ in range(3 if is_done else int(draws) + (chance.random() < draws % 1)):
            left = aside / f"left-{len(lefts)}"
            disk.left(left, chance)
            lefts.append((left, is_done))

    with ordering.watched(root, cut) as disk:
        work()
    cut(disk, is_done=True)
    for left, is_done in lefts:
        look(left, is_done)
        shutil.rmtree(left, ignore_errors=True)
    return len(lefts)


def commit(path: Path, numbers: range) -> None:
    card = toy_encoder.ToyEncoder().card
    with collection.CollectionWriter(path, name="Toys", card=card, resume=True) as writer:
        toy_collection.add(writer, numbers[writer.resumed :])
        writer.commit()


@pytest.mark.slow
def test_that_any_order_of_writes_leaves_the_old_or_the_new_generation(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    toy_collection.write(root / "c", range(4))
    toy_collection.write(root / "c", range(4, 6))
    found: list[int] = []

    def look(left: Path, is_done: bool) -> None:
        # The manifest is never gone and never half there.
        found.append(checks.whole(left / "c"))
        assert found[-1] == 9 or (found[-1] == 6 and not is_done)
        if found[-1] == 6:
            commit(left / "c", range(6, 9))
        assert checks.whole(left / "c") == 9

    seen = after_cuts(root, tmp_path, lambda: commit(root / "c", range(6, 9)), look)
    assert set(found) == {6, 9}
    checks.table(
        "Write orders of a commit",
        [
            ("disks", "old generation", "new generation", "mixed"),
            (str(seen), str(found.count(6)), str(found.count(9)), "0"),
        ],
    )


@pytest.mark.slow
def test_that_any_order_of_writes_leaves_the_first_generation_whole_or_not_there(
    tmp_path: Path,
) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    found: list[int] = []

    def look(left: Path, is_done: bool) -> None:
        found.append(checks.whole(left / "c"))
        assert found[-1] == 5 or (found[-1] == 0 and not is_done)
        if not found[-1]:
            with pytest.raises(errors.CollectionError, match=r"holds no collection|is not there"):
                collection.open_collection(left / "c")
            try:
                commit(left / "c", range(5))
            except errors.CollectionError:
                # What is left of the build cannot be gone on with, and the writer says so.
                toy_collection.write(left / "c", range(5))
        assert checks.whole(left / "c") == 5

    after_cuts(root, tmp_path, lambda: commit(root / "c", range(5)), look)
    assert {0, 5} == set(found)


def test_that_a_kept_picture_is_whole_or_not_there_in_any_order_of_writes(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    shelf = database.open_shelf(root / "shelf.db")
    asked = ledger.question("words", ledger.scratch_picture(shelf, 3))
    content = Path(asked.terms[1].ref.path).read_bytes()

    def look(left: Path, is_done: bool) -> None:
        for copy in (left / shelf.pictures.name).glob("*.png"):
            assert copy.read_bytes() == content

    try:
        after_cuts(root, tmp_path, lambda: pictures.kept(shelf, asked), look)
    finally:
        shelf.close()


def test_that_the_choice_of_collections_is_the_old_or_the_new_in_any_order_of_writes(
    tmp_path: Path,
) -> None:
    from medsearch_desktop.gui import collection_list

    root = tmp_path / "disk"
    root.mkdir()
    old = collection_list.Choice(("/a",), ("/a",))
    new = collection_list.Choice(("/a", "/b"), ("/b",))
    collection_list.save_choice(root / "choice.json", old)

    def look(left: Path, is_done: bool) -> None:
        assert collection_list.load_choice(left / "choice.json") in (old, new)

    work = lambda: collection_list.save_choice(root / "choice.json", new)  # noqa: E731
    after_cuts(root, tmp_path, work, look)


def test_that_a_pasted_picture_is_whole_or_not_there_in_any_order_of_writes(
    tmp_path: Path,
) -> None:
    from PySide6 import QtGui

    from medsearch_desktop.gui import drops

    root = tmp_path / "disk"
    root.mkdir()
    picture = QtGui.QImage(40, 30, QtGui.QImage.Format.Format_RGB888)
    picture.fill(0x336699)

    def look(left: Path, is_done: bool) -> None:
        for file in left.glob("[!.]*.png"):
            assert QtGui.QImage(str(file)).size() == picture.size()
        # And pasting it again gives a whole one.
        again = drops.keep_picture(picture, left)
        assert QtGui.QImage(str(again)).size() == picture.size()

    after_cuts(root, tmp_path, lambda: drops.keep_picture(picture, root), look)


def test_that_the_disk_of_these_tests_shows_a_rename_without_a_sync(tmp_path: Path) -> None:
    """The fake itself: a program that syncs nothing is caught."""
    root = tmp_path / "disk"
    root.mkdir()
    (root / "file").write_bytes(b"old" * 50)
    found = set()

    def naive() -> None:
        (root / "file.new").write_bytes(b"new" * 50)
        os.replace(root / "file.new", root / "file")
        os.mkdir(root / "later")

    look = lambda left, _: found.add((left / "file").read_bytes())  # noqa: E731
    for seed in range(20):
        (root / "file").write_bytes(b"old" * 50)
        after_cuts(root, tmp_path, naive, look, seed=seed, draws=1)
        (root / "later").rmdir()
    assert not found <= {b"old" * 50, b"new" * 50}
