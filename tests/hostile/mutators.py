"""Seeded mutators: 13 kinds of damage for DICOM, 7 for NIfTI and 3 for pictures."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from pydicom import uid

from hostile import seeds

Mutator = Callable[[bytearray, Random, bytes], bytearray]

_VRS = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OW PN SH SL SQ SS ST TM UI UL UN US UT".split()
# An element with an explicit VR: group and element, VR, and a length of 16 bits.
_ELEMENT = re.compile(rb"[\x02-\x28\x54\xe0]\x00..(?:" + b"|".join(_VRS) + rb")..", re.DOTALL)
_NUMBERS = (0, 1, 2, 3, 7, 255, 4095, 32767, 40000, 65535)
_LENGTHS = (0, 1, 7, 0x7F, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)


@dataclass(frozen=True)
class Mutant:
    """A damaged file: `kind` is the damage, as "dicom truncation"."""

    kind: str
    seed: str
    suffix: str
    data: bytes


# Any file


def flips(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Flip up to 20 bits anywhere."""
    for _ in range(chance.randrange(1, 20)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def truncation(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Leave out the end."""
    return data[: chance.randrange(len(data))]


def insertion(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Put noise or one repeated byte in."""
    place, count = chance.randrange(len(data)), chance.choice((1, 2, 16, 777))
    data[place:place] = chance.choice((chance.randbytes(count), b"\xab" * count))
    return data


def deletion(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Take some bytes out."""
    place = chance.randrange(len(data))
    del data[place : place + chance.choice((1, 2, 16, 400))]
    return data


# DICOM


def _value(data: bytearray, group: int, element: int) -> int:
    """Return the place of a short value of an element in any order and VR, or -1."""
    for order in "<>":
        place = data.find(struct.pack(f"{order}2H", group, element), 132)
        if place >= 0:
            return place + 8
    return -1


def length_lie(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Write another length into some element."""
    found = [match.start() for match in _ELEMENT.finditer(data)]
    place = chance.choice(found) + 6 if found else chance.randrange(len(data))
    if bytes(data[place - 2 : place]) in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        data[place + 2 : place + 6] = struct.pack("<I", chance.choice(_LENGTHS))
    else:
        data[place : place + 2] = struct.pack("<H", chance.choice(_LENGTHS) & 0xFFFF)
    return data


def _numbers(data: bytearray, chance: Random, tags: Sequence[tuple[int, int]]) -> bytearray:
    changed = False
    for tag in chance.sample(list(tags), chance.randrange(1, len(tags) + 1)):
        if (place := _value(data, *tag)) > 0:
            data[place : place + 2] = struct.pack("<H", chance.choice(_NUMBERS))
            changed = True
    return data if changed else flips(data, chance, b"")


def dimension_lie(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Write other rows and columns."""
    return _numbers(data, chance, ((0x28, 0x10), (0x28, 0x11)))


def depth_lie(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Write other samples, bits or signs of the pixels."""
    tags = ((0x28, 0x02), (0x28, 0x06), (0x28, 0x100), (0x28, 0x101), (0x28, 0x102), (0x28, 0x103))
    return _numbers(data, chance, tags)


def frame_count_lie(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Write another number of frames, or one where there was none."""
    said = chance.choice((b"0 ", b"2 ", b"-1", b"99999999", b"1e", b"2147483647 ", b"a "))
    new = struct.pack("<2H2sH", 0x28, 0x08, b"IS", len(said)) + said
    place = _value(data, 0x28, 0x08) - 8
    if place > 0:
        length = int.from_bytes(data[place + 6 : place + 8], "little")
        data[place : place + 8 + length] = new
    elif (place := _value(data, 0x28, 0x10) - 8) > 0:
        data[place:place] = new
    else:
        return insertion(data, chance, other)
    return data


def fragment_length_lie(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Write another length into an item of the encapsulated pixels, or into the pixels' own."""
    found = [match.start() for match in re.finditer(rb"\xfe\xff\x00\xe0", data)]
    place = chance.choice(found) + 4 if found else data.find(b"\xe0\x7f\x10\x00") + 8
    data[place : place + 4] = struct.pack("<I", chance.choice(_LENGTHS))
    return data


def nesting(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Put sequences within sequences before the pixels."""
    depth = chance.choice((20, 63, 64, 65, 300, 5000, 60000))
    begin = struct.pack("<2H2sHI", 0x08, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    begin += struct.pack("<2HI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<2HI2HI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    found = [match.start() for match in _ELEMENT.finditer(data)]
    place = chance.choice(found) if found else chance.randrange(len(data))
    data[place:place] = begin * depth + end * chance.choice((0, depth))
    return data


def vr_damage(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Write other or impossible VRs."""
    found = [match.start() for match in _ELEMENT.finditer(data)]
    for place in chance.sample(found, min(len(found), chance.randrange(1, 4))):
        data[place + 4 : place + 6] = chance.choice((*_VRS, b"??", b"\0\0", b"ZZ"))
    return data if found else flips(data, chance, other)


def syntax_lie(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Name another transfer syntax."""
    place = _value(data, 0x02, 0x10)
    if place < 0:
        return flips(data, chance, other)
    length = int.from_bytes(data[place - 2 : place], "little")
    said = str(chance.choice((*uid.AllTransferSyntaxes, "1.2.3.4", "", "x"))).encode()
    said += b"\0" * (len(said) % 2)
    data[place - 2 : place + length] = struct.pack("<H", len(said)) + said
    # The length of the group is no longer true; mend it, or all readers stop there.
    if (group := data.find(b"\2\0\0\0UL\4\0")) > 0:
        count = int.from_bytes(data[group + 8 : group + 12], "little") + len(said) - length
        data[group + 8 : group + 12] = struct.pack("<I", max(count, 0))
    return data


def splice(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Go on as another file, or repeat a part."""
    place = chance.randrange(len(data))
    if chance.random() < 0.5:
        return data[:place] + other[chance.randrange(len(other)) :]
    data[place:place] = data[place : place + chance.randrange(1, 400)]
    return data


# NIfTI


def nifti_dimensions(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Write other extents."""
    for _ in range(chance.randrange(1, 4)):
        place = 40 + 2 * chance.randrange(8)
        number = chance.choice((-32768, -1, 0, 1, 2, 7, 100, 32767))
        data[place : place + 2] = struct.pack("<h", number)
    return data


def nifti_datatype(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Write another type of number, or another size of it."""
    place = chance.choice((70, 72))
    number = chance.choice((0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1536, 2304, -1))
    data[place : place + 2] = struct.pack("<h", number)
    return data


def nifti_offset(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Write another place of the values."""
    number = chance.choice((float("nan"), float("inf"), -352.0, 0.0, 347.5, 353.0, 5000.0, 1e30))
    data[108:112] = struct.pack("<f", number)
    return data


def nifti_orientation(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Write other form codes, steps or axes."""
    for _ in range(chance.randrange(1, 5)):
        if chance.random() < 0.3:
            data[252:256] = struct.pack("<2h", chance.choice((-1, 0, 1, 99)), chance.choice((0, 2)))
            continue
        place = chance.choice((76, 80, 84, 88, *range(256, 328, 4)))
        number = chance.choice((float("nan"), float("inf"), 0.0, -1.0, 1e30, 1e-30, 3.0))
        data[place : place + 4] = struct.pack("<f", number)
    return data


def packing(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Spoil the gzip packing: its header, its values, its checksum, or what follows."""
    where = chance.choice(("header", "values", "checksum", "behind", "twice"))
    if where == "behind":
        return data + chance.randbytes(30)
    if where == "twice":
        return data + data
    place = {"header": chance.randrange(10), "checksum": len(data) - chance.randrange(1, 9)}.get(
        where, chance.randrange(len(data))
    )
    data[place] ^= chance.randrange(1, 256)
    return data


# Pictures


def picture_lie(data: bytearray, chance: Random, other: bytes) -> bytearray:
    """Write other sizes, lengths or kinds into the structure of a picture."""
    number = chance.choice(_NUMBERS)
    if data.startswith(b"\x89PNG"):
        place = chance.choice((8, 16, 20, 24, 25, 28, 33))
        data[place : place + 4] = struct.pack(">I", number)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif data.startswith(b"\xff\xd8"):
        found = [m.start() for m in re.finditer(rb"\xff[\xc0-\xc4\xda-\xe1]", data)]
        place = chance.choice(found) + chance.choice((2, 4, 5, 7))
        data[place : place + 2] = struct.pack(">H", number)
    else:
        ifd = int.from_bytes(data[4:8], "little")
        place = min(ifd + chance.randrange(2, 150), len(data) - 4)
        data[place : place + 2] = struct.pack("<H", number)
    return data


_DICOM: dict[str, Mutator] = {
    "flips": flips,
    "truncation": truncation,
    "insertion": insertion,
    "deletion": deletion,
    "length lie": length_lie,
    "dimension lie": dimension_lie,
    "frame-count lie": frame_count_lie,
    "depth lie": depth_lie,
    "fragment-length lie": fragment_length_lie,
    "nesting": nesting,
    "VR damage": vr_damage,
    "syntax lie": syntax_lie,
    "splice": splice,
}
_NIFTI: dict[str, Mutator] = {
    "dimensions": nifti_dimensions,
    "datatype": nifti_datatype,
    "offset": nifti_offset,
    "orientation": nifti_orientation,
    "truncation": truncation,
    "flips": flips,
    "packing": packing,
}
_PICTURE: dict[str, Mutator] = {"flips": flips, "truncation": truncation, "lie": picture_lie}
# Damage to the packed bytes; all other damage to a packed volume is done below its packing.
_OF_PACKING = (truncation, packing)

KINDS: dict[str, tuple[str, Mutator]] = {
    f"{family} {name}": (family, mutate)
    for family, kinds in (("dicom", _DICOM), ("nifti", _NIFTI), ("picture", _PICTURE))
    for name, mutate in kinds.items()
}


def mutants(whole: Sequence[seeds.Seed], count: int, seed: int) -> Iterator[Mutant]:
    """Give `count` mutants, all kinds in turn; the same for the same seeds and `seed`."""
    names = list(KINDS)
    for number in range(count):
        chance = Random(f"{seed}/{number}")
        kind = names[number % len(names)]
        family, mutate = KINDS[kind]
        chosen = chance.choice([one for one in whole if one.family == family])
        other = chance.choice([one for one in whole if one.family == family])
        data = bytearray(_renamed(chosen, chance))
        is_packed = chosen.suffix.endswith(".gz")
        if is_packed and mutate not in _OF_PACKING:
            inside = bytearray(gzip.decompress(data))
            mutated = gzip.compress(mutate(inside, chance, b""), 1, mtime=0)
        else:
            mutated = bytes(mutate(data, chance, _renamed(other, chance)))
        yield Mutant(kind, chosen.name, chosen.suffix, mutated)


def _renamed(chosen: seeds.Seed, chance: Random) -> bytes:
    """Return the seed with UIDs of its own: two mutants of a seed are no copies of each other."""
    data, body = chosen.data, b""
    if chosen.name == "deflated":
        # PS3.5, A.5: what follows the file meta information is one raw deflate stream.
        end = 144 + int.from_bytes(data[140:144], "little")
        data, body = data[:end], zlib.decompress(data[end:], -zlib.MAX_WBITS)
    for known in chosen.uids:
        kept = known[:8].rstrip(b".") + b"."
        count = len(known) - len(kept)
        if count > 4:
            new = kept + bytes(chance.choices(b"123456789", k=count))
            data, body = data.replace(known, new), body.replace(known, new)
    if body:
        engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        data += engine.compress(body) + engine.flush()
    return data
