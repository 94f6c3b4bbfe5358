"""The first bytes of a file -> what kind of file it is."""

from __future__ import annotations

from medsearch_desktop import errors
from medsearch_desktop.imaging import files, gzipped, nifti

# Enough for the DICOM preamble, both NIfTI headers and the mark of a TAR archive.
_HEAD_BYTES = 540
_TAR_MARK = 257

_NAMED = (
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"%!PS", "a PostScript drawing"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript drawing"),
    (b"\x1a\x45\xdf\xa3", "a film"),
    (b"ID3", "a sound file"),
    (b"%PDF", "a PDF document"),
    (b"{\\rtf", "a text document"),
    (b"\xd0\xcf\x11\xe0", "an Office document"),
    (b"\x00\x00\x00\x0cjP  ", "a bare JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a bare JPEG 2000 picture"),
    (b"NRRD", "an NRRD volume"),
    (b"\x89HDF", "an HDF5 or MINC 2 file"),
    (b"CDF\x01", "a MINC or netCDF file"),
    (b"CDF\x02", "a MINC or netCDF file"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"\x93NUMPY", "a file of one NumPy array"),
    (b"SIMPLE  =", "a FITS image"),
    (b"SQLite format 3", "an SQLite database"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\xfd7zXZ", "an XZ archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"#!", "a script"),
)
# Brands of the ISO base media file format (ISO/IEC 14496-12, 4.3): bytes 8 to 12.
_STILL = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"avif", b"avis")


def kind(path: str) -> str:
    """Return "dicom", "bare dicom", "nifti", "picture", "zip", "npz" or "".

    "bare dicom" is what looks like DICOM without its prefix. Raises
    UnreadableFileError.
    """
    with files.opened(path) as (file, _):
        head = file.read(_HEAD_BYTES)
    if head[128:132] == b"DICM":
        return "dicom"
    if head[:2] == gzipped.MAGIC:
        return "nifti" if nifti.magic(_unpacked(path)) else ""
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "npz" if path.lower().endswith(".npz") else "zip"
    if head[:8] == b"\x89PNG\r\n\x1a\n" or head[:3] == b"\xff\xd8\xff":
        return "picture"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "picture"
    if nifti.magic(head):
        return "nifti"
    return "bare dicom" if _looks_like_dicom(head) else ""


def name_of_other(path: str) -> str:
    """Return a whole sentence that says what a file of no known kind is."""
    with files.opened(path) as (file, size):
        head = file.read(_HEAD_BYTES)
    if size == 0:
        return "The file is empty."
    if head[:2] == gzipped.MAGIC:
        name = _named(path, _unpacked(path))
        return f"It is {name or 'a file'} packed with gzip, which is not opened here."
    if name := _named(path, head):
        return f"It is {name}, which is not opened here."
    if nifti.is_analyze(head):
        return "It is an Analyze 7.5 volume, which is not opened here."
    if path.lower().endswith(".img"):
        return "It holds values only: the .hdr file that belongs to it is missing."
    if path.lower().endswith((".nii", ".hdr")):
        return "Its name says NIfTI, but it has no NIfTI header."
    if not any(head):
        return "It holds nothing but zeros."
    return "It is neither a medical image nor a PNG, JPEG or TIFF picture."


def _named(path: str, head: bytes) -> str:
    """Return a few words for the kind of file that begins with `head`, or ""."""
    for start, name in _NAMED:
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF":
        return "a WebP picture" if head[8:12] == b"WEBP" else "a sound or film"
    if head[4:8] == b"ftyp":
        return "a HEIC or AVIF picture" if head[8:12] in _STILL else "a film"
    if head[_TAR_MARK : _TAR_MARK + 5] == b"ustar":
        return "a TAR archive"
    if head[:4] == b"\0\0\0\1" and path.lower().endswith((".mgh", ".mgz")):
        return "a FreeSurfer volume (MGH)"
    return _named_text(head)


def _named_text(head: bytes) -> str:
    for encoding in ("utf-16", "utf-8"):
        if encoding == "utf-16" and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            continue
        # The head may end within a character.
        text = head.decode(encoding, "ignore").lstrip("\ufeff \t\r\n")
        if len(text.encode(encoding)) < len(head.strip()) - 4:
            return ""
        if not all(c.isprintable() or c in "\t\r\n\f" for c in text) or not text:
            return ""
        return _kind_of_text(text)
    return ""


def _kind_of_text(text: str) -> str:
    start = text[:200].lower()
    if "<svg" in text.lower():
        return "an SVG drawing"
    if start.startswith(("<!doctype html", "<html")):
        return "a web page"
    if start.startswith("<?xml"):
        return "an XML file"
    if start.startswith(("objecttype", "ndims", "comment =")) and "dim" in text.lower():
        return "a MetaImage volume"
    return "a text file"


def _unpacked(path: str) -> bytes:
    with files.opened(path) as (file, _):
        try:
            return gzipped.head(file, _HEAD_BYTES)
        except gzipped.DamagedError as error:
            raise errors.UnreadableFileError(path, str(error)) from error


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
