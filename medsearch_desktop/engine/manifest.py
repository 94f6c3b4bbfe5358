"""Manifest: the list of a collection's files with their checksums, replaced atomically."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import base

FORMAT = 1
NAME = "manifest.json"
# Files up to this size are hashed each time a collection is opened; `verify` hashes all.
SMALL_BYTES = 1 << 20

_RELATIVE = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileEntry:
    """One file: its path relative to the collection with "/" between, size and SHA-256."""

    path: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if not _RELATIVE.fullmatch(self.path) or ".." in self.path.split("/"):
            raise ValueError(f"not a path inside the collection: {self.path!r}")
        if self.size < 0 or not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"not a file entry: {self}")


@dataclass(frozen=True)
class SegmentEntry:
    """One immutable segment: what it holds, and its files below segments/NNNN/."""

    number: int
    cases: int
    images: int
    image_vectors: int
    text_vectors: int
    files: tuple[FileEntry, ...]

    def __post_init__(self) -> None:
        counts = (self.cases, self.images, self.image_vectors, self.text_vectors)
        if self.number < 1 or min(counts) < 0:
            raise ValueError(f"not a segment: {self.number} with {counts}")

    @property
    def folder(self) -> str:
        """Return the segment's folder, relative to the collection."""
        return f"segments/{self.number:04d}"


@dataclass(frozen=True)
class Counts:
    """What a whole collection holds; `dead` cases are deleted but not yet merged away."""

    cases: int
    images: int
    vectors: int
    dead: int = 0


@dataclass(frozen=True)
class Manifest:
    """One generation of a collection. `created` is ISO 8601 in UTC."""

    name: str
    generation: int
    created: str
    encoder: base.EncoderCard
    views: str
    segments: tuple[SegmentEntry, ...]
    words: tuple[FileEntry, ...]
    sources: tuple[str, ...] = ()
    tool: str = ""
    format: int = FORMAT

    @property
    def counts(self) -> Counts:
        """Return the sums over the segments."""
        return Counts(
            cases=sum(s.cases for s in self.segments),
            images=sum(s.images for s in self.segments),
            vectors=sum(s.image_vectors + s.text_vectors for s in self.segments),
        )

    @property
    def words_folder(self) -> str:
        """Return the folder of the words index, relative to the collection."""
        return f"words/{self.generation}"

    def files(self) -> Iterator[FileEntry]:
        """Yield every file of this generation, the manifest itself aside."""
        for segment in self.segments:
            yield from segment.files
        yield from self.words

    def to_json(self) -> str:
        """Return the manifest as it is written; `parse` is the inverse."""
        plain = dataclasses.asdict(self)
        plain["counts"] = dataclasses.asdict(self.counts)
        first = ("format", "generation", "name", "created", "tool", "counts", "encoder", "views")
        ordered = {key: plain.pop(key) for key in first} | plain
        return json.dumps(ordered, indent=1, ensure_ascii=False) + "\n"


def parse(text: str, where: str) -> Manifest:
    """Return the manifest in `text`; `where` names the collection in errors.

    Raises CollectionDamagedError for what is no manifest, and CollectionError
    for one of a newer format than this program knows.
    """
    try:
        plain: dict[str, Any] = json.loads(text)
        number = plain["format"]
        if not isinstance(number, int):
            raise ValueError("the format is no number")
        if number > FORMAT:
            raise errors.CollectionError(
                f"The collection {where} has format {number}; this program knows formats up to "
                f"{FORMAT}. Use a newer version of it."
            )
        encoder = dict(plain["encoder"])
        for name in ("abilities", "modalities"):
            encoder[name] = tuple(str(item) for item in encoder.get(name, ()))
        encoder["calibration"] = tuple((str(k), float(v)) for k, v in encoder["calibration"])
        return Manifest(
            name=str(plain["name"]),
            generation=int(plain["generation"]),
            created=str(plain["created"]),
            encoder=base.EncoderCard(**encoder),
            views=str(plain["views"]),
            segments=tuple(
                SegmentEntry(**{**s, "files": tuple(FileEntry(**f) for f in s["files"])})
                for s in plain["segments"]
            ),
            words=tuple(FileEntry(**f) for f in plain["words"]),
            sources=tuple(str(source) for source in plain["sources"]),
            tool=str(plain["tool"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.CollectionDamagedError(where, f"{NAME} cannot be understood") from error


def read(folder: Path) -> Manifest:
    """Return the manifest of the collection in `folder`.

    Raises CollectionError where there is none, CollectionDamagedError where it
    cannot be read.
    """
    try:
        text = (folder / NAME).read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise errors.CollectionError(f"{folder} holds no collection: it has no {NAME}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise errors.CollectionDamagedError(
            str(folder), f"{NAME} cannot be read: {error}"
        ) from error
    return parse(text, str(folder))


def check_files(folder: Path, manifest: Manifest, *, all_hashes: bool = False) -> Iterator[str]:
    """Yield a sentence for each file that is missing or differs from the manifest.

    Sizes are always compared, hashes of files over SMALL_BYTES only with `all_hashes`.
    """
    for entry in manifest.files():
        path = folder / entry.path
        try:
            size = path.stat().st_size
            if size != entry.size:
                yield f"{entry.path} has {size} bytes instead of {entry.size}"
            elif (all_hashes or size <= SMALL_BYTES) and sha256(path) != entry.sha256:
                yield f"{entry.path} differs from its checksum"
        except FileNotFoundError:
            yield f"{entry.path} is missing"
        except OSError as error:
            yield f"{entry.path} cannot be read: {error.strerror or error}"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entry(folder: Path, path: Path, *, under: str | None = None) -> FileEntry:
    """Return the entry of a file of the collection `folder`.

    `under` is the folder the file will lie in, relative to the collection,
    when it is still written elsewhere.
    """
    relative = f"{under}/{path.name}" if under else path.relative_to(folder).as_posix()
    return FileEntry(relative, path.stat().st_size, sha256(path))


def write(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of the collection: from here on its generation is the current one."""
    write_durably(folder / NAME, manifest.to_json().encode())


def write_durably(path: Path, content: bytes) -> None:
    """Write beside `path`, then take its place; a power cut leaves the old or the new content."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    sync_file(beside)
    os.replace(beside, path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Bring the content of a file to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk (Windows does so by itself)."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
