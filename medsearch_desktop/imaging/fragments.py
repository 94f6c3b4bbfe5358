"""Where the compressed frames of a DICOM file lie, from the fragments that are there as a whole."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_CUT = "a fragment should hold"
# A multi-frame object has a few fragments a frame; a file of empty ones is a lie.
MOST_FRAGMENTS = 1_000_000
# The end marker of the JPEG family is the last of a frame, but for some padding.
_END_OF_IMAGE, _PADDING = b"\xff\xd9", 10

Places = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Fragments:
    """Pixel data in fragments (DICOM PS3.5 A.4).

    `items` are (place in the file, length) of each whole fragment, `table` the
    basic offset table, `base` the place from which its offsets count. `fault`
    says what ended the list where that was not its end marker; `is_cut` that
    it was a fragment of which a part is missing.
    """

    items: Places
    table: tuple[int, ...]
    base: int
    fault: str = ""

    @property
    def is_cut(self) -> bool:
        return self.fault.startswith(_CUT)


def find(file: IO[bytes], start: int, size: int, *, most: int = MOST_FRAGMENTS) -> Fragments:
    """Return the fragments of the pixel data whose value begins at `start`; at most `most`.

    Every length is checked against the bytes left, and nothing but the heads
    of the fragments and the offset table is read.
    """
    place, length, fault = _head(file, start, size)
    if fault or length is None:
        return Fragments((), (), place, fault or "they are no fragments")
    table: tuple[int, ...] = ()
    if 4 <= length <= 4 * MOST_FRAGMENTS and length % 4 == 0:
        table = struct.unpack(f"<{length // 4}L", file.read(length))
    base = place + length
    items, place = list[tuple[int, int]](), base
    while len(items) < most:
        place, length, fault = _head(file, place, size)
        if fault or length is None:
            break
        items.append((place, length))
        place += length
    return Fragments(tuple(items), table, base, fault)


def _head(file: IO[bytes], place: int, size: int) -> tuple[int, int | None, str]:
    """Return (place of the value, its length or None at the end marker, a fault or "")."""
    file.seek(place)
    head = file.read(8)
    if len(head) < 8:
        # Many files end without the end marker: that alone is no fault.
        return place, None, "" if not head else "they end in the middle of a fragment"
    if head[:4] == _SEQUENCE_END:
        return place, None, ""
    length = int(struct.unpack("<L", head[4:])[0])
    if head[:4] != _ITEM:
        return place, None, "something else stands where a fragment should be"
    if length > size - place - 8:
        return place, None, f"{_CUT} {length:,} bytes and {size - place - 8:,} are"
    return place + 8, length, ""


def frames(
    file: IO[bytes],
    found: Fragments,
    declared: int,
    extended: tuple[bytes, bytes] | None = None,
    start: bytes = b"",
) -> tuple[Places, ...]:
    """Return the fragments of each frame that is there as a whole; fewer than `declared` or more.

    `extended` are the extended offset table and its lengths, where the file
    has them (DICOM PS3.3 C.7.6.3.1.8); `start` are the bytes with which a
    frame of its encoding begins. What says where frames begin is asked before
    the count: a file that is cut may have as many fragments as frames.
    """
    items = found.items
    if declared == 1:
        return (items,) if items and not found.is_cut else ()
    if extended is not None and (placed := _by_extended(found, extended, declared)):
        return placed
    if len(found.table) == declared and _fits(found):
        return _by_table(found)
    if start and (begun := _by_start(file, found, start, declared)) is not None:
        return begun
    if len(items) == declared:
        return tuple((item,) for item in items)
    if len(found.table) == declared and found.table[0] == 0:
        return _by_table(found)
    if len(items) > declared and (grouped := _by_marker(file, items)):
        return grouped
    return tuple((item,) for item in items)


def _by_extended(
    found: Fragments, extended: tuple[bytes, bytes], declared: int
) -> tuple[Places, ...]:
    if any(len(each) != 8 * declared for each in extended) or not found.items:
        return ()
    offsets, lengths = (struct.unpack(f"<{declared}Q", each) for each in extended)
    whole = dict(found.items)
    placed = list[Places]()
    for offset, length in zip(offsets, lengths, strict=True):
        place = found.base + offset + 8
        if not 0 < length <= whole.get(place, -1):
            break
        placed.append(((place, length),))
    return tuple(placed)


def _fits(found: Fragments) -> bool:
    """Return True where the offsets rise from 0 and name fragments, as far as these go."""
    table, starts = found.table, {place - 8 - found.base for place, _ in found.items}
    end = max((place + length - found.base for place, length in found.items), default=0)
    rises = all(one < other for one, other in itertools.pairwise(table))
    return table[0] == 0 and rises and all(at in starts or at >= end for at in table)


def _by_start(
    file: IO[bytes], found: Fragments, start: bytes, declared: int
) -> tuple[Places, ...] | None:
    """Group by the fragments that begin as a frame does; None where the first one does not.

    The last frame must have its end marker, unless all frames are there.
    """
    groups = list[list[tuple[int, int]]]()
    for place, length in found.items:
        file.seek(place)
        if file.read(min(length, len(start))) == start:
            groups.append([])
        elif not groups:
            return None
        groups[-1].append((place, length))
    if not groups:
        return None
    are_all = len(groups) == declared and not found.is_cut
    is_whole = are_all or _has_end(file, groups[-1][-1])
    return tuple(tuple(group) for group in (groups if is_whole else groups[:-1]))


def _has_end(file: IO[bytes], item: tuple[int, int]) -> bool:
    place, length = item
    file.seek(place + max(length - _PADDING, 0))
    return _END_OF_IMAGE in file.read(min(length, _PADDING))


def _by_table(found: Fragments) -> tuple[Places, ...]:
    """Group by the offsets of the first fragment of each frame, counted from its item head."""
    starts = [found.base + offset + 8 for offset in found.table]
    index = {place: k for k, (place, _) in enumerate(found.items)}
    if found.items:  # where the first fragment that is cut or missing would begin
        index[sum(found.items[-1]) + 8] = len(found.items)
    groups = list[Places]()
    for begin, end in zip(starts, [*starts[1:], None], strict=True):
        first = index.get(begin)
        last = len(found.items) if end is None else index.get(end)
        is_cut = found.is_cut and end is None
        if first is None or last is None or last <= first or is_cut:
            break
        groups.append(found.items[first:last])
    return tuple(groups)


def _by_marker(file: IO[bytes], items: Sequence[tuple[int, int]]) -> tuple[Places, ...]:
    groups, open_group = list[Places](), list[tuple[int, int]]()
    for item in items:
        open_group.append(item)
        if _has_end(file, item):
            groups.append(tuple(open_group))
            open_group.clear()
    return tuple(groups)
