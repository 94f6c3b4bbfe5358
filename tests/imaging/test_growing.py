"""Studies that grow while their files are read, and an answer for every file of a drop."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import zipfile
from pathlib import Path

import phantoms
from hypothesis import given, settings
from hypothesis import strategies as st

from medsearch_desktop.imaging import (
    dicom_headers,
    files,
    growing,
    opening,
    report,
    stacks,
    study,
)


# Kinds of things that lie in a dropped folder; each is written under a name of its own.
def _write_thing(folder: Path, kind: str, name: str) -> None:
    path = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "picture":
        phantoms.write_picture(path.with_name(name + ".png"))
    elif kind == "slice":
        phantoms.write_ct_series(path, 2, (8, 8), name=name)
    elif kind == "copy":
        phantoms.write_ct_series(path, 1, (8, 8), name="copied")
    elif kind == "moment":
        for moment in ("a", "b"):
            phantoms.write_ct_series(path / moment, 4, (8, 8), change=_moment(moment))
    elif kind == "pair":
        phantoms.write_nifti(path.with_name(name + ".hdr"))
    elif kind == "report":
        phantoms.write_dicom_document(path, phantoms.BASIC_TEXT_SR, "SR")
    elif kind == "text":
        path.write_text("hello")
    elif kind == "hidden":
        path.with_name("." + name).write_bytes(b"x")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        os.symlink(folder, path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("../a.txt", b"hello")
            packed.writestr("Thumbs.db", b"x")
    elif kind == "index":
        phantoms.write_dicomdir(path / "DICOMDIR", [["GONE"]])


def _moment(name: str):
    def change(found, k):
        found.StudyInstanceUID, found.SeriesInstanceUID = phantoms.uid("4d"), phantoms.uid("4d", 1)
        found.SOPInstanceUID = phantoms.uid("4d", name, k)
        found.AcquisitionNumber = 1 if name == "a" else 2

    return change


_THINGS = (
    "picture slice copy moment pair report text hidden pipe link zip index".split()  # noqa: SIM905
)


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from(_THINGS), st.sampled_from(["", "a", "a/b", ".hidden"])),
        max_size=8,
    ),
    st.booleans(),
)
def test_that_every_file_of_a_drop_is_told_once(things, grow):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, (kind, where) in enumerate(things):
            _write_thing(folder / where, kind, f"t{number}")
        told: list[str] = []
        for each in opening.open_paths([folder], grow=grow):
            if isinstance(each, study.Refused) or each.is_complete:
                told += [entry.path for entry in report.entries(each)]
        assert len(told) == len(set(told))
        expected = set()
        for path in folder.rglob("*"):
            if path.is_symlink() or not path.is_dir():
                is_zip = path.is_file() and zipfile.is_zipfile(path)
                is_hidden = ".hidden" in path.parts
                inside = ["!/a.txt", "!/Thumbs.db"] if is_zip and not is_hidden else [""]
                expected |= {f"{path}{name}" for name in inside}
        assert set(told) == expected


def test_that_a_copy_and_another_moment_are_left_out_with_a_sentence(tmp_path):
    _write_thing(tmp_path, "copy", "one")
    _write_thing(tmp_path, "copy", "two")
    _write_thing(tmp_path, "moment", "m")
    left = [found for found in opening.open_paths([tmp_path]) if isinstance(found, study.Refused)]
    assert {found.answer for found in left} == {"left out"}
    assert sorted(found.what for found in left) == ["a DICOM image"] * 4 + ["a copy"]
    assert any("copy of another file" in found.reason for found in left)


def test_that_studies_grow_while_files_are_read_and_end_whole(tmp_path):
    phantoms.write_ct_series(tmp_path / "a", 300, (4, 4), name="a")
    phantoms.write_ct_series(tmp_path / "b", 5, (4, 4), name="b")
    found = list(opening.open_paths([tmp_path], grow=True))
    assert all(isinstance(each, study.Study) for each in found)
    sizes: dict[str, list[int]] = {}
    for each in found:
        sizes.setdefault(each.study_uid, []).append(sum(len(s.slices) for s in each.series))
    assert [each.is_complete for each in found[-2:]] == [True, True]
    assert not any(each.is_complete for each in found[:-2])
    first, second = sizes.values()
    assert first[0] < 300, "the first comes before all of its files were read"
    assert first == sorted(first)
    assert (first[-1], second[-1]) == (300, 5)


def test_that_the_work_of_growing_is_no_more_than_that_of_two_readings(monkeypatch):
    headers = _many_headers(3000)
    built = 0
    series_of = stacks.series_of

    def counted(group):
        nonlocal built
        built += len(group)
        return series_of(group)

    monkeypatch.setattr(stacks, "series_of", counted)
    now = iter(range(1_000_000))
    collected = growing.Growing(("/a",), clock=lambda: next(now) / 1000)
    given = 0
    for header in headers:
        if collected.is_due(header.path):
            given += len(list(collected.so_far()))
        collected.add(header)
    assert len(list(collected.whole())) == 1
    assert 2 <= given <= 8
    assert built <= 3 * len(headers)


def _many_headers(count: int) -> list[dicom_headers.Header]:
    with tempfile.TemporaryDirectory() as folder:
        (path,) = phantoms.write_ct_series(Path(folder), 1, (4, 4))
        with files.opened(str(path)) as (file, size):
            header = dicom_headers.read_header(str(path), file, size)
    (frame,) = header.frames
    return [
        dataclasses.replace(
            header,
            path=f"/a/{k}",
            sop_uid=f"1.2.{k}",
            instance=k,
            frames=(dataclasses.replace(frame, position=(0.0, 0.0, float(k))),),
        )
        for k in range(count)
    ]
