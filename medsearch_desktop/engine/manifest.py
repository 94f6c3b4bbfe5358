"""Manifest: the list of a collection's files with their checksums, replaced atomically."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import base

# 2 added the vectors of whole cases (pooled, joined) and the weight of tags; 1 is read as it is.
FORMAT = 2
NAME = "manifest.json"
# A manifest lists some ten files a segment: one of 100 segments has 200 kB. More is no manifest.
MOST_BYTES = 4 << 20
# The words of a manifest's own checksum; they are left out of what is hashed.
_OWN_SHA256 = re.compile(r'\A\{\s*"sha256": "([0-9a-f]{64})",')
_KEYS = frozenset(
    ("format", "generation", "name", "created", "tool", "counts", "encoder", "views")
    + ("segments", "words", "sources")
)
# Rows are numbered by 32 bits; no encoder's vectors are near so long.
_MOST_ROWS = (1 << 32) - 1
_MOST_NUMBERS = 1 << 16

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
    """One immutable segment: what it holds, and its files below segments/NNNN/.

    Pooled and joined vectors are made of the others: see `segments.SETS`.
    """

    number: int
    cases: int
    images: int
    image_vectors: int
    text_vectors: int
    files: tuple[FileEntry, ...]
    pooled_vectors: int = 0
    joined_vectors: int = 0

    def __post_init__(self) -> None:
        counts = (self.cases, self.images, *self.vectors.values())
        if not 1 <= self.number < 1 << 31 or min(counts) < 0 or max(counts) > _MOST_ROWS:
            raise ValueError(f"not a segment: {self.number} with {counts}")

    @property
    def vectors(self) -> dict[str, int]:
        """Return how many vectors each set of the segment holds."""
        return {
            "images": self.image_vectors,
            "texts": self.text_vectors,
            "pooled": self.pooled_vectors,
            "joined": self.joined_vectors,
        }

    @property
    def folder(self) -> str:
        """Return the segment's folder, relative to the collection."""
        return f"segments/{self.number:04d}"


@dataclass(frozen=True)
class Part:
    """What one build or add read: absolute paths, and every option that changes what comes of them.

    `limit` and `slices_per_volume` are None where the option was not there.
    """

    inputs: tuple[str, ...]
    input_format: str = "auto"
    columns: str = ""
    limit: int | None = None
    slices_per_volume: int | None = None

    def taking(self, more: Part) -> Part | None:
        """Return one part that reads what both read, or None where that would read other cases."""
        if self.limit is not None or dataclasses.replace(more, inputs=self.inputs) != self:
            return None
        return dataclasses.replace(self, inputs=tuple(dict.fromkeys((*self.inputs, *more.inputs))))


@dataclass(frozen=True)
class Recipe:
    """How to build a collection again: the parts it was read in, in order; () is not known."""

    parts: tuple[Part, ...] = ()

    def joined(self, more: Recipe) -> Recipe:
        """Return the recipe of a collection to which the parts of another were added."""
        if not self.parts or not more.parts:
            return Recipe()
        parts = list(self.parts)
        for part in more.parts:
            if part in parts:
                continue
            if (both := parts[-1].taking(part)) is not None:
                parts[-1] = both
            else:
                parts.append(part)
        return Recipe(tuple(parts))


UNKNOWN = Recipe()


@dataclass(frozen=True)
class Counts:
    """What a whole collection holds; `dead` cases are deleted but not yet merged away.

    `vectors` are those of images and texts; `pooled` and `joined` are made of them.
    """

    cases: int
    images: int
    vectors: int
    dead: int = 0
    pooled: int = 0
    joined: int = 0


@dataclass(frozen=True)
class Manifest:
    """One generation of a collection. `created` is ISO 8601 in UTC.

    `tag_weight` is what the vector of a case's tags counted in its joined
    vector; 0 where the collection keeps none. `pooling` is how the vectors of
    a case's images became one: views.POOLING, "" where none were pooled.
    """

    name: str
    generation: int
    created: str
    encoder: base.EncoderCard
    views: str
    segments: tuple[SegmentEntry, ...]
    words: tuple[FileEntry, ...]
    sources: tuple[str, ...] = ()
    tool: str = ""
    recipe: Recipe = UNKNOWN
    tag_weight: float = 0.0
    pooling: str = ""
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.generation < 1 or not 1 <= self.encoder.dimension <= _MOST_NUMBERS:
            raise ValueError(f"generation {self.generation}, {self.encoder.dimension} numbers")
        if self.counts.vectors > _MOST_ROWS:
            raise ValueError(f"{self.counts.vectors} vectors")
        if not 0 <= self.tag_weight < math.inf:
            raise ValueError(f"tags weigh {self.tag_weight}")

    @property
    def counts(self) -> Counts:
        """Return the sums over the segments."""
        return Counts(
            cases=sum(s.cases for s in self.segments),
            images=sum(s.images for s in self.segments),
            vectors=sum(s.image_vectors + s.text_vectors for s in self.segments),
            pooled=sum(s.pooled_vectors for s in self.segments),
            joined=sum(s.joined_vectors for s in self.segments),
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
        """Return the manifest as it is written, with its own checksum; `parse` is the inverse."""
        plain = dataclasses.asdict(self)
        plain["counts"] = dataclasses.asdict(self.counts)
        first = ("format", "generation", "name", "created", "tool", "counts", "encoder", "views")
        ordered = {key: plain.pop(key) for key in first} | plain
        rest = json.dumps(ordered, indent=1, ensure_ascii=False)[1:] + "\n"
        before, after = '{\n "sha256": "', '",' + rest
        return before + hashlib.sha256((before + after).encode()).hexdigest() + after


def _check_itself(text: str, plain: dict[str, Any]) -> None:
    """Raise ValueError where the manifest differs from its own checksum.

    Manifests of earlier versions have none; they have no key that this
    program does not know, so that a damaged checksum is not taken for none.
    """
    found = _OWN_SHA256.match(text)
    if found is not None:
        bare = text[: found.start(1)] + text[found.end(1) :]
        if hashlib.sha256(bare.encode()).hexdigest() != found[1]:
            raise ValueError("it differs from its own checksum")
    elif set(plain) - _KEYS and plain["format"] in range(FORMAT + 1):
        raise ValueError("it has lost its own checksum")


def parse(text: str, where: str) -> Manifest:
    """Return the manifest in `text`; `where` names the collection in errors.

    Raises CollectionDamagedError for what is no manifest, and CollectionError
    for one of a newer format than this program knows.
    """
    try:
        plain: dict[str, Any] = json.loads(text)
        _check_itself(text, plain)
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
            recipe=_recipe(plain.get("recipe", {})),
            tag_weight=float(plain.get("tag_weight", 0.0)),
            pooling=str(plain.get("pooling", "")),
        )
    except errors.CollectionError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        said = str(error) if "own checksum" in str(error) else "it cannot be understood"
        raise errors.CollectionDamagedError(where, f"{NAME}: {said}") from error
    except RecursionError:
        raise errors.CollectionDamagedError(where, f"{NAME}: it is nested too deep") from None


def _recipe(plain: dict[str, Any]) -> Recipe:
    """Return the recipe; that of an earlier version is one part without a list around it."""
    parts = plain.get("parts", [plain] if plain.get("inputs") else [])
    return Recipe(tuple(_part(part) for part in parts))


def _part(plain: dict[str, Any]) -> Part:
    limit, slices = plain.get("limit"), plain.get("slices_per_volume")
    return Part(
        tuple(str(path) for path in plain.get("inputs", ())),
        str(plain.get("input_format", "auto")),
        str(plain.get("columns", "")),
        None if limit is None else int(limit),
        None if slices is None else int(slices),
    )


def read(folder: Path) -> Manifest:
    """Return the manifest of the collection in `folder`.

    Raises CollectionError where there is none, CollectionDamagedError where it
    cannot be read.
    """
    return read_file(folder, folder / NAME)


def read_file(folder: Path, path: Path) -> Manifest:
    """Return the manifest at `path` of the collection in `folder`; raises as `read`."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise errors.CollectionDamagedError(str(folder), f"{path.name} is larger than any is")
        text = content.decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise errors.CollectionError(_nothing_there(folder)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise errors.CollectionDamagedError(
            str(folder), f"{path.name} cannot be read: {error}"
        ) from error
    return parse(text, str(folder))


def _nothing_there(folder: Path) -> str:
    if folder.is_dir():
        return f"{folder} holds no collection: it has no {NAME}."
    if folder.exists():
        return f"{folder} holds no collection: it is no folder."
    return (
        f"{folder} holds no collection: the folder is not there. It was moved or removed, or its "
        "drive is gone."
    )


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
