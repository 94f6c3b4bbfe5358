"""DICOM files in unusual forms: bare, wrongly named, with something before or after."""

from __future__ import annotations

import struct

from hostile import elements
from hostile.elements import explicit, image, part_10, written
from hostile.expected import Hostile, hostile

COMMENTS = 0x00204000
_CUT = r"cut short or its header is damaged: \(0020,4000\)"
_SR = elements.uid("1.2.840.10008.5.1.4.1.1.88.11")


def _with(tag: int, element: bytes) -> bytes:
    return part_10(image({tag: element}))


def _bare(data: bytes, name: str = "a") -> Hostile:
    return hostile(f"bare_{name}", written(data), "opened", series=1)


def _program(name: str, magic: bytes) -> Hostile:
    data = part_10(image(), preamble=magic)
    return hostile(
        f"preamble_{name}", written(data), "marked", words="begins like a program", series=1
    )


CASES: tuple[Hostile, ...] = (
    _bare(image(), "explicit"),
    _bare(elements.implicit_image(), "implicit"),
    _bare(elements.big_endian_image(), "big_endian"),
    _bare(elements.meta() + image(), "with_meta_header"),
    hostile(
        "bare_explicit_with_a_length_past_the_end",
        written(image({COMMENTS: explicit(COMMENTS, "UT", b"a", 0xFFFFFFF0)})),
        "refused",
        words=_CUT,
    ),
    hostile(
        "implicit_written_and_explicit_named",
        written(part_10(elements.implicit_image())),
        "opened",
        series=1,
    ),
    hostile(
        "explicit_written_and_implicit_named",
        written(part_10(image(), elements.IMPLICIT)),
        "opened",
        series=1,
    ),
    hostile(
        "no_syntax_named",
        written(b"\0" * 128 + b"DICM" + explicit(0x00020002, "UI", elements.uid("1.2")) + image()),
        "opened",
        series=1,
    ),
    hostile(
        "trailing_777_bytes",
        written(part_10(image()) + b"\xab" * 777),
        "opened",
        series=1,
    ),
    hostile(
        "trailing_777_bytes_on_a_report",
        written(
            part_10(explicit(0x00080016, "UI", _SR) + explicit(0x00080060, "CS", b"SR"))
            + b"\xab" * 777
        ),
        "listed",
        words="a structured report",
    ),
    hostile(
        "dimensions_of_32_bits",
        written(
            part_10(
                image(
                    {
                        tag: explicit(tag, "UL", struct.pack("<L", 8))
                        for tag in (0x00280010, 0x00280011)
                    }
                )
            )
        ),
        "opened",
        series=1,
    ),
    hostile(
        "dimensions_beyond_16_bits",
        written(_with(0x00280010, explicit(0x00280010, "UL", struct.pack("<L", 0x80000008)))),
        "refused",
        words="no usable Rows",
    ),
    _program("windows", b"MZ\x90\0\3\0\0\0"),
    _program("linux", b"\x7fELF\2\1\1"),
    _program("script", b"#!/bin/sh\nrm -rf /\n"),
    _program("mac_64", b"\xcf\xfa\xed\xfe\7\0\0\1"),
    _program("mac_32_reversed", b"\xfe\xed\xfa\xce\0\0\0\7"),
    _program("mac_bundle", b"\xca\xfe\xba\xbe\0\0\0\2"),
    hostile(
        "preamble_of_a_tiff",
        written(part_10(image(), preamble=b"II*\0\x08\0\0\0")),
        "opened",
        series=1,
    ),
)
