"""Files and members of archives as open files, and copies of them that are kept."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import phantoms
import pytest

from medsearch_desktop import errors
from medsearch_desktop.imaging import archives, files


def _program(folder: Path) -> tuple[Path, bytes]:
    """Write a DICOM file that begins like a program, and return what a copy should hold."""
    (path,) = phantoms.write_ct_series(folder, 1, (8, 8))
    raw = path.read_bytes()
    path.write_bytes(b"MZ" + b"\x90" * 126 + raw[128:])
    return path, bytes(128) + raw[128:]


@pytest.mark.parametrize("start", [b"MZ", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"#!"])
def test_that_a_copy_of_a_file_that_begins_like_a_program_is_none(tmp_path, start):
    path, harmless = _program(tmp_path / "in")
    path.write_bytes(start + path.read_bytes()[len(start) :])
    copy = tmp_path / "copy.dcm"
    files.copied(path, copy)
    assert copy.read_bytes() == harmless


def test_that_other_files_are_copied_byte_by_byte(tmp_path):
    (slice_path,) = phantoms.write_ct_series(tmp_path / "in", 1, (8, 8))
    whole = slice_path.read_bytes()
    slice_path.write_bytes(b"II*\0" + whole[4:])  # a TIFF that is DICOM as well: allowed
    large = tmp_path / "large.bin"
    large.write_bytes(b"MZ" + os.urandom(3 << 20))
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    for path in (slice_path, large, empty):
        files.copied(str(path), str(tmp_path / "copy"))
        assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_that_a_member_of_an_archive_is_copied_too(tmp_path):
    path, harmless = _program(tmp_path / "in")
    archive = phantoms.zip_folder(path.parent, tmp_path / "a.zip")
    files.copied(f"{archive}{files.INSIDE}{path.name}", tmp_path / "copy.dcm")
    files.close_archives()
    assert (tmp_path / "copy.dcm").read_bytes() == harmless


def test_that_a_copy_is_for_the_user_alone_whatever_the_mask_and_the_old_file_were(tmp_path):
    path = phantoms.write_picture(tmp_path / "a.png")
    target = tmp_path / "copy.png"
    target.write_bytes(b"old")
    target.chmod(0o644)
    before = os.umask(0)
    try:
        files.copied(path, target)
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.read_bytes() == path.read_bytes()


def test_that_a_copy_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = phantoms.write_picture(tmp_path / "in" / "a.png")
    target = tmp_path / "out" / "copy.png"
    target.parent.mkdir()
    target.write_bytes(b"old")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.copied(path, target)
    assert [each.name for each in target.parent.iterdir()] == ["copy.png"]
    assert target.read_bytes() == b"old"


def test_that_a_source_that_cannot_be_read_is_an_error_of_the_file(tmp_path):
    for name in ("gone", "folder", "pipe"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        if name == "pipe":
            os.mkfifo(tmp_path / name)
        with pytest.raises(errors.UnreadableFileError):
            files.copied(tmp_path / name, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_that_a_regular_file_swapped_for_a_pipe_is_not_waited_for(tmp_path, monkeypatch):
    path = phantoms.write_picture(tmp_path / "a.png")
    before = os.stat(path)
    path.unlink()
    os.mkfifo(path)
    stat_ = os.stat
    monkeypatch.setattr(os, "stat", lambda p, **o: before if p == str(path) else stat_(p, **o))
    with (
        pytest.raises(errors.UnreadableFileError, match="not a regular file"),
        files.opened(str(path)),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a/b.dcm", "a/b.dcm"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\Windows\\a.dcm", "Windows/a.dcm"),
        ("a\\..\\..\\b", "a/b"),
        ("a\0b", "a_b"),
        ("a\nb\x1b[31m", "a_b_[31m"),
        ("./a//b", "a/b"),
        ("..", "unnamed"),
        ("12:30.dcm", "12:30.dcm"),
    ],
)
def test_that_names_in_archives_are_shown_harmless(name, shown):
    assert archives.harmless(name) == shown


def test_that_the_budget_of_a_drop_is_spent_over_all_its_archives():
    def member(unpacked: int, packed: int) -> archives.Member:
        info = zipfile.ZipInfo("a")
        info.file_size, info.compress_size = unpacked, packed
        return archives.Member(info)

    budget = archives.Budget(largest_bytes=10_000)
    assert [budget.fault(member(4_000, 2_000)) for _ in range(2)] == ["", ""]
    assert "unpack to more than 9.8 KB" in budget.fault(member(4_000, 2_000))
    assert budget.fault(member(1_000, 500)) == "", "what is refused is not spent"
    honest = archives.Budget()
    assert not any(honest.fault(member(500_000, 200_000)) for _ in range(50_000))


def test_that_a_member_never_gives_more_bytes_than_it_declares(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a", bytes(5 << 20))
    raw = bytearray(path.read_bytes())
    place = raw.rindex(b"PK\x01\x02") + 24
    raw[place : place + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(raw)
    with (
        pytest.raises(errors.UnreadableFileError, match="damaged"),
        files.opened(f"{path}{files.INSIDE}a", whole=True),
    ):
        pass
    files.close_archives()
