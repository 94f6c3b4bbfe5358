"""What is found in paths, folders, archives and DICOMDIRs, and what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import phantoms
import pytest

from medsearch_desktop.imaging import (
    files,
    isolated,
    opening,
    pixels,
    report,
    study,
)


def _found(*paths: Path) -> tuple[list[study.Study], dict[str, str]]:
    """Return the studies, and what was refused by name; what was left out is not counted."""
    studies, refused = [], {}
    for each in opening.open_paths(paths):
        if isinstance(each, study.Refused):
            if each.answer != "left out":
                refused[Path(each.path).name] = each.reason
        else:
            studies.append(each)
    return studies, refused


_LISTS_NOTHING = "It is a DICOMDIR that lists no file that can be read: open its folder instead."


def _answers(*paths: Path) -> dict[str, str]:
    """Return the answer of the report for each file; fails when one is told twice."""
    told: dict[str, str] = {}
    for each in opening.open_paths(paths):
        for entry in report.entries(each):
            assert entry.path not in told, "each file is told once"
            told[entry.path] = entry.answer
    return told


def test_that_a_folder_gives_all_its_studies(tmp_path):
    phantoms.write_ct_series(tmp_path / "deep" / "ct", 4, (8, 8))
    phantoms.write_nifti(tmp_path / "a.nii.gz")
    phantoms.write_picture(tmp_path / "b.png")
    studies, refused = _found(tmp_path)
    assert refused == {}
    assert [len(s.series[0].slices) for s in studies] == [10, 1, 4]
    assert studies[2].patient_name == "Phantom Ramp"
    assert studies[2].title == "Phantom study"


def test_that_a_zip_opens_as_its_folder_would_and_nothing_is_unpacked(tmp_path):
    phantoms.write_ct_series(tmp_path / "in", 4, (8, 8))
    phantoms.write_nifti(tmp_path / "in" / "v.hdr")
    archive = phantoms.zip_folder(tmp_path / "in", tmp_path / "packed.zip")
    shutil.rmtree(tmp_path / "in")
    studies, refused = _found(archive)
    assert refused == {}
    assert [len(s.series[0].slices) for s in studies] == [10, 4]
    assert all(files.INSIDE in ref.path for s in studies for ref in s.series[0].slices)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed.zip"]
    for found in studies:
        planes = [p for _, p in pixels.planes(found.series[0], [0, 3])]
        assert planes[0].shape == found.series[0].plane_shape


def test_that_a_dicomdir_opens_what_it_lists(tmp_path):
    paths = phantoms.write_ct_series(tmp_path / "SERIES", 4, (8, 8))
    phantoms.write_dicomdir(tmp_path / "DICOMDIR", [["SERIES", p.name] for p in paths[:3]])
    (found,), refused = _found(tmp_path / "DICOMDIR")
    assert refused == {}
    assert len(found.series[0].slices) == 3
    (whole,), refused = _found(tmp_path)
    assert refused == {}, "the index itself is not refused within its folder"
    assert len(whole.series[0].slices) == 4


def test_that_a_dicomdir_names_what_is_not_there(tmp_path):
    phantoms.write_dicomdir(tmp_path / "DICOMDIR", [["SERIES", "IM1"]])
    studies, refused = _found(tmp_path / "DICOMDIR")
    assert studies == []
    assert list(refused.values()) == ["The DICOMDIR lists it, but it is not there.", _LISTS_NOTHING]


@pytest.mark.parametrize(
    "name",
    [["..", "outside.dcm"], "..\\outside.dcm", "/etc/passwd", "LINK", ["a", "..", "..", "b"]],
)
def test_that_a_dicomdir_never_leads_out_of_its_folder(tmp_path, name):
    (outside,) = phantoms.write_ct_series(tmp_path, 1, (8, 8))
    outside.rename(tmp_path / "outside.dcm")
    (tmp_path / "disc").mkdir()
    os.symlink(tmp_path / "outside.dcm", tmp_path / "disc" / "LINK")
    directory = phantoms.write_dicomdir(tmp_path / "disc" / "DICOMDIR", [name])
    studies, refused = _found(directory)
    assert studies == []
    assert refused.pop("DICOMDIR") == _LISTS_NOTHING
    assert set(refused.values()) <= {
        "It lies outside the folder of the DICOMDIR.",
        "The DICOMDIR lists it, but it is not there.",
    }
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("sop_class", "modality", "words"),
    [
        (phantoms.BASIC_TEXT_SR, "SR", "structured report"),
        (phantoms.ENCAPSULATED_PDF, "DOC", "PDF"),
        (phantoms.RT_STRUCTURE_SET, "RTSTRUCT", "radiotherapy structures"),
        (phantoms.KEY_OBJECTS, "KO", "key object selection"),
        ("1.2.840.10008.5.1.4.1.1.66", "OT", "Raw Data Storage"),
    ],
)
def test_that_a_dicom_object_without_an_image_is_named(tmp_path, sop_class, modality, words):
    path = phantoms.write_dicom_document(tmp_path / "a.dcm", sop_class, modality)
    studies, refused = _found(path)
    assert studies == []
    assert words in refused["a.dcm"]
    assert refused["a.dcm"].endswith(".")


def test_that_files_without_the_prefix_open_and_other_files_do_not(tmp_path):
    (path,) = phantoms.write_ct_series(tmp_path, 1, (8, 8))
    bare = tmp_path / "bare"
    bare.write_bytes(path.read_bytes()[132:])
    path.unlink()
    (tmp_path / "noise.bin").write_bytes(bytes([8, 0, 5, 0, 67, 83]) + os.urandom(3000))
    studies, refused = _found(tmp_path)
    assert len(studies) == 1
    assert list(refused) == ["noise.bin"]


def test_that_hidden_files_and_leftovers_of_systems_are_left_out_and_named(tmp_path):
    phantoms.write_picture(tmp_path / "a.png")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "b").write_bytes(b"x")
    studies, refused = _found(tmp_path)
    assert len(studies) == 1
    assert refused == {}
    told = [found for found in opening.open_paths([tmp_path]) if isinstance(found, study.Refused)]
    assert len(told) == 5
    assert {(each.what, each.answer) for each in told} == {("a system file", "left out")}


def test_that_names_are_ordered_as_people_count(tmp_path):
    for k in (10, 2, 1):
        phantoms.write_picture(tmp_path / f"page {k}.png", np.full((4, 4), k, np.uint8))
    studies, _ = _found(tmp_path)
    assert [s.title for s in studies] == ["page 1.png", "page 2.png", "page 10.png"]


def test_that_every_other_file_is_refused_with_a_whole_sentence(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "a.gif").write_bytes(b"GIF89a" + b"\0" * 20)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n" + b"\0" * 20)
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04" + b"\0" * 50)
    (tmp_path / "a.gz").write_bytes(b"\x1f\x8b" + b"\0" * 50)
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    os.mkfifo(tmp_path / "pipe")
    studies, refused = _found(tmp_path, tmp_path / "gone.dcm")
    assert studies == []
    assert len(refused) == 9
    assert all(reason.endswith(".") and reason[0].isupper() for reason in refused.values())
    assert "GIF" in refused["a.gif"]
    assert refused["gone.dcm"] == "There is no such file or folder."


def test_that_a_bomb_in_an_archive_is_not_unpacked(tmp_path):
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.dcm", b"\0" * 1000)
    raw = bytearray(archive.read_bytes())
    # The size of the only member, in the central directory.
    place = raw.rindex(b"PK\x01\x02") + 24
    raw[place : place + 4] = (0xF0000000).to_bytes(4, "little")
    archive.write_bytes(raw)
    _, refused = _found(archive)
    assert "unpack to 3.8 GB" in refused["a.dcm"]


def test_that_an_encrypted_archive_says_so(tmp_path):
    archive = phantoms.zip_folder(
        phantoms.write_picture(tmp_path / "p" / "a.png").parent, tmp_path / "a.zip"
    )
    raw = bytearray(archive.read_bytes())
    raw[6] |= 1
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw)
    _, refused = _found(archive)
    assert "encrypted" in refused["a.png"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Rows": 0}, "Rows"),
        ({"Rows": 65535, "Columns": 65535}, "too large to be true"),
        ({"Rows": 4000}, "cut short"),
        ({"NumberOfFrames": 2_000_000}, "frames"),
        ({"SamplesPerPixel": 7}, "samples"),
        ({"BitsAllocated": 12}, "bits"),
        ({"BitsStored": 0}, "bits"),
    ],
)
def test_that_a_header_that_cannot_be_true_is_refused_before_anything_is_read(
    tmp_path, fields, words
):
    path = phantoms.write_dicom_image(tmp_path / "a.dcm", phantoms.picture()[..., 0], **fields)
    _, refused = _found(path)
    assert words in refused["a.dcm"]


def test_that_a_damaged_header_is_refused(tmp_path):
    (path,) = phantoms.write_ct_series(tmp_path, 1, (8, 8))
    path.write_bytes(path.read_bytes()[:200])
    _, refused = _found(path)
    assert list(refused) == [path.name]


def test_that_nested_sequences_without_end_are_refused(tmp_path):
    (path,) = phantoms.write_ct_series(tmp_path, 1, (8, 8))
    start = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(path.read_bytes()[:132] + path.read_bytes()[132:340] + start * 3000)
    studies, refused = _found(path)
    assert studies == []
    assert list(refused) == [path.name]


def test_that_a_syntax_without_a_decoder_is_named(tmp_path):
    def film(found, k):
        found.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"

    path = phantoms.write_dicom_image(tmp_path / "a.dcm", phantoms.picture())
    found = phantoms.read(path)
    found.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0abcd"
    found["PixelData"].is_undefined_length = True
    film(found, 0)
    found.save_as(path)
    _, refused = _found(path)
    assert "MPEG-4 AVC/H.264 High Profile" in refused["a.dcm"]


def test_that_files_that_were_dealt_with_are_skipped_and_each_is_announced_first(tmp_path):
    for name in ("a.png", "b.png"):
        phantoms.write_picture(tmp_path / name)
    announced: list[str] = []
    found = list(
        opening.open_paths([tmp_path], announce=announced.append, skip={str(tmp_path / "a.png")})
    )
    assert len(found) == 1
    assert announced == [str(tmp_path / "b.png"), ""]


def test_that_opening_stops_between_two_files_also_within_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for k in range(50):
            packed.writestr(f"{k}.txt", b"hello")
    announced: list[str] = []
    list(
        opening.open_paths(
            [tmp_path], announce=announced.append, is_stopped=lambda: len(announced) >= 4
        )
    )
    assert len([path for path in announced if path]) <= 4


def test_that_an_unreadable_folder_and_file_say_what_the_system_says(tmp_path, monkeypatch):
    phantoms.write_picture(tmp_path / "shut.png")
    phantoms.write_picture(tmp_path / "closed" / "a.png")
    opened, scanned = os.open, os.scandir

    def open_(path, *arguments, **options):
        if str(path).endswith("shut.png"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    def scan(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scanned(path)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "scandir", scan)
    _, refused = _found(tmp_path)
    assert refused == {
        "shut.png": "The system says: Permission denied.",
        "closed": "The folder cannot be read: Permission denied.",
    }


def test_that_names_of_any_bytes_open_and_survive_the_pipe(tmp_path):
    source = phantoms.write_picture(tmp_path / "a.png")
    odd = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xff\n.png"))
    source.rename(odd)
    with isolated.Readers() as readers:
        (found,) = readers.open_paths([tmp_path])
        assert found.paths == (odd,)
        assert readers.load(found.series[0]).ready.all()


def test_that_a_folder_deeper_than_python_may_call_is_walked(tmp_path):
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
        Path("a.txt").write_text("hello")
    finally:
        os.chdir(before)
    _, refused = _found(tmp_path)
    assert list(refused) == ["a.txt"]
    subprocess.run(["rm", "-r", str(tmp_path / "d")], check=True)  # rmtree calls itself too deep


def test_that_one_file_dropped_by_several_paths_is_read_once(tmp_path):
    (path,) = phantoms.write_ct_series(tmp_path, 1, (8, 8))
    index = phantoms.write_dicomdir(tmp_path / "DICOMDIR", [["IM0001.dcm"]])
    told = _answers(index, path, tmp_path, path)
    assert told == {str(path): "opened", str(index): "left out"}


def test_that_a_path_of_several_archive_marks_finds_its_archive(tmp_path):
    folder = tmp_path / "wow!"
    archive = phantoms.zip_folder(
        phantoms.write_picture(tmp_path / "in" / "b!" / "a.png").parents[1], tmp_path / "p.zip"
    )
    folder.mkdir()
    archive.rename(folder / "p.zip")
    (found,), refused = _found(folder / "p.zip")
    assert refused == {}
    assert found.series[0].slices[0].path == f"{folder}/p.zip!/b!/a.png"
    planes = [plane for _, plane in pixels.planes(found.series[0], [0])]
    assert planes[0].shape == (48, 64, 3)
