"""Models: what is installed, importing and removing as children, speed, device and editions."""

from __future__ import annotations

import dataclasses
import json
import sys

import pytest
import small_models
import toy_encoder
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QPushButton

from medsearch_desktop import errors
from medsearch_desktop.gui import demo_build, installed, problems
from medsearch_desktop.worker import messages

COMPACT = {
    "name": "compact",
    "ok": True,
    "built_in": True,
    "kind": "compact",
    "dimension": 384,
    "abilities": ["images", "texts"],
    "licence": "Apache-2.0",
    "source": "its makers",
    "limits": "Basic encoder, not trained for diagnosis. " * 8,
    "device": "cpu",
    "precision": "fp32",
    "runtime": "onnxruntime",
}
OTHER = COMPACT | {"name": "other", "built_in": False, "kind": "open_clip", "precision": "int8"}
BROKEN = {"name": "broken", "ok": False, "reason": "Its weights are missing."}

_CHILD = """
import json, sys, time
from pathlib import Path
state = Path(STATE)
words = sys.argv[1:3]
if words == ["encoders", "list"]:
    print(state.read_text())
elif words == ["encoders", "import"]:
    print(json.dumps({"stage": "checking", "done": 1, "total": 4}), file=sys.stderr, flush=True)
    if sys.argv[-1].endswith("endless"):
        time.sleep(60)
    if sys.argv[-1].endswith("refused"):
        error = {"message": "model.safetensors is missing", "action": "Get it."}
        print(json.dumps({"error": error}))
        sys.exit(1)
    state.write_text(AFTER)
    conversion = {"sentence": "In int8 it finds the same."}
    told = {"name": "other", "conversion": conversion, "notices": ["Its tokenizer is guessed."]}
    print(json.dumps(told))
elif words == ["encoders", "remove"]:
    state.write_text(BEFORE)
    time.sleep(PAUSE)
    print(json.dumps({"name": "other"}))
"""


@pytest.fixture
def child(monkeypatch, tmp_path):
    """A child of a few lines in the indexer's place; a function that says what is installed."""

    def put(*listed, after=(COMPACT, OTHER), pause_s=0) -> None:
        listing = [json.dumps({"encoders": list(some)}) for some in (listed, after)]
        (tmp_path / "state").write_text(listing[0])
        code = _CHILD.replace("STATE", repr(str(tmp_path / "state")))
        code = code.replace("AFTER", repr(listing[1])).replace("BEFORE", repr(listing[0]))
        code = code.replace("PAUSE", str(pause_s))
        monkeypatch.setattr(demo_build, "command", lambda: [sys.executable, "-c", code])

    return put


def opened(started, patience_ms: int = 40_000):
    started.parts.choosing.show_models()
    dialog = started.parts.choosing._models
    started.bot.waitUntil(lambda: started.parts.installed.is_listed, timeout=patience_ms)
    return dialog


def settled(started):
    """Say whether nothing is imported, removed or listed any more."""
    encoders = started.parts.installed
    return encoders.task is installed.Task.NONE and not encoders.is_listing


def press(widget, words: str) -> None:
    for button in widget.findChildren(QPushButton):
        if button.text() == words and button.isVisible():
            button.click()
            return
    raise AssertionError(f"no button {words!r}")


def test_that_what_the_indexer_lists_is_understood_and_nonsense_is_left_out():
    report = {"encoders": [COMPACT, BROKEN, 3, {}, {"name": "<b>x</b>\u202e", "dimension": "9"}]}
    first, second, third = installed.encoders_of(report)
    assert (first.dimension, first.is_built_in) == (384, True)
    assert second.problem == "Its weights are missing."
    assert (third.dimension, "\u202e" in third.name) == (0, False)
    assert installed.encoders_of({}) == ()
    assert installed.encoders_of({"encoders": None}) == ()


def test_that_limits_licence_and_place_of_an_encoder_are_shown_in_full(program, home, child):
    child(COMPACT, BROKEN)
    dialog = opened(program())
    words = dialog.encoders.words()
    assert COMPACT["limits"].strip() in words
    for part in ("Apache-2.0", "its makers", "CPU, fp32, by onnxruntime", "not measured yet"):
        assert part in words
    dialog.encoders.choose("broken")
    assert "Its weights are missing." in dialog.encoders.words()
    dialog.close()


def test_that_a_program_without_imported_models_says_how_one_is_brought_in(program, home, child):
    child(COMPACT)
    dialog = opened(program())
    assert "bring its folder here" in dialog.encoders.words()
    dialog.close()


def test_that_a_model_is_imported_and_removed_after_a_question(program, home, child, tmp_path):
    child(COMPACT)
    started = program()
    dialog = opened(started)
    dialog.import_folder(tmp_path / "other")
    started.wait(lambda: settled(started) and started.parts.installed.find("other"))
    assert dialog.encoders.chosen == "other"
    assert "other is installed" in dialog.strip.words
    assert "In int8 it finds the same. Its tokenizer is guessed." in dialog.strip.words
    press(dialog, "Remove…")
    assert "Remove other" in dialog.strip.words
    press(dialog.strip, "Keep")
    assert started.parts.installed.find("other")
    press(dialog, "Remove…")
    press(dialog.strip, "Remove")
    started.wait(lambda: settled(started) and not started.parts.installed.find("other"))
    assert dialog.strip.words == "other was removed."
    assert dialog.encoders.chosen == "compact"
    dialog.close()


def test_that_removing_offers_no_stop_that_would_not_bring_the_model_back(program, home, child):
    child(COMPACT, OTHER, pause_s=60)
    started = program()
    dialog = opened(started)
    started.parts.installed.remove("other")
    assert dialog.strip.words == "Removing"
    assert not [b for b in dialog.strip.findChildren(QPushButton) if b.isVisible()]
    started.parts.installed.stop()
    assert not started.parts.installed._child.was_stopped
    dialog.close()


def test_that_a_list_under_way_while_something_is_removed_is_read_once_more(
    program, home, child, tmp_path
):
    child(COMPACT, OTHER)
    started = program()
    opened(started).close()
    started.wait(lambda: settled(started))
    encoders = started.parts.installed
    encoders.refresh()
    (tmp_path / "state").write_text(json.dumps({"encoders": [COMPACT]}))
    encoders.refresh()
    started.wait(lambda: settled(started))
    assert encoders.find("other") is None


def test_that_the_question_before_removing_tells_of_an_embedding_under_way(
    program, toys, child, monkeypatch
):
    child(COMPACT, OTHER)
    started = program()
    started.wait_for_collections()
    dialog = opened(started)
    started.parts.library.reembedding._now = (str(toys), "other")
    dialog.encoders.choose("other")
    press(dialog, "Remove…")
    assert "embedded with it right now" in dialog.strip.words
    dialog.close()


def test_that_an_encoder_a_collection_needs_is_removed_only_after_its_name_was_told(
    program, toys, child
):
    named = OTHER | {"name": toy_encoder.NAME}
    child(named)
    started = program()
    started.wait_for_collections()
    dialog = opened(started)
    dialog.encoders.choose(toy_encoder.NAME)
    press(dialog, "Remove…")
    assert "Toys" in dialog.strip.words
    assert started.parts.installed.find(toy_encoder.NAME)
    dialog.close()


def test_that_the_encoder_of_the_program_cannot_be_removed(program, home, child):
    child(COMPACT)
    dialog = opened(program())
    (remove,) = (b for b in dialog.findChildren(QPushButton) if b.text() == "Remove…")
    assert not remove.isEnabled()
    dialog.close()


def test_that_a_refused_model_is_a_sentence_and_what_to_do(program, home, child, tmp_path):
    child(COMPACT)
    started = program()
    dialog = opened(started)
    dialog.import_folder(tmp_path / "refused")
    started.wait(lambda: settled(started))
    assert dialog.strip.words == "model.safetensors is missing. Get it."
    assert dialog.strip.property("state") == "error"
    dialog.close()


def test_that_an_import_can_be_stopped(program, home, child, tmp_path):
    child(COMPACT)
    started = program()
    dialog = opened(started)
    dialog.import_folder(tmp_path / "endless")
    started.wait(lambda: "1 / 4" in dialog.strip.words)
    press(dialog.strip, "Stop")
    started.wait(lambda: settled(started))
    assert "nothing was installed" in dialog.strip.words
    dialog.close()


def test_that_a_list_that_cannot_be_read_is_told_and_an_import_goes_on(
    program, home, child, tmp_path
):
    child(COMPACT)
    started = program()
    dialog = opened(started)
    dialog.import_folder(tmp_path / "endless")
    started.wait(lambda: "1 / 4" in dialog.strip.words)
    ended = []
    started.parts.installed.ended.connect(ended.append)
    (tmp_path / "state").unlink()
    started.parts.installed.refresh()
    started.wait(lambda: ended)
    assert ended[0].task is installed.Task.LIST
    assert not dialog._import.isEnabled()
    dialog.close()


def test_that_an_import_ends_with_the_window(program, home, child, tmp_path):
    child(COMPACT)
    started = program()
    dialog = opened(started)
    dialog.import_folder(tmp_path / "endless")
    started.wait(lambda: "1 / 4" in dialog.strip.words)
    dialog.close()
    started.app.close()
    assert not started.parts.installed._child.is_running


def test_that_speed_is_measured_in_the_search_process(program, home, child, monkeypatch):
    child(COMPACT | {"name": toy_encoder.NAME})
    started = program()
    dialog = opened(started)
    dialog.encoders.choose(toy_encoder.NAME)
    press(dialog, "Measure here")
    started.wait(lambda: started.parts.installed.measured(toy_encoder.NAME))
    assert "ms an image" in dialog.encoders.words()
    assert "ms a text" in dialog.encoders.words()
    dialog.close()


def test_that_a_lost_search_process_ends_the_waiting_for_a_speed(program, home, child):
    child(COMPACT)
    started = program()
    dialog = opened(started)
    started.parts.installed._measuring.add("compact")
    started.parts.worker.lost.emit()
    assert "not measured yet" in dialog.encoders.words()
    dialog.close()


def test_that_the_keyboard_reaches_everything_and_stays_when_the_page_is_made_anew(
    program, home, child, qtbot
):
    child(COMPACT, OTHER)
    dialog = opened(program())
    dialog.encoders.choose("other")
    (remove,) = (b for b in dialog.findChildren(QPushButton) if b.text() == "Remove…")
    remove.setFocus()
    dialog.encoders.choose("other")
    assert dialog.focusWidget() is not remove
    assert dialog.focusWidget().text() == "Remove…"
    reached = set()
    for _ in range(30):
        qtbot.keyClick(dialog.focusWidget(), Qt.Key.Key_Tab)
        reached.add(getattr(dialog.focusWidget(), "text", lambda: "list")())
    assert {"Measure here", "Remove…", "Import a model folder…", "Close"} <= reached
    dialog.close()


def test_that_a_collection_is_searched_by_the_edition_chosen_on_its_page(program, toys, child):
    import toy_collection

    card = dataclasses.replace(toy_encoder.ToyEncoder().card, name="other", limits="Not for you.")
    toy_collection.write(toys.with_name("toys@other"), range(40), card=card)
    child(COMPACT, OTHER)
    started = program()
    started.wait_for_collections()
    dialog = opened(started)
    (box,) = dialog.editions.findChildren(QComboBox)
    assert [box.itemText(n) for n in range(2)] == [toy_encoder.NAME, "other"]
    wheel = QWheelEvent(
        QPointF(5, 5),
        QPointF(box.mapToGlobal(QPoint(5, 5))),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(box, wheel)
    assert box.currentIndex() == 0  # the page is scrolled, the choice stays
    box.setCurrentIndex(1)
    box.activated.emit(1)
    assert started.parts.library.searched == (str(toys.with_name("toys@other")),)
    dialog.close()


def test_that_light_and_status_bar_name_device_and_precision(program, toys):
    started = program()
    started.wait_for_collections()
    light = started.window.search_bar.device
    started.wait(lambda: "fp32" in light._words.text())
    assert light._words.text() == "CPU, fp32"
    assert started.window._device.text() == "CPU, fp32"


def test_that_the_light_forgets_the_encoder_of_a_collection_no_longer_searched(program, toys):
    import toy_collection

    card = dataclasses.replace(toy_encoder.ToyEncoder().card, name="gone", digest="0" * 64)
    toy_collection.write(toys.with_name("zoo"), range(40), card=card)
    started = program()
    started.wait_for_collections()
    started.wait(lambda: started.window._device.text() == "CPU, fp32")
    started.parts.library.choose((str(toys.with_name("zoo")),))
    assert started.window._device.text() == "CPU"
    assert started.window.search_bar.device._words.text() == "CPU"


def test_that_an_edition_by_other_files_of_its_encoder_says_so_and_can_be_embedded_again(
    program, toys, child
):
    digest = toy_encoder.ToyEncoder().card.digest
    now = OTHER | {"name": toy_encoder.NAME, "digest": "f" * 64}
    child(now)
    started = program()
    started.wait_for_collections()
    dialog = opened(started)
    started.wait(lambda: settled(started))

    def told() -> str:
        return "\n".join(label.text() for label in dialog.editions.findChildren(QLabel))

    def offered() -> list[str]:
        (menu,) = (button.menu() for button in dialog.editions.findChildren(QPushButton)[:1])
        return [action.text() for action in menu.actions() if action.isEnabled()]

    assert "another version" in told()
    assert offered() == [f"{toy_encoder.NAME} (as it is installed now)"]
    (group,) = started.parts.library.groups
    beside = group.folder_for(toy_encoder.NAME, "f" * 64)
    assert beside == f"{toys}@{toy_encoder.NAME}"
    child(now | {"digest": digest})
    started.parts.installed.refresh()
    started.wait(lambda: settled(started))
    assert "only words" not in told()
    assert offered() == []
    child(COMPACT)
    started.parts.installed.refresh()
    started.wait(lambda: settled(started))
    assert "is not installed" in told()
    dialog.close()


def test_that_a_notice_tells_when_an_encoder_changes_its_device(program, toys):
    started = program()
    started.wait_for_collections()
    started.wait(lambda: started.window._device.text() == "CPU, fp32")
    on_gpu = messages.Placed(toy_encoder.NAME, "NVIDIA H200", "fp16", "torch")
    started.parts.worker.placed.emit((on_gpu,))
    assert started.window._device.text() == "NVIDIA H200, fp16"
    assert started.window.search_bar.device._words.text() == "GPU, fp16"
    shown = started.window.results.problems
    assert problems.Kind.NOTICE in shown.shown()
    shown.remove(problems.Kind.NOTICE)
    started.parts.worker.placed.emit((on_gpu,))
    assert shown.shown() == ()


@pytest.mark.slow
def test_that_a_model_in_a_true_layout_is_imported_by_the_indexer_itself(program, home, tmp_path):
    folder = small_models.biomedclip(tmp_path / "biomedclip")
    started = program()
    dialog = opened(started, 240_000)
    dialog.import_folder(folder)
    started.bot.waitUntil(lambda: settled(started), timeout=240_000)
    assert dialog.strip.property("state") == "done", dialog.strip.words
    assert started.parts.installed.find("biomedclip").dimension == 32
    dialog.close()


def test_that_an_error_of_the_worker_while_measuring_is_shown(program, home, child):
    child(COMPACT)
    started = program()
    dialog = opened(started)
    error = errors.told(errors.EncoderError("compact", "it is broken"))
    started.parts.worker.measured.emit(messages.Measured("compact", problem=error))
    assert "it is broken" in dialog.encoders.words()
    dialog.close()
