"""ZIP archives: what is inside under harmless names, and what must not be unpacked."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

# A member that unpacks to more than this is taken for a bomb: the largest
# multi-frame objects we know of stay below it.
LARGEST_MEMBER_BYTES = 2 << 30
# Images shrink to a third, text to a tenth, and an empty segmentation to a thousandth
# (the most that Deflate can do). What is small may shrink to anything.
MOST_SHRUNK, SMALL_BYTES = 200, 256 << 20
# All that one drop may unpack: ten of the largest studies we know of.
LARGEST_DROP_BYTES = 256 << 30

_METHODS = {
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2,
    zipfile.ZIP_LZMA,
}
# APPNOTE 4.4.5.
_OTHER_METHODS = {6: "Implode", 9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
# Archives that are documents: nobody drops them for the pictures inside. A file of this name
# alone makes no document (ISO/IEC 29500-2, 10 and 9.3; OpenDocument 1.3, part 2, 3.3).
_OFFICE, _KIND, _LONGEST_KIND = "[Content_Types].xml", "mimetype", 128
_LOCAL_HEADER_BYTES = 30


@dataclass(frozen=True)
class Member:
    """One file of an archive: where it lies, and why it is not unpacked (a sentence, or "")."""

    info: zipfile.ZipInfo
    fault: str = ""


class Archive:
    """An open ZIP archive; `members` are its files by harmless names, in the archive's order.

    A harmless name is relative, leads nowhere else, holds no control
    characters and is given once. Raises what zipfile raises.
    """

    def __init__(self, path: str) -> None:
        self._zip = zipfile.ZipFile(path)
        infos = [info for info in self._zip.infolist() if not _is_folder(info)]
        overlapping = _overlapping(infos)
        self.members: dict[str, Member] = {}
        for info in infos:
            fault = "It overlaps another file of the archive, as in a bomb: it is not unpacked."
            if info.header_offset not in overlapping:
                fault = _fault(info)
            self.members[self._free_name(harmless(info.orig_filename))] = Member(info, fault)

    def _free_name(self, name: str) -> str:
        """Return the name, or "name (2)" where the archive holds it already."""
        free, number = name, 1
        while free in self.members:
            number += 1
            stem, dot, suffix = name.rpartition(".")
            free = f"{stem} ({number}).{suffix}" if dot and stem else f"{name} ({number})"
        return free

    def open(self, name: str) -> IO[bytes]:
        """Open a member; it gives no more bytes than its size declares."""
        return self._zip.open(self.members[name].info)

    def document(self) -> str:
        """Return "an Office document" and the like for an archive that is one, else ""."""
        names = [info.orig_filename for info in self._zip.infolist()]
        if _OFFICE in names and any(name.startswith("_rels/") for name in names):
            return "an Office document"
        if names[:1] == [_KIND] and self._kind().startswith(b"application/"):
            return "an OpenDocument file or an electronic book"
        return ""

    def _kind(self) -> bytes:
        """Return what the first member says the archive is, where it is stored as it must be."""
        info = self._zip.infolist()[0]
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > _LONGEST_KIND:
            return b""
        try:
            with self._zip.open(info) as file:
                return file.read(_LONGEST_KIND)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError):
            return b""

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


class Budget:
    """What the archives of one drop may still unpack."""

    def __init__(self, largest_bytes: int = LARGEST_DROP_BYTES) -> None:
        self._largest = largest_bytes
        self._unpacked = self._packed = 0

    def fault(self, member: Member) -> str:
        """Count a member in; return a whole sentence when it is too much, else ""."""
        unpacked = self._unpacked + member.info.file_size
        packed = self._packed + member.info.compress_size
        if unpacked > self._largest:
            return f"The archives of this drop unpack to more than {_size(self._largest)}."
        if unpacked > 4 * SMALL_BYTES and unpacked > MOST_SHRUNK * max(packed, 1):
            return f"The archives of this drop unpack to {_size(unpacked)} from {_size(packed)}."
        self._unpacked, self._packed = unpacked, packed
        return ""


def harmless(name: str) -> str:
    r"""Return a name inside an archive as it is shown and looked up: "../a\b" is "a/b"."""
    plain = "".join(c if c.isprintable() else "_" for c in name).replace("\\", "/")
    if plain[1:2] == ":" and plain[:1].isalpha():
        plain = plain[2:]
    return "/".join(part for part in plain.split("/") if part not in ("", ".", "..")) or "unnamed"


def _is_folder(info: zipfile.ZipInfo) -> bool:
    """Return True for an entry that names a folder and holds nothing."""
    return info.is_dir() and info.file_size == 0


def _fault(info: zipfile.ZipInfo) -> str:
    """Return why a member is not unpacked, as a whole sentence, or ""."""
    if info.is_dir():
        return "Its name is that of a folder, but it holds data: it is not unpacked."
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        kind = "a link" if stat.S_ISLNK(mode) else "no regular file"
        return f"It is {kind}, which is not followed in an archive."
    if info.flag_bits & 0x1:
        return "It is encrypted: unpack the archive with its password and open the folder."
    if info.compress_type not in _METHODS:
        name = _OTHER_METHODS.get(info.compress_type, f"method {info.compress_type}")
        return f"It is packed as {name}, which is not supported: unpack the archive first."
    if info.file_size > LARGEST_MEMBER_BYTES:
        return f"It would unpack to {_size(info.file_size)}, which is not tried."
    if info.file_size > SMALL_BYTES and info.file_size > MOST_SHRUNK * max(info.compress_size, 1):
        unpacked, packed = _size(info.file_size), _size(info.compress_size)
        return f"It would unpack to {unpacked} from {packed}, as a bomb does: it is not tried."
    return ""


def _overlapping(infos: Iterable[zipfile.ZipInfo]) -> set[int]:
    """Return the offsets of members whose bytes are also those of another one."""
    found: set[int] = set()
    end, last = -1, -1
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            found |= {info.header_offset, last}
        length = _LOCAL_HEADER_BYTES + len(info.orig_filename) + info.compress_size
        if info.header_offset + length > end:
            end, last = info.header_offset + length, info.header_offset
    return found


def _size(count: int) -> str:
    for unit, scale in (("GB", 30), ("MB", 20), ("KB", 10)):
        if count >= 1 << scale:
            return f"{count / (1 << scale):.1f} {unit}"
    return f"{count} bytes"
