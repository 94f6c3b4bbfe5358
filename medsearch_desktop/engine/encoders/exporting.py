"""Writes the two networks of an open_clip model as ONNX files, and an ONNX file again in int8."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsearch_desktop.engine.encoders import openclip

if TYPE_CHECKING:
    import torch

_OPSET = 17  # the first with LayerNormalization as one operator
# What is multiplied in int8; convolutions and look-ups of words gain nothing by it.
_QUANTIZED = ["MatMul", "Gemm"]
# Pooling that looks at the token of the text's end: what stands behind it has no say.
_END_POOLING = ("argmax", "eos")


def write_image_network(towers: openclip.Towers, path: Path) -> None:
    """Write the image tower: `pixels` float32 (n, 3, h, w) -> `vector` (n, d), unit length."""
    import torch

    seen = towers.preprocessing
    sample = torch.zeros(2, 3, seen.height, seen.width)
    _export(towers.model, "encode_image", sample, "pixels", {0: "n"}, path)


def write_text_network(towers: openclip.Towers, path: Path, context: int) -> bool:
    """Write the text tower: `ids` int64 (n, tokens) -> `vector` (n, d), unit length.

    Returns whether it takes texts as short as they are: where padding is
    masked, or stands behind the end that is read. Otherwise `tokens` is
    `context`.
    """
    import torch

    is_causal = _reads_the_end(towers.model)
    is_short = is_causal or towers.pad is not None
    axes = {0: "n", 1: "tokens"} if is_short else {0: "n"}
    sample = torch.ones(2, min(9, context) if is_short else context, dtype=torch.int64)
    network = _short_text(towers.model) if is_causal else towers.model
    _export(network, "encode_text", sample, "ids", axes, path)
    return is_short


def write_int8(source: Path, target: Path) -> None:
    """Write an ONNX file again with its matrix products in int8, scales chosen as it runs."""
    from onnxruntime import quantization

    with _quiet():
        quantization.quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=_QUANTIZED,
            weight_type=quantization.QuantType.QInt8,
            # A scale for each output: with one a matrix, the vectors of a ViT-B/16 of random
            # weights have a cosine of 0.982 to those in fp32, with these 0.9996, as fast.
            per_channel=True,
        )


def _reads_the_end(model: Any) -> bool:
    """Tell whether a text tower of open_clip's own sees, at the end it reads, no padding."""
    tower = getattr(model, "text", model)
    pooling = getattr(tower, "pool_type", getattr(model, "text_pool_type", ""))
    has_class = getattr(tower, "cls_emb", None) is not None
    is_causal = getattr(tower, "attn_mask", None) is not None
    return is_causal and pooling in _END_POOLING and not has_class


def _short_text(model: Any) -> Any:
    """Return a text tower that reads its end as a module that takes texts as short as they are.

    open_clip adds positions of a fixed number. Where each token sees only
    those before it, fewer positions give the same vector.
    """
    import torch
    from open_clip import transformer

    class Short(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = getattr(model, "text", model)
            self.pooling = getattr(self.tower, "pool_type", getattr(model, "text_pool_type", ""))
            self.end = getattr(self.tower, "eos_id", getattr(model, "text_eos_id", None))

        def encode_text(self, ids: torch.Tensor) -> Any:
            tower, length = self.tower, ids.shape[1]
            states = tower.token_embedding(ids) + tower.positional_embedding[:length]
            states = tower.transformer(states, attn_mask=tower.attn_mask[:length, :length])
            states = tower.ln_final(states)
            found = transformer.text_global_pool(states, ids, self.pooling, eos_token_id=self.end)
            projection = tower.text_projection
            if projection is None:
                return found
            return projection(found) if callable(projection) else found @ projection

    return Short()


def _export(
    model: Any, method: str, sample: torch.Tensor, entry: str, axes: dict[int, str], path: Path
) -> None:
    import torch

    class Unit(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model  # a part of it, or its weights are no initializers of the file

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.normalize(getattr(self.model, method)(given), dim=-1)

    with torch.no_grad(), _quiet():
        torch.onnx.export(
            Unit().eval(),
            (sample,),
            str(path),
            input_names=[entry],
            output_names=["vector"],
            dynamic_axes={entry: axes, "vector": {0: "n"}},
            opset_version=_OPSET,
            dynamo=False,
        )


def open_attention(model: Any) -> None:
    """Put attention of plain products into the blocks of open_clip's own towers.

    torch's own is fused into operators without a counterpart in ONNX, or
    written with the number of tokens of the sample as a constant.
    """
    import torch
    from open_clip import transformer

    class Attention(torch.nn.Module):
        def __init__(self, fused: Any) -> None:
            super().__init__()
            self.heads, self.after = fused.num_heads, fused.out_proj
            self.weight, self.bias = fused.in_proj_weight, fused.in_proj_bias

        def forward(self, states: torch.Tensor, *_: Any, **given: Any) -> tuple[Any, None]:
            mask = given.get("attn_mask")
            three = torch.nn.functional.linear(states, self.weight, self.bias)
            parts = (part.chunk(self.heads, -1) for part in three.chunk(3, -1))
            query, key, value = (torch.stack(part, 1) for part in parts)
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            scores = scores if mask is None else scores + mask
            return self.after((scores.softmax(-1) @ value).transpose(1, 2).flatten(2)), None

    for block in model.modules():
        if isinstance(block, transformer.ResidualAttentionBlock):
            is_plain = isinstance(block.attn, torch.nn.MultiheadAttention)
            if is_plain and block.attn.in_proj_weight is not None and block.attn.batch_first:
                block.attn = Attention(block.attn)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporters advise: hints to programmers, not faults."""
    root = logging.getLogger()

    def is_kept(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING

    root.addFilter(is_kept)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(is_kept)
