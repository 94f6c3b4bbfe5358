"""DICOM files whose header lies, is cut or nests without end, and what must be said of each."""

from __future__ import annotations

import struct

from hostile import elements
from hostile.elements import explicit, image, implicit, part_10, written
from hostile.expected import Hostile, hostile

COMMENTS = 0x00204000
_PRIVATE = 0x00091001
_CUT = r"cut short or its header is damaged: \(0020,4000\)"
_DEEP = "nested too deeply"


def _with(tag: int, element: bytes) -> bytes:
    return part_10(image({tag: element}))


def _cut_at(count: int) -> bytes:
    return part_10(image())[:count]


_WHOLE = part_10(image())
_HEADER_END = _WHOLE.index(struct.pack("<HH", 0x7FE0, 0x0010))
_SHORT_ITEM = explicit(0x00081140, "SQ", implicit(elements.ITEM, b"\0" * 8, 4096))

LENGTHS = (
    hostile(
        "length_ffff_fffe",
        written(_with(COMMENTS, explicit(COMMENTS, "UT", b"a", 0xFFFFFFFE))),
        "refused",
        words=_CUT,
    ),
    hostile(
        "length_past_the_end",
        written(_with(COMMENTS, explicit(COMMENTS, "LT", b"ab", 60_000))),
        "refused",
        words=_CUT,
    ),
    hostile(
        "length_one_past_the_end_of_the_file",
        written(part_10(image({0x7FE00010: explicit(COMMENTS, "LT", b"ab", 3)}))),
        "refused",
        words=_CUT,
    ),
    hostile(
        "length_odd",
        written(_with(COMMENTS, explicit(COMMENTS, "LT", b"odd"))),
        "opened",
        series=1,
    ),
    hostile(
        "length_undefined_of_text",
        written(_with(COMMENTS, explicit(COMMENTS, "UT", b"abcd", elements.UNDEFINED))),
        "refused",
        words=r"\(0020,4000\) has no length",
    ),
    hostile(
        "length_undefined_of_text_with_implicit_vr",
        written(
            part_10(
                implicit(0x00081030, b"abcdefgh", elements.UNDEFINED) + elements.implicit_image(),
                elements.IMPLICIT,
            )
        ),
        "refused",
        words=r"\(0008,1030\) is broken",
    ),
    hostile(
        "length_undefined_of_binary_that_is_no_fragments",
        written(_with(_PRIVATE, explicit(_PRIVATE, "OB", b"\1" * 64, elements.UNDEFINED))),
        "refused",
        words=r"\(0009,1001\) is broken",
    ),
    hostile(
        "length_of_an_item_past_the_end",
        written(
            _with(
                0x00081140,
                explicit(
                    0x00081140, "SQ", implicit(elements.ITEM, b"", 0x7FFFFFF0), elements.UNDEFINED
                ),
            )
        ),
        "refused",
        words=r"an item of \(0008,1140\)",
    ),
    hostile(
        "length_of_an_item_past_its_sequence",
        written(_with(0x00081140, _SHORT_ITEM)),
        "marked",
        words=r"A part of its header, \(0008,1140\), is damaged",
        series=1,
    ),
    hostile(
        "length_of_an_element_past_its_item",
        written(
            _with(
                0x00081140,
                elements.sequence(0x00081140)[:12]
                + implicit(elements.ITEM, explicit(COMMENTS, "LT", b"abcd", 400))
                + implicit(elements.SEQUENCE_END),
            )
        ),
        "refused",
        words=_CUT,
    ),
    hostile(
        "length_in_the_meta_header_past_the_end",
        written(
            b"\0" * 128
            + b"DICM"
            + elements.meta(extra=explicit(0x00020102, "OB", b"\0\1", 0xFFFFFFF0))
            + image()
        ),
        "refused",
        words=r"\(0002,0102\)",
    ),
    hostile(
        "length_of_the_meta_header_wrong",
        written(b"\0" * 128 + b"DICM" + elements.meta(length=0x7FFFFFFF) + image()),
        "marked",
        words=r"\(0002,0000\)",
        series=1,
    ),
    hostile(
        "length_of_the_meta_header_zero",
        written(b"\0" * 128 + b"DICM" + elements.meta(length=0) + image()),
        "marked",
        words=r"\(0002,0000\)",
        series=1,
    ),
    hostile(
        "length_of_the_name_one_megabyte",
        written(_with(0x00100010, explicit(0x00100010, "UT", b"A" * (1 << 20)))),
        "opened",
        series=1,
    ),
)

SEQUENCES = (
    hostile("depth_64", written(_with(0x00081140, elements.nested(64))), "opened", series=1),
    hostile("depth_65", written(_with(0x00081140, elements.nested(65))), "refused", words=_DEEP),
    hostile("depth_300", written(_with(0x00081140, elements.nested(300))), "refused", words=_DEEP),
    hostile(
        "depth_200000",
        written(_with(0x00081140, elements.nested(200_000))),
        "refused",
        words=_DEEP,
    ),
    hostile(
        "depth_300_with_lengths",
        written(_with(0x00081140, elements.nested_with_lengths(300))),
        "refused",
        words=_DEEP,
    ),
    hostile(
        "depth_300_private",
        written(_with(_PRIVATE, elements.nested(300, _PRIVATE))),
        "refused",
        words=_DEEP,
    ),
    hostile(
        "depth_300_of_unknown_vr",
        written(_with(_PRIVATE, explicit(_PRIVATE, "UN", elements.nested_with_lengths(300)[12:]))),
        "refused",
        words=_DEEP,
    ),
    hostile(
        "sequence_without_its_end",
        written(
            _with(
                0x00081140,
                explicit(0x00081140, "SQ", implicit(elements.ITEM, b""), elements.UNDEFINED),
            )
        ),
        "refused",
        words=r"\(0008,1140\) is broken",
    ),
    hostile(
        "items_without_an_end",
        written(part_10(image({0x7FE00010: elements.nested(60)[: 60 * 20]}))),
        "refused",
        words="cut short",
    ),
    hostile(
        "sequence_end_without_a_sequence",
        written(_with(0x00081140, implicit(elements.SEQUENCE_END))),
        "refused",
        words="where no sequence is",
    ),
    hostile(
        "item_end_without_an_item",
        written(_with(0x00081140, implicit(elements.ITEM_END))),
        "refused",
        words="where no sequence is",
    ),
    hostile(
        "sequence_of_something_else",
        written(_with(0x00081140, explicit(0x00081140, "SQ", b"no items at all."))),
        "marked",
        words=r"\(0008,1140\), is damaged",
        series=1,
    ),
    hostile(
        "private_bytes_that_begin_like_an_item",
        written(
            _with(_PRIVATE, explicit(_PRIVATE, "UN", implicit(elements.ITEM, b"\xff" * 32, 900)))
        ),
        "opened",
        series=1,
    ),
)

VALUES = (
    hostile(
        "vr_of_two_signs",
        written(_with(COMMENTS, explicit(COMMENTS, "\x9f?", b"abcd"))),
        "refused",
        words=_CUT,
    ),
    hostile(
        "vr_that_nobody_knows",
        written(_with(COMMENTS, explicit(COMMENTS, "ZZ", b"abcd"))),
        "opened",
        series=1,
    ),
    hostile(
        "name_with_html",
        written(
            _with(
                0x00100010,
                explicit(0x00100010, "PN", elements.text("<b>A</b><img src=http://x.y/z><script>")),
            )
        ),
        "opened",
        series=1,
    ),
    hostile(
        "name_with_control_characters",
        written(_with(0x00100010, explicit(0x00100010, "PN", b"A\0\x1b[31m\r\n\t\x07\x7f\x85"))),
        "opened",
        series=1,
    ),
    hostile(
        "charset_that_is_none",
        written(
            _with(0x00080005, explicit(0x00080005, "CS", elements.text("ISO_IR 99999\\KLINGON")))
        ),
        "opened",
        series=1,
    ),
    hostile(
        "charset_and_name_do_not_fit",
        written(
            part_10(
                image(
                    {
                        0x00080005: explicit(0x00080005, "CS", elements.text("ISO_IR 192")),
                        0x00100010: explicit(0x00100010, "PN", b"\xff\xfe\xfd\xfc"),
                    }
                )
            )
        ),
        "opened",
        series=1,
    ),
    hostile(
        "date_that_is_none",
        written(_with(0x00080020, explicit(0x00080020, "DA", b"99999999"))),
        "opened",
        series=1,
    ),
    hostile(
        "number_that_is_none",
        written(_with(0x00200013, explicit(0x00200013, "IS", b"twelve"))),
        "opened",
        series=1,
    ),
    hostile(
        "number_beyond_all_bits",
        written(_with(0x00200011, explicit(0x00200011, "IS", b"9" * 40))),
        "opened",
        series=1,
    ),
    hostile(
        "no_identifiers",
        written(
            part_10(image(dict.fromkeys((0x00080016, 0x00080018, 0x0020000D, 0x0020000E), b"")))
        ),
        "opened",
        series=1,
    ),
    hostile(
        "identifier_that_is_a_path",
        written(_with(0x00080018, explicit(0x00080018, "UI", b"../../../etc/passwd\0"))),
        "opened",
        series=1,
    ),
)

CUT = (
    hostile(
        "cut_in_the_preamble", written(_cut_at(100)), "refused", words="neither|not a DICOM|zero"
    ),
    hostile("cut_after_the_prefix", written(_cut_at(132)), "refused", words="cut short"),
    hostile("cut_in_the_meta_header", written(_cut_at(170)), "refused", words="cut short"),
    hostile("cut_in_the_header", written(_cut_at(_HEADER_END - 21)), "refused", words="cut short"),
    hostile(
        "cut_in_the_head_of_an_element",
        written(_cut_at(_HEADER_END + 6)),
        "refused",
        words="cut short",
    ),
    hostile("cut_before_the_pixels", written(_cut_at(_HEADER_END)), "refused", words="missing"),
    hostile(
        "prefix_and_then_ff",
        written(b"\0" * 128 + b"DICM" + b"\xff" * 4000),
        "refused",
        words="damaged|cut short|missing",
    ),
    hostile(
        "prefix_and_then_zeros",
        written(b"\0" * 128 + b"DICM" + b"\0" * 4000),
        "refused",
        words="nothing that says what it is",
    ),
)

CASES: tuple[Hostile, ...] = (*LENGTHS, *SEQUENCES, *VALUES, *CUT)
