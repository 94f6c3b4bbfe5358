"""Study strip: studies, their series, and pictures that stream in."""

from __future__ import annotations

import dataclasses

import phantoms
import pytest
from PySide6.QtGui import QPixmap

from medsearch_desktop.gui import strip_rows, study_strip
from medsearch_desktop.imaging import opening


@pytest.fixture
def strip(dressed, qtbot):
    made = study_strip.StudyStrip()
    qtbot.addWidget(made)
    made.resize(208, 600)
    made.show()
    return made


@pytest.fixture
def two(tmp_path):
    """A CT of 5 slices and a picture."""
    phantoms.write_ct_series(tmp_path / "ct", slices=5)
    phantoms.write_picture(tmp_path / "a.png")
    found = opening.open_paths([str(tmp_path / "ct"), str(tmp_path / "a.png")])
    return sorted(found, key=lambda study: -len(study.series[0].slices))


def kinds(model):
    return [model.row(model.index(n)).kind.value for n in range(model.rowCount())]


def test_that_studies_stand_first_and_then_the_series_of_the_open_one(strip, two):
    for study in two:
        strip.model.add(study)
    strip.model.set_open(study_strip.key_of(two[0], two[0].series[0]))
    assert kinds(strip.model) == ["study", "study", "heading", "series"]
    strip.set_narrow(True)
    assert kinds(strip.model) == ["series", "series"]


def test_that_a_study_opened_again_stands_once(strip, two):
    strip.model.add(two[0])
    strip.model.add(two[0])
    assert len(strip.model.studies) == 1


def test_that_a_chosen_study_shows_its_largest_series(strip, two, qtbot):
    strip.model.add(two[0])
    with qtbot.waitSignal(strip.series_chosen) as chosen:
        strip._list.clicked.emit(strip.model.index(0))
    assert chosen.args == [two[0], two[0].series[0]]


def test_that_pictures_stream_in_and_are_drawn(strip, two):
    strip.model.add(two[0])
    row = strip.model.row(strip.model.index(2))
    assert strip.model.picture(row) is None
    red = QPixmap(32, 32)
    red.fill("red")
    strip.model.set_picture(study_strip.key_of(two[0], two[0].series[0]), red)
    assert strip.model.picture(row) is red
    shown = strip.grab().toImage()
    rect = strip._list.visualRect(strip.model.index(2))
    place = strip._list.viewport().mapTo(strip, rect.topLeft())
    assert shown.pixelColor(place.x() + 40, place.y() + 40).red() > 200


def test_that_a_dicom_date_is_written_with_dashes(two):
    study = two[0]
    lines = strip_rows.lines_of(strip_rows.Row(strip_rows.Kind.STUDY, study))
    assert lines[0]
    assert study.date not in lines[1] or len(study.date) != 8


def many(study, count):
    return [dataclasses.replace(study, study_uid=f"1.2.{n}") for n in range(count)]


def test_that_four_hundred_studies_that_stream_in_are_never_a_blank_list(strip, two, qtbot):
    resets = []
    strip.model.modelReset.connect(lambda: resets.append(1))
    studies = many(two[0], 400)
    strip.model.add(studies[0])
    strip.model.set_open(study_strip.key_of(studies[0], studies[0].series[0]))
    for start in range(1, 400, 7):
        strip.model.add_all(studies[start : start + 7])
        qtbot.wait(1)
        assert strip._list.indexAt(strip._list.viewport().rect().center()).isValid()
        shown = strip._list.visualRect(strip.model.open_index())
        assert strip._list.viewport().rect().contains(shown.center())
    assert resets == []
    assert strip.model.rowCount() == 402


def test_that_a_reader_who_looks_elsewhere_is_not_scrolled_back(strip, two, qtbot):
    studies = many(two[0], 100)
    strip.model.add_all(studies[:60])
    strip.model.set_open(study_strip.key_of(studies[0], studies[0].series[0]))
    qtbot.wait(1)
    bar = strip._list.verticalScrollBar()
    bar.triggerAction(bar.SliderAction.SliderToMinimum)
    strip.model.add_all(studies[60:])
    qtbot.wait(1)
    assert bar.value() == 0
    strip.model.set_open(study_strip.key_of(studies[1], studies[1].series[0]))
    qtbot.wait(1)
    assert bar.value() > 0


def test_that_rows_are_right_when_studies_come_go_and_change(strip, two):
    studies = many(two[0], 5)
    model = strip.model
    model.add_all(studies)
    model.set_open(study_strip.key_of(studies[1], studies[1].series[0]))
    assert kinds(model) == ["study"] * 5 + ["heading", "series"]
    model.remove(studies[1])
    assert kinds(model) == ["study"] * 4
    model.set_open(study_strip.key_of(studies[4], studies[4].series[0]))
    strip.set_narrow(True)
    assert [model.row(model.index(n)).study for n in range(4)] == [*studies[:1], *studies[2:]]
    model.clear()
    assert model.rowCount() == 0
