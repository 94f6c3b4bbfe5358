"""Bytes of DICOM elements, written by hand so that any of them can lie."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = {"OB", "OD", "OF", "OW", "SQ", "UC", "UN", "UR", "UT"}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

Writer = Callable[[Path], Sequence[Path]]


def explicit(tag: int, vr: str, value: bytes = b"", length: int | None = None) -> bytes:
    """One element with its VR; `length` replaces the true one."""
    size = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode("latin-1"))
    return head + struct.pack("<HL" if vr in _LONG else "<H", *_sizes(vr, size)) + value


def _sizes(vr: str, size: int) -> tuple[int, ...]:
    return (0, size) if vr in _LONG else (size,)


def implicit(tag: int, value: bytes = b"", length: int | None = None) -> bytes:
    """One element without its VR, or an item or delimiter; `length` replaces the true one."""
    size = len(value) if length is None else length
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, size) + value


def big_endian(tag: int, vr: str, value: bytes) -> bytes:
    """One element with its VR in big-endian order."""
    head = struct.pack(">HH2s", tag >> 16, tag & 0xFFFF, vr.encode("latin-1"))
    return head + struct.pack(">HL" if vr in _LONG else ">H", *_sizes(vr, len(value))) + value


def text(words: str) -> bytes:
    """Return text padded to an even length."""
    raw = words.encode("latin-1")
    return raw + b" " * (len(raw) % 2)


def uid(words: str) -> bytes:
    """Return a UID padded to an even length."""
    raw = words.encode("ascii")
    return raw + b"\0" * (len(raw) % 2)


def us(number: int) -> bytes:
    """Return a number of 16 bits."""
    return struct.pack("<H", number)


# The elements of a small image by tag: VR and value.
_IMAGE: dict[int, tuple[str, bytes]] = {
    0x00080016: ("UI", uid(SECONDARY_CAPTURE)),
    0x00080018: ("UI", uid("2.25.1")),
    0x00080060: ("CS", b"OT"),
    0x00100010: ("PN", text("Phantom^Bytes")),
    0x0020000D: ("UI", uid("2.25.2")),
    0x0020000E: ("UI", uid("2.25.3")),
    0x00280002: ("US", us(1)),
    0x00280004: ("CS", text("MONOCHROME2")),
    0x00280010: ("US", us(8)),
    0x00280011: ("US", us(8)),
    0x00280100: ("US", us(16)),
    0x00280101: ("US", us(16)),
    0x00280102: ("US", us(15)),
    0x00280103: ("US", us(0)),
    0x7FE00010: ("OW", struct.pack("<64H", *range(64))),
}


def image(changes: Mapping[int, bytes] | None = None) -> bytes:
    """The elements of an image of 8 x 8 pixels in the order of their tags.

    `changes` replaces or adds whole elements, b"" leaves one out.
    """
    parts = {tag: explicit(tag, vr, value) for tag, (vr, value) in _IMAGE.items()}
    parts |= changes or {}
    return b"".join(parts[tag] for tag in sorted(parts))


def implicit_image() -> bytes:
    """The same image with implicit VR."""
    return b"".join(implicit(tag, value) for tag, (_, value) in sorted(_IMAGE.items()))


def big_endian_image() -> bytes:
    """The same image in big-endian order."""
    parts = []
    for tag, (vr, value) in sorted(_IMAGE.items()):
        if vr in ("US", "OW"):
            value = struct.pack(
                f">{len(value) // 2}H", *struct.unpack(f"<{len(value) // 2}H", value)
            )
        parts.append(big_endian(tag, vr, value))
    return b"".join(parts)


def meta(syntax: str = EXPLICIT, extra: bytes = b"", length: int | None = None) -> bytes:
    """The file meta information; `length` replaces the true one."""
    rest = explicit(0x00020002, "UI", uid(SECONDARY_CAPTURE))
    rest += explicit(0x00020003, "UI", uid("2.25.1")) + explicit(0x00020010, "UI", uid(syntax))
    rest += extra
    size = len(rest) if length is None else length
    return explicit(0x00020000, "UL", struct.pack("<L", size)) + rest


def part_10(body: bytes, syntax: str = EXPLICIT, preamble: bytes = b"") -> bytes:
    """A whole file: preamble, prefix, meta information, elements."""
    return preamble.ljust(128, b"\0")[:128] + b"DICM" + meta(syntax) + body


def sequence(tag: int, *items: bytes) -> bytes:
    """A sequence of undefined length with items of undefined length."""
    inside = b"".join(implicit(ITEM, item + implicit(ITEM_END), UNDEFINED) for item in items)
    return explicit(tag, "SQ", inside + implicit(SEQUENCE_END), UNDEFINED)


def nested(depth: int, tag: int = 0x00081140) -> bytes:
    """`depth` sequences one in another, all of undefined length."""
    begin = explicit(tag, "SQ", b"", UNDEFINED) + implicit(ITEM, b"", UNDEFINED)
    return begin * depth + (implicit(ITEM_END) + implicit(SEQUENCE_END)) * depth


def nested_with_lengths(depth: int, tag: int = 0x00081140) -> bytes:
    """`depth` sequences one in another, each with its true length."""
    inside = b""
    for _ in range(depth):
        inside = explicit(tag, "SQ", implicit(ITEM, inside))
    return inside


def written(data: bytes, name: str = "a.dcm") -> Writer:
    """Return the writer of one file of these bytes."""

    def write(folder: Path) -> Sequence[Path]:
        (folder / name).write_bytes(data)
        return [folder / name]

    return write


def replaced(path: Path, old: bytes, new: bytes) -> None:
    """Write `new` over `old`, padded with spaces to its length, wherever it stands in a file."""
    data = path.read_bytes()
    if old not in data or len(new) > len(old):
        raise ValueError(f"{old!r} cannot be replaced in {path.name}")
    path.write_bytes(data.replace(old, new.ljust(len(old))))
