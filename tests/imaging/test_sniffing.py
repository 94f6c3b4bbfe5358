"""The first bytes tell the kind, whatever the file is called."""

from __future__ import annotations

import gzip
import io
import tarfile

import phantoms
import pytest

from medsearch_desktop import errors
from medsearch_desktop.imaging import sniffing


def test_that_a_kind_is_told_by_bytes_and_never_by_a_name(tmp_path):
    (slice_path,) = phantoms.write_ct_series(tmp_path, slices=1)
    written = {
        "dicom": slice_path,
        "nifti": phantoms.write_nifti(tmp_path / "a.nii.gz"),
        "picture": phantoms.write_picture(tmp_path / "a.tif"),
        "zip": phantoms.zip_folder(tmp_path, tmp_path / "a.zip"),
    }
    for kind, path in written.items():
        assert sniffing.kind(str(path.rename(tmp_path / f"{kind}.txt"))) == kind


def _tar() -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.dcm"))
    return written.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (bytes(600), "zeros"),
        (b"GIF89a" + bytes(9), "a GIF picture"),
        (b"SQLite format 3\0", "SQLite"),
        (_tar(), "a TAR archive"),
        (gzip.compress(_tar()), "a TAR archive packed with gzip"),
        (gzip.compress(b"\x07\x91\xff\x00"), "a file packed with gzip"),
        ("Straße\n".encode(), "a text file"),
        ("Straße\n".encode("utf-16"), "a text file"),
        (b"\n <!doctype HTML><p>", "a web page"),
        (b"<?xml version='1.0'?><a/>", "an XML file"),
        (b"<svg viewBox='0 0 1 1'/>", "an SVG drawing"),
        (b"\0\0\0 ftypisom", "a film"),
        (b"\0\0\0 ftypavif", "AVIF"),
        (b"\x91\x07\xff\x00\x10", "neither"),
    ],
)
def test_that_what_is_not_opened_is_named(tmp_path, content, words):
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    assert sniffing.kind(str(path)) == ""
    assert words in sniffing.name_of_other(str(path))


def test_that_damaged_packing_is_an_error_with_a_sentence(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"\x1f\x8b\x08\0")
    with pytest.raises(errors.UnreadableFileError, match="packing"):
        sniffing.kind(str(tmp_path / "a.nii.gz"))
