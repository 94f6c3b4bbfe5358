"""Hand-made model folders and collections of a stranger, each with the sentence it must get."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import shutil
import sqlite3
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import toy_collection

from medsearch_desktop import settings
from medsearch_desktop.engine import manifest, segments


@dataclass(frozen=True)
class Hostile:
    """`write(folder)` makes a model or a collection in `folder`, which does not exist yet.

    Using it must raise an error whose sentence holds the regular expression `words`.
    """

    name: str
    write: Callable[[Path], object]
    words: str
    kind: Literal["model", "collection"] = "model"


# Models


def compact(folder: Path) -> Path:
    """Lay out the encoder that comes with the program; large files are linked where it can be."""
    folder.mkdir(parents=True)
    for path in settings.resource("models/compact").iterdir():
        if path.suffix == ".onnx":
            try:
                os.link(path, folder / path.name)
                continue
            except OSError:
                pass
        shutil.copyfile(path, folder / path.name)
    return folder


def put(folder: Path, file: str, content: bytes) -> None:
    """Replace a file, never what it is linked to."""
    (folder / file).unlink(missing_ok=True)
    (folder / file).write_bytes(content)


def sums(folder: Path) -> None:
    """Write the checksums that fit what lies there, as who made the folder would."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.name != "SHA256SUMS" and path.is_file()
    ]
    put(folder, "SHA256SUMS", "".join(lines).encode())


def with_file(file: str, change: Callable[[bytes], bytes], *, summed: bool = True) -> Any:
    def write(folder: Path) -> None:
        compact(folder)
        put(folder, file, change((folder / file).read_bytes()))
        if summed:
            sums(folder)

    return write


def flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def without(file: str) -> Any:
    return lambda folder: (compact(folder) / file).unlink()


def lying_safetensors(content: bytes) -> bytes:
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    first = next(key for key in header if key != "__metadata__")
    header[first]["data_offsets"][1] = 1 << 40
    plain = json.dumps(header).encode()
    return struct.pack("<Q", len(plain)) + plain + content[8 + length :]


def growing_tokenizer(content: bytes) -> bytes:
    plain = json.loads(content)
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}
    plain["normalizer"] = {"type": "Sequence", "normalizers": [step] * 6}
    return json.dumps(plain).encode()


def linked_out(folder: Path) -> None:
    compact(folder)
    outside = folder.with_name(folder.name + "-outside")
    outside.write_bytes((folder / "tokenizer.json").read_bytes())
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to(outside)


def pipe(folder: Path) -> None:
    compact(folder)
    (folder / "heads.safetensors").unlink()
    os.mkfifo(folder / "heads.safetensors")


def sums_outside(folder: Path) -> None:
    compact(folder)
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  ../../outside.bin\n")


OPEN_CLIP = {
    "model_cfg": {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 8, "layers": 1, "width": 8, "patch_size": 4},
        "text_cfg": {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1},
    },
    "preprocess_cfg": {},
}


def open_clip(**files: bytes) -> Any:
    """Return what writes an open_clip folder; `__` in a name stands for a dot."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        put(folder, "open_clip_config.json", json.dumps(OPEN_CLIP).encode())
        for name, content in files.items():
            put(folder, name.replace("__", "."), content)

    return write


def config(change: Callable[[dict[str, Any]], object]) -> bytes:
    plain = json.loads(json.dumps(OPEN_CLIP))
    change(plain["model_cfg"])
    return json.dumps(plain).encode()


class _Canary:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("canary-of-a-pickle",)


LONG_HEADER = struct.pack("<Q", 1 << 62) + b"{}"
OUTSIDE = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 40]}}).encode()
LYING = struct.pack("<Q", len(OUTSIDE)) + OUTSIDE + bytes(16)
EXTERNAL = b"\x0a\x08location\x12\x0b/etc/passwd"

MODELS = (
    Hostile("an empty folder", lambda folder: folder.mkdir(), "holds neither model.toml"),
    Hostile("a network is missing", without("image.onnx"), "image.onnx is missing"),
    Hostile("its list of checksums is missing", without("SHA256SUMS"), "SHA256SUMS cannot be read"),
    Hostile(
        "a network with one flipped bit",
        with_file("text.onnx", flipped, summed=False),
        "text.onnx is not the file",
    ),
    Hostile(
        "a tokenizer with one flipped bit",
        with_file("tokenizer.json", flipped, summed=False),
        "tokenizer.json is not the file",
    ),
    Hostile(
        "heads with one flipped bit",
        with_file("heads.safetensors", flipped, summed=False),
        "heads.safetensors is not the file",
    ),
    Hostile(
        "model.toml with one flipped letter",
        with_file("model.toml", lambda c: c.replace(b"Basic", b"Basil"), summed=False),
        "model.toml is not the file",
    ),
    Hostile(
        "model.toml lies about its dimension",
        with_file("model.toml", lambda c: c.replace(b"dimension = 384", b"dimension = 5")),
        "says 5 numbers, the heads make 384",
    ),
    Hostile(
        "model.toml of nested lists",
        with_file("model.toml", lambda c: b"a = " + b"[" * 9000 + b"]" * 9000),
        "model.toml cannot be read",
    ),
    Hostile(
        "model.toml without end",
        with_file("model.toml", lambda c: c + b"#" * (2 << 20)),
        "larger than any is",
    ),
    Hostile(
        "a kind that nobody knows",
        with_file("model.toml", lambda c: c.replace(b'kind = "compact"', b'kind = "os:system"')),
        "its kind 'os:system' is not known",
    ),
    Hostile("checksums of a file outside", sums_outside, "names a file outside of it"),
    Hostile("a link that leads out", linked_out, "tokenizer.json is a link that leads out"),
    Hostile("a pipe in place of weights", pipe, "heads.safetensors is no file"),
    Hostile(
        "a network of garbage",
        with_file("image.onnx", lambda c: bytes(range(256)) * 40),
        "compact.* cannot be used|cannot be used",
    ),
    Hostile(
        "a network with data in another file",
        with_file("image.onnx", lambda c: c + EXTERNAL),
        "image.onnx asks for a file outside of it",
    ),
    Hostile(
        "a tokenizer that multiplies its text",
        with_file("tokenizer.json", growing_tokenizer),
        "tokenizer.json is no tokenizer of word pieces",
    ),
    Hostile(
        "safetensors whose header lies",
        with_file("heads.safetensors", lying_safetensors),
        "heads.safetensors",
    ),
    Hostile(
        "a pickle in place of safetensors",
        open_clip(open_clip_pytorch_model__bin=pickle.dumps(_Canary())),
        "is a pickle, which can run code",
    ),
    Hostile(
        "a safetensors header of 4 EB",
        open_clip(open_clip_model__safetensors=LONG_HEADER),
        "not a whole safetensors file",
    ),
    Hostile(
        "tensors outside of their file",
        open_clip(open_clip_model__safetensors=LYING),
        "not a whole safetensors file",
    ),
    Hostile(
        "a configuration that trusts remote code",
        open_clip(
            open_clip_config__json=config(lambda c: c["text_cfg"].update(trust_remote_code=True))
        ),
        "asks to run code that came with it",
    ),
    Hostile(
        "a tokenizer of its own code",
        open_clip(tokenizer_config__json=b'{"auto_map": {"AutoTokenizer": ["evil.py", null]}}'),
        "asks to run code that came with it",
    ),
    Hostile(
        "an image tower to be downloaded",
        open_clip(
            open_clip_config__json=config(
                lambda c: c["vision_cfg"].update(timm_model_name="hf-hub:someone/evil")
            )
        ),
        "would have to be downloaded",
    ),
    Hostile(
        "a configuration of nested lists",
        open_clip(config__json=b"[" * 100_000),
        "config.json cannot be read",
    ),
    Hostile(
        "checksums with an absolute path",
        open_clip(SHA256SUMS=f"{'0' * 64}  /etc/passwd\n".encode()),
        "names a file outside of it",
    ),
    Hostile(
        "weights that its checksums do not name",
        open_clip(
            open_clip_model__safetensors=LYING,
            SHA256SUMS=(
                hashlib.sha256(json.dumps(OPEN_CLIP).encode()).hexdigest()
                + "  open_clip_config.json\n"
            ).encode(),
        ),
        "does not name open_clip_model.safetensors",
    ),
)


# Collections


def toys(folder: Path) -> Path:
    toy_collection.write(folder, range(10))
    return folder


def rehashed(folder: Path, **counts: int) -> None:
    """Let the manifest fit what lies there, as who made the collection would."""
    described = manifest.read(folder)
    made = [
        dataclasses.replace(
            entry,
            files=tuple(manifest.entry(folder, folder / file.path) for file in entry.files),
            **counts,
        )
        for entry in described.segments
    ]
    listed = tuple(manifest.entry(folder, folder / file.path) for file in described.words)
    manifest.write(folder, dataclasses.replace(described, segments=tuple(made), words=listed))


def with_part(file: str, change: Callable[[bytes], bytes]) -> Any:
    def write(folder: Path) -> None:
        path = toys(folder) / file
        path.write_bytes(change(path.read_bytes()))
        rehashed(folder)

    return write


def with_sql(*statements: str) -> Any:
    def write(folder: Path) -> None:
        database = sqlite3.connect(toys(folder) / "segments/0001/cases.db")
        for statement in statements:
            database.execute(statement)
        database.commit()
        database.close()
        rehashed(folder)

    return write


def with_manifest(content: Callable[[dict[str, Any]], bytes]) -> Any:
    def write(folder: Path) -> None:
        plain = json.loads((toys(folder) / manifest.NAME).read_text())
        # As manifests were before they had these.
        for key in ("sha256", "recipe", "tag_weight", "pooling"):
            plain.pop(key, None)
        (folder / manifest.NAME).write_bytes(content(plain))

    return write


def linked_segment(folder: Path) -> None:
    path = toys(folder) / "segments/0001/cases.db"
    outside = folder.with_name(folder.name + "-outside.db")
    path.rename(outside)
    path.symlink_to(outside)


def absurd_counts(folder: Path) -> None:
    rehashed(toys(folder), cases=4_000_000_000)


def more_rows_than_there_are(content: bytes) -> bytes:
    """The header of a flat index: four letters, numbers a vector, vectors."""
    return content[:8] + struct.pack("<q", 1 << 50) + content[16:]


def labels_beyond(content: bytes) -> bytes:
    return content[:-4] + np.uint32(1 << 31).tobytes()


ENDLESS = (
    "CREATE VIEW cases AS WITH RECURSIVE n(row) AS (SELECT 0 UNION ALL SELECT row FROM n) "
    "SELECT row, 'id' AS case_id, '{}' AS body FROM n"
)
LONG = segments.MOST_BODY_BYTES + 1

COLLECTIONS = (
    Hostile(
        "a manifest of nested lists",
        with_manifest(lambda plain: b"[" * 100_000),
        "manifest.json: it is nested too deep",
        "collection",
    ),
    Hostile(
        "a manifest without end",
        with_manifest(lambda plain: json.dumps(plain).encode() + b" " * (5 << 20)),
        "manifest.json is larger than any is",
        "collection",
    ),
    Hostile(
        "a manifest that names a file outside",
        with_manifest(
            lambda plain: json.dumps(
                plain | {"words": [{"path": "../../x", "size": 1, "sha256": "0" * 64}]}
            ).encode()
        ),
        "manifest.json: it cannot be understood",
        "collection",
    ),
    Hostile(
        "a manifest of infinite numbers",
        with_manifest(lambda plain: json.dumps(plain | {"generation": float("inf")}).encode()),
        "manifest.json: it cannot be understood",
        "collection",
    ),
    Hostile(
        "vectors of a million numbers",
        with_manifest(
            lambda plain: json.dumps(
                plain | {"encoder": plain["encoder"] | {"dimension": 1 << 20}}
            ).encode()
        ),
        "manifest.json: it cannot be understood",
        "collection",
    ),
    Hostile(
        "a segment that leads out", linked_segment, "a link that leads out of the", "collection"
    ),
    Hostile("four thousand million cases", absurd_counts, r"facets.npy is", "collection"),
    Hostile(
        "a view in place of the cases",
        with_sql("ALTER TABLE cases RENAME TO was", ENDLESS),
        "cases.db holds a view",
        "collection",
    ),
    Hostile(
        "a trigger in the cases",
        with_sql("CREATE TRIGGER t AFTER DELETE ON cases BEGIN SELECT 1; END"),
        "cases.db holds a trigger",
        "collection",
    ),
    Hostile(
        "a case of more than 64 MB",
        with_sql(f"UPDATE cases SET body = CAST(zeroblob({LONG}) AS TEXT) WHERE row = 3"),
        "a case in cases.db cannot be understood",
        "collection",
    ),
    Hostile(
        "a case of nested lists",
        with_sql(f"UPDATE cases SET body = '{'[' * 100_000}' WHERE row = 3"),
        "a case in cases.db is nested too deep",
        "collection",
    ),
    Hostile(
        "a case that is a list",
        with_sql("UPDATE cases SET body = '[]' WHERE row = 3"),
        "a case in cases.db cannot be understood",
        "collection",
    ),
    Hostile(
        "vectors whose header lies",
        with_part("segments/0001/images.faiss", more_rows_than_there_are),
        "images.faiss is not 10 vectors of 16 numbers",
        "collection",
    ),
    Hostile(
        "labels of cases that are not there",
        with_part("segments/0001/labels.npy", labels_beyond),
        "the numbers of segment 1 do not fit its cases",
        "collection",
    ),
    Hostile(
        "words of another shape",
        with_part("words/1/meta.json", lambda c: c.replace(b'"title"', b'"tutle"')),
        "is damaged",
        "collection",
    ),
    Hostile(
        "words that are no index",
        with_part("words/1/meta.json", lambda c: b'{"index_settings": {}'),
        "is damaged",
        "collection",
    ),
)

CASES = (*MODELS, *COLLECTIONS)
