"""The walk over a DICOM header before any library sees it: what passes, what is refused."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pydicom.data
import pytest
from hostile import elements
from hostile.elements import explicit, image, implicit, part_10
from pydicom import uid

from medsearch_desktop import errors
from medsearch_desktop.imaging import fragments, preflight


def _checked(data: bytes) -> preflight.Checked:
    return preflight.check("a.dcm", io.BytesIO(data), len(data))


def _refused(data: bytes) -> str:
    with pytest.raises(errors.UnreadableFileError) as raised:
        _checked(data)
    return raised.value.reason


def _reason(data: bytes) -> str:
    """Return why the bytes are refused, "" when they are not."""
    try:
        _checked(data)
    except errors.UnreadableFileError as error:
        return error.reason
    return ""


def _library_files() -> Iterator[Path]:
    for path in sorted(Path(pydicom.data.DATA_ROOT, "test_files").glob("*.dcm")):
        with path.open("rb") as file:
            if file.read(132)[128:] == b"DICM":
                yield path


# Cut in the middle of a sequence on purpose, and one of which the library has to complain.
LEFT_OUT = {"rtplan_truncated.dcm", "SC_rgb_jpeg.dcm"}


def test_that_the_walk_finds_the_pixels_where_the_library_finds_them():
    compared = 0
    for path in _library_files():
        if path.name in LEFT_OUT:
            continue
        with path.open("rb") as file:
            checked = preflight.check(str(path), file, path.stat().st_size)
            found = pydicom.dcmread(path, force=True)
        meta = found.file_meta.get("TransferSyntaxUID")
        assert not meta or checked.syntax == meta, path.name
        if meta == uid.DeflatedExplicitVRLittleEndian or "PixelData" not in found:
            assert ("PixelData" in found) == (checked.pixels is not None), path.name
            continue
        assert checked.pixels is not None, path.name
        element = found.get_item("PixelData")
        assert checked.pixels.offset == element.value_tell, path.name
        assert checked.pixels.keyword == "PixelData"
        compared += 1
    assert compared > 60


def test_that_a_truncated_header_names_the_element_and_both_lengths():
    path = Path(pydicom.data.get_testdata_file("rtplan_truncated.dcm", download=False))
    assert _refused(path.read_bytes()) == (
        "The file is cut short or its header is damaged: (300A,00B0) should hold 976 bytes and "
        "711 are left."
    )


def test_that_no_value_of_the_header_is_in_the_sentence():
    secret = explicit(0x00100010, "PN", b"SECRET^NAME ", 60_000)
    assert "SECRET" not in _refused(part_10(image({0x00100010: secret})))


def test_that_the_library_is_given_nothing_beyond_the_pixels():
    data = part_10(image()) + b"\xab" * 777
    checked = _checked(data)
    head = checked.head.read()
    assert data.startswith(head)
    assert len(head) == checked.pixels.offset - 12  # type: ignore[union-attr]


@pytest.mark.parametrize("depth", [1, 63, 64])
def test_that_sequences_may_nest_to_the_limit(depth):
    for nested in (elements.nested(depth), elements.nested_with_lengths(depth)):
        checked = _checked(part_10(image({0x00081140: nested})))
        assert checked.pixels is not None
        assert checked.marks == ()


@pytest.mark.parametrize("depth", [65, 66, 249, 300, 200_000])
def test_that_sequences_beyond_the_limit_are_refused_however_they_are_written(depth):
    private = 0x00091001
    inside = elements.nested(depth, private)
    bodies = [image({private: inside}), image({private: elements.nested(depth)})]
    as_unknown = explicit(private, "UN", inside[12:], elements.UNDEFINED)
    bodies.append(image({private: as_unknown}))
    if depth < 1000:
        bodies.append(image({private: elements.nested_with_lengths(depth)}))
    for body in bodies:
        assert "nested too deeply" in _refused(part_10(body))


@pytest.mark.parametrize("zeros", [0, 3, 7])
def test_that_items_without_an_end_are_cut_short_and_end_the_walk_at_once(zeros, monkeypatch):
    monkeypatch.setattr(preflight, "MOST_ELEMENTS", 200)
    begin = explicit(0x00081140, "SQ", b"", elements.UNDEFINED) + implicit(
        elements.ITEM, b"", elements.UNDEFINED
    )
    assert "cut short" in _refused(part_10(image({0x7FE00010: begin * 60 + bytes(zeros)})))


def test_that_implicit_sequences_of_known_length_are_walked_too():
    inside = b""
    for _ in range(80):
        inside = implicit(0x00081140, implicit(elements.ITEM, inside))
    assert "nested too deeply" in _refused(
        part_10(inside + elements.implicit_image(), elements.IMPLICIT)
    )


def test_that_damage_within_a_sequence_of_known_length_ends_with_it():
    broken = explicit(0x00081140, "SQ", implicit(elements.ITEM, b"\1\2\3\4", 4000))
    checked = _checked(part_10(image({0x00081140: broken})))
    assert checked.pixels is not None
    assert checked.marks == ("A part of its header, (0008,1140), is damaged.",)


@pytest.mark.parametrize(
    ("data", "syntax"),
    [
        (image(), uid.ExplicitVRLittleEndian),
        (elements.implicit_image(), uid.ImplicitVRLittleEndian),
        (elements.big_endian_image(), uid.ExplicitVRBigEndian),
    ],
)
def test_that_a_bare_file_tells_its_encoding_by_its_first_element(data, syntax):
    checked = _checked(data)
    assert checked.syntax == syntax
    assert checked.is_little == (syntax != uid.ExplicitVRBigEndian)
    assert checked.pixels is not None


@pytest.mark.parametrize(
    "magic",
    [
        *(b"MZ", b"\x7fELF", b"#!", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf"),
        *(b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"),
    ],
)
def test_that_every_kind_of_program_in_the_preamble_is_said(magic):
    assert preflight.is_executable(magic + bytes(124))
    assert _checked(part_10(image(), preamble=magic)).marks == (preflight.EXECUTABLE,)


@pytest.mark.parametrize("start", [b"", b"II*\0", b"MM\0*", b"\0\0MZ", b"#", b"DICM"])
def test_that_no_other_preamble_is_taken_for_a_program(start):
    assert not preflight.is_executable(start.ljust(128, b"\0"))


def test_that_a_deflated_file_is_unpacked_and_walked():
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(image()) + packer.flush()
    checked = _checked(part_10(body, elements.DEFLATED))
    assert checked.syntax == uid.DeflatedExplicitVRLittleEndian
    assert checked.pixels is not None
    checked.file.seek(checked.pixels.offset)
    assert checked.file.read() == struct.pack("<64H", *range(64))
    deep = image({0x00081140: elements.nested(300)})
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed_deep = packer.compress(deep) + packer.flush()
    assert "nested too deeply" in _refused(part_10(packed_deep, elements.DEFLATED))


def test_that_a_deflate_bomb_is_refused_before_it_takes_memory():
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = b"".join(packer.compress(bytes(1 << 24)) for _ in range(16)) + packer.flush()
    data = part_10(body, elements.DEFLATED)
    tracemalloc.start()
    assert "would unpack to" in _refused(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 160 << 20


def test_that_no_single_wrong_byte_brings_anything_but_an_answer():
    chance = random.Random(3)
    whole = part_10(
        image(
            {
                0x00081140: elements.sequence(0x00081140, explicit(0x00081150, "UI", b"1.2\0")),
                0x00091001: elements.nested_with_lengths(3, 0x00091001),
            }
        )
    )
    reasons = [
        _reason(whole[:place] + bytes([byte]) + whole[place + 1 :])
        for place in range(132, len(whole) - 128)
        for byte in (0x00, 0xFF, chance.randrange(256))
    ]
    assert reasons.count("") > 100
    assert all(reason.endswith(".") for reason in reasons if reason)
    assert sum(map(bool, reasons)) > 100


def test_that_a_cut_file_never_finds_whole_pixels():
    whole = part_10(image())
    pixels = whole.index(struct.pack("<HH", 0x7FE0, 0x0010))
    for length in range(132, pixels):
        reason = _reason(whole[:length])
        assert "cut short" in reason if reason else _checked(whole[:length]).pixels is None


def _fragmented(*frames: bytes, table: bytes = b"", end: bool = True) -> bytes:
    parts = [implicit(elements.ITEM, part) for part in (table, *frames)]
    return b"".join(parts) + (implicit(elements.SEQUENCE_END) if end else b"")


def test_that_fragments_are_listed_up_to_the_first_that_is_not_whole():
    data = _fragmented(b"ab", b"cdef", b"gh")
    whole = fragments.find(io.BytesIO(data), 0, len(data))
    assert [data[place : place + length] for place, length in whole.items] == [
        *(b"ab", b"cdef", b"gh")
    ]
    assert whole.fault == ""
    for cut in range(1, 12):
        found = fragments.find(io.BytesIO(data[:-cut]), 0, len(data) - cut)
        assert len(found.items) == (3 if cut <= 8 else 2)


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 100])
def test_that_a_fragment_longer_than_the_file_is_no_fragment(length):
    data = implicit(elements.ITEM) + implicit(elements.ITEM, b"abcd", length)
    found = fragments.find(io.BytesIO(data), 0, len(data))
    assert found.items == ()
    assert "a fragment should hold" in found.fault


def test_that_frames_of_several_fragments_are_told_by_the_table_or_by_their_ends():
    parts = [b"a\xff\xd8..", b"..\xff\xd9", b"b\xff\xd8\xff\xd9", b"c.", b"..", b"\xff\xd9"]
    starts, place = [], 0
    for k, part in enumerate(parts):
        if k in (0, 2, 3):
            starts.append(place)
        place += 8 + len(part)
    for table in (struct.pack("<3L", *starts), b""):
        data = _fragmented(*parts, table=table)
        file = io.BytesIO(data)
        found = fragments.find(file, 0, len(data))
        grouped = fragments.frames(file, found, 3)
        joined = [b"".join(data[p : p + n] for p, n in group) for group in grouped]
        assert joined == [b"".join(parts[:2]), parts[2], b"".join(parts[3:])]
