"""The report of a drop: one entry a file, and no patient in what is copied."""

from __future__ import annotations

from pathlib import Path

import phantoms

from medsearch_desktop.imaging import opening, report, study


def test_that_each_file_of_a_drop_has_one_entry(tmp_path: Path):
    files = phantoms.write_ct_series(tmp_path / "ct", slices=5)
    phantoms.write_dicom_document(tmp_path / "report.dcm", phantoms.BASIC_TEXT_SR, "SR")
    (tmp_path / "cut.dcm").write_bytes(files[0].read_bytes()[:700])
    found = [e for item in opening.open_paths([tmp_path]) for e in report.entries(item)]
    assert sorted(e.path for e in found) == sorted(str(p) for p in tmp_path.rglob("*.dcm"))
    by_name = {Path(e.path).name: e for e in found}
    assert by_name["report.dcm"].answer == "listed"
    assert by_name["report.dcm"].what == "a structured report"
    assert by_name["cut.dcm"].answer == "refused"
    assert {by_name[path.name].answer for path in files} == {"opened"}
    assert {by_name[path.name].what for path in files} == {"a CT image"}


def test_that_the_sentence_counts_every_file_once():
    found = [
        report.Entry("a.dcm", "a CT image", "opened"),
        report.Entry("b.dcm", "a CT image", "marked", "One slice is missing."),
        report.Entry("c.dcm", "unknown", "refused", "The file is empty."),
        report.Entry("d.dcm", "a structured report", "listed", "It holds no image."),
        report.Entry("e.dcm", "a CT image", "left out", "A copy."),
    ]
    assert report.sentence(found) == (
        "2 of 5 files were opened (1 with a mark), 1 refused, "
        "1 without an image (1 a structured report), 1 left out."
    )


def test_that_a_copied_report_holds_no_file_name():
    refused = study.Refused("/media/Doe^Jane/DOE_JANE_1970.nii.gz", "The file is empty.")
    text = report.as_text(report.entries(refused))
    assert "DOE" not in text.upper()
    assert "1.nii.gz\tunknown\trefused\tThe file is empty." in text
