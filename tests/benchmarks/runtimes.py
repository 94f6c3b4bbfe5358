"""Run times of a model of BiomedCLIP's size, random weights: int8 against torch, short texts."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import figures
import numpy as np

from medsearch_desktop import settings
from medsearch_desktop.engine.encoders import (
    exporting,
    onnx_pair,
    openclip,
    preprocessing,
    torchvision_shim,
)

_CONTEXT, _SHORT = 256, 32  # tokens: BiomedCLIP's context, and a sentence of a report
_BERT = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}
_VISION = {
    "timm_model_name": "vit_base_patch16_224",
    "timm_model_pretrained": False,
    "timm_pool": "",
    "timm_proj": "linear",
    "image_size": 224,
}
_TEXT = {
    "hf_proj_type": "mlp",
    "hf_pooler_type": "cls_last_hidden_state_pooler",
    "hf_model_pretrained": False,
    "context_length": _CONTEXT,
}


def measure(repeats: int = 7) -> Iterator[figures.Figure]:
    """Yield the CPU time of each way and the two ratios that have a bar, on one thread.

    Takes about 3 GB of memory and two minutes. The ways take turns, so that
    what else the machine does meets all of them.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder)
            towers = _towers(made)
            image, text = made / "image.onnx", made / "text.onnx"
            exporting.write_image_network(towers, made / "fp32.onnx")
            exporting.write_int8(made / "fp32.onnx", image)
            exporting.write_text_network(towers, made / "fp32.onnx", _CONTEXT)
            exporting.write_int8(made / "fp32.onnx", text)
            yield from _images(towers.model, image, repeats)
            yield from _texts(text, repeats)
    finally:
        torch.set_num_threads(threads)


def _towers(made: Path) -> openclip.Towers:
    settings.offline()
    torchvision_shim.declare_operators()
    import open_clip
    import torch

    (made / "config.json").write_text(json.dumps(_BERT), "utf-8")
    torch.manual_seed(1)
    model: Any = open_clip.CustomTextCLIP(
        embed_dim=512, vision_cfg=_VISION, text_cfg=_TEXT | {"hf_model_name": str(made)}
    )
    seen = preprocessing.Preprocessing.of({"vision_cfg": _VISION}, {})
    return openclip.Towers(model.eval().requires_grad_(False), None, seen, 0)


def _images(model: Any, image: Path, repeats: int) -> Iterator[figures.Figure]:
    import torch

    pixels = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    network = onnx_pair.session(image, "benchmark", 1)

    def by_torch() -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = model.encode_image(torch.from_numpy(pixels), normalize=True).numpy()
        return found

    def by_onnx() -> np.ndarray:
        return np.asarray(network.run(["vector"], {"pixels": pixels})[0])

    eager, int8 = _in_turns([by_torch, by_onnx], repeats)
    yield figures.Figure("one picture, ViT-B/16, torch eager fp32", eager, "ms CPU")
    yield figures.Figure("one picture, ViT-B/16, ONNX Runtime int8", int8, "ms CPU")
    name = "int8 over torch eager fp32, ViT-B/16 (at least 2.2 x faster)"
    yield figures.Figure(name, int8 / eager, "x", 1 / 2.2)
    apart = 1 - float((by_torch() * by_onnx()).sum())
    yield figures.Figure("cosine distance of int8 to fp32, random weights", apart, "", 0.02)


def _texts(text: Path, repeats: int) -> Iterator[figures.Figure]:
    network = onnx_pair.session(text, "benchmark", 1)
    words = np.random.default_rng(0).integers(5, 30000, (1, _SHORT))
    padded = np.zeros((1, _CONTEXT), np.int64)
    padded[:, :_SHORT] = words

    def ran(ids: np.ndarray) -> Callable[[], object]:
        return lambda: network.run(["vector"], {"ids": ids})

    short, full = _in_turns([ran(words), ran(padded)], repeats)
    yield figures.Figure(f"one text of {_SHORT} tokens, BERT-base, int8", short, "ms CPU")
    yield figures.Figure(f"the same padded to {_CONTEXT} tokens", full, "ms CPU")
    name = "text as short as it is over padded (at least 4 x faster)"
    yield figures.Figure(name, short / full, "x", 1 / 4)


def _in_turns(ways: list[Callable[[], object]], repeats: int) -> list[float]:
    """Return the median CPU milliseconds of each way."""
    for way in ways:
        way()
    spent = [[float(figures.cpu_ms(way, 1)[0]) for way in ways] for _ in range(repeats)]
    return [float(n) for n in np.median(spent, axis=0)]
