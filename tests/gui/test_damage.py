"""What the window shows of damage: one card, the way out of it, and nothing that was lost."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest
import toy_collection
import toy_encoder
from PySide6.QtCore import QBuffer, QByteArray
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QLabel, QPushButton

from indexer import arguments
from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import collection
from medsearch_desktop.gui import (
    collection_list,
    collection_picker,
    demo_build,
    jobs,
    problems,
    rebuilding,
    thumbnails,
)
from medsearch_desktop.worker import messages

# Builds by copying what lies at SOUND, and finds everything whole but what holds a file `bad`.
_CHILD = """
import json, pathlib, shutil, sys
words = sys.argv[1:]
if STATUS:
    print("The disk is full\\nMake room.", file=sys.stderr)
elif words[0] == "build":
    print(json.dumps({"stage": "Indexing", "done": 1, "total": 2}), file=sys.stderr)
    shutil.copytree(SOUND, words[words.index("--out") + 1], dirs_exist_ok=True)
elif words[0] == "verify" and pathlib.Path(words[-1], "bad").exists():
    sys.exit(4)
sys.exit(STATUS)
"""


@pytest.fixture
def child(monkeypatch):
    """A function that replaces the indexer's command by a child of a few lines."""

    def put(sound: Path, status: int = 0) -> None:
        code = _CHILD.replace("SOUND", repr(str(sound))).replace("STATUS", str(status))
        monkeypatch.setattr(demo_build, "command", lambda: [sys.executable, "-c", code])

    return put


def labels(started) -> str:
    shown = started.window.results.problems.findChildren(QLabel)
    return "\n".join(label.text() for label in shown if label.isVisible())


def buttons(started) -> dict[str, QPushButton]:
    found = started.window.results.problems.findChildren(QPushButton)
    return {button.text(): button for button in found if button.isVisible()}


def press(started, words: str) -> None:
    buttons(started)[words].click()


def give_sources(started, *inputs: Path) -> collection_list.CollectionInfo:
    """Make the one collection known as built from these, and there when it was read."""
    (info,) = started.parts.library.known
    part = collection_list.Part(tuple(map(str, inputs)))
    info = dataclasses.replace(info, parts=(part,), has_sources=True)
    started.parts.library._known = (info,)
    return info


def offer(started, info: collection_list.CollectionInfo) -> None:
    """Tell of damage as the worker does."""
    started.parts.asking._offer_rebuild(info.path, "Toys is damaged.")


@pytest.fixture
def damaged(toys: Path, tmp_path: Path) -> Path:
    """The toy collection with damaged vectors, and a sound copy beside the test."""
    shutil.copytree(toys, tmp_path / "sound")
    path = toys / "segments/0001/images.faiss"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return toys


def test_that_a_damaged_collection_is_told_on_one_card_and_words_are_answered(program, damaged):
    started = program()
    shown = started.window.results.problems
    started.wait(lambda: problems.Kind.WARNING in shown.shown())
    assert "Toys is damaged (segments/0001/images.faiss differs" in labels(started)
    started.ask("red square")
    assert started.hit(1).case.title == "red square"
    assert shown.shown() == (problems.Kind.WARNING,)


def test_that_a_collection_without_known_sources_is_not_offered_to_be_built_again(program, damaged):
    started = program()
    shown = started.window.results.problems
    started.wait(lambda: problems.Kind.WARNING in shown.shown())
    assert "Build again" not in buttons(started)
    assert "medsearch-index repair" in labels(started)


def test_that_sources_which_went_meanwhile_are_told_of_when_building_is_asked_for(
    program, damaged, tmp_path
):
    started = program()
    started.wait(lambda: problems.Kind.WARNING in started.window.results.problems.shown())
    offer(started, give_sources(started, tmp_path / "gone"))
    press(started, "Build again")
    assert "no longer there" in labels(started)
    assert not started.parts.library.rebuilding.is_running


def test_that_the_card_goes_when_the_collection_is_whole_again_and_is_not_repeated_before(
    program, damaged, tmp_path, child
):
    child(tmp_path / "sound")
    started = program()
    shown = started.window.results.problems
    started.wait(lambda: problems.Kind.WARNING in shown.shown())
    info = give_sources(started, tmp_path)
    offer(started, info)
    press(started, "Build again")
    offer(started, info)
    assert shown.shown() == ()
    started.parts.asking._show_damage(info.path, "Toys is damaged.", "")
    started.wait(lambda: not started.parts.library.rebuilding.is_running)
    assert shown.shown() == ()


def test_that_a_build_that_fails_is_told_on_a_card_with_what_happened_and_what_to_do(
    program, damaged, tmp_path, child
):
    child(tmp_path / "sound", status=1)
    started = program()
    shown = started.window.results.problems
    started.wait(lambda: problems.Kind.WARNING in shown.shown())
    offer(started, give_sources(started, tmp_path))
    press(started, "Build again")
    started.wait(lambda: "The disk is full. Make room." in labels(started))
    assert "Toys was not built again." in labels(started)
    assert "Build again" in buttons(started)


def test_that_a_damaged_half_made_copy_is_built_afresh(program, damaged, tmp_path, child):
    child(tmp_path / "sound")
    rebuilding.beside(damaged).mkdir()
    (rebuilding.beside(damaged) / "bad").touch()
    started = program()
    started.wait_for_collections()
    job = rebuilt(started, damaged, tmp_path)
    started.wait(lambda: job().state in (jobs.State.DONE, jobs.State.FAILED))
    assert job().state is jobs.State.DONE
    assert not rebuilding.beside(damaged).exists()


def test_that_a_copy_built_afresh_and_damaged_is_not_used(program, damaged, tmp_path, child):
    (tmp_path / "sound" / "bad").touch()
    child(tmp_path / "sound")
    started = program()
    started.wait_for_collections()
    job = rebuilt(started, damaged, tmp_path)
    started.wait(lambda: job().state is jobs.State.FAILED)
    assert "did not pass its check" in job().sentence
    assert not (damaged / "bad").exists()


def test_that_the_picker_counts_the_cases_that_are_searched(program, toys, pictures):
    encoder = toy_encoder.ToyEncoder()
    with collection.CollectionWriter(toys, name="Toys", card=encoder.card) as writer:
        toy_collection.add(writer, [40], pictures)
        writer.commit()
    (toys / "segments/0002/cases.db").unlink()
    assert collection_list.read_info(toys).cases == 41
    started = program()
    count = started.window.search_bar.picker._count
    started.wait(lambda: problems.Kind.WARNING in started.window.results.problems.shown())
    assert count.text() == "40 cases"


def rebuilt(started, damaged: Path, tmp_path: Path):
    """Press the button in the place of a collection whose sources are known."""
    info = collection_list.read_info(damaged)
    given = collection_list.CollectionInfo(
        info.path,
        info.name,
        info.cases,
        info.encoder,
        parts=(collection_list.Part((str(tmp_path),)),),
    )
    assert started.parts.library.rebuilding.start(given, is_demo=False) == ""
    (number,) = started.window.bottom.jobs._rows
    return lambda: started.window.bottom.jobs.job(number)


def test_that_a_collection_built_again_takes_the_place_of_the_damaged_one(
    program, damaged, tmp_path, child
):
    child(tmp_path / "sound")
    started = program()
    started.wait_for_collections()
    job = rebuilt(started, damaged, tmp_path)
    started.wait(lambda: job().state is jobs.State.DONE)
    names = sorted(path.name for path in damaged.parent.iterdir() if path.is_dir())
    assert names == ["toys"]
    assert (damaged / "segments/0001/images.faiss").read_bytes() == (
        tmp_path / "sound/segments/0001/images.faiss"
    ).read_bytes()


def test_that_a_build_that_fails_leaves_the_damaged_one_where_it_was(
    program, damaged, tmp_path, child
):
    child(tmp_path / "sound", status=1)
    started = program()
    started.wait_for_collections()
    job = rebuilt(started, damaged, tmp_path)
    started.wait(lambda: job().state is jobs.State.FAILED)
    assert job().sentence == "The disk is full. Make room."
    assert (damaged / "manifest.json").exists()


@pytest.mark.parametrize("is_renamed", [False, True])
def test_that_a_swap_that_was_killed_is_finished_at_the_next_start(tmp_path, is_renamed):
    folder = tmp_path / "toys"
    toy_collection.write(rebuilding.aside(folder), range(3))
    new = folder if is_renamed else rebuilding.beside(folder)
    toy_collection.write(new, range(5))
    rebuilding.finish([folder])
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]
    assert collection_list.read_info(folder).cases == 5


def test_that_words_of_a_manifest_never_become_options_of_the_indexer(tmp_path):
    part = collection_list.Part((str(tmp_path),), columns="--out")
    info = collection_list.CollectionInfo(
        str(tmp_path / "c"), "--home=/x", 1, "--device=x", parts=(part,)
    )
    (said,) = rebuilding.words(info, is_demo=False)
    assert said[-2:] == ["--", str(tmp_path)]
    assert [word for word in said if word.startswith("--home") or word == "--columns"] == []
    part = collection_list.Part(("relative",))
    gone = collection_list.CollectionInfo("/c", "c", 1, "compact", parts=(part,))
    assert rebuilding.words(gone, is_demo=False) == []


def test_that_every_part_is_read_again_with_the_options_it_was_read_with(tmp_path):
    parts = (
        collection_list.Part((str(tmp_path),), "files", "", 5, 12),
        collection_list.Part((str(tmp_path),), "csv", "id=name", None, 24),
    )
    info = collection_list.CollectionInfo(str(tmp_path / "c"), "c", 1, "compact", parts=parts)
    first, second = rebuilding.words(info, is_demo=False)
    assert (first[0], second[0]) == ("build", "add")
    assert {"--limit=5", "--slices-per-volume=12", "--input-format=files"} <= set(first)
    assert {"--columns=id=name", "--slices-per-volume=24", "--input-format=csv"} <= set(second)
    assert not any(word.startswith("--limit") for word in second)
    assert second[-2:] == [str(tmp_path / "c.rebuilt"), str(tmp_path)]
    for words in (first, second):
        arguments.parser().parse_args(words)


def test_that_a_search_lost_twice_is_told_once_and_can_be_started_again(program, toys):
    started = program()
    started.wait_for_collections()
    started.ask("red square")
    lost = messages.Failed(started.parts.worker.ticket, errors.WorkerLostError("it ended twice"))
    started.parts.asking._show_loss()
    started.parts.searching.failed.emit(lost.error)
    shown = started.window.results.problems
    assert shown.shown() == (problems.Kind.ERROR,)
    assert started.box.terms() == (queries.TextTerm("red square"),)
    assert started.order()
    press(started, "Start the search again")
    started.wait(started.answered)
    assert shown.shown() == ()
    assert started.hit(1).case.title == "red square"


def test_that_the_list_of_collections_reads_hostile_manifests_without_harm(tmp_path, dressed):
    bad = (
        b"[" * 100_000,
        b'{"counts": {"cases": Infinity}, "encoder": {"name": "x"}}',
        b'{"counts": 3}',
        b" " * (5 << 20),
        b"[]",
    )
    for number, content in enumerate(bad):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "manifest.json").write_bytes(content)
        assert collection_list.read_info(folder).problem
    name = "<b>bold</b>\n" + "x" * 5000
    info = collection_list.CollectionInfo(str(tmp_path), name, 1, "e")
    picker = collection_picker.CollectionPicker()
    picker.set_collections((info,), (str(tmp_path),))
    assert "<b>" not in picker.toolTip()
    picker.deleteLater()


def encoded(width: int, height: int, kind: str) -> bytes:
    image = QImage(width, height, QImage.Format.Format_Grayscale8)
    image.fill(90)
    held = QByteArray()
    buffer = QBuffer(held)
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    image.save(buffer, kind)
    return bytes(held.data())


@pytest.mark.parametrize(
    "content",
    [
        encoded(4000, 8, "JPEG"),
        encoded(8, 4000, "PNG"),
        encoded(16, 16, "BMP"),
        encoded(16, 16, "JPEG")[:30],
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\xff\xd8\xff" + bytes(500),
        b"",
    ],
    ids=["wide", "high", "another kind", "cut", "svg", "zeros", "empty"],
)
def test_that_a_hostile_stored_picture_gives_no_picture(tmp_path, content):
    (tmp_path / "thumbs.bin").write_bytes(content + b"end")
    stored = cases.Thumbnail(str(tmp_path / "thumbs.bin"), 0, max(1, len(content)))
    with pytest.raises(ValueError, match=r"not the size|no picture"):
        thumbnails.read(stored)


def test_that_flipped_bits_in_a_stored_picture_never_do_harm(tmp_path):
    whole = encoded(64, 48, "JPEG")
    for at in range(0, len(whole), 3):
        content = bytearray(whole)
        content[at] ^= 0xFF
        try:
            image = thumbnails.decoded(bytes(content))
        except ValueError:
            continue
        assert max(image.width(), image.height()) <= 2048
