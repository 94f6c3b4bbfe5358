"""Collections to choose from: read from their manifests, remembered over restarts."""

from __future__ import annotations

import pytest
import toy_collection
from PySide6.QtWidgets import QCheckBox

from medsearch_desktop.gui import collection_list, collection_picker


def test_that_a_manifest_gives_name_cases_and_encoder(tmp_path):
    toy_collection.write(tmp_path / "toys", range(12), name="Teaching files")
    info = collection_list.read_info(tmp_path / "toys")
    assert (info.name, info.cases, info.problem) == ("Teaching files", 12, "")
    assert info.encoder


@pytest.mark.parametrize("content", [None, "", "[]", '{"counts": {}}', "\ufffd{"])
def test_that_a_folder_without_a_sound_manifest_is_a_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content, "utf-8")
    assert collection_list.read_info(tmp_path).problem.endswith(".")


def test_that_found_and_added_folders_are_listed_once(tmp_path):
    home = tmp_path / "collections"
    toy_collection.write(home / "b", range(4))
    toy_collection.write(home / "a", range(4))
    (home / "no collection").mkdir()
    toy_collection.write(tmp_path / "far", range(4))
    choice = collection_list.Choice(added=(str(tmp_path / "far"), str(home / "a")))
    listed = [info.path for info in collection_list.available(home, choice)]
    assert listed == [str(home / "a"), str(home / "b"), str(tmp_path / "far")]


def test_that_a_choice_outlives_the_program_and_a_broken_file_is_no_choice(tmp_path):
    file = tmp_path / "choice.json"
    choice = collection_list.Choice(("/a",), ("/a", "/b"))
    collection_list.save_choice(file, choice)
    assert collection_list.load_choice(file) == choice
    file.write_text("{", "utf-8")
    assert collection_list.load_choice(file) == collection_list.Choice()
    assert collection_list.load_choice(tmp_path / "none") == collection_list.Choice()


@pytest.fixture
def picker(dressed, qtbot):
    made = collection_picker.CollectionPicker()
    qtbot.addWidget(made)
    made.show()
    return made


def infos(count):
    return tuple(
        collection_list.CollectionInfo(f"/{n}", f"Set {n}", 1000 + n, "compact")
        for n in range(count)
    )


def test_that_the_picker_shows_counts_and_encoder_and_chooses_several(picker, qtbot):
    picker.set_collections(infos(3), ("/0",))
    assert "1,000 cases" in picker.toolTip()
    picker.open_list()
    boxes = picker.findChildren(QCheckBox)
    assert [box.text() for box in boxes] == ["Set 0", "Set 1", "Set 2"]
    with qtbot.waitSignal(picker.chosen) as chosen:
        boxes[2].setChecked(True)
    assert chosen.args == [("/0", "/2")]
    assert "2 collections" in picker.accessibleName()
    picker.findChild(QCheckBox).window().close()


def test_that_a_collection_that_cannot_be_read_cannot_be_chosen(picker):
    broken = collection_list.CollectionInfo("/x", "x", 0, "", problem="It is broken.")
    picker.set_collections((broken,), ())
    picker.open_list()
    (box,) = picker.findChildren(QCheckBox)
    assert not box.isEnabled()
    box.window().close()
