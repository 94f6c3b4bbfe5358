"""Hostile pictures, and files that are no pictures at all."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import phantoms
from PIL import Image

from hostile.expected import Hostile, hostile

Writer = Callable[[Path], Sequence[Path]]

# A million in the long tier, for they take seconds to write.
_PAGES = 1_000_000 if os.environ.get("MEDSEARCH_TRIAL") else 50_000
_PNG = b"\x89PNG\r\n\x1a\n"


def _content(name: str, content: bytes) -> Writer:
    def write(folder: Path) -> list[Path]:
        (folder / name).write_bytes(content)
        return [folder / name]

    return write


def _image(name: str, image: Callable[[], Image.Image], **options: object) -> Writer:
    def write(folder: Path) -> list[Path]:
        image().save(folder / name, **options)
        return [folder / name]

    return write


def _changed(name: str, change: Callable[[bytes], bytes], **options: object) -> Writer:
    """Write the picture of the phantoms and change its bytes."""

    def write(folder: Path) -> list[Path]:
        path = phantoms.write_picture(folder / name, **options)
        path.write_bytes(change(path.read_bytes()))
        return [path]

    return write


def chunk(name: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG with its true checksum."""
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def _header(width: int, height: int, depth: int = 8, colour: int = 0, lace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, colour, 0, 0, lace))


def _png(*chunks: bytes) -> bytes:
    return _PNG + b"".join(chunks) + chunk(b"IEND", b"")


def _lines(rows: int, width_bytes: int) -> bytes:
    return chunk(b"IDAT", zlib.compress((b"\0" + bytes(width_bytes)) * rows, 9))


def _with(extra: bytes) -> bytes:
    """Return a PNG of 64 x 64 with one more chunk before its pixels."""
    return _png(_header(64, 64), extra, _lines(64, 64))


_BOMB = zlib.compress(bytes(50 << 20), 9)
_TEXT_BOMB = chunk(b"zTXt", b"Comment\0\0" + _BOMB)
_PROFILE_BOMB = chunk(b"iCCP", b"icc\0\0" + _BOMB)


def _grey(mode: str) -> Image.Image:
    return Image.fromarray(phantoms.picture(colour=False)).convert(mode)


def _colour(mode: str) -> Image.Image:
    return Image.fromarray(phantoms.picture()).convert(mode)


def _frames(count: int) -> list[Image.Image]:
    return [Image.fromarray(np.full((40, 50), 20 * k, np.uint8)) for k in range(count)]


def _clear_palette() -> Image.Image:
    image = _colour("P")
    image.info["transparency"] = 0
    return image


def _floats() -> Image.Image:
    values = np.linspace(-5, 5, 600, dtype=np.float32).reshape(20, 30)
    values[3, 4], values[5, 6] = np.nan, np.inf
    return Image.fromarray(values)


def _tiff(
    ifds: Sequence[tuple[int, int]], *, width: int = 8, tags: bytes = b"", more: int = 0
) -> bytes:
    """Return a TIFF with pages at places: (place, place of the next page); all share 64 bytes."""
    found = bytearray(struct.pack("<2sHI", b"II", 42, ifds[0][0]) + bytes(64))
    for place, after in ifds:
        entries = b"".join(
            struct.pack("<2HI2H", tag, 3, 1, value, 0)
            for tag, value in ((256, width), (257, 8), (258, 8), (259, 1), (262, 1))
        )
        entries += struct.pack("<2H2I", 273, 4, 1, 8) + struct.pack("<2H2I", 279, 4, 1, 64)
        ifd = struct.pack("<H", 7 + more) + entries + tags + struct.pack("<I", after)
        found.extend(bytes(max(0, place + len(ifd) - len(found))))
        found[place : place + len(ifd)] = ifd
    return bytes(found)


def _many_pages(count: int) -> bytes:
    step = 96
    places = [80 + step * k for k in range(count)]
    return _tiff(list(zip(places, [*places[1:], 0], strict=True)))


def _polyglot(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inside.png", data)
    return data + packed.getvalue()


def _moving(folder: Path) -> list[Path]:
    first, *others = _frames(4)
    first.save(folder / "moving.png", save_all=True, append_images=others)
    return [folder / "moving.png"]


def _two_in_one(folder: Path) -> list[Path]:
    first, *others = (Image.fromarray(phantoms.picture((40 + k, 50))) for k in range(2))
    first.save(folder / "pair.mpo", save_all=True, append_images=others)
    (folder / "pair.mpo").rename(folder / "pair.jpg")
    return [folder / "pair.jpg"]


def _pages(folder: Path) -> list[Path]:
    first, *others = _frames(5)
    first.save(folder / "pages.tif", save_all=True, append_images=others)
    return [folder / "pages.tif"]


def _last_page_damaged(folder: Path) -> list[Path]:
    (path,) = _pages(folder)
    with Image.open(path) as image:
        image.seek(4)
        place = image._frame_pos[4]
    data = bytearray(path.read_bytes())
    data[place : place + 14] = b"\xff" * 14
    path.write_bytes(data)
    return [path]


def _dicom_named_png(folder: Path) -> list[Path]:
    (path,) = phantoms.write_ct_series(folder, slices=1)
    return [path.rename(folder / "slice.png")]


def _png_named_dicom(folder: Path) -> list[Path]:
    return [phantoms.write_picture(folder / "a.png").rename(folder / "a.dcm")]


def _wrong(data: bytes, name: bytes) -> bytes:
    """Return a PNG whose chunk `name` has a wrong checksum."""
    place = data.index(name)
    end = place + 4 + int.from_bytes(data[place - 4 : place], "big")
    return data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]


def _jpeg_size(data: bytes, height: int, width: int) -> bytes:
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">2H", height, width) + data[place + 4 :]


_SVG = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"
_HTML = b"<!DOCTYPE html><html><img src='http://127.0.0.1/a.png'></html>"
_PSD = b"8BPS\0\1" + bytes(60)
_HEIC = b"\0\0\0\x18ftypheic" + bytes(60)
_JXL = b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60)
_WEBP = b"RIFF\x24\0\0\0WEBPVP8 " + bytes(60)
_LOOP = _tiff([(80, 200), (200, 80)])

CASES: tuple[Hostile, ...] = (
    hostile(
        "png-of-400-megapixels",
        _content("a.png", _png(_header(20000, 20000), _lines(20, 20000))),
        "refused",
        words="pixels",
    ),
    hostile(
        "png-of-four-billion-rows",
        _content("a.png", _png(_header(2**31 - 1, 2**31 - 1), _lines(2, 64))),
        "refused",
        words="pixels|whole picture",
    ),
    hostile(
        "png-of-190-megapixels-without-them",
        _content("a.png", _png(_header(19000, 10000), _lines(9, 19000))),
        "marked",
        words="missing",
    ),
    hostile("png-of-no-width", _content("a.png", _png(_header(0, 9), _lines(9, 0))), "refused"),
    hostile(
        "png-text-bomb", _content("a.png", _with(_TEXT_BOMB)), "refused", words="text or profile"
    ),
    hostile(
        "png-profile-bomb", _content("a.png", _with(_PROFILE_BOMB)), "refused", words="profile"
    ),
    hostile(
        "png-pixels-bomb",
        _content("a.png", _png(_header(64, 64), chunk(b"IDAT", _BOMB))),
        "opened",
        series=1,
    ),
    hostile("png-cut", _changed("a.png", lambda d: d[: len(d) // 2]), "refused", words="cut short"),
    hostile(
        "png-without-end", _changed("a.png", lambda d: d[:-12]), "marked", words="no end", series=1
    ),
    hostile(
        "png-checksum-of-the-pixels",
        _changed("a.png", lambda d: _wrong(d, b"IDAT")),
        "marked",
        words="checksum",
        series=1,
    ),
    hostile(
        "png-checksum-of-the-header", _changed("a.png", lambda d: _wrong(d, b"IHDR")), "refused"
    ),
    hostile(
        "png-interlaced",
        _content(
            "a.png",
            _png(_header(2, 2, lace=1), chunk(b"IDAT", zlib.compress(b"\0\x10\0\x20\0\x30\x40"))),
        ),
        "opened",
        series=1,
    ),
    hostile(
        "png-16-bit",
        _image("a.png", lambda: Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30))),
        "opened",
        series=1,
    ),
    hostile("png-palette", _image("a.png", lambda: _colour("P")), "opened", series=1),
    hostile(
        "png-palette-with-transparency",
        _image("a.png", _clear_palette),
        "marked",
        words="on black",
        series=1,
    ),
    hostile("png-grey-with-alpha", _image("a.png", lambda: _grey("LA")), "marked", words="black"),
    hostile("png-1-bit", _image("a.png", lambda: _grey("1")), "opened", series=1),
    hostile("png-moving", _moving, "marked", words="4 pictures: the first", series=1),
    hostile("png-with-a-zip-behind", _changed("a.png", _polyglot), "marked", words="not read"),
    hostile("png-named-dicom", _png_named_dicom, "opened", series=1),
    hostile("dicom-named-png", _dicom_named_png, "opened", series=1),
    hostile(
        "jpeg-cut", _changed("a.jpg", lambda d: d[: len(d) // 2]), "refused", words="cut short"
    ),
    hostile(
        "jpeg-that-lies-about-its-size",
        _changed("a.jpg", lambda d: _jpeg_size(d, 9000, 9000)),
        "marked",
        words="missing",
    ),
    hostile(
        "jpeg-of-65500-squared",
        _changed("a.jpg", lambda d: _jpeg_size(d, 65500, 65500)),
        "refused",
        words="pixels",
    ),
    hostile("jpeg-head-only", _content("a.jpg", b"\xff\xd8\xff\xe0"), "refused", words="whole"),
    hostile(
        "jpeg-cmyk", _image("a.jpg", lambda: _colour("CMYK")), "marked", words="CMYK", series=1
    ),
    hostile("jpeg-two-in-one", _two_in_one, "marked", words="2 pictures: the first", series=1),
    hostile(
        "jpeg-on-its-side",
        lambda folder: [phantoms.write_picture(folder / "a.jpg", orientation=6)],
        "opened",
        series=1,
    ),
    hostile("tiff-float", _image("a.tif", _floats), "opened", series=1),
    hostile("tiff-pages", _pages, "opened", series=1),
    hostile("tiff-last-page-damaged", _last_page_damaged, "marked", words="left out", series=1),
    hostile("tiff-pages-in-a-loop", _content("a.tif", _LOOP), "opened", series=1),
    hostile(
        "tiff-of-very-many-pages",
        lambda folder: _content("a.tif", _many_pages(_PAGES))(folder),
        "marked",
        words="more than 3,000 pages",
    ),
    hostile(
        "tiff-that-lies-about-its-size",
        _content("a.tif", _tiff([(80, 0)], width=60000)),
        "refused",
        words="cut short|damaged",
    ),
    hostile(
        "tiff-tag-of-four-billion-values",
        _content(
            "a.tif", _tiff([(80, 0)], tags=struct.pack("<2H2I", 320, 4, 2**32 - 1, 8), more=1)
        ),
        "opened",
        series=1,
    ),
    hostile("tiff-cut", _changed("a.tif", lambda d: d[: len(d) // 2]), "refused"),
    hostile("gif", _image("a.gif", lambda: _grey("L")), "refused", words="GIF"),
    hostile("bmp", _image("a.bmp", lambda: _grey("L")), "refused", words="BMP"),
    hostile("webp", _content("a.webp", _WEBP), "refused", words="WebP"),
    hostile("heic", _content("a.heic", _HEIC), "refused", words="HEIC"),
    hostile("jpeg-xl", _content("a.jxl", _JXL), "refused", words="JPEG XL"),
    hostile("svg", _content("a.svg", _SVG), "refused", words="SVG"),
    hostile("svg-named-png", _content("a.png", _SVG), "refused", words="SVG"),
    hostile("eps", _content("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\nquit\n"), "refused", words="Post"),
    hostile("psd", _content("a.psd", _PSD), "refused", words="Photoshop"),
    hostile("empty", _content("a.png", b""), "refused", words="empty"),
    hostile("one-byte", _content("a.png", b"\x89"), "refused"),
    hostile("zeros", _content("a.dcm", bytes(4096)), "refused", words="zeros"),
    hostile("text", _content("notes.txt", "Grüße an alle".encode()), "refused", words="text file"),
    hostile("web-page", _content("a.png", _HTML), "refused", words="web page"),
)
