"""Small random checkpoints in the true layouts of published models, as folders on disk.

With `full`, they have the published sizes as well.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LINE = "a small left pleural effusion and no nodule in the right lung of the chest"
_TAGS = "ct mri xray radiograph axial frontal lateral brain head abdomen pelvis knee spine heart"
_FINDINGS = "normal large fracture mass edema opacity consolidation with liver kidney"
WORDS = tuple(dict.fromkeys(f"{_LINE} {_TAGS} {_FINDINGS}".split()))
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]

BERT = {
    "model_type": "bert",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "intermediate_size": 96,
    "max_position_embeddings": 256,
    "type_vocab_size": 2,
}
BIOMEDCLIP = {
    "embed_dim": 32,
    "vision_cfg": {
        "timm_model_name": "test_vit",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 160,
    },
    "text_cfg": {
        "hf_model_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "hf_tokenizer_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 256,
    },
}
CLIP_QUICKGELU = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}
SIGLIP = {
    "embed_dim": 96,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 160,
        "timm_model_name": "test_vit3",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        "context_length": 64,
        "vocab_size": 70,
        "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 96,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    },
}


BERT_FULL = BERT | {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}


def biomedclip(
    folder: Path, suffix: str = ".safetensors", *, seed: int = 1, full: bool = False
) -> Path:
    """Write a folder as BiomedCLIP is published: timm ViT, BERT without its config.json."""
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *WORDS,
        *_letters("##"),
        *_letters(),
    ]
    folder.mkdir(parents=True)
    _write_word_pieces(folder, vocabulary)
    with tempfile.TemporaryDirectory() as bert:
        described = BERT_FULL if full else BERT | {"vocab_size": len(vocabulary)}
        (Path(bert) / "config.json").write_text(json.dumps(described), "utf-8")
        published = json.loads(json.dumps(BIOMEDCLIP))
        if full:
            published["embed_dim"] = 512
            published["vision_cfg"] |= {"timm_model_name": "vit_base_patch16_224"}
            published["vision_cfg"] |= {"image_size": 224}
        config = json.loads(json.dumps(published))
        config["text_cfg"] |= {"hf_model_name": bert, "hf_model_pretrained": False}
        state = random_state(config, seed)
    _write_config(folder, published, CLIP_MEAN, CLIP_STD)
    return write_weights(folder, "open_clip_model", "open_clip_pytorch_model", state, suffix)


def clip_vit_b32_quickgelu(
    folder: Path, suffix: str = ".safetensors", *, seed: int = 1, full: bool = False
) -> Path:
    """Write a folder as OpenAI's ViT-B/32 is published for open_clip: it has no tokenizer."""
    folder.mkdir(parents=True)
    config = published("ViT-B-32-quickgelu") if full else CLIP_QUICKGELU
    _write_config(folder, config, CLIP_MEAN, CLIP_STD)
    state = random_state(config, seed)
    return write_weights(folder, "open_clip_model", "open_clip_pytorch_model", state, suffix)


def siglip(
    folder: Path, suffix: str = ".safetensors", *, seed: int = 1, full: bool = False
) -> Path:
    """Write a folder as SigLIP is published for open_clip: no class token, sentence pieces."""
    folder.mkdir(parents=True)
    config = published("ViT-B-16-SigLIP") if full else SIGLIP
    _write_config(folder, config, [0.5] * 3, [0.5] * 3, resize_mode="squash")
    _write_sentence_pieces(folder)
    state = random_state(config, seed)
    return write_weights(folder, "open_clip_model", "open_clip_pytorch_model", state, suffix)


def pubmedclip(folder: Path, suffix: str = ".safetensors", *, seed: int = 1) -> Path:
    """Write a folder as PubMedCLIP is published: CLIPModel of transformers, a BPE tokenizer."""
    from medsearch_desktop.engine.encoders import torchvision_shim

    torchvision_shim.declare_operators()
    import torch
    import transformers

    folder.mkdir(parents=True)
    tower = {"num_hidden_layers": 2, "num_attention_heads": 1, "hidden_size": 64}
    tower |= {"intermediate_size": 256, "hidden_act": "quick_gelu", "projection_dim": 24}
    config = transformers.CLIPConfig(
        text_config=tower | {"vocab_size": 49408, "max_position_embeddings": 77},
        vision_config=tower | {"image_size": 64, "patch_size": 32},
        projection_dim=24,
    )
    torch.manual_seed(seed)
    model = transformers.CLIPModel(config)
    _disturb(model)
    described = config.to_dict() | {"architectures": ["CLIPModel"]}
    (folder / "config.json").write_text(json.dumps(described, default=str), "utf-8")
    seen = {"do_center_crop": True, "image_mean": CLIP_MEAN, "image_std": CLIP_STD}
    seen |= {"resample": 3, "size": 64, "crop_size": 64}
    (folder / "preprocessor_config.json").write_text(json.dumps(seen), "utf-8")
    write_clip_tokenizer(folder)
    # As older versions of transformers wrote it.
    state = model.state_dict() | {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    return write_weights(folder, "model", "pytorch_model", state, suffix)


def published(name: str) -> dict[str, Any]:
    """Return the architecture of that name as open_clip has it."""
    import open_clip

    found: dict[str, Any] = open_clip.get_model_config(name)
    return found


def random_state(config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return the state of a model of open_clip, random but repeatable."""
    from medsearch_desktop.engine.encoders import torchvision_shim

    torchvision_shim.declare_operators()
    import open_clip
    import torch

    plain = {key: value for key, value in config.items() if key != "custom_text"}
    is_custom = "custom_text" in config or "hf_model_name" in config["text_cfg"]
    torch.manual_seed(seed)
    model = (open_clip.CustomTextCLIP if is_custom else open_clip.CLIP)(**plain)
    _disturb(model)
    state: dict[str, Any] = model.state_dict()
    return state


def write_weights(
    folder: Path, safe: str, pickled: str, state: Mapping[str, Any], suffix: str
) -> Path:
    """Write a state as `safe`.safetensors, or as a checkpoint `pickled` with that suffix."""
    whole = {key: tensor.contiguous().clone() for key, tensor in state.items()}
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(whole, folder / f"{safe}.safetensors")
    else:
        import torch

        torch.save(whole, folder / f"{pickled}{suffix}")
    return folder


def write_clip_tokenizer(folder: Path) -> None:
    """Write CLIP's own vocabulary as transformers keeps it: vocab.json and merges.txt."""
    from open_clip import tokenizer

    simple = tokenizer.SimpleTokenizer()
    (folder / "vocab.json").write_text(json.dumps(simple.encoder), "utf-8")
    merges = "\n".join(" ".join(pair) for pair in simple.bpe_ranks)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", "utf-8")
    described = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(json.dumps(described), "utf-8")


def _disturb(model: Any) -> None:
    """Make every parameter matter: a new model has zeros and ones where a trained one has not."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.15 if parameter.ndim > 1 else 0.02))


def _write_config(
    folder: Path, model: Mapping[str, Any], mean: list[float], std: list[float], **more: str
) -> None:
    described = {"model_cfg": model, "preprocess_cfg": {"mean": mean, "std": std, **more}}
    (folder / "open_clip_config.json").write_text(json.dumps(described), "utf-8")


def _write_word_pieces(folder: Path, vocabulary: list[str]) -> None:
    """Write BERT's tokenizer: tokenizer.json, tokenizer_config.json, vocab.txt, special tokens."""
    import tokenizers

    numbered = {word: number for number, word in enumerate(vocabulary)}
    made = tokenizers.BertWordPieceTokenizer(vocab=numbered, lowercase=True)
    made.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    special |= {"sep_token": "[SEP]", "mask_token": "[MASK]"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special), "utf-8")
    described = special | {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(described), "utf-8")


def _write_sentence_pieces(folder: Path) -> None:
    """Write T5's tokenizer as SigLIP has it: no padding word of its own, the end of text pads."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"▁{word}", -5.0) for word in WORDS]
    pieces += [(letter, -9.0) for letter in ("▁", *_letters())]
    made = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    made.post_processor = processors.TemplateProcessing(
        single=["$A", "</s>"], special_tokens=[("</s>", 1)]
    )
    made.save(str(folder / "tokenizer.json"))
    described = {"tokenizer_class": "T5Tokenizer", "pad_token": "</s>", "eos_token": "</s>"}
    described |= {"unk_token": "<unk>", "extra_ids": 0, "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(described), "utf-8")
    special = {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special), "utf-8")


def _letters(before: str = "") -> list[str]:
    return [before + chr(code) for code in range(ord("a"), ord("z") + 1)]
