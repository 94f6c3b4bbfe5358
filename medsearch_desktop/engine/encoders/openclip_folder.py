"""A folder with an open_clip model: its files, checked before anything is loaded from them."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import folders

CONFIG = "open_clip_config.json"
SUMS = "SHA256SUMS"
# Looked for in this order, as open_clip does.
_WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
# What the words of a text go through before the network sees them.
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "config.json",
)
_HEADER_LIMIT = 100 << 20
# The largest published tokenizer has 17 MB, the largest model that a GPU of a reader holds 20 GB.
_MOST_TEXT_BYTES = 64 << 20
_MOST_WEIGHTS_BYTES = 64 << 30
# Text towers of transformers that open_clip can build from a configuration.
_TOWERS = frozenset(("bert", "roberta", "xlm-roberta", "mt5", "m2m_100"))

# Where a BERT text tower keeps its tensors in an open_clip checkpoint.
_BERT = "text.transformer."
_HEAD_WIDTH = 64  # of every published BERT


@dataclass(frozen=True)
class Folder:
    """The parts of a model folder; `model` and `preprocess` are as in open_clip_config.json."""

    path: Path
    name: str
    weights: Path
    model: dict[str, Any]
    preprocess: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]

    @property
    def has_transformers_text(self) -> bool:
        """Tell whether the text tower is one of the transformers library."""
        return "hf_model_name" in self.model["text_cfg"]


def read(path: Path, name: str) -> Folder:
    """Return the parts of the folder at `path`.

    Raises WeightsMissingError for a missing or changed file, EncoderError for
    what cannot be understood or would run code of its own.
    """
    for file in sorted(path.iterdir()):
        most = _MOST_WEIGHTS_BYTES if file.suffix == ".safetensors" else _MOST_TEXT_BYTES
        if file.suffix == ".safetensors" or file.name in (CONFIG, *_TOKENIZER):
            folders.check_file(path, file.name, most, name)
    _check_sums(path, name)
    config = _json(path / CONFIG, name)
    model, preprocess = config.get("model_cfg"), config.get("preprocess_cfg", {})
    if not (
        isinstance(model, dict)
        and isinstance(preprocess, dict)
        and isinstance(model.get("text_cfg"), dict)
        and isinstance(model.get("vision_cfg"), dict)
    ):
        raise errors.EncoderError(name, f"its {CONFIG} lacks model_cfg, text_cfg or vision_cfg")
    _refuse_code(path, name, model)
    weights = _weights(path, name)
    return Folder(path, name, weights, model, preprocess, _shapes(weights, name))


def digest(folder: Folder, version: str) -> str:
    """Return 64 hexadecimal digits over weights, configuration, tokenizer and `version`."""
    parts = [version, _sha256(folder.weights)]
    parts.append(json.dumps([folder.model, folder.preprocess], sort_keys=True))
    for file in _TOKENIZER:
        if (folder.path / file).is_file():
            parts.append(f"{file} {_sha256(folder.path / file)}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def text_config(folder: Folder) -> dict[str, Any]:
    """Return the configuration of a text tower of the transformers library.

    The folder's own config.json where it describes such a tower; else, for a
    BERT, what the shapes of the weights say, because published folders leave
    it in another repository. Raises EncoderError when neither is there.
    """
    own = folder.path / "config.json"
    if own.is_file():
        found = _json(own, folder.name)
        if found.get("model_type") in _TOWERS:
            return found
    shapes, embeddings = folder.shapes, f"{_BERT}embeddings."
    words = shapes.get(f"{embeddings}word_embeddings.weight")
    positions = shapes.get(f"{embeddings}position_embeddings.weight")
    types = shapes.get(f"{embeddings}token_type_embeddings.weight")
    inner = shapes.get(f"{_BERT}encoder.layer.0.intermediate.dense.weight")
    tower = str(folder.model["text_cfg"]["hf_model_name"])
    if not (words and positions and types and inner) or "roberta" in tower.lower():
        raise errors.EncoderError(
            folder.name, f"its text tower {tower} needs a config.json in the folder"
        )
    layers = {k.split(".")[4] for k in shapes if k.startswith(f"{_BERT}encoder.layer.")}
    return {
        "model_type": "bert",
        "vocab_size": words[0],
        "hidden_size": words[1],
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, words[1] // _HEAD_WIDTH),
        "intermediate_size": inner[0],
        "max_position_embeddings": positions[0],
        "type_vocab_size": types[0],
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }


def _weights(path: Path, name: str) -> Path:
    for file in _WEIGHTS:
        if (path / file).is_file():
            return path / file
    found = sorted(path.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(file.name for file in found)
        raise errors.EncoderError(name, f"it is not clear which weights to take of {listed}")
    pickles = sorted(p.name for p in path.iterdir() if p.suffix in _PICKLES)
    if pickles:
        raise errors.WeightsMissingError(
            name,
            f"{pickles[0]} is a pickle, which can run code, and only safetensors weights are read",
        )
    raise errors.WeightsMissingError(name, "it holds no .safetensors file with weights")


def _shapes(weights: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor from the header of a safetensors file."""
    try:
        with weights.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _HEADER_LIMIT:
                raise ValueError("its header is too long")
            header = json.loads(file.read(length))
            _check_extents(header, weights.stat().st_size - 8 - length)
        return {
            key: tuple(int(n) for n in entry["shape"])
            for key, entry in header.items()
            if key != "__metadata__"
        }
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        struct.error,
    ) as error:
        raise errors.WeightsMissingError(
            name, f"{weights.name} is not a whole safetensors file"
        ) from error


def _check_extents(header: dict[str, Any], size: int) -> None:
    """Raise ValueError where a tensor lies outside the `size` bytes behind the header."""
    for key, entry in header.items():
        if key != "__metadata__":
            begin, end = (int(n) for n in entry["data_offsets"])
            if not 0 <= begin <= end <= size or min((*entry["shape"], 0)) < 0:
                raise ValueError(f"{key} lies outside of the file")


def _refuse_code(path: Path, name: str, model: dict[str, Any]) -> None:
    """Refuse models that ask for code of their own to be run, or for a download."""
    asks = "trust_remote_code" in json.dumps(model)
    for file in ("config.json", "tokenizer_config.json"):
        if (path / file).is_file():
            asks = asks or "auto_map" in _json(path / file, name)
    if asks:
        raise errors.EncoderError(name, "it asks to run code that came with it")
    if str(model["vision_cfg"].get("timm_model_name", "")).startswith("hf-hub:"):
        raise errors.EncoderError(name, "its image tower would have to be downloaded")


def _check_sums(path: Path, name: str) -> None:
    """Compare the files with SHA256SUMS, where the folder has one."""
    if not (path / SUMS).is_file():
        return
    lines = (path / SUMS).read_text("utf-8", "replace").splitlines()
    sums = {file: sha for sha, _, file in (line.partition("  ") for line in lines) if file}
    folders.check_sums_names(name, sums)
    listed = {file.removeprefix("./") for file in sums}
    for file, expected in sums.items():
        if not (path / file).is_file():
            raise errors.WeightsMissingError(name, f"{file} of its {SUMS} is missing")
        if _sha256(path / file) != expected:
            raise errors.WeightsMissingError(name, f"{file} differs from its checksum")
    for found in sorted(path.iterdir()):
        is_used = found.suffix == ".safetensors" or found.name in (CONFIG, *_TOKENIZER)
        if is_used and found.name not in listed:
            raise errors.WeightsMissingError(name, f"{SUMS} does not name {found.name}")


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise errors.WeightsMissingError(name, f"{path.name} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise errors.EncoderError(name, f"its {path.name} cannot be read") from error
    if not isinstance(found, dict):
        raise errors.EncoderError(name, f"its {path.name} holds no object")
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
