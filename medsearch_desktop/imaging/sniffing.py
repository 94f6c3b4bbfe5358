"""The first bytes of a file -> what kind of file it is."""

from __future__ import annotations

import gzip
import zlib

from medsearch_desktop import errors
from medsearch_desktop.imaging import files, nifti

# Enough for the DICOM preamble and for both NIfTI headers.
_HEAD_BYTES = 540

_NAMED = (
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"RIFF", "a RIFF file (WebP, sound or film)"),
    (b"%PDF", "a PDF document"),
    (b"\x00\x00\x00\x0cjP  ", "a bare JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a bare JPEG 2000 picture"),
    (b"NRRD", "an NRRD volume"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
)


def kind(path: str) -> str:
    """Return "dicom", "bare dicom", "nifti", "picture", "zip", "npz" or "".

    "bare dicom" is what looks like DICOM without its prefix. Raises
    UnreadableFileError.
    """
    with files.opened(path) as (file, _):
        head = file.read(_HEAD_BYTES)
    if head[128:132] == b"DICM":
        return "dicom"
    if head[:2] == b"\x1f\x8b":
        head = _unpacked(path)
        return "nifti" if nifti.magic(head) else ""
    if nifti.magic(head):
        return "nifti"
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "npz" if path.lower().endswith(".npz") else "zip"
    if head[:8] == b"\x89PNG\r\n\x1a\n" or head[:3] == b"\xff\xd8\xff":
        return "picture"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "picture"
    if _looks_like_dicom(head):
        return "bare dicom"
    return ""


def name_of_other(path: str) -> str:
    """Return a whole sentence that says what a file of no known kind is."""
    with files.opened(path) as (file, size):
        head = file.read(16)
    if size == 0:
        return "The file is empty."
    for start, name in _NAMED:
        if head.startswith(start):
            return f"It is {name}, which is not opened here."
    return "It is neither a medical image nor a PNG, JPEG or TIFF picture."


def _unpacked(path: str) -> bytes:
    with files.opened(path) as (file, _):
        try:
            with gzip.GzipFile(fileobj=file) as packed:
                return packed.read(_HEAD_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            reason = "Its gzip packing is damaged."
            raise errors.UnreadableFileError(path, reason) from error


def _looks_like_dicom(head: bytes) -> bool:
    """Return True where the first element could be group 0002 or 0008, in either byte order."""
    if len(head) < 16:
        return False
    for order in ("little", "big"):
        group = int.from_bytes(head[0:2], order)
        element = int.from_bytes(head[2:4], order)
        if group not in (0x0002, 0x0008) or element > 0x1200:
            continue
        has_vr = head[4:6].isalpha() and head[4:6].isupper()
        length = int.from_bytes(head[4:8], order)
        if has_vr or length < 256:
            return True
    return False
