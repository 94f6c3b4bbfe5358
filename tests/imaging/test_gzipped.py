"""Unpacking agrees with the library's, and damage is found where it lies."""

from __future__ import annotations

import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsearch_desktop.imaging import gzipped


def _whole(packed: bytes, most: int = 1 << 16) -> bytes:
    unpacked, found = gzipped.Unpacked(io.BytesIO(packed)), b""
    while more := unpacked.read(most):
        found += more
    return found


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=4), st.integers(1, 5000))
def test_that_members_behind_each_other_are_one_stream(parts, most):
    assert _whole(b"".join(map(gzip.compress, parts)), most) == b"".join(parts)


@pytest.mark.parametrize("behind", [b"", b"\0" * 700, b"left over", b"\x1f"])
def test_that_what_lies_behind_a_whole_member_is_no_part_of_it(behind):
    assert _whole(gzip.compress(b"values") + behind) == b"values"


def test_that_names_and_comments_of_a_header_are_passed_over():
    packed = io.BytesIO()
    with gzip.GzipFile("volume.nii", "wb", fileobj=packed) as file:
        file.write(b"values")
    assert _whole(packed.getvalue()) == b"values"
    plain = gzip.compress(b"values")
    rich = plain[:3] + bytes([2 | 4 | 16]) + plain[4:10] + b"\3\0abc" + b"a comment\0" + b"\0\0"
    assert _whole(rich + plain[10:]) == b"values"


@given(st.binary(min_size=1, max_size=500), st.integers(0, 7), st.integers(1, 255))
def test_that_a_wrong_checksum_or_length_is_told_after_the_values_were_given(values, place, change):
    packed = bytearray(gzip.compress(values))
    packed[len(packed) - 8 + place] ^= change
    unpacked = gzipped.Unpacked(io.BytesIO(bytes(packed)))
    assert unpacked.read(1000) == values
    for _ in range(2):
        with pytest.raises(gzipped.DamagedError, match="checksum"):
            unpacked.read(1000)


@given(st.binary(max_size=500), st.data())
def test_that_a_cut_is_always_told(values, data):
    packed = gzip.compress(values)
    with pytest.raises(gzipped.DamagedError, match="cut short"):
        _whole(packed[: data.draw(st.integers(0, len(packed) - 1))])


def test_that_only_what_is_asked_for_is_unpacked():
    packed = gzip.compress(bytes(100 << 20))
    unpacked = gzipped.Unpacked(io.BytesIO(packed))
    assert 0 < len(unpacked.read(1000)) <= 1000
    assert len(gzipped.head(io.BytesIO(packed), 540)) == 540


def test_that_a_header_that_never_ends_is_damage():
    endless = gzip.compress(b"")[:3] + b"\x08" + bytes(6) + b"n" * (1 << 18)
    with pytest.raises(gzipped.DamagedError, match="damaged"):
        _whole(endless)
