"""The report of a drop: one entry a file, and no patient in what is copied."""

from __future__ import annotations

import os
from pathlib import Path

import phantoms
import pytest

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


@pytest.mark.parametrize("name", ["Doe.JOHN", "IM.1975", "Doe^Jane", "a.Doe.gz", "DICOMDIR", "x."])
def test_that_an_ending_we_do_not_know_is_not_copied(name: str):
    text = report.as_text([report.Entry(f"/media/{name}", "unknown", "refused", "It is empty.")])
    assert text.splitlines()[2].split("\t")[0] in ("1", "1.gz")


def test_that_no_reason_holds_a_name_or_a_path(tmp_path: Path):
    folder = tmp_path / "CANARY^ROSE"
    (folder / "CANARY 1").mkdir(parents=True)
    (slice_path,) = phantoms.write_ct_series(folder / "CANARY 2", 1, (8, 8))
    raw = slice_path.read_bytes()
    for number, content in enumerate(
        (
            b"",
            bytes(900),
            raw[:300],
            raw[:-9],
            b"PK\3\4" + bytes(9),
            b"\x1f\x8b\0",
            b"GIF89a",
            b"hi",
        )
    ):
        for ending in ("JOHN", "dcm", "img", "hdr", "nii.gz", "png", "zip"):
            (folder / f"CANARY.{number}.{ending}").write_bytes(content)
    phantoms.write_nifti(folder / "CANARY.hdr")
    (folder / "CANARY.img").unlink()
    os.symlink("/CANARY", folder / "CANARY.link")
    os.mkfifo(folder / "CANARY.pipe")
    disc = folder / "CANARY disc"
    disc.mkdir()
    names = [["..", "CANARY.DOE"], ["IM", "CANARY.DOE"], ["DICOMDIR"]]
    index = phantoms.write_dicomdir(disc / "DICOMDIR", names)
    archive = phantoms.zip_folder(folder / "CANARY 2", folder / "CANARY.packed.zip")
    paths = [folder, index, archive, folder / "CANARY.gone", f"{archive}!/CANARY.gone"]
    entries = [e for found in opening.open_paths(paths) for e in report.entries(found)]
    assert len(entries) > 60
    text = report.as_text(entries)
    assert "CANARY" not in text
    assert "JOHN" not in text.upper()
    assert "DOE" not in text.upper()


def test_that_a_copied_report_holds_no_file_name():
    refused = study.Refused("/media/Doe^Jane/DOE_JANE_1970.nii.gz", "The file is empty.")
    text = report.as_text(report.entries(refused))
    assert "DOE" not in text.upper()
    assert "1.nii.gz\tunknown\trefused\tThe file is empty." in text


def test_that_the_sentence_says_that_opening_was_stopped():
    found = [report.Entry(f"{n}.dcm", "a CT image", "opened") for n in range(3)]
    rest = report.Entry("/media/disc", report.NOT_LOOKED_AT, "left out", "Opening was stopped.")
    said = "Stopped: 3 of 3 files looked at were opened; the others were not looked at."
    assert report.sentence([*found, rest]) == said
    assert report.sentence(report.count([*found, rest])) == said
    assert report.as_text([*found, rest]).splitlines()[0] == said
    assert report.sentence([rest]) == "Stopped: no file was looked at."
