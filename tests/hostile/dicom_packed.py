"""DICOM files whose pixels are packed in every way we read, and those that lie about it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import phantoms

from hostile import elements, images
from hostile.elements import explicit, image, part_10, written
from hostile.expected import Hostile, hostile

_JPEG_12, _JPEG_LS = "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.80"
_J2K, _HTJ2K = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"
_FITS_NOT = "do not fit its header"


def _j2k(array: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(array, codecformat="j2k"))


def _many_tiles(array: np.ndarray) -> bytes:
    """A codestream that says its tiles are one pixel small, and its picture the largest."""
    found = _j2k(array)
    size = found.index(b"\xff\x51") + 6
    return found[:size] + struct.pack(">8L", 64, 48, 0, 0, 1, 0, 0, 0) + found[size + 32 :]


def _deflated(body: bytes, *, keep: int | None = None) -> elements.Writer:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed_body = packer.compress(body) + packer.flush()
    return written(part_10(packed_body[:keep], elements.DEFLATED))


def _bomb(folder: Path) -> Sequence[Path]:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = bytes(1 << 22)
    head = image({images.PIXELS: explicit(images.PIXELS, "OW", b"", 96 << 20)})
    data = packer.compress(head) + b"".join(packer.compress(block) for _ in range(24))
    return written(part_10(data + packer.flush(), elements.DEFLATED))(folder)


LIES = (
    hostile(
        "rle_of_ninety_segments",
        images.packed(images.GREY, images.RLE, lambda a: struct.pack("<L", 90) + images.rle(a)[4:]),
        "refused",
        words=f"{_FITS_NOT}: it has 90 segments",
    ),
    hostile(
        "rle_with_a_segment_outside",
        images.packed(
            images.GREY,
            images.RLE,
            lambda a: struct.pack("<3L", 2, 64, 1 << 30) + images.rle(a)[12:],
        ),
        "refused",
        words="segments lie outside",
    ),
    hostile(
        "jpeg_of_another_size",
        images.packed(images.BYTES, images.JPEG, lambda a: imagecodecs.jpeg8_encode(a[:40])),
        "refused",
        words="it is 64 x 40 pixels and the header says 64 x 48",
    ),
    hostile(
        "jpeg_that_says_65535",
        images.packed(
            images.BYTES,
            images.JPEG,
            lambda a: bytes(imagecodecs.jpeg8_encode(a)).replace(b"\0\x30\0\x40", b"\xff" * 4, 1),
        ),
        "refused",
        words="it is 65535 x 65535 pixels",
    ),
    hostile(
        "jpeg_of_three_samples",
        images.packed(
            images.BYTES, images.JPEG, lambda a: imagecodecs.jpeg8_encode(np.stack([a] * 3, -1))
        ),
        "refused",
        words="3 samples a pixel and the header says 1",
    ),
    hostile(
        "jpeg_of_noise",
        images.packed(images.BYTES, images.JPEG, lambda a: a.tobytes()),
        "refused",
        words="does not begin with the size",
    ),
    hostile(
        "jpeg_ls_of_another_size",
        images.packed(
            images.GREY, _JPEG_LS, lambda a: imagecodecs.jpegls_encode(np.ascontiguousarray(a.T))
        ),
        "refused",
        words="it is 48 x 64 pixels",
    ),
    hostile(
        "jpeg_2000_of_another_size",
        images.packed(images.GREY, _J2K, lambda a: _j2k(np.tile(a, (4, 4)))),
        "refused",
        words="it is 256 x 192 pixels",
    ),
    hostile(
        "jpeg_2000_of_endless_tiles",
        images.packed(images.GREY, _J2K, _many_tiles),
        "refused",
        words="does not begin with the size",
    ),
    hostile(
        "packed_and_called_plain",
        written(part_10(image({images.PIXELS: images.fragments(b"\1\2\3\4")}))),
        "refused",
        words="not packed as its header says",
    ),
    hostile(
        "plain_and_called_packed",
        written(part_10(image(), images.JPEG)),
        "refused",
        words="not packed as its header says",
    ),
    hostile("deflate_bomb", _bomb, "refused", words="would unpack to"),
    hostile("deflate_cut", _deflated(image(), keep=200), "refused", words="packing has no end"),
    hostile(
        "deflate_of_noise",
        written(part_10(b"\x07" + bytes(range(1, 255)), elements.DEFLATED)),
        "refused",
        words="packing is damaged",
    ),
)


def _other(name: str, syntax: str, words: str) -> Hostile:
    data = part_10(image({images.PIXELS: images.fragments(b"\xff\x0a" * 9)}), syntax)
    return hostile(f"syntax_{name}", written(data), "refused", words=words)


def _twelve_bits(array: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(array, level=98, bitspersample=12))


KINDS = (
    _other("jpeg_xl", "1.2.840.10008.1.2.4.110", "JPEG XL Lossless, which is not decoded"),
    _other("mpeg_4", "1.2.840.10008.1.2.4.102", "MPEG-4"),
    _other("private", "1.2.3.4.5.6", "an unnamed encoding"),
    hostile(
        "kind_12_bit_lossy",
        images.packed(images.GREY, _JPEG_12, _twelve_bits, images.sets(BitsStored=12, HighBit=11)),
        "opened",
        series=1,
    ),
    hostile(
        "kind_htj2k",
        images.packed(images.GREY, _HTJ2K, imagecodecs.htj2k_encode),
        "opened",
        series=1,
    ),
    hostile("kind_rle", images.packed(images.FRAMES, images.RLE, images.rle), "opened", series=1),
    hostile("kind_deflated", _deflated(image()), "opened", series=1),
    hostile(
        "kind_big_endian",
        written(part_10(elements.big_endian_image(), elements.BIG_ENDIAN)),
        "opened",
        series=1,
    ),
    hostile(
        "kind_16_bit_colour",
        images.changed((phantoms.picture().astype(np.uint16) << 8), lambda _: None),
        "marked",
        words="Colours of 16 bits are shown with 8",
    ),
    hostile(
        "kind_32_bit",
        images.changed(images.GREY.astype(np.int32), lambda _: None),
        "opened",
        series=1,
    ),
)

CASES: tuple[Hostile, ...] = (*LIES, *KINDS)
