"""CLIP as transformers keeps it (PubMedCLIP is so published), rewritten for open_clip at import."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import folders, openclip_folder, torchvision_shim

_CONFIG, _PREPROCESSING, _WORDS = "config.json", "preprocessor_config.json", "vocab.json"
_WEIGHTS, _PICKLES = ("model.safetensors",), ("pytorch_model.bin",)
# Left out of the rewritten folder: open_clip brings the same vocabulary itself.
_TOKENIZER = (
    _WORDS,
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
_SOURCE = "the repository of the model; PubMedCLIP: flaviagiammarino/pubmed-clip-vit-base-patch32"
_MOST_BYTES = 64 << 20
_HEAD_WIDTH = 64  # what open_clip takes for image towers where nothing else is said
_EPSILON = 1e-5  # of layer normalisation, in both libraries
# Numbers of PIL's filters, as preprocessor_config.json has them -> words of open_clip.
_FILTERS = {2: "bilinear", 3: "bicubic"}

# Names of tensors outside of the layers, transformers -> open_clip. Both keep the projections,
# but transposed.
_NAMES = {
    "logit_scale": "logit_scale",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "text_projection.weight": "text_projection",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    # The spelling of transformers.
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "visual_projection.weight": "visual.proj",
}
_TRANSPOSED = ("text_projection.weight", "visual_projection.weight")
_LAYER = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_PARTS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_TOWERS = {"text": "transformer.resblocks.", "vision": "visual.transformer.resblocks."}


def is_published(folder: Path) -> bool:
    """Tell whether a folder was downloaded as a CLIPModel of transformers is published."""
    if (folder / openclip_folder.CONFIG).is_file() or not (folder / _CONFIG).is_file():
        return False
    try:
        folders.check_file(folder, _CONFIG, _MOST_BYTES, folder.name)
        return folders.read_json(folder / _CONFIG, folder.name).get("model_type") == "clip"
    except errors.EncoderError:
        return False


def missing(folder: Path) -> list[str]:
    """Return what a folder lacks, each with where it comes from; pickles count as there."""
    wanted = {
        "model.safetensors or pytorch_model.bin": (*_WEIGHTS, *_PICKLES),
        _PREPROCESSING: (_PREPROCESSING,),
        "tokenizer.json or vocab.json": ("tokenizer.json", _WORDS),
    }
    return [
        f"{said} of {_SOURCE}"
        for said, files in wanted.items()
        if not any((folder / file).is_file() for file in files)
    ]


def conversions(folder: Path) -> dict[str, str]:
    """Return the pickle of a downloaded folder that is needed, and what it becomes."""
    if any((folder / file).is_file() for file in _WEIGHTS):
        return {}
    return {file: _WEIGHTS[0] for file in _PICKLES if (folder / file).is_file()}


def adopt(made: Path, name: str) -> list[str]:
    """Rewrite a copied folder in place: weights and configuration as open_clip has them.

    Raises EncoderError where the model is of another shape than CLIP's, or has
    another vocabulary; WeightsMissingError where a file is missing.
    """
    if lacking := missing(made):
        raise errors.WeightsMissingError(name, f"a file is missing: {'; '.join(lacking)}")
    config = folders.read_json(made / _CONFIG, name)
    _check_words(made, name)
    weights = made / _WEIGHTS[0]
    try:
        described = {
            "model_cfg": _model(config),
            "preprocess_cfg": _preprocessing(folders.read_json(made / _PREPROCESSING, name)),
        }
        _rewrite(weights, made / "open_clip_model.safetensors", name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise errors.EncoderError(name, f"its {_CONFIG} is not that of a CLIP: {error}") from error
    weights.unlink()
    for file in (_CONFIG, _PREPROCESSING, *_TOKENIZER):
        (made / file).unlink(missing_ok=True)
    (made / openclip_folder.CONFIG).write_text(json.dumps(described, indent=1) + "\n", "utf-8")
    return [f"The weights of {name} were renamed from transformers' layout to open_clip's."]


def _check_words(made: Path, name: str) -> None:
    """Raise EncoderError where the vocabulary is not that of CLIP, which open_clip brings."""
    torchvision_shim.declare_operators()
    from open_clip import tokenizer

    file = _WORDS if (made / _WORDS).is_file() else "tokenizer.json"
    folders.check_file(made, file, _MOST_BYTES, name)
    found: Any = folders.read_json(made / file, name)
    if file != _WORDS:
        found = found.get("model")
        found = found.get("vocab") if isinstance(found, dict) else None
    own = tokenizer.SimpleTokenizer().encoder
    # The two special words have other names there.
    words = {word: number for word, number in own.items() if not word.startswith("<")}
    if not isinstance(found, dict) or any(found.get(word) != n for word, n in words.items()):
        raise errors.EncoderError(name, f"its {file} is of another vocabulary than CLIP's")


def _model(config: dict[str, Any]) -> dict[str, Any]:
    text, vision = config["text_config"], config["vision_config"]
    width = int(vision.get("hidden_size", 768))
    heads = int(vision.get("num_attention_heads", 12))
    quick = {str(tower.get("hidden_act", "quick_gelu")) for tower in (text, vision)}
    if len(quick) > 1 or not quick <= {"quick_gelu", "gelu"}:
        raise ValueError(f"its activation is {' and '.join(sorted(quick))}")
    return {
        "embed_dim": int(config.get("projection_dim", 512)),
        "quick_gelu": quick == {"quick_gelu"},
        "vision_cfg": {
            "image_size": int(vision.get("image_size", 224)),
            "layers": int(vision.get("num_hidden_layers", 12)),
            "width": width,
            "head_width": width // heads if heads else _HEAD_WIDTH,
            "mlp_ratio": int(vision.get("intermediate_size", 4 * width)) / width,
            "patch_size": int(vision.get("patch_size", 32)),
            **_norm(vision),
        },
        "text_cfg": {
            "context_length": int(text.get("max_position_embeddings", 77)),
            "vocab_size": int(text.get("vocab_size", 49408)),
            "width": int(text.get("hidden_size", 512)),
            "heads": int(text.get("num_attention_heads", 8)),
            "layers": int(text.get("num_hidden_layers", 12)),
            "mlp_ratio": int(text.get("intermediate_size", 2048))
            / int(text.get("hidden_size", 512)),
            **_norm(text),
        },
    }


def _norm(tower: dict[str, Any]) -> dict[str, Any]:
    epsilon = float(tower.get("layer_norm_eps", _EPSILON))
    return {} if epsilon == _EPSILON else {"norm_kwargs": {"eps": epsilon}}


def _preprocessing(seen: dict[str, Any]) -> dict[str, Any]:
    return {
        "mean": [float(number) for number in seen["image_mean"]],
        "std": [float(number) for number in seen["image_std"]],
        "interpolation": _FILTERS[int(seen.get("resample", 3))],
        "resize_mode": "shortest" if seen.get("do_center_crop", True) else "squash",
    }


def _rewrite(weights: Path, target: Path, name: str) -> None:
    """Write the weights under open_clip's names, queries, keys and values as one."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    made: dict[str, Any] = {}
    with safe_open(weights, "pt") as opened:
        held = set(opened.keys())
        for key in sorted(held):
            inner = _LAYER.fullmatch(key)
            if key in _NAMES:
                value = opened.get_tensor(key)
                made[_NAMES[key]] = value.T.contiguous() if key in _TRANSPOSED else value
            elif inner and inner[3] in _PARTS:
                made[f"{_TOWERS[inner[1]]}{inner[2]}.{_PARTS[inner[3]]}.{inner[4]}"] = (
                    opened.get_tensor(key)
                )
            elif inner and inner[3] == "self_attn.q_proj":
                three = [key.replace("q_proj", part) for part in ("q_proj", "k_proj", "v_proj")]
                if not held.issuperset(three):
                    raise errors.WeightsMissingError(name, f"{weights.name} lacks one of {three}")
                whole = torch.cat([opened.get_tensor(part) for part in three])
                made[f"{_TOWERS[inner[1]]}{inner[2]}.attn.in_proj_{inner[4]}"] = whole
    lacking = sorted(set(_NAMES.values()) - set(made))
    if lacking:
        raise errors.WeightsMissingError(
            name, f"{weights.name} is not that of a CLIPModel: it has nothing for {lacking[0]}"
        )
    save_file(made, target, metadata={"format": "pt"})
