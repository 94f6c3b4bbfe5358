"""What a decoder passes over in silence is found, and whole pictures are left in peace."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import phantoms
import pytest
from hostile import pictures
from PIL import Image

from medsearch_desktop.imaging import picture_checks


def _bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (64, 48)])
def test_that_a_whole_png_of_any_kind_gets_no_mark(mode, size):
    if mode == "I;16":
        image = Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint16).reshape(size))
    else:
        image = Image.fromarray(phantoms.picture(size)).convert(mode)
    assert picture_checks.marks(_bytes(image, "PNG")) == []


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 1}, {"subsampling": 2}])
@pytest.mark.parametrize("size", [(1, 1), (600, 500)])
def test_that_a_whole_jpeg_gets_no_mark_even_where_it_is_all_one_grey(options, size):
    image = Image.new("L", size, 128)
    assert picture_checks.marks(_bytes(image, "JPEG", **options)) == []


def _laced(width: int, height: int, rows: int) -> bytes:
    """Return an interlaced PNG of zeros whose passes hold `rows` lines less than they should."""
    lines = []
    for left, top, across, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        columns = len(range(left, width, across))
        lines += [bytes(1 + columns)] * (len(range(top, height, down)) if columns else 0)
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 1)
    pixels = zlib.compress(b"".join(lines[: len(lines) - rows]))
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(pictures.chunk(*each) for each in chunks)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 9), (64, 33)])
def test_that_an_interlaced_png_is_short_from_its_first_missing_line(width, height):
    assert picture_checks.marks(_laced(width, height, 0)) == []
    assert "missing" in picture_checks.marks(_laced(width, height, 1))[0]


def test_that_every_flip_of_a_png_is_told_or_refused_by_its_decoder():
    whole = _bytes(Image.fromarray(phantoms.picture((20, 30))), "PNG")
    shown = np.asarray(Image.open(io.BytesIO(whole)))
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        try:
            found = np.asarray(Image.open(io.BytesIO(bytes(damaged)), formats=["PNG"]))
        except Exception:
            continue
        assert np.array_equal(found, shown) or picture_checks.marks(bytes(damaged)), place
