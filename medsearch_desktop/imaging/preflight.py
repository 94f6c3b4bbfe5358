"""A walk over a DICOM file's elements that finds damage before any library reads the file."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import IO, NoReturn

from pydicom import datadict, uid

from medsearch_desktop import errors

# Sequences of true objects nest a dozen deep at most; libraries recurse and die at some hundreds.
DEEPEST = 64
# A whole-slide image of 100,000 frames with 30 elements a frame stays below it.
MOST_ELEMENTS = 4_000_000
# Deflate packs nothing true better than this; what unpacks further, or to more, is a bomb.
LARGEST_RATIO = 300
LARGEST_INFLATED_BYTES = 1 << 30
# Below this a ratio proves nothing: an empty picture packs very well.
_SMALL_BYTES = 64 << 20
# Headers up to here are handed on as bytes, so that no library reads beyond what was walked.
_LARGEST_HEAD_BYTES = 64 << 20
_CHUNK = 32 << 10

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
# VRs with a length of 32 bits after two reserved bytes (DICOM PS3.5 7.1.2).
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_BINARY = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW"}
_KNOWN = (
    _LONG
    | {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN"}
    | {b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)
_PIXELS = {
    0x7FE00010: "PixelData",
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
}
_DEFLATED = uid.DeflatedExplicitVRLittleEndian.encode()

EXECUTABLE = (
    "The file begins like a program, in a part that no viewer reads: a copy made here has that "
    "part emptied."
)
# Windows, Linux, macOS in all its byte orders and as a bundle of several, and scripts.
_PROGRAMS = (
    *(b"MZ", b"\x7fELF", b"#!"),
    *(b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"),
    *(b"\xca\xfe\xba\xbe", b"\xbe\xba\xfe\xca", b"\xca\xfe\xba\xbf", b"\xbf\xba\xfe\xca"),
)


@dataclass(frozen=True)
class PixelElement:
    """Where the value of the pixel element lies; a `length` of -1 is undefined (fragments)."""

    keyword: str
    vr: str
    offset: int
    length: int


@dataclass(frozen=True)
class Checked:
    """A file whose header is sound.

    `file` and `size` are those given, or the unpacked bytes of a deflated
    file; `head` holds all that lies before the pixels. `syntax` is the named
    transfer syntax, or the one that the bytes show. `is_empty` says that no
    element tells anything. `marks` are sentences.
    """

    file: IO[bytes]
    size: int
    head: IO[bytes]
    syntax: str
    is_little: bool
    is_empty: bool
    pixels: PixelElement | None
    marks: tuple[str, ...]


def is_executable(head: bytes) -> bool:
    """Return True where the first bytes of a file are those of a program or a script."""
    return head.startswith(_PROGRAMS)


def check(path: str, file: IO[bytes], size: int) -> Checked:
    """Walk over the header of a DICOM file, from its first byte to its pixels.

    Raises UnreadableFileError where a length, the nesting or the number of
    elements cannot be true; the sentence names the element and no value.
    """
    source = _Bytes(file, size)
    head = source.at(0, 132)
    has_prefix = head[128:] == b"DICM"
    marks = [EXECUTABLE] if has_prefix and is_executable(head) else []
    meta = _Walk(path, source, 132 if has_prefix else 0, only_meta=True)
    meta.run()
    marks += meta.marks
    named = meta.syntax
    if named == uid.DeflatedExplicitVRLittleEndian:
        source = _inflated(path, source, meta.position)
    elif not has_prefix and not meta.count and not source.at(0, 8):
        raise errors.UnreadableFileError(path, "It is not a DICOM file.")
    is_implicit, is_little = _encoding(source.at(meta.position, 6), named)
    walk = _Walk(path, source, meta.position, is_implicit=is_implicit, is_little=is_little)
    walk.run()
    shown = {(True, True): uid.ImplicitVRLittleEndian, (False, True): uid.ExplicitVRLittleEndian}
    syntax = named or str(shown.get((is_implicit, is_little), uid.ExplicitVRBigEndian))
    return Checked(
        source.file,
        source.size,
        source.before(walk.position),
        syntax,
        is_little,
        walk.is_empty,
        walk.pixels,
        (*marks, *walk.marks),
    )


class _Bytes:
    """Any bytes of a file by their place; short at its end. Read forward, it never goes back."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.size = file, size
        self._start, self._held = 0, file.read(_CHUNK)

    def at(self, place: int, count: int) -> bytes:
        begin = place - self._start
        if begin < 0 or begin + count > len(self._held):
            self.file.seek(place)
            self._start, self._held, begin = place, self.file.read(_CHUNK), 0
        return self._held[begin : begin + count]

    def before(self, end: int) -> IO[bytes]:
        """Return the bytes before `end` as a file; the file itself where those are many."""
        if end > _LARGEST_HEAD_BYTES:
            self.file.seek(0)
            return self.file
        if self._start == 0 and end <= len(self._held):
            return io.BytesIO(self._held[:end])
        self.file.seek(0)
        return io.BytesIO(self.file.read(end))


def _encoding(first: bytes, syntax: str) -> tuple[bool, bool]:
    """Return (implicit VR, little endian) of the data set that begins with `first`."""
    vr = first[4:6]
    has_vr = len(vr) == 2 and all(0x41 <= byte <= 0x5A for byte in vr)
    if syntax == uid.ExplicitVRBigEndian:
        return not has_vr, False
    if syntax:
        named_implicit = syntax == uid.ImplicitVRLittleEndian
        return (not has_vr if len(vr) == 2 else named_implicit), True
    if vr not in _KNOWN:
        return True, True
    # A big-endian group of 0008 reads as 0800 the other way round.
    return False, int.from_bytes(first[:2], "little") < 0x0400


def _inflated(path: str, source: _Bytes, start: int) -> _Bytes:
    """Return the unpacked bytes of a deflated file, which then names plain explicit VR."""
    head = source.before(start).read(start)
    plain = uid.ExplicitVRLittleEndian.encode().ljust(len(_DEFLATED), b"\0")
    out = io.BytesIO()
    out.write(head.replace(_DEFLATED, plain))
    source.file.seek(start)
    packed, taken = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        while not packed.eof and (block := source.file.read(_CHUNK)):
            taken += len(block)
            while block:
                out.write(packed.decompress(block, 1 << 20))
                _refuse_bomb(path, out.tell() - start, taken)
                block = packed.unconsumed_tail
    except zlib.error as error:
        raise errors.UnreadableFileError(path, "Its deflate packing is damaged.") from error
    if not packed.eof:
        raise errors.UnreadableFileError(path, "The file is cut short: its packing has no end.")
    size = out.tell()
    out.seek(0)
    return _Bytes(out, size)


def _refuse_bomb(path: str, unpacked: int, packed: int) -> None:
    is_dense = unpacked > _SMALL_BYTES and unpacked > LARGEST_RATIO * packed
    if is_dense or unpacked > LARGEST_INFLATED_BYTES:
        size = f"{unpacked / 2**20:,.0f} MB"
        reason = f"It would unpack to {size} and more, which is not tried."
        raise errors.UnreadableFileError(path, reason)


@dataclass
class _Level:
    """A data set, a sequence or an item that the walk is in; an `end` of -1 is undefined."""

    tag: int
    end: int
    limit: int
    kind: str  # "elements", "items" or "fragments"
    is_implicit: bool


@dataclass
class _Walk:
    path: str
    source: _Bytes
    position: int
    is_implicit: bool = False
    is_little: bool = True
    only_meta: bool = False
    pixels: PixelElement | None = None
    syntax: str = ""
    count: int = 0
    is_empty: bool = True
    marks: list[str] = field(default_factory=list)
    _levels: list[_Level] = field(default_factory=list)
    # Values of known length that are sequences, or look like one: damage inside them ends with
    # them. Where each ends, how deep the walk was before it, and its tag where it must be one.
    _fences: list[tuple[int, int, int]] = field(default_factory=list)
    _meta_end: int = -1

    def run(self) -> None:
        """Walk until the pixels, the end, or (`only_meta`) the first element beyond group 2."""
        order = "<" if self.is_little else ">"
        self._short = struct.Struct(order + "HH2sH").unpack
        self._long = struct.Struct(order + "HHL").unpack
        self._length = struct.Struct(order + "L").unpack
        if self.only_meta:
            self.is_implicit = _encoding(self.source.at(self.position, 6), "1")[0]
        size = self.source.size
        self._levels = [_Level(0, size, size, "elements", self.is_implicit)]
        while self._levels:
            try:
                if self._step():
                    break
            except errors.UnreadableFileError:
                if not self._fences:
                    raise
                self.position, depth, tag = self._fences.pop()
                del self._levels[depth:]
                if tag:
                    self.marks.append(f"A part of its header, {_name(tag)}, is damaged.")
        if self.only_meta and 0 <= self._meta_end != self.position:
            self.marks.append("The length of its first part (0002,0000) is wrong.")

    def _step(self) -> bool:
        """Take one element, item or delimiter; return True at the end of the walk."""
        level = self._levels[-1]
        if 0 <= level.end <= self.position:
            self._levels.pop()
            if self._fences and len(self._levels) <= self._fences[-1][1]:
                self._fences.pop()
            return False
        self.count += 1
        if self.count > MOST_ELEMENTS:
            self._fences.clear()
            self._fail(f"Its header has more than {MOST_ELEMENTS:,} elements.")
        if level.kind == "elements":
            return self._element(level)
        self._item(level)
        return False

    def _element(self, level: _Level) -> bool:
        head = self.source.at(self.position, 12)[: level.limit - self.position]
        if len(head) < 8:
            if any(head) or level.end < 0:  # an item without an end is not over here
                self._cut("the last element", 8, len(head))
            self.position = level.limit
            return False
        group, element, vr, length = self._short(head[:8])
        tag, value = group << 16 | element, self.position + 8
        if self.only_meta and len(self._levels) == 1 and group != 2:
            return True
        self.is_empty = self.is_empty and not group
        if group == 0xFFFE:
            self._delimiter(level, tag)
            return False
        if level.is_implicit or not b"AA" <= vr <= b"ZZ":
            vr, length = b"", self._length(head[4:8])[0]
        elif vr in _LONG:
            if len(head) < 12:
                self._cut(_name(tag), 12, len(head))
            value, length = value + 4, self._length(head[8:])[0]
        if tag in _PIXELS and len(self._levels) == 1:
            known = -1 if length == _UNDEFINED else length
            shown = vr.decode() if vr in _BINARY else "OW"
            self.pixels = PixelElement(_PIXELS[tag], shown, value, known)
            return True
        if length == _UNDEFINED:
            return self._enter(level, tag, vr, value)
        if length > level.limit - value:
            if len(self._levels) == 1 and group > 0x7FE0:
                left = self.source.size - self.position
                self.marks.append(f"The last {left:,} bytes of the file belong to nothing.")
                return True
            self._cut(_name(tag), length, level.limit - value)
        self._pass(level, tag, vr, value, length)
        return False

    def _pass(self, level: _Level, tag: int, vr: bytes, value: int, length: int) -> None:
        """Step over a value of known length, or into it where it is a sequence."""
        self.position = end = value + length
        if tag >> 16 == 2:
            self._note_meta(tag, value, length)
        if not length or (vr and vr not in (b"SQ", b"UN")):
            return
        is_items = self.source.at(value, 4) == _bytes_of(_ITEM, self.is_little)
        is_sequence = vr == b"SQ" or (not vr and is_items and _is_sequence(tag))
        if not is_items and not is_sequence:
            return
        self._fences.append((end, len(self._levels), tag if is_sequence else 0))
        self.position = value
        self._push(_Level(tag, end, end, "items", level.is_implicit))

    def _note_meta(self, tag: int, value: int, length: int) -> None:
        if tag == 0x00020000 and length == 4:
            self._meta_end = self.position + int(self._length(self.source.at(value, 4))[0])
        elif tag == 0x00020010 and length <= 64:
            self.syntax = self.source.at(value, length).decode("latin-1").strip("\0 ")

    def _enter(self, level: _Level, tag: int, vr: bytes, value: int) -> bool:
        """Go into a value of undefined length: a sequence, or fragments (also of an icon)."""
        if vr and vr not in (b"SQ", b"UN") and vr not in _BINARY:
            self._fail(f"Its header is damaged: {_name(tag)} has no length.")
        is_binary = vr in _BINARY or (not vr and tag in _PIXELS)
        self.position = value
        kind = "fragments" if is_binary else "items"
        self._push(_Level(tag, -1, level.limit, kind, level.is_implicit))
        return False

    def _item(self, level: _Level) -> None:
        head = self.source.at(self.position, 8)[: level.limit - self.position]
        if len(head) < 8:
            self._cut(_name(level.tag), 8, len(head))
        group, element, length = self._long(head)
        tag = group << 16 | element
        self.position += 8
        if tag == _SEQUENCE_END:
            self.position = max(self.position, level.end)
            self._levels.pop()
        elif tag != _ITEM:
            self._fail(f"Its header is damaged: the sequence {_name(level.tag)} is broken.")
        elif length == _UNDEFINED and level.kind == "items":
            self._push(self._data_set(level, -1, level.limit))
        elif length > level.limit - self.position:
            self._cut(f"an item of {_name(level.tag)}", length, level.limit - self.position)
        elif level.kind == "fragments":
            self.position += length
        else:
            end = self.position + length
            self._push(self._data_set(level, end, end))

    def _data_set(self, level: _Level, end: int, limit: int) -> _Level:
        # A sequence of explicit VR may hold implicit VR, never the other way round.
        vr = self.source.at(self.position, 6)[4:6]
        is_implicit = level.is_implicit or not all(0x41 <= byte <= 0x5A for byte in vr)
        return _Level(level.tag, end, limit, "elements", is_implicit)

    def _delimiter(self, level: _Level, tag: int) -> None:
        if tag != _ITEM_END or len(self._levels) == 1:
            self._fail(f"Its header is damaged: {_name(tag)} stands where no sequence is.")
        self.position = max(self.position + 8, level.end)
        self._levels.pop()

    def _push(self, level: _Level) -> None:
        self._levels.append(level)
        if len(self._levels) > 2 * DEEPEST + 1:
            self._fences.clear()
            self._fail("Its sequences are nested too deeply to be true.")

    def _cut(self, what: str, needed: int, left: int) -> NoReturn:
        self._fail(
            f"The file is cut short or its header is damaged: {what} should hold {needed:,} "
            f"bytes and {max(left, 0):,} are left."
        )

    def _fail(self, sentence: str) -> NoReturn:
        raise errors.UnreadableFileError(self.path, sentence)


def _bytes_of(tag: int, is_little: bool) -> bytes:
    return struct.pack("<HH" if is_little else ">HH", tag >> 16, tag & 0xFFFF)


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _is_sequence(tag: int) -> bool:
    return bool(datadict.dictionary_has_tag(tag)) and datadict.dictionary_VR(tag) == "SQ"
