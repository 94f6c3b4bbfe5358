"""Small random checkpoints in the layout of BioViL and BioViL-T, as folders on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from small_models import WORDS

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
VOCABULARY += [before + chr(code) for before in ("", "##") for code in range(97, 123)]
DIMENSION = 16
CONFIG = {
    "architectures": ["CXRBertModel"],
    "auto_map": {"AutoModel": "modeling_cxrbert.CXRBertModel"},
    "model_type": "cxr-bert",
    "num_attention_heads": 2,
    "projection_size": DIMENSION,
}


def write(
    folder: Path,
    suffix: str = ".safetensors",
    *,
    is_temporal: bool = True,
    blocks: tuple[int, int, int, int] = (1, 1, 1, 1),
    seed: int = 1,
) -> Path:
    """Write a folder as the two are published, weights as safetensors or, with .bin, as pickles."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", "utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}', "utf-8")
    (folder / "config.json").write_text(json.dumps(CONFIG), "utf-8")
    (folder / "modeling_cxrbert.py").write_text("raise SystemExit('code of the model ran')\n")
    images, texts = image_state(is_temporal, blocks, seed), text_state(seed)
    stem = "biovil_t_image_model" if is_temporal else "biovil_image_resnet50"
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(images, folder / f"{stem}_proj_size_128.safetensors")
        save_file(texts, folder / "model.safetensors")
    else:
        import torch

        torch.save(images, folder / f"{stem}_proj_size_128.pt")
        torch.save(texts, folder / "pytorch_model.bin")
    return folder


def image_state(
    is_temporal: bool, blocks: tuple[int, int, int, int], seed: int, dimension: int = DIMENSION
) -> dict[str, Any]:
    """Return the tensors of an image tower by their published names, random but repeatable."""
    from medsearch_desktop.engine.encoders import torchvision_shim

    torchvision_shim.declare_operators()
    import torch
    from torchvision.models import resnet

    torch.manual_seed(seed)
    trunk = resnet.ResNet(resnet.Bottleneck, list(blocks)).state_dict()
    state = {f"encoder.encoder.{key}": value for key, value in trunk.items()}
    wide = 512 if is_temporal else 2048
    if is_temporal:
        state["encoder.backbone_to_vit.weight"] = torch.randn(256, 2048, 1, 1) * 0.05
        state["encoder.missing_previous_emb"] = torch.randn(1, 256, 1, 1) * 0.02
        # What compares two images; one alone does not use it.
        state["encoder.vit_pooler.type_embed"] = torch.randn(2, 1, 256)
        state["encoder.vit_pooler.blocks.0.norm1.weight"] = torch.ones(256)
    state["projector.model.0.weight"] = torch.randn(dimension, wide, 1, 1) * 0.05
    norm = torch.nn.BatchNorm2d(dimension)
    norm.running_mean += torch.randn(dimension) * 0.1
    state |= {f"projector.model.1.{key}": value for key, value in norm.state_dict().items()}
    state["projector.model.3.weight"] = torch.randn(dimension, dimension, 1, 1) * 0.3
    state["projector.model.3.bias"] = torch.randn(dimension) * 0.1
    return {key: value.detach().clone() for key, value in state.items()}


def text_state(
    seed: int,
    *,
    words: int = len(VOCABULARY),
    wide: int = 32,
    layers: int = 2,
    inner: int = 48,
    dimension: int = DIMENSION,
) -> dict[str, Any]:
    """Return the tensors of a CXR-BERT by their published names, random but repeatable."""
    import torch

    torch.manual_seed(seed)

    def linear(key: str, out: int, into: int) -> dict[str, Any]:
        spread = into**-0.5
        return {
            f"{key}.weight": torch.randn(out, into) * spread,
            f"{key}.bias": torch.randn(out) * 0.02,
        }

    def norm(key: str, of: int) -> dict[str, Any]:
        ones = 1 + torch.randn(of) * 0.02
        return {f"{key}.weight": ones, f"{key}.bias": torch.randn(of) * 0.02}

    embeddings = "bert.embeddings"
    state: dict[str, Any] = {f"{embeddings}.position_ids": torch.arange(512)[None]}
    for table, rows in (("word", words), ("position", 512), ("token_type", 2)):
        state[f"{embeddings}.{table}_embeddings.weight"] = torch.randn(rows, wide)
    state |= norm(f"{embeddings}.LayerNorm", wide)
    for layer in range(layers):
        prefix = f"bert.encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            state |= linear(f"{prefix}.attention.{part}", wide, wide)
        state |= norm(f"{prefix}.attention.output.LayerNorm", wide)
        state |= linear(f"{prefix}.intermediate.dense", inner, wide)
        state |= linear(f"{prefix}.output.dense", wide, inner)
        state |= norm(f"{prefix}.output.LayerNorm", wide)
    state |= linear("cls_projection_head.dense_to_hidden", dimension, wide)
    state |= norm("cls_projection_head.LayerNorm", dimension)
    state |= linear("cls_projection_head.dense_to_output", dimension, dimension)
    state["cls.predictions.bias"] = torch.randn(words)
    state |= linear("cls.predictions.transform.dense", wide, wide)
    return state
