"""The import report: one entry a file, counts, a filter, and a list to copy without names."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel

from medsearch_desktop.gui import background, import_report
from medsearch_desktop.imaging import report

MARKUP = '<img src="file:///x"><b>Doe</b>'


@pytest.fixture
def pane(dressed, qtbot):
    work = background.Background()
    made = import_report.ImportPane(work)
    qtbot.addWidget(made)
    made.resize(1100, 240)
    made.show()
    yield made
    work.close()


def entries(count, answer="opened", why="", first=0):
    return [
        report.Entry(f"/drop/{n}.dcm", "a CT image", answer, why)
        for n in range(first, first + count)
    ]


def shown(pane):
    model = pane.model
    return [
        tuple(model.index(row, column).data() for column in range(4))
        for row in range(model.rowCount())
    ]


def sentence(pane):
    return pane._sentence.text()


def test_that_each_file_has_a_row_with_what_it_is_what_was_done_and_why(pane):
    pane.begin(1, "ct")
    pane.add(1, [report.Entry("/a/b.dcm", "a CT image", "refused", "It is cut off.")])
    assert shown(pane) == [("/a/b.dcm", "a CT image", "Refused", "It is cut off.")]
    assert sentence(pane) == "Still reading. So far: 0 of 1 file was opened, 1 refused."
    pane.end(1)
    assert sentence(pane) == "0 of 1 file was opened, 1 refused."


def test_that_the_filter_lists_only_what_was_asked_for_also_while_more_comes(pane):
    pane.begin(1, "ct")
    pane.add(1, entries(3) + entries(2, "refused", "Empty.", 3))
    pane.set_filter(import_report.Filter.NOT_OPENED)
    pane.add(1, entries(1, "marked", "Gap.", 5) + entries(1, "listed", "A report.", 6))
    assert [row[2] for row in shown(pane)] == ["Refused", "Refused", "Listed, no image"]
    pane.set_filter(import_report.Filter.MARKED)
    assert [row[2] for row in shown(pane)] == ["Opened with a mark"]
    pane.set_filter(import_report.Filter.OPENED)
    assert len(shown(pane)) == 4
    pane.set_filter(import_report.Filter.ALL)
    assert len(shown(pane)) == 7


def test_that_twenty_drops_are_kept_and_the_newest_is_shown_first(pane):
    for number in range(1, 26):
        pane.begin(number, f"drop {number}")
        pane.add(number, entries(number))
    assert [pane._choice.itemText(row) for row in range(2)] == ["drop 25", "drop 24"]
    assert pane._choice.count() == 20
    assert pane.drop(5) is None
    pane._choice.activated.emit(pane._choice.findText("drop 10"))
    assert len(shown(pane)) == 10
    pane.add(25, entries(1))
    assert len(shown(pane)) == 10


def test_that_what_comes_out_later_changes_the_entry_and_the_counts(pane):
    pane.begin(1, "one")
    pane.add(1, entries(3))
    pane.end(1)
    pane.begin(2, "again")
    pane.add(2, entries(3, "marked", "Uneven."))
    pane.end(2)
    pane.amend({"/drop/1.dcm": ("refused", "Its pixels are cut off.")})
    assert shown(pane)[1] == (
        "/drop/1.dcm", "a CT image", "Refused", "Its pixels are cut off. Uneven.",
    )  # fmt: skip
    assert sentence(pane) == "2 of 3 files were opened (2 with a mark), 1 refused."
    pane.amend({"/drop/1.dcm": ("refused", "Its pixels are cut off.")})
    assert shown(pane)[1][3] == "Its pixels are cut off. Uneven."
    pane.show_drop(1)
    assert sentence(pane) == "3 of 3 files were opened."


def test_that_the_copied_and_the_saved_list_hold_no_file_name(pane, qtbot, tmp_path):
    pane.begin(1, "Doe_Jane")
    pane.add(1, [report.Entry("/media/Doe_Jane/Doe.dcm", "unknown", "refused", "It is empty.")])
    pane.copy()
    clipboard = QGuiApplication.clipboard()
    qtbot.waitUntil(lambda: "It is empty." in clipboard.text())
    pane.save(tmp_path / "report.txt")
    qtbot.waitUntil(lambda: "empty" in _read(tmp_path / "report.txt"))
    for text in (clipboard.text(), _read(tmp_path / "report.txt")):
        assert "Doe" not in text
        assert "1.dcm\tunknown\trefused\tIt is empty." in text


def _read(path):
    return path.read_text("utf-8") if path.exists() else ""


def test_that_a_list_which_cannot_be_saved_is_said(pane, qtbot, tmp_path):
    pane.begin(1, "ct")
    with qtbot.waitSignal(pane.failed) as failed:
        pane.save(tmp_path / "no" / "folder.txt")
    assert isinstance(failed.args[0], OSError)


def test_that_markup_in_names_and_reasons_is_shown_and_not_obeyed(pane):
    pane.begin(1, MARKUP)
    pane.add(1, [report.Entry(f"/a/{MARKUP}\u202e\n.dcm", MARKUP, "refused", MARKUP)])
    index = pane.model.index(0, 0)
    assert index.data() == f"/a/{MARKUP} .dcm"
    for column in (0, 1, 3):
        tip = pane.model.index(0, column).data(Qt.ItemDataRole.ToolTipRole)
        assert "<img" not in tip
        assert "&lt;img" in tip
    for label in pane.findChildren(QLabel):
        assert label.textFormat() == Qt.TextFormat.PlainText


def test_that_100_000_entries_come_and_are_filtered_in_order(pane):
    pane.begin(1, "much")
    pane.add(1, entries(100_000))
    pane.add(1, entries(1, "refused", "Empty.", 100_000))
    assert pane.model.rowCount() == 100_001
    pane.set_filter(import_report.Filter.NOT_OPENED)
    assert shown(pane) == [("/drop/100000.dcm", "a CT image", "Refused", "Empty.")]
    assert sentence(pane).startswith("Still reading. So far: 100,000 of 100,001 files were opened")
