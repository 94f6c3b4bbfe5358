"""Pictures, DICOM trees and volumes on disk become cases that name no patient."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import phantoms
import pytest

from indexer import inputs, sources
from medsearch_desktop import cases, errors
from medsearch_desktop.imaging import isolated


@pytest.fixture
def reading() -> Iterator[sources.Reading]:
    readers = isolated.Readers(1)
    yield sources.Reading(readers, 8)
    readers.close()


def _read(reading: sources.Reading, *paths: Path, form: inputs.Format = "auto") -> list[object]:
    return list(inputs.read(inputs.Inputs(paths, form), reading))


def _cases(found: list[object]) -> list[cases.Case]:
    assert all(isinstance(one, cases.Case) for one in found), found
    return [one for one in found if isinstance(one, cases.Case)]


def test_that_a_folder_of_pictures_gives_a_case_each_with_its_folder_as_label(
    tmp_path: Path, reading: sources.Reading
) -> None:
    root = tmp_path / "teaching"
    phantoms.write_picture(root / "a_b.png")
    phantoms.write_picture(root / "hand" / "x.JPG", format="JPEG")
    (root / ".hidden.png").write_bytes(b"")
    found = _cases(_read(reading, root))
    assert [(c.case_id, c.title, c.labels, c.provenance.source) for c in found] == [
        ("a_b.png", "A b", (), "teaching"),
        ("hand/x.JPG", "X", ("hand",), "teaching"),
    ]


def test_that_a_dicom_tree_is_grouped_by_study(tmp_path: Path, reading: sources.Reading) -> None:
    phantoms.write_ct_series(tmp_path / "a", slices=20, name="one")
    phantoms.write_ct_series(tmp_path / "b" / "c", slices=4, name="two", modality="MR")
    phantoms.write_ct_series(
        tmp_path / "b" / "d",
        slices=3,
        name="three",
        modality="MR",
        change=lambda found, _: setattr(found, "StudyInstanceUID", phantoms.uid("two", "study")),
    )
    found = _cases(_read(reading, tmp_path, form="dicom"))
    assert sorted((c.facets.modality, len(c.images)) for c in found) == [("CT", 8), ("MR", 7)]
    assert {c.facets.body_part for c in found} == {"phantom"}


def test_that_nothing_of_a_dicom_case_names_the_patient(
    tmp_path: Path, reading: sources.Reading
) -> None:
    def name(found: phantoms.Dataset, _: int) -> None:
        found.PatientName, found.PatientID = "Canary^Yellow", "ID-4711"
        found.AccessionNumber, found.PatientBirthDate = "ACC-0815", "19600203"
        found.StudyDate, found.PatientAge, found.PatientSex = "20200405", "060Y", "F"

    phantoms.write_ct_series(tmp_path / "ct", slices=2, change=name)
    (case,) = _cases(_read(reading, tmp_path / "ct"))
    told = json.dumps(dataclasses.asdict(case))
    for secret in ("Canary", "Yellow", "4711", "0815", "19600203", "20200405"):
        assert secret not in told
    assert phantoms.uid("phantom", "study") not in told
    assert (case.facets.sex, case.facets.age_years) == ("F", 60.0)
    assert case.patient == sources.digest("patient", "ID-4711")


def test_that_a_case_has_the_same_id_when_it_is_read_again(
    tmp_path: Path, reading: sources.Reading
) -> None:
    phantoms.write_ct_series(tmp_path / "ct", slices=3)
    first, second = (_cases(_read(reading, tmp_path / "ct"))[0] for _ in range(2))
    assert first == second


def test_that_a_volume_is_a_case_of_evenly_spread_slices(
    tmp_path: Path, reading: sources.Reading
) -> None:
    phantoms.write_nifti(tmp_path / "heads" / "head_one.nii.gz", (20, 24, 40))
    (case,) = _cases(_read(reading, tmp_path / "heads"))
    assert (case.case_id, case.title) == ("head_one", "Head one")
    assert [image.ref.frame for image in case.images] == [2, 7, 12, 17, 22, 27, 32, 37]


def test_that_a_folder_of_mixed_files_is_read_whole(
    tmp_path: Path, reading: sources.Reading
) -> None:
    phantoms.write_ct_series(tmp_path / "ct", slices=3)
    phantoms.write_picture(tmp_path / "a.png")
    phantoms.write_nifti(tmp_path / "b.nii.gz")
    (tmp_path / "notes.txt").write_text("words")
    found = _read(reading, tmp_path)
    assert sorted(c.case_id[:5] for c in found if isinstance(c, cases.Case)) == [
        "a.png",
        "b",
        "study",
    ]
    assert [Path(s.path).name for s in found if isinstance(s, sources.Skipped)] == ["notes.txt"]


def test_that_a_folder_with_a_manifest_is_read_as_its_table(
    tmp_path: Path, reading: sources.Reading
) -> None:
    phantoms.write_picture(tmp_path / "a.png")
    (tmp_path / "manifest.csv").write_text("path,item_id\na.png,x\n", "utf-8")
    assert [c.case_id for c in _cases(_read(reading, tmp_path))] == ["x"]


def test_that_a_file_without_an_image_is_skipped_with_a_reason(
    tmp_path: Path, reading: sources.Reading
) -> None:
    phantoms.write_dicom_document(tmp_path / "report.dcm", phantoms.BASIC_TEXT_SR, "SR")
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50)
    found = _read(reading, tmp_path, form="dicom")
    assert {type(one) for one in found} == {sources.Skipped}
    assert {Path(s.path).name for s in found if isinstance(s, sources.Skipped)} == {
        "report.dcm",
        "broken.dcm",
    }


def test_that_the_second_case_of_one_id_is_skipped(
    tmp_path: Path, reading: sources.Reading
) -> None:
    for name in ("one", "two"):
        phantoms.write_picture(tmp_path / name / "a.png")
    one = tmp_path / "one"
    first, second = _read(reading, one, one)
    assert isinstance(first, cases.Case)
    assert isinstance(second, sources.Skipped)
    assert "'a.png' came before" in second.reason


def test_that_files_of_one_name_out_of_several_inputs_are_each_a_case(
    tmp_path: Path, reading: sources.Reading
) -> None:
    for place in ("pa", "pb", "q/pb"):
        phantoms.write_picture(tmp_path / place / "x.jpg", format="JPEG")
    roots = [tmp_path / "pa", tmp_path / "pb", tmp_path / "q" / "pb"]
    assert [c.case_id for c in _cases(_read(reading, *roots))] == [
        "x.jpg",
        "pb/x.jpg",
        "q/pb/x.jpg",
    ]
    files = [root / "x.jpg" for root in roots[:2]]
    assert [c.case_id for c in _cases(_read(reading, *files))] == ["x.jpg", "pb/x.jpg"]


def test_that_files_of_one_name_in_folders_of_a_mixed_tree_are_each_a_case(
    tmp_path: Path, reading: sources.Reading
) -> None:
    for place in ("knee", "hand"):
        phantoms.write_picture(tmp_path / "in" / place / "x.png")
        phantoms.write_nifti(tmp_path / "in" / place / "v.nii.gz")
    found = {c.case_id: c.labels for c in _cases(_read(reading, tmp_path / "in"))}
    assert found == {
        "hand/v": (),
        "hand/x.png": ("hand",),
        "knee/v": (),
        "knee/x.png": ("knee",),
    }


def test_that_pictures_and_volumes_inside_an_archive_are_cases(
    tmp_path: Path, reading: sources.Reading
) -> None:
    phantoms.write_picture(tmp_path / "src" / "hand" / "x.png")
    phantoms.write_nifti(tmp_path / "src" / "head.nii.gz")
    (tmp_path / "in").mkdir()
    archive = phantoms.zip_folder(tmp_path / "src", tmp_path / "in" / "a.zip")
    found = {c.case_id: c for c in _cases(_read(reading, archive))}
    assert {name: c.labels for name, c in found.items()} == {
        "hand/x.png": ("hand",),
        "head": (),
    }
    for case in found.values():
        assert reading.readers.render_picture(case.images[0].ref).shape[2] == 3
    inside = {c.case_id for c in _cases(_read(reading, tmp_path / "in"))}
    assert inside == {"a.zip!/hand/x.png", "a.zip!/head"}


def test_that_names_and_numbers_in_descriptions_are_taken_out(
    tmp_path: Path, reading: sources.Reading
) -> None:
    def name(found: phantoms.Dataset, _: int) -> None:
        found.PatientName, found.PatientID = "Sekretova^Olga", "PID998877"
        found.AccessionNumber = "A-17/3"
        found.SeriesDescription = "SEKRETOVA axial PID998877 olga_T2 20200405 a-17/3"
        found.StudyDescription = "Head Sekretova"

    phantoms.write_ct_series(tmp_path / "ct", slices=2, change=name)
    (case,) = _cases(_read(reading, tmp_path / "ct"))
    told = json.dumps(dataclasses.asdict(case)).casefold().replace(str(tmp_path), "")
    for secret in ("sekretova", "olga", "pid998877", "998877", "20200405", "a-17/3"):
        assert secret not in told
    assert case.text == "axial _T2"
    assert {image.text for image in case.images} == {case.text}


@pytest.mark.skipif(sys.platform != "linux", reason="only there may a name be any bytes")
def test_that_a_file_whose_name_is_no_unicode_is_skipped(
    tmp_path: Path, reading: sources.Reading
) -> None:
    phantoms.write_picture(tmp_path / "in" / "good.png")
    os.rename(tmp_path / "in" / "good.png", os.fsencode(tmp_path / "in") + b"/b\xffd.png")
    (skipped,) = _read(reading, tmp_path / "in", form="files")
    assert isinstance(skipped, sources.Skipped)
    assert skipped.path.endswith("b?d.png")


def test_that_inputs_are_counted_before_the_work_where_that_is_cheap(tmp_path: Path) -> None:
    phantoms.write_picture(tmp_path / "p" / "a.png")
    phantoms.write_picture(tmp_path / "p" / "b.png")
    table = tmp_path / "t.csv"
    table.write_text("text\na\nb\nc\n", "utf-8")
    assert inputs.count(inputs.Inputs((tmp_path / "p", table))) == 5
    phantoms.write_ct_series(tmp_path / "ct", slices=2)
    assert inputs.count(inputs.Inputs((tmp_path / "ct",))) is None


def test_that_an_input_which_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.UnreadableFileError, match="no such file"):
        sources.require(tmp_path / "nothing")
