"""What is dropped, with real readers: studies that grow, the question, the report, one card."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from types import SimpleNamespace

import phantoms
import pytest
from PySide6.QtCore import Qt

from medsearch_desktop import queries
from medsearch_desktop.gui import (
    background,
    drop_reader,
    drops,
    import_report,
    intake,
    jobs,
    problems,
    study_strip,
    theme,
    viewing,
)
from medsearch_desktop.imaging import isolated, opening
from medsearch_desktop.viewer import slice_pane

PATIENCE_MS = 40_000
MARKUP = '<img src="file:///x"><b>Doe</b>'


class Desk:
    """The parts that a drop goes through, and what they said."""

    def __init__(self, qtbot) -> None:
        self.bot, self.work = qtbot, background.Background()
        self.readers = isolated.Readers(2)
        self.pane = slice_pane.SlicePane(theme.overlay_colours())
        self.strip, self.jobs, self.log = study_strip.StudyStrip(), jobs.JobsPane(), jobs.LogPane()
        self.imported = import_report.ImportPane(self.work)
        for widget in (self.pane, self.strip, self.jobs, self.log, self.imported):
            qtbot.addWidget(widget)
        self.viewing = viewing.Viewing(self.readers, self.work, self.pane, self.pane)
        self.reader = drop_reader.DropReader(self.readers, self.work, self.pane)
        bottom = SimpleNamespace(jobs=self.jobs, log=self.log, imported=self.imported)
        self.intake = intake.Intake(
            self.viewing, self.reader, self.work, self.strip, bottom, self.pane
        )
        self.found, self.cards, self.ended, self.came = [], [], [], []
        self.intake.found.connect(self.found.append)
        self.intake.problem_met.connect(self.cards.append)
        self.intake.ended.connect(lambda request, opened: self.ended.append(opened))
        self.reader.found.connect(lambda request, came: self.came.append(came))

    def drop(self, *paths: Path, zone: drops.Zone = drops.Zone.FIND) -> None:
        self.intake.take(drops.Dropped(paths=paths), zone)

    def wait(self, condition) -> None:
        self.bot.waitUntil(lambda: bool(condition()), timeout=PATIENCE_MS)

    def open(self, *paths: Path, zone: drops.Zone = drops.Zone.FIND) -> None:
        before = len(self.ended)
        self.drop(*paths, zone=zone)
        self.wait(lambda: len(self.ended) > before)

    def report(self) -> dict[str, tuple[str, str]]:
        entries = self.imported.model.drop.entries
        return {Path(entry.path).name: (entry.answer, entry.why) for entry in entries}

    def job(self) -> jobs.Job:
        """Return the one job there is."""
        numbers = [number for number in range(100) if self.jobs.job(number) is not None]
        assert len(numbers) == 1
        return self.jobs.job(numbers[0])

    def close(self) -> None:
        self.viewing.clear()
        self.readers.close()
        self.work.close()


@pytest.fixture
def desk(dressed, qtbot):
    made = Desk(qtbot)
    yield made
    made.close()


@pytest.fixture
def two_series(tmp_path: Path) -> Path:
    """One study of two series in two folders: it is known in part before it is whole."""

    def other(found, k):
        found.SeriesInstanceUID, found.SeriesNumber = phantoms.uid("second"), 9
        found.SOPInstanceUID = phantoms.uid("second", k)

    phantoms.write_ct_series(tmp_path / "both" / "a", slices=9)
    phantoms.write_ct_series(tmp_path / "both" / "b", slices=6, change=other)
    return tmp_path / "both"


def test_that_a_study_is_shown_and_asked_before_all_of_it_is_known(desk, two_series):
    desk.open(two_series)
    uids = [(s.study_uid, s.is_complete) for came in desk.came for s in came.studies]
    assert [is_complete for _, is_complete in uids] == [False, True]
    assert len({uid for uid, _ in uids}) == 1
    first, second = desk.found
    assert isinstance(first.part.term, queries.ImageTerm)
    assert isinstance(second.part.term, queries.VolumeTerm)
    assert second.instead_of == first.part.term
    assert second.part.term.path == str(two_series / "a")
    (study,) = desk.strip.model.studies
    assert study.is_complete
    assert [len(series.slices) for series in study.series] == [9, 6]
    assert desk.viewing.now[0] is study
    assert desk.pane.current_index == 4
    desk.wait(lambda: desk.pane.ready.all())


def test_that_a_whole_drop_is_asked_by_its_series_at_once(desk, tmp_path):
    phantoms.write_ct_series(tmp_path / "ct", slices=5)
    desk.open(tmp_path / "ct")
    (only,) = desk.found
    assert isinstance(only.part.term, queries.VolumeTerm)
    assert only.instead_of is None


def test_that_a_very_large_drop_stays_with_the_slice_it_was_asked_by(desk, two_series, monkeypatch):
    monkeypatch.setattr(intake, "_MOST_ASKED_AGAIN", 10)
    desk.open(two_series)
    (only,) = desk.found
    assert isinstance(only.part.term, queries.ImageTerm)


def test_that_every_file_is_in_the_report_and_one_card_says_the_counts(desk, tmp_path):
    folder = tmp_path / "ct"
    paths = phantoms.write_ct_series(folder, slices=6)
    (folder / "copy.dcm").write_bytes(paths[0].read_bytes())
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    phantoms.write_dicom_document(folder / "words.dcm", phantoms.BASIC_TEXT_SR, "SR")
    phantoms.write_picture(folder / "a.png")
    desk.open(folder)
    report = desk.report()
    assert set(report) == {path.name for path in folder.iterdir()}
    answers = {name: answer for name, (answer, _) in report.items()}
    assert answers["copy.dcm"] == "left out" or answers[paths[0].name] == "left out"
    assert answers["empty.dcm"] == answers["broken.png"] == "refused"
    assert answers["words.dcm"] == "listed"
    assert answers["a.png"] == "opened"
    assert all(why for answer, why in report.values() if answer not in ("opened",))
    (card,) = desk.cards
    assert card.kind is problems.Kind.WARNING
    assert card.title == (
        "7 of 11 files were opened (6 with a mark), 2 refused, "
        "1 without an image (1 a structured report), "
        "1 left out."
    )
    shown = []
    desk.intake.report_requested.connect(shown.append)
    card.act()
    job = desk.job()
    job.report()
    assert shown == [1, 1]
    assert job.sentence == card.title


def test_that_a_drop_without_a_fault_shows_no_card(desk, tmp_path):
    phantoms.write_ct_series(tmp_path / "ct", slices=3)
    desk.open(tmp_path / "ct")
    assert desk.cards == []


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda p: phantoms.write_dicom_document(p, phantoms.BASIC_TEXT_SR, "SR"), "warning",
         "a structured report"),
        (lambda p: p.write_bytes(b""), "error", "empty"),
    ],
)  # fmt: skip
def test_that_a_single_file_that_is_not_opened_is_named_with_its_reason(
    desk, tmp_path, make, kind, words
):
    make(tmp_path / "one.dcm")
    desk.open(tmp_path / "one.dcm")
    (card,) = desk.cards
    assert (card.kind.value, card.title) == (kind, "one.dcm was not opened.")
    assert words in card.line


def test_that_pixels_which_cannot_be_read_later_change_the_report(desk, tmp_path):
    paths = phantoms.write_ct_series(tmp_path / "ct", slices=5)
    desk.open(tmp_path / "ct", zone=drops.Zone.OPEN)
    desk.wait(lambda: desk.viewing.kept)
    assert {answer for answer, _ in desk.report().values()} == {"opened"}
    paths[1].write_bytes(paths[1].read_bytes()[:-4000])
    study, series = desk.viewing.now
    desk.viewing.close_study(study)
    desk.viewing.show(study, series)
    desk.wait(lambda: len(desk.pane.faults) + desk.pane.ready.sum() == 5)
    desk.wait(lambda: desk.report()[paths[1].name][0] == "refused")
    assert desk.report()[paths[1].name][1]
    assert desk.report()[paths[0].name][0] == "opened"
    assert len(desk.cards) <= 1


def test_that_stop_ends_the_job_at_once_and_what_came_stays(desk, two_series):
    stopped = []

    def stop(request, came):
        if came.studies and not stopped:
            stopped.append(time.monotonic())
            desk.reader.stop(request)

    desk.reader.found.connect(stop)
    desk.open(two_series)
    assert stopped
    (study,) = desk.strip.model.studies
    assert study.is_complete
    desk.wait(lambda: desk.pane.ready.all())
    assert desk.job().line.startswith("Stopped")
    assert desk.job().sentence.startswith("Stopped: ")
    assert desk.job().sentence.endswith("; the others were not looked at.")
    assert desk.imported._sentence.text() == desk.job().sentence
    assert desk.report()["both"][0] == "left out"
    assert sum(answer == "opened" for answer, _ in desk.report().values()) == len(
        {ref.path for series in study.series for ref in series.slices}
    )


def test_that_a_file_gone_between_the_drop_and_its_reading_is_one_sentence(desk, tmp_path):
    desk.open(tmp_path / "gone.dcm")
    (card,) = desk.cards
    assert card.kind is problems.Kind.ERROR
    assert card.line


@pytest.mark.skipif(os.name != "posix", reason="Windows allows no such name")
def test_that_markup_and_direction_signs_from_files_are_shown_as_letters(desk, tmp_path):
    def name(found, k):
        found.SpecificCharacterSet = "ISO_IR 192"
        found.PatientName = found.StudyDescription = found.SeriesDescription = (
            '<img src="file:///x"><b>Doe</b>\u202e'
        )

    folder = tmp_path / "<b>ct<b>\u202e"
    phantoms.write_ct_series(folder, slices=3, change=name)
    (folder / "<img src=x>.dcm").write_bytes(b"")
    desk.open(folder)
    (study,) = desk.strip.model.studies
    texts = (study.title, study.patient_name, study.series[0].description)
    assert all("\u202e" not in text and "<b>Doe</b>" in text for text in texts)
    model = desk.strip.model
    for row in range(model.rowCount()):
        tip = model.index(row).data(Qt.ItemDataRole.ToolTipRole)
        assert "<img" not in tip
        assert "<b>" not in tip
    assert "\u202e" not in desk.cards[0].title + desk.cards[0].line
    assert desk.job().title == "Opening <b>ct<b>"


def test_that_ten_thousand_pictures_reach_the_strip_in_few_portions(dressed, qtbot, tmp_path):
    """The reader is a list: what is measured is how often the window is asked to do something."""
    phantoms.write_picture(tmp_path / "a.png")
    (one,) = opening.open_paths([tmp_path / "a.png"])
    many = [dataclasses.replace(one, study_uid=f"picture:{n}") for n in range(10_000)]
    work = background.Background()
    readers = SimpleNamespace(open_paths=lambda paths, **_: iter(many))
    reader = drop_reader.DropReader(readers, work)
    portions, ended = [], []
    reader.found.connect(lambda request, came: portions.append(came))
    reader.ended.connect(lambda request, stopped: ended.append(stopped))
    reader.open([tmp_path], drops.Zone.OPEN)
    qtbot.waitUntil(lambda: bool(ended), timeout=PATIENCE_MS)
    work.close()
    assert sum(len(came.studies) for came in portions) == 10_000
    assert sum(len(came.entries) for came in portions) == 10_000
    assert portions[-1].counted == 10_000
    assert len(portions) < 200


def test_that_a_path_without_a_name_is_called_by_its_path(desk):
    request = drop_reader.Request(1, (Path(Path.cwd().anchor),), drops.Zone.OPEN)
    desk.intake._begin(request)
    assert desk.job().title == f"Opening {Path.cwd().anchor}"
    assert desk.imported._choice.currentText() == Path.cwd().anchor
