"""Hostile archives, folders, links and indices of discs: nothing leaves its place or the memory."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import phantoms
import pydicom.config

from hostile.expected import Hostile, hostile

Writer = Callable[[Path], Sequence[Path]]

_CENTRAL = b"PK\x01\x02"


def _slice(k: int = 0) -> bytes:
    """Return the bytes of one slice of a series of its own study."""
    with tempfile.TemporaryDirectory() as folder:
        return phantoms.write_ct_series(Path(folder), k + 1, (8, 8))[k].read_bytes()


def _picture() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return phantoms.write_picture(Path(folder) / "a.png").read_bytes()


def _zip(*members: tuple[str, bytes], change: Callable[[bytearray], None] | None = None) -> Writer:
    """Write an archive of some members, whose bytes may be changed."""

    def write(folder: Path) -> list[Path]:
        path = folder / "packed.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in members:
                info = zipfile.ZipInfo(name)
                info.filename = name  # as it stands, also where the system would change it
                info.external_attr = 0o600 << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(info, data)
        if change is not None:
            raw = bytearray(path.read_bytes())
            change(raw)
            path.write_bytes(raw)
        return [path]

    return write


def _named(name: str) -> Writer:
    return _zip((name, _picture()))


def _in_index(offset: int, value: bytes) -> Callable[[bytearray], None]:
    """Change each entry of the archive's index (APPNOTE 4.3.12) at an offset."""

    def change(raw: bytearray) -> None:
        place = raw.find(_CENTRAL)
        while place >= 0:
            raw[place + offset : place + offset + len(value)] = value
            place = raw.find(_CENTRAL, place + 4)

    return change


def _nul_in_the_name(raw: bytearray) -> None:
    for place in (raw.find(b"aXb.png"), raw.rfind(b"aXb.png")):
        raw[place + 1] = 0


def _encrypted(raw: bytearray) -> None:
    raw[6] |= 1
    _in_index(8, b"\x01")(raw)


def _overlapping(folder: Path) -> list[Path]:
    """Write an archive of which all entries share the bytes of one, as flat bombs do."""
    (path,) = _zip(("first.png", _picture()), ("other.png", _picture()))(folder)
    raw = bytearray(path.read_bytes())
    other = raw.rfind(_CENTRAL)
    raw[other + 42 : other + 46] = bytes(4)
    path.write_bytes(raw)
    return [path]


def _shrunk(folder: Path) -> list[Path]:
    path = folder / "packed.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        with packed.open("bomb.dcm", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(bytes(1 << 20))
        packed.writestr("a.png", _picture())
    return [path]


def _many_bombs(raw: bytearray) -> None:
    """Let every entry declare 250 MB: small enough alone, too much together."""
    _in_index(24, struct.pack("<L", 250 << 20))(raw)


def _link_in_archive(folder: Path) -> list[Path]:
    path = folder / "packed.zip"
    with zipfile.ZipFile(path, "w") as packed:
        info = zipfile.ZipInfo("link.dcm")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        packed.writestr(info, "/etc/passwd")
        packed.writestr("a.png", _picture())
    return [path]


def _nested(folder: Path) -> list[Path]:
    inner, outer = folder / "inner.zip", folder / "outer.zip"
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("a.png", _picture())
    with zipfile.ZipFile(outer, "w") as packed:
        packed.write(inner, "inner.zip")
        packed.writestr("a.png", _picture())
    inner.unlink()
    return [outer]


def _tar(name: str, mode: str) -> Writer:
    def write(folder: Path) -> list[Path]:
        source = phantoms.write_picture(folder / "a.png")
        with tarfile.open(folder / name, mode) as packed:  # type: ignore[call-overload]
            packed.add(source, "../a.png")
        source.unlink()
        return [folder / name]

    return write


def _file(name: str, data: bytes) -> Writer:
    def write(folder: Path) -> list[Path]:
        (folder / name).write_bytes(data)
        return [folder / name]

    return write


def _cut(folder: Path) -> list[Path]:
    (path,) = _named("a.png")(folder)
    path.write_bytes(path.read_bytes()[:-40])
    return [path]


def _behind_a_program(folder: Path) -> list[Path]:
    (path,) = _named("a.png")(folder)
    raw = path.read_bytes()
    comment = b"a comment at the end"
    end = raw.rfind(b"PK\x05\x06")
    raw = raw[: end + 20] + struct.pack("<H", len(comment)) + comment
    path.write_bytes(b"MZ" + bytes(4000) + raw)
    return [path]


def _large_index(folder: Path) -> list[Path]:
    """Write an archive in the ZIP64 format."""
    path = folder / "packed.zip"
    with zipfile.ZipFile(path, "w") as packed, packed.open("a.png", "w", force_zip64=True) as to:
        to.write(_picture())
    return [path]


def _unsupported(raw: bytearray) -> None:
    raw[8:10] = struct.pack("<H", 9)  # Deflate64
    _in_index(10, struct.pack("<H", 9))(raw)


def _junk(folder: Path) -> list[Path]:
    phantoms.write_picture(folder / "a.png")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._a.png"):
        (folder / name).write_bytes(b"junk")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._b").write_bytes(b"junk")
    return [folder]


def _links(folder: Path) -> list[Path]:
    drop = folder / "drop"
    phantoms.write_picture(drop / "a.png")
    phantoms.write_picture(folder / "outside.png")
    os.symlink(folder / "outside.png", drop / "out.png")
    os.symlink("a.png", drop / "in.png")
    os.symlink(drop, drop / "loop")
    os.symlink("self", drop / "self")
    os.symlink(folder, drop / "above")
    return [drop]


def _no_files(folder: Path) -> list[Path]:
    phantoms.write_picture(folder / "a.png")
    os.mkfifo(folder / "pipe.dcm")
    with socket.socket(socket.AF_UNIX) as bound:
        before = Path.cwd()
        os.chdir(folder)  # the name of a socket may have 100 characters
        try:
            bound.bind("socket.dcm")
        finally:
            os.chdir(before)
    return [folder]


def _odd_names(folder: Path) -> list[Path]:
    source = phantoms.write_picture(folder / "a.png")
    for name in (b"line\nbreak.png", b"\xff\xfe.png", b"<b>bold.png", b"x" * 240 + b".png"):
        shutil.copyfile(source, os.path.join(os.fsencode(folder), name))
    return [folder]


def _deep_path(folder: Path) -> list[Path]:
    """Write a picture whose path has more than 3,900 characters."""
    before, here = Path.cwd(), str(folder)
    os.chdir(folder)
    try:
        while len(here) < 3900:
            name = "d" * min(200, 3901 - len(here))
            os.mkdir(name)
            os.chdir(name)
            here += "/" + name
        Path("a.png").write_bytes(_picture())
    finally:
        os.chdir(before)
    return [folder]


def _copies(folder: Path) -> list[Path]:
    for path in phantoms.write_ct_series(folder / "a", 4, (8, 8)):
        (folder / "b").mkdir(exist_ok=True)
        shutil.copyfile(path, folder / "b" / path.name)
    return [folder]


def _index(*names: Sequence[str] | str, change: Callable[[bytes], bytes] | None = None) -> Writer:
    """Write a disc with one image, IM0001.dcm, and an index that lists some names."""

    def write(folder: Path) -> list[Path]:
        phantoms.write_ct_series(folder, 1, (8, 8))
        with pydicom.config.disable_value_validation():
            path = phantoms.write_dicomdir(folder / "DICOMDIR", names)
        if change is not None:
            path.write_bytes(change(path.read_bytes()))
        return [path]

    return write


def _index_to_a_link(folder: Path) -> list[Path]:
    (outside,) = phantoms.write_ct_series(folder / "outside", 1, (8, 8))
    os.makedirs(folder / "disc")
    os.symlink(outside, folder / "disc" / "LINK")
    return [phantoms.write_dicomdir(folder / "disc" / "DICOMDIR", ["LINK"])]


def _index_and_folder(folder: Path) -> list[Path]:
    _index("IM0001.dcm")(folder)
    return [folder]


def _packed_disc(folder: Path) -> list[Path]:
    _index("IM0001.dcm", ["..", "a.dcm"])(folder / "disc")
    path = phantoms.zip_folder(folder / "disc", folder / "packed.zip")
    shutil.rmtree(folder / "disc")
    return [path]


def _deep_index(data: bytes) -> bytes:
    """Return an index that goes on with sequences nested 3,000 times."""
    start = b"\x04\x00\x20\x12SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return data[: data.index(b"\x04\x00\x20\x12")] + start * 3000


CASES: tuple[Hostile, ...] = (
    hostile("zip with dots in a name", _named("../../a.png"), "opened", series=1),
    hostile("zip with an absolute name", _named("/etc/a.png"), "opened", series=1),
    hostile("zip with a drive in a name", _named("C:\\Windows\\a.png"), "opened", series=1),
    hostile("zip with backslashes", _named("..\\..\\a.png"), "opened", series=1),
    hostile(
        "zip with a NUL in a name",
        _zip(("aXb.png", _picture()), change=_nul_in_the_name),
        "opened",
        series=1,
    ),
    hostile(
        "zip with one name twice",
        _zip(("a.png", _picture()), ("a.png", _picture())),
        "opened",
        series=2,
    ),
    hostile(
        "zip whose file declares 3.8 GB",
        _zip(("a.png", _picture()), change=_in_index(24, struct.pack("<L", 0xF0000000))),
        "refused",
        words="unpack to 3.8 GB",
    ),
    hostile("zip that grows 1,000 times", _shrunk, "refused", "opened", words="as a bomb"),
    hostile(
        "zip of which all files together grow too much",
        _zip(*((f"{k}.png", _picture()) for k in range(8)), change=_many_bombs),
        "refused",
        "opened",
        words="of this drop unpack to",
    ),
    hostile("zip with overlapping files", _overlapping, "refused", words="overlaps"),
    hostile(
        "zip whose file is larger than it declares",
        _zip(("a.dcm", _slice()), change=_in_index(24, struct.pack("<L", 700))),
        "refused",
    ),
    hostile(
        "zip whose index points elsewhere",
        _zip(("a.png", _picture()), change=_in_index(42, struct.pack("<L", 17))),
        "refused",
        words="damaged",
    ),
    hostile(
        "zip with a wrong checksum",
        _zip(("a.png", _picture()), change=_in_index(16, b"\1\2\3\4")),
        "refused",
        words="damaged",
    ),
    hostile(
        "zip that is encrypted",
        _zip(("a.png", _picture()), change=_encrypted),
        "refused",
        words="encrypted",
    ),
    hostile(
        "zip packed with Deflate64",
        _zip(("a.png", _picture()), change=_unsupported),
        "refused",
        words="Deflate64",
    ),
    hostile("zip with a link", _link_in_archive, "refused", "opened", words="a link"),
    hostile("zip in a zip", _nested, "refused", "opened", words="inside an archive"),
    hostile("zip that is cut short", _cut, "refused", words="not a whole ZIP"),
    hostile("zip without files", _zip(), "refused", words="holds no files"),
    hostile("zip behind a program, with a comment", _behind_a_program, "opened", series=1),
    hostile("zip in the large format", _large_index, "opened", series=1),
    hostile(
        "zip that is an Office document",
        _zip(
            ("[Content_Types].xml", b"<x/>"),
            ("_rels/.rels", b"<x/>"),
            ("word/media/a.png", _picture()),
        ),
        "refused",
        words="Office document",
    ),
    hostile(
        "zip with what systems leave",
        _zip(("a.png", _picture()), ("__MACOSX/._a.png", b"x"), ("Thumbs.db", b"x")),
        "opened",
        "left out",
    ),
    hostile("tar archive", _tar("packed.tar", "w"), "refused", words="TAR"),
    hostile("packed tar archive", _tar("packed.tar.gz", "w:gz"), "refused", words="TAR"),
    hostile("7-Zip archive", _file("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(60)), "refused"),
    hostile("RAR archive", _file("a.rar", b"Rar!\x1a\x07\x01\x00" + bytes(60)), "refused"),
    hostile("folder with what systems leave", _junk, "opened", "left out"),
    hostile("folder with links", _links, "opened", "left out", "refused", words="leads out"),
    hostile("folder with a pipe and a socket", _no_files, "opened", "refused", words="a pipe"),
    hostile("folder with odd names", _odd_names, "opened", series=5),
    hostile("path of 3,900 characters", _deep_path, "opened", series=1),
    hostile("series that lies there twice", _copies, "marked", "left out", words="copy"),
    hostile("index and its folder", _index_and_folder, "opened", "left out"),
    hostile(
        "index that points outside",
        _index(["..", "a.dcm"], "IM0001.dcm"),
        "refused",
        "left out",
        "opened",
        words="outside the folder",
    ),
    hostile("index with an absolute name", _index("/etc/passwd"), "refused", words="is not there"),
    hostile("index that lists a link out", _index_to_a_link, "refused", words="outside"),
    hostile("index that lists what is gone", _index("GONE"), "refused", words="is not there"),
    hostile("index that lists itself", _index("DICOMDIR"), "refused", words="lists itself"),
    hostile(
        "index with a NUL in a name", _index("a\0b", "IM0001.dcm"), "refused", "left out", "opened"
    ),
    hostile("index that is cut short", _index("IM0001.dcm", change=lambda d: d[:-20]), "refused"),
    hostile("index nested without end", _index(change=_deep_index), "refused", words="nested"),
    hostile("disc in a zip", _packed_disc, "opened", "left out", series=1),
)
