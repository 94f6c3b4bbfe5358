"""Editions of a collection: which belong together, which is searched, and embedding again."""

from __future__ import annotations

import json
import sys

import pytest
import toy_collection
from PySide6.QtWidgets import QLabel

from indexer import arguments
from medsearch_desktop.gui import collection_list, demo_build, editions, jobs, reembedding


def info(path: str, encoder: str = "compact", problem: str = "") -> collection_list.CollectionInfo:
    return collection_list.CollectionInfo(path, path.rsplit("/")[-1], 5, encoder, problem=problem)


def paths(groups) -> list[list[str]]:
    return [[member.path for member in group.members] for group in groups]


def test_that_editions_are_grouped_by_the_folder_they_lie_beside():
    known = (info("/c/a@biomedclip", "biomedclip"), info("/c/a"), info("/c/b"), info("/d/a@x"))
    assert paths(editions.grouped(known)) == [["/c/a", "/c/a@biomedclip"], ["/c/b"], ["/d/a@x"]]


def test_that_the_chosen_edition_is_shown_else_the_default_else_the_first():
    known = (info("/c/a"), info("/c/a@x", "x"), info("/c/a@y", "y"))
    shown = lambda *given: editions.grouped(known, *given)[0].shown.path  # noqa: E731
    assert shown() == "/c/a"
    assert shown((), {"/c/a": "/c/a@y"}) == "/c/a@y"
    assert shown(("/c/a@x",), {"/c/a": "/c/a@y"}) == "/c/a@x"
    assert shown((), {"/c/a": "/gone"}) == "/c/a"


def test_that_an_edition_by_newer_files_of_its_encoder_lies_beside_the_older_one():
    older = collection_list.CollectionInfo("/c/a@x", "a", 5, "x", digest="1" * 64)
    (group,) = editions.grouped((info("/c/a"), older))
    assert group.folder_for("x") == group.folder_for("x", "1" * 64) == "/c/a@x"
    assert group.folder_for("x", "2" * 64) == "/c/a@x-22222222"
    assert group.of("x", "1" * 64) is older
    assert group.of("x", "2" * 64) is None
    (group,) = editions.grouped((info("/c/a"), older, info("/c/a@x-22222222", "x")))
    assert len(group.members) == 3


def test_that_an_edition_that_cannot_be_read_is_not_the_one_searched():
    known = (info("/c/a"), info("/c/a@x", "x", problem="Its manifest cannot be read."))
    (group,) = editions.grouped(known, (), {"/c/a": "/c/a@x"})
    assert group.shown.path == "/c/a"
    assert group.of("x") is known[1]


def test_that_editions_beside_an_added_folder_and_unfinished_ones_are_found(tmp_path):
    toy_collection.write(tmp_path / "far", range(4))
    toy_collection.write(tmp_path / "far@x", range(4))
    (tmp_path / "far@begun" / "segments").mkdir(parents=True)
    choice = collection_list.Choice(added=(str(tmp_path / "far"),))
    first, second = collection_list.available(tmp_path / "none", choice)
    assert (first.path, second.path) == (str(tmp_path / "far"), str(tmp_path / "far@x"))
    assert first.begun == ("begun",)
    assert first.limits == "For tests only."


def test_that_the_choice_of_an_edition_outlives_the_program(tmp_path):
    choice = collection_list.Choice(("/a",), ("/a@x",), (("/a", "/a@x"),))
    collection_list.save_choice(tmp_path / "choice.json", choice)
    assert collection_list.load_choice(tmp_path / "choice.json") == choice
    (tmp_path / "choice.json").write_text(json.dumps({"chosen": ["/a"]}), "utf-8")
    assert collection_list.load_choice(tmp_path / "choice.json").chosen == ("/a",)


def test_that_a_collection_is_offered_once_and_searched_by_the_chosen_edition(program, toys):
    other = toys.with_name("toys@other")
    toy_collection.write(other, range(40))
    started = program()
    started.wait_for_collections()
    library = started.parts.library
    assert library.searched == (str(toys),)
    assert [one.path for one in library.offered] == [str(toys)]
    library.choose_edition(str(toys), str(other))
    assert library.searched == (str(other),)
    started.ask("red square")
    assert {hit.collection for hit in started.model.hits()} == {str(other)}
    library.choose((str(other),))
    library.choose_edition(str(toys), str(toys))
    assert library.searched == (str(toys),)


def test_that_the_limits_of_the_encoder_stand_in_full_in_the_list_of_collections(program, toys):
    started = program()
    started.wait_for_collections()
    picker = started.window.search_bar.picker
    picker.open_list()
    words = [label.text() for label in picker.findChildren(QLabel)]
    picker._sheet.close()
    assert "toy_encoder:ToyEncoder: For tests only." in words


def test_that_the_words_of_embedding_again_are_the_indexers_own():
    said = reembedding.words("/c/a", "biomedclip")
    given = arguments.parser().parse_args(said)
    assert (given.command, given.encoder, str(given.out)) == (
        "reembed",
        "biomedclip",
        "/c/a@biomedclip",
    )
    hostile = reembedding.words("/c/a", "--home=/x")
    assert {"--encoder=--home=/x", "--out=/c/a@--home=_x"} <= set(hostile)


_CHILD = """
import json, sys, time
from pathlib import Path
marker = Path(MARKER)
is_first = not marker.exists()
marker.touch()
print(json.dumps({"stage": "embedding", "done": 1, "total": 2}), file=sys.stderr, flush=True)
time.sleep(60 * is_first)
print(json.dumps({"notices": ["One was odd."], "stored": 7}))
"""


@pytest.fixture
def stalled(monkeypatch, tmp_path):
    """A child that stalls the first time and ends well the second."""
    code = _CHILD.replace("MARKER", repr(str(tmp_path / "marker")))
    monkeypatch.setattr(demo_build, "command", lambda: [sys.executable, "-c", code])


def test_that_embedding_again_can_be_stopped_and_gone_on_with(program, toys, stalled):
    started = program()
    started.wait_for_collections()
    work, pane = started.parts.library.reembedding, started.window.bottom.jobs
    (group,) = started.parts.library.groups
    assert work.start(group.members[0], "other") == ""
    assert "Wait" in work.start(group.members[0], "another")
    (number,) = pane._rows
    started.wait(lambda: pane.job(number).total == 2)
    pane.job(number).stop()
    started.wait(lambda: pane.job(number).state is jobs.State.FAILED)
    assert "kept" in pane.job(number).sentence
    pane.job(number).again()
    (number,) = pane._rows
    started.wait(lambda: pane.job(number).state is jobs.State.DONE)
    assert work.running is None
    assert "One was odd. 7 images were taken from their thumbnails" in pane.job(number).sentence


def test_that_what_is_chosen_while_collections_are_read_anew_stays_chosen(program, toys):
    other = toys.with_name("toys@other")
    toy_collection.write(other, range(40))
    started = program()
    started.wait_for_collections()
    library = started.parts.library
    library.reembedding.ended.emit("")
    library.choose_edition(str(toys), str(other))
    read = []
    library.changed.connect(lambda *_: read.append(library.searched))
    started.wait(lambda: read)
    assert library.searched == (str(other),)


def test_that_a_collection_embedded_again_by_the_indexer_is_an_edition_of_it(
    program, toys, pictures
):
    started = program()
    started.wait_for_collections()
    (group,) = started.parts.library.groups
    assert started.parts.library.reembedding.start(group.members[0], "compact") == ""
    started.wait(lambda: len(started.parts.library.groups[0].members) == 2)
    (group,) = started.parts.library.groups
    assert group.encoders == (group.members[0].encoder, "compact")
    assert group.of("compact").cases == 40
