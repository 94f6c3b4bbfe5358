"""The whole window, with a real worker, real readers, a toy collection and phantoms."""

from __future__ import annotations

import os
import signal
import sqlite3

import phantoms
import pytest
import toy_collection
from PySide6.QtCore import QMimeData, QPoint, QUrl
from PySide6.QtGui import QImage

from medsearch_desktop import queries
from medsearch_desktop.gui import bottom_dock, drops, jobs, problems


def files(*paths) -> QMimeData:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return mime


def words(text) -> QMimeData:
    mime = QMimeData()
    mime.setText(text)
    return mime


def pane_is_filled(started):
    volume = started.window.pane.volume
    return volume is not None and volume.ready.all()


def test_that_a_dropped_picture_is_shown_and_similar_cases_are_found(program, drop, toys, pictures):
    started = program()
    started.wait_for_collections()
    assert drop(started.window, files(pictures / "green.png"), drops.Zone.FIND)
    started.wait(started.answered)
    started.wait(lambda: pane_is_filled(started))
    assert started.hit(1).case.title == "green square"
    assert isinstance(started.box.terms()[0], queries.ImageTerm)


def test_that_a_dropped_folder_is_opened_as_a_series_and_asked_as_a_volume(
    program, drop, toys, tmp_path
):
    phantoms.write_ct_series(tmp_path / "ct", slices=12)
    started = program()
    started.wait_for_collections()
    assert drop(started.window, files(tmp_path / "ct"), drops.Zone.FIND)
    started.wait(started.answered)
    started.wait(lambda: pane_is_filled(started))
    (term,) = started.box.terms()
    assert isinstance(term, queries.VolumeTerm)
    assert term.path == str(tmp_path / "ct")
    assert len(started.window.pane.series.slices) == 12
    assert len(started.order()) == 20


def test_that_what_is_dropped_on_only_open_is_not_searched(program, drop, toys, pictures):
    started = program()
    started.wait_for_collections()
    drop(started.window, files(pictures / "red.png"), drops.Zone.OPEN)
    started.wait(lambda: pane_is_filled(started))
    assert started.box.parts == ()
    assert started.order() == []


def test_that_a_drop_on_the_results_adds_a_term_to_the_search(program, drop, toys, pictures):
    started = program()
    started.wait_for_collections()
    started.ask("fracture")
    drop(started.window, files(pictures / "red.png"), drops.Zone.ADD)
    started.wait(lambda: len(started.box.parts) == 2 and started.answered())
    assert [type(term) for term in started.box.terms()] == [queries.TextTerm, queries.ImageTerm]
    drop(started.window, words("number 8"), drops.Zone.ADD)
    started.wait(lambda: len(started.box.parts) == 3 and started.answered())


def test_that_a_drop_anywhere_falls_into_a_zone(program, toys):
    started = program()
    started.wait_for_collections()
    zones = started.parts.zones
    zones.offer(drops.Dropped(words="fracture"))
    _, middle, right = started.window.zone_areas()
    row = started.window.search_bar.mapTo(started.window, started.window.search_bar.rect().center())
    assert zones.point(row) is drops.Zone.ADD
    below = QPoint(middle.center().x(), started.window.height() - 2)
    assert zones.point(below) is drops.Zone.FIND
    assert zones.point(right.center()) is drops.Zone.ADD
    zones.close_zones()


def test_that_a_zip_and_loose_files_are_opened(program, drop, toys, tmp_path):
    paths = phantoms.write_ct_series(tmp_path / "ct", slices=6)
    packed = phantoms.zip_folder(tmp_path / "ct", tmp_path / "ct.zip")
    started = program()
    started.wait_for_collections()
    drop(started.window, files(packed), drops.Zone.FIND)
    started.wait(started.answered)
    assert started.box.terms()[0].path == str(packed)
    drop(started.window, files(*paths), drops.Zone.FIND)
    started.wait(lambda: started.box.terms()[0].path == str(tmp_path / "ct"))
    started.wait(started.answered)


def test_that_a_picture_from_the_clipboard_is_opened_and_searched(program, toys, home):
    started = program()
    started.wait_for_collections()
    image = QImage(32, 32, QImage.Format.Format_RGB32)
    image.fill(0xFFFFFF00)
    mime = QMimeData()
    mime.setImageData(image)
    started.parts.zones.paste(mime)
    started.wait(started.answered)
    started.wait(lambda: pane_is_filled(started))
    assert started.hit(1).case.title == "yellow square"
    assert [path.suffix for path in (home / "scratch").iterdir()] == [".png"]
    # Its file is named by a digest, which says nothing to a reader.
    assert started.window.strip.model.studies[0].title == "Pasted picture"
    assert started.window.pane.series.description == "Pasted picture"


def test_that_a_thumb_reranks_with_arrows_and_undo_restores_the_order(program, toys, home):
    started = program()
    started.wait_for_collections()
    started.ask("square with effusion")
    before = started.order()
    disliked = started.hit(1)
    started.window.results.view.thumb_given.emit(disliked, -1)
    started.wait(lambda: started.order() != before and started.answered())
    assert started.model.verdict(disliked) == -1
    assert started.order()[0] != disliked.case.case_id
    assert any(started.model.change(hit) for hit in started.model.hits())
    assert "Re-ranked" in started.window.results.ribbon_text()
    started.window.results.undo_requested.emit()
    assert started.order() == before
    assert started.model.verdict(disliked) == 0
    assert not any(started.model.change(hit) for hit in started.model.hits())
    started.app.close()
    rows = sqlite3.connect(home / "shelf.db").execute("SELECT thumb FROM verdicts").fetchall()
    assert rows == [(-1,), (0,)]


def test_that_a_thumb_pressed_again_is_taken_back(program, toys):
    started = program()
    started.wait_for_collections()
    started.ask("square with effusion")
    hit = started.hit(3)
    started.window.results.view.thumb_given.emit(hit, 1)
    started.wait(started.answered)
    started.window.results.view.thumb_given.emit(hit, 0)
    started.wait(started.answered)
    assert started.parts.searching.thumbs == {}


def test_that_thumbs_and_stars_are_there_after_a_restart(program, toys):
    first = program()
    first.wait_for_collections()
    first.ask("square with effusion")
    liked, kept = first.hit(4), first.hit(2)
    first.window.results.view.thumb_given.emit(liked, 1)
    first.wait(first.answered)
    first.window.results.view.star_toggled.emit(kept)
    first.wait(lambda: first.window.bottom.favourites.model.rowCount() == 1)
    order = first.order()
    first.app.close()

    again = program()
    again.wait(lambda: again.window.bottom.favourites.model.rowCount() == 1)
    again.wait_for_collections()
    again.ask("square with effusion")
    assert again.order() == order
    assert again.model.verdict(liked) == 1
    assert again.model.is_kept(kept)
    again.window.results.view.star_toggled.emit(kept)
    again.wait(lambda: again.window.bottom.favourites.model.rowCount() == 0)


def test_that_a_favourite_is_opened_noted_and_removed(program, toys, home):
    started = program()
    started.wait_for_collections()
    started.ask("red")
    started.window.results.view.star_toggled.emit(started.hit(1))
    pane = started.window.bottom.favourites
    started.wait(lambda: pane.model.rowCount() == 1)
    started.window.bottom.show_page(bottom_dock.FAVOURITES)
    view = pane._pictures
    view.setCurrentIndex(pane.model.index(0))
    pane._note.setText("for the quiz")
    pane._note.editingFinished.emit()
    started.wait(lambda: pane.model.favourite(0) and pane.model.favourite(0).note)
    view.setCurrentIndex(pane.model.index(0))
    pane._emit(pane.open_requested)
    started.wait(lambda: pane_is_filled(started))
    view.setCurrentIndex(pane.model.index(0))
    pane._remove_chosen()
    started.wait(lambda: pane.model.rowCount() == 0)


def test_that_words_find_favourites_within_their_folder(program, toys):
    started = program()
    started.wait_for_collections()
    pane = started.window.bottom.favourites
    for kept, colour in enumerate(("red", "green"), start=1):
        started.ask(colour)
        started.window.results.view.star_toggled.emit(started.hit(1))
        started.wait(lambda kept=kept: pane.model.rowCount() == kept)
    pane._words.setText("green")
    started.wait(lambda: pane.model.rowCount() == 1)
    assert pane.model.favourite(0).title == "green square"
    pane._words.setText("haemorrhage")
    started.wait(lambda: pane.model.rowCount() == 0)
    assert pane._empty.text().startswith("No favourite")
    pane._words.clear()
    started.wait(lambda: pane.model.rowCount() == 2)


def test_that_a_clicked_card_opens_its_original_at_full_size(program, toys, pictures):
    started = program()
    started.wait_for_collections()
    started.ask("red")
    hit = started.hit(1)
    started.window.results.view.open_requested.emit(hit)
    started.wait(lambda: pane_is_filled(started))
    assert started.window.pane.series.slices[0].path == hit.case.images[0].ref.path
    assert started.model.opened() == (hit.collection, hit.case.case_id)
    assert started.window.strip.model.studies[0].title == "Case: red square"


def test_that_a_card_without_its_original_shows_the_stored_picture_and_says_so(
    program, home, tmp_path
):
    folder = toy_collection.write_pictures(tmp_path / "gone")
    real = (folder / "red.png").read_bytes()
    toy_collection_with_thumbnails(home / "collections" / "toys", folder, real)
    for path in folder.iterdir():
        path.unlink()
    started = program()
    started.wait_for_collections()
    started.ask("red")
    started.window.results.view.open_requested.emit(started.hit(1))
    started.wait(lambda: pane_is_filled(started))
    (mark,) = started.window.pane.series.marks
    assert "original file is gone" in mark


def toy_collection_with_thumbnails(path, pictures, thumbnail):
    import toy_encoder

    from medsearch_desktop.engine import collection

    encoder = toy_encoder.ToyEncoder()
    with collection.CollectionWriter(path, name="Toys", card=encoder.card) as writer:
        for number in range(8):
            one = toy_collection.case(number, pictures)
            shown = toy_collection.picture(toy_collection.COLOURS[number % 8])
            writer.add(
                one,
                encoder.encode_images(shown[None]),
                encoder.encode_texts([one.text]),
                [thumbnail],
            )
        writer.commit()


def test_that_a_case_gone_altogether_is_a_sentence_and_not_a_crash(program, toys, pictures):
    started = program()
    started.wait_for_collections()
    started.ask("red")
    for path in pictures.iterdir():
        path.unlink()
    started.window.results.view.open_requested.emit(started.hit(1))
    started.wait(lambda: problems.Kind.ERROR in started.window.results.problems.shown())


def test_that_files_which_cannot_be_opened_are_counted_and_listed_with_reasons(
    program, drop, toys, tmp_path
):
    phantoms.write_ct_series(tmp_path / "ct", slices=4)
    (tmp_path / "ct" / "notes.txt").write_text("no image")
    (tmp_path / "ct" / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    started = program()
    started.wait_for_collections()
    drop(started.window, files(tmp_path / "ct"), drops.Zone.FIND)
    started.wait(lambda: problems.Kind.WARNING in started.window.results.problems.shown())
    log = started.window.bottom.log.model
    listed = [log.line(row) for row in range(log.rowCount())]
    assert {line.what.rsplit("/", 1)[-1] for line in listed} >= {"broken.dcm"}
    assert all(line.why for line in listed)
    started.wait(started.answered)


def test_that_a_file_which_is_no_image_is_an_error_with_its_reason(program, drop, toys, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    started = program()
    started.wait_for_collections()
    drop(started.window, files(tmp_path / "broken.png"), drops.Zone.FIND)
    started.wait(lambda: problems.Kind.ERROR in started.window.results.problems.shown())
    states = [row.job.state for row in started.window.bottom.jobs._rows.values()]
    assert states == [jobs.State.FAILED]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_that_a_worker_killed_in_mid_query_is_replaced_and_the_question_answered(
    program, drop, toys, tmp_path
):
    phantoms.write_ct_series(tmp_path / "ct", slices=60, size=(256, 256))
    started = program()
    started.wait_for_collections()
    started.ask("red")
    killed = started.parts.worker.process_id
    drop(started.window, files(tmp_path / "ct"), drops.Zone.FIND)
    started.wait(lambda: started.parts.searching.is_busy)
    os.kill(killed, signal.SIGKILL)
    started.wait(lambda: problems.Kind.NOTICE in started.window.results.problems.shown())
    started.wait(started.answered)
    assert isinstance(started.parts.searching.question.terms[0], queries.VolumeTerm)
    assert len(started.order()) == 20
    assert started.parts.worker.process_id != killed


def test_that_several_collections_are_searched_together_and_the_choice_is_kept(
    program, toys, home, pictures
):
    toy_collection.write(home / "collections" / "more", range(40, 60), name="More", folder=pictures)
    started = program()
    started.wait(lambda: len(started.parts.library.known) == 2)
    assert len(started.parts.library.searched) == 1
    picker = started.window.search_bar.picker
    picker.chosen.emit(tuple(info.path for info in started.parts.library.known))
    started.ask("red")
    assert {hit.collection for hit in started.model.hits()} == {
        str(home / "collections" / "more"),
        str(toys),
    }
    started.app.close()
    again = program()
    again.wait(lambda: len(again.parts.library.searched) == 2)


def test_that_a_facet_narrows_the_answer_and_clear_widens_it(program, toys):
    started = program()
    started.wait_for_collections()
    started.ask("square")
    started.window.facets.filters_changed.emit((queries.Filter("modality", "CT"),))
    started.wait(started.answered)
    assert {hit.case.facets.modality for hit in started.model.hits()} == {"CT"}
    started.window.facets.filters_changed.emit(())
    started.wait(started.answered)
    assert {hit.case.facets.modality for hit in started.model.hits()} == {"CT", "MR"}


def test_that_a_path_on_the_command_line_is_opened_and_asked_by_as_a_drop_is(
    program, toys, pictures
):
    started = program(str(pictures / "red.png"))
    started.wait(lambda: started.model.hits() and pane_is_filled(started))
    assert started.hit(1).case.title == "red square"


def test_that_words_on_the_command_line_and_paths_are_taken_at_the_start(program, toys, pictures):
    started = program(str(pictures / "red.png"), "--text", "blue")
    started.wait(lambda: len(started.box.parts) == 2 and pane_is_filled(started))
    started.wait(started.answered)
    assert {type(term) for term in started.box.terms()} == {queries.TextTerm, queries.ImageTerm}


def test_that_a_collection_named_on_the_command_line_is_searched(program, home, tmp_path, pictures):
    toy_collection.write(tmp_path / "elsewhere", range(10), folder=pictures)
    started = program("--collection", str(tmp_path / "elsewhere"), "--text", "red")
    started.wait(started.answered)
    assert started.parts.library.searched == (str(tmp_path / "elsewhere"),)


def test_that_without_a_collection_the_first_run_page_is_shown_and_the_question_waits(
    program, home, pictures
):
    started = program("--text", "red")
    started.wait(lambda: started.window.viewer.first_run.isVisible())
    started.wait(lambda: problems.Kind.WARNING in started.window.results.problems.shown())
    toy_collection.write(home / "collections" / "toys", range(10), folder=pictures)
    started.parts.library.load()
    started.wait(started.answered)
    assert started.hit(1).case.title == "red square"
    assert not started.window.viewer.first_run.isVisible()


def test_that_the_title_names_no_patient(program, drop, toys, tmp_path):
    phantoms.write_ct_series(tmp_path / "ct", slices=4)
    started = program()
    started.wait_for_collections()
    drop(started.window, files(tmp_path / "ct"), drops.Zone.OPEN)
    started.wait(lambda: pane_is_filled(started))
    (study,) = started.window.strip.model.studies
    title = started.window.windowTitle()
    assert title.startswith("CT")
    assert not study.patient_name or study.patient_name not in title
    assert not study.patient_id or study.patient_id not in title


def test_that_recent_searches_can_be_asked_again(program, toys):
    started = program()
    started.wait_for_collections()
    started.ask("red")
    order = started.order()
    started.box.set_parts(())
    started.ask("blue")
    menu = started.window.menus.recent
    started.wait(lambda: [action.text() for action in menu.actions()][:2] == ["blue", "red"])
    menu.actions()[1].trigger()
    started.wait(lambda: started.answered() and started.order() == order)


def test_that_every_control_has_a_name_for_screen_readers(program, toys):
    from PySide6.QtWidgets import QAbstractButton, QAbstractItemView, QLineEdit

    window = program(size=(1920, 1080)).window
    nameless = [
        f"{type(widget).__name__} in {type(widget.parent()).__name__}"
        for kind in (QAbstractButton, QLineEdit, QAbstractItemView)
        for widget in window.findChildren(kind)
        if not (
            widget.accessibleName()
            or (isinstance(widget, QAbstractButton) and widget.text())
            or widget.objectName().startswith("qt_")
            or (type(widget).__module__.startswith("PySide6") and not widget.isVisibleTo(window))
        )
    ]
    assert not nameless
