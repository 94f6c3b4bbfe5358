"""A folder with an open_clip model: its files, checked before anything is loaded from them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import base, folders, pickles, tensors

# Enters the digest: a change of how images or words are fed makes other vectors.
_VERSION = "open_clip 1"
CONFIG = "open_clip_config.json"
# Looked for in this order, as open_clip does.
_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
)
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
# What a configuration may ask of its tokenizer; the rest could name files and addresses.
_TOKENIZER_WISHES = frozenset(("clean", "strip_sep_token", "language", "tokenizer_mode"))
# In the name of the text tower -> the repository that the model is published in.
_REPOSITORIES = (
    ("BiomedBERT", "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"),
    ("PubMedBERT", "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"),
)
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
    sums: Mapping[str, str]

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
    sums = _checked_sums(path, name)
    config = folders.read_json(path / CONFIG, name)
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
    if lacking := missing(path):
        raise errors.WeightsMissingError(name, f"a file is missing: {'; '.join(lacking)}")
    shapes = tensors.shapes(weights, name)
    _check_sizes(name, model, shapes)
    return Folder(path, name, weights, model, preprocess, shapes, sums)


def _check_sizes(name: str, model: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise EncoderError for an architecture that is larger than its weights, before it is built.

    It would fill the memory, or be built for hours, until it was found not to fit.
    """
    widest = max((size for shape in shapes.values() for size in shape), default=0)
    wanted = {"embed_dim": (model.get("embed_dim"), widest)}
    for tower in ("text_cfg", "vision_cfg"):
        for key in ("width", "vocab_size", "context_length"):
            wanted[f"{tower}.{key}"] = (model[tower].get(key), widest)
        wanted[f"{tower}.layers"] = (model[tower].get("layers"), len(shapes))
    for key, (asked, most) in wanted.items():
        if isinstance(asked, int | float) and asked > most:
            raise errors.EncoderError(
                name, f"its {CONFIG} asks for {key} {asked}, which its weights do not have"
            )


def missing(path: Path) -> list[str]:
    """Return what a folder lacks, each with where it comes from; pickles count as there.

    Where a repository is named, it is one of huggingface.co. Raises
    EncoderError where the configuration cannot be read.
    """
    name = path.absolute().name
    if not (path / CONFIG).is_file():
        known = f"BiomedCLIP: {_REPOSITORIES[0][1]}"
        with contextlib.suppress(errors.EncoderError):
            folders.check_file(path, "config.json", _MOST_TEXT_BYTES, name)
            kind = str(folders.read_json(path / "config.json", name).get("model_type", ""))
            if kind.startswith("siglip"):
                known = (
                    "a SigLIP as transformers keeps it is not read, take timm/ViT-B-16-SigLIP (or "
                    "the size you want)"
                )
        return [f"{CONFIG} of the repository that the weights came from; {known}"]
    config = folders.read_json(path / CONFIG, name).get("model_cfg")
    text = config.get("text_cfg") if isinstance(config, dict) else None
    text = text if isinstance(text, dict) else {}
    tower, words = str(text.get("hf_model_name", "")), str(text.get("hf_tokenizer_name", ""))
    published = [repository for letters, repository in _REPOSITORIES if letters in tower]
    source = published[0] if published else words or "the repository of the configuration"
    found = {file.name for file in path.iterdir()}
    lacking = []
    if not any(file.endswith((".safetensors", *pickles.SUFFIXES)) for file in found):
        lacking.append(f"{_WEIGHTS[0]} or open_clip_pytorch_model.bin of {source}")
    if "hf_tokenizer_name" in text:
        if not found & {"tokenizer.json", "vocab.txt"}:
            lacking.append(f"tokenizer.json of {source}")
        if "tokenizer_config.json" not in found:
            lacking.append(f"tokenizer_config.json of {source}")
    if tower and "config.json" not in found and not _is_plain_bert(tower):
        lacking.append(f"config.json of {tower}")
    return lacking


def conversions(path: Path) -> dict[str, str]:
    """Return the pickle of a downloaded folder that is needed, and what it becomes."""
    found = {file.name for file in path.iterdir()}
    if any(file.endswith(".safetensors") for file in found):
        return {}
    for known in ("open_clip_pytorch_model.bin", "pytorch_model.bin"):
        if known in found:
            return {known: _WEIGHTS[0]}
    pickled = sorted(file for file in found if file.endswith(tuple(pickles.SUFFIXES)))
    return {pickled[0]: _WEIGHTS[0]} if len(pickled) == 1 else {}


def doubts(folder: Folder) -> list[str]:
    """Return sentences about what is likely wrong with a model that can be loaded."""
    if folder.model.get("quick_gelu") or "timm_model_name" in folder.model["vision_cfg"]:
        return []
    told = folder.name + json.dumps([folder.model, folder.preprocess])
    for file in ("model.toml", "README.md"):
        if (folder.path / file).is_file():
            told += (folder.path / file).read_text("utf-8", "replace")[:_MOST_TEXT_BYTES]
    if "openai" not in told.lower() and not _has_half_precision(folder):
        return []
    return [
        f"The weights of {folder.name} seem to be OpenAI's, which were trained with QuickGELU, "
        f'but its {CONFIG} does not say "quick_gelu": true in model_cfg: without it the results '
        "are worse. Take the configuration of timm/vit_base_patch32_clip_224.openai (or of its "
        "size), and import it again."
    ]


def _has_half_precision(folder: Folder) -> bool:
    """Tell whether the weights are numbers of 16 bits, as OpenAI's are, whatever holds them."""
    key = "visual.transformer.resblocks.0.mlp.c_fc.weight"
    if key not in folder.shapes:
        return False
    from safetensors import safe_open

    with safe_open(folder.weights, "np") as opened:
        entry = opened.get_slice(key)
        if entry.get_dtype() not in ("F32", "F16"):
            return False
        weights = entry[:]
    return bool((weights == weights.astype("float16")).all())


def _is_plain_bert(tower: str) -> bool:
    return "bert" in tower.lower() and "roberta" not in tower.lower()


def card(folder: Folder, about: Mapping[str, Any]) -> base.EncoderCard:
    """Return what the model is, as its files and its model.toml say; not what runs it."""
    return base.EncoderCard(
        name=folder.name,
        kind="open_clip",
        digest=digest(folder),
        dimension=int(folder.model["embed_dim"]),
        abilities=("images", "texts"),
        licence=str(about.get("licence", "")),
        source=str(about.get("source", "")),
        limits=str(about.get("limits", "")),
        modalities=tuple(str(m) for m in about.get("modalities", ())),
    )


def digest(folder: Folder) -> str:
    """Return 64 hexadecimal digits over weights, configuration, tokenizer and how they are fed."""
    parts = [_VERSION, _sha256(folder, folder.weights.name)]
    parts.append(json.dumps([folder.model, folder.preprocess], sort_keys=True))
    for file in _TOKENIZER:
        if (folder.path / file).is_file():
            parts.append(f"{file} {_sha256(folder, file)}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def text_config(folder: Folder) -> dict[str, Any]:
    """Return the configuration of a text tower of the transformers library.

    The folder's own config.json where it describes such a tower; else, for a
    BERT, what the shapes of the weights say, because published folders leave
    it in another repository. Raises EncoderError when neither is there.
    """
    own = folder.path / "config.json"
    if own.is_file():
        found = folders.read_json(own, folder.name)
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
        listed = ", ".join(file.name for file in found[:5])
        if any("-of-" in file.name for file in found):
            raise errors.WeightsMissingError(
                name, f"weights in several parts are not read ({listed}): take the one file"
            )
        raise errors.EncoderError(name, f"it is not clear which weights to take of {listed}")
    pickled = sorted(p.name for p in path.iterdir() if p.suffix in pickles.SUFFIXES)
    if pickled:
        raise errors.WeightsMissingError(
            name,
            f"{pickled[0]} is a pickle, which can run code, and only safetensors weights are "
            "read; `medsearch-index encoders import` converts it",
        )
    raise errors.WeightsMissingError(
        name, f"it holds no .safetensors file with weights: {'; '.join(missing(path))}"
    )


def _refuse_code(path: Path, name: str, model: dict[str, Any]) -> None:
    """Refuse models that ask for code of their own to be run, or for a download."""
    asks = "trust_remote_code" in json.dumps(model)
    for file in ("config.json", "tokenizer_config.json"):
        if (path / file).is_file():
            asks = asks or "auto_map" in folders.read_json(path / file, name)
    if asks:
        raise errors.EncoderError(name, "it asks to run code that came with it")
    # timm takes "hf-hub:" and "local-dir:" before a name for another place than its own list.
    if ":" in str(model["vision_cfg"].get("timm_model_name", "")):
        raise errors.EncoderError(name, "its image tower would have to be downloaded")
    wishes = model["text_cfg"].get("tokenizer_kwargs") or {}
    if not isinstance(wishes, dict) or not _TOKENIZER_WISHES.issuperset(wishes):
        raise errors.EncoderError(
            name, "its tokenizer asks for what is not known: tokenizer_kwargs"
        )


def _checked_sums(path: Path, name: str) -> dict[str, str]:
    """Compare the files with SHA256SUMS, where the folder has one, and return what was seen."""
    if not (path / folders.SUMS).is_file():
        return {}
    sums = folders.sums(path, name)
    used = [
        file.name
        for file in sorted(path.iterdir())
        if file.suffix == ".safetensors" or file.name in (CONFIG, *_TOKENIZER)
    ]
    folders.check_sums(path, dict.fromkeys((*sums, *used)), name)
    return sums


def _sha256(folder: Folder, file: str) -> str:
    return folder.sums.get(file) or folders.sha256(folder.path / file)
