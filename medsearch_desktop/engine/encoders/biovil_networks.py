"""The two networks of BioViL and BioViL-T, built to the shapes of their weights; needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from medsearch_desktop.engine.encoders import torchvision_shim

_TRUNK = "encoder.encoder."
_MISSING = "encoder.missing_previous_emb"
_BERT = "bert."
# What a checkpoint holds beyond what one image or one sentence needs: the classifier of
# ImageNet, the attention over two images, tasks of their own, and the guessing of hidden words.
UNUSED_OF_IMAGES = (f"{_TRUNK}fc.", "encoder.vit_pooler.", "classifier.")
UNUSED_OF_TEXTS = ("cls.", "bert.pooler.", "bert.embeddings.position_ids")


class ImageTower(torch.nn.Module):
    """Grey pictures (n, 1, s, s) in 0..1 -> (n, d).

    A ResNet-50 whose map is projected place by place and then averaged.
    BioViL-T sets a learned vector beside each place, which stands for the
    earlier image that is not there (Bannur et al. 2023, section 3.1: the
    static part and the missing difference).
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Take the shapes of the checkpoint; raises KeyError where one is missing."""
        super().__init__()
        self.encoder = _Trunk(shapes)
        hidden, wide, *_ = shapes["projector.model.0.weight"]
        self.projector: Any = torch.nn.Module()
        self.projector.model = torch.nn.Sequential(
            torch.nn.Conv2d(wide, hidden, 1, bias=False),
            torch.nn.BatchNorm2d(hidden),
            torch.nn.ReLU(),
            torch.nn.Conv2d(hidden, shapes["projector.model.3.weight"][0], 1),
        )

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = self.projector.model(self.encoder(grey.expand(-1, 3, -1, -1)))
        return projected.mean(dim=(2, 3))


class _Trunk(torch.nn.Module):
    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        torchvision_shim.declare_operators()
        from torchvision.models import resnet

        blocks = [_blocks(shapes, f"{_TRUNK}layer{number}.") for number in range(1, 5)]
        self.encoder = resnet.ResNet(resnet.Bottleneck, blocks)
        self.encoder.fc = torch.nn.Identity()
        self.has_missing = _MISSING in shapes
        if self.has_missing:
            narrow, wide, *_ = shapes["encoder.backbone_to_vit.weight"]
            self.backbone_to_vit = torch.nn.Conv2d(wide, narrow, 1, bias=False)
            self.missing_previous_emb = torch.nn.Parameter(torch.zeros(1, narrow, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        shown: Any = pixels
        for name, part in self.encoder.named_children():
            if name == "avgpool":
                break
            shown = part(shown)
        if self.has_missing:
            static = self.backbone_to_vit(shown)
            shown = torch.cat([static, self.missing_previous_emb.expand_as(static)], dim=1)
        found: torch.Tensor = shown
        return found


class TextTower(torch.nn.Module):
    """Token numbers and mask (n, t) -> (n, d): a BERT, and a head on its first token."""

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], heads: int, rounding: float = 1e-12
    ) -> None:
        """Take the shapes of the checkpoint; raises KeyError where one is missing."""
        super().__init__()
        torchvision_shim.declare_operators()
        import transformers

        words, wide = shapes[f"{_BERT}embeddings.word_embeddings.weight"]
        config = transformers.BertConfig(
            vocab_size=words,
            hidden_size=wide,
            num_hidden_layers=_blocks(shapes, f"{_BERT}encoder.layer."),
            num_attention_heads=heads,
            intermediate_size=shapes[f"{_BERT}encoder.layer.0.intermediate.dense.weight"][0],
            max_position_embeddings=shapes[f"{_BERT}embeddings.position_embeddings.weight"][0],
            type_vocab_size=shapes[f"{_BERT}embeddings.token_type_embeddings.weight"][0],
            layer_norm_eps=rounding,
            hidden_act="gelu",
        )
        self.bert = transformers.BertModel(config, add_pooling_layer=False)
        narrow = shapes["cls_projection_head.dense_to_hidden.weight"][0]
        head: Any = torch.nn.Module()
        head.dense_to_hidden = torch.nn.Linear(wide, narrow)
        head.LayerNorm = torch.nn.LayerNorm(narrow, eps=1e-12)
        head.dense_to_output = torch.nn.Linear(narrow, narrow)
        self.cls_projection_head = head

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        head: Any = self.cls_projection_head
        hidden = torch.nn.functional.gelu(head.dense_to_hidden(states[:, 0]))
        found: torch.Tensor = head.dense_to_output(head.LayerNorm(hidden))
        return found


def _blocks(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    """Return how many numbered parts stand behind a prefix."""
    start = len(prefix)
    return len({key[start:].partition(".")[0] for key in shapes if key.startswith(prefix)})
