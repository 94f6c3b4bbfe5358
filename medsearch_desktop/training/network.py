"""The last blocks of the image network and both heads in training, as named torch tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medsearch_desktop.training import recipe, trunk

if TYPE_CHECKING:
    from torch import Tensor

TOWERS = ("image", "text")
# A convolution whose fixed gain is smaller is trained as if the gain were this.
_LEAST_GAIN = 1e-6
_EMBEDDED = 64  # pictures that are embedded together


def run(
    blocks: Sequence[trunk.Block], weights: dict[str, Any], x: Tensor, drop_path: float = 0.0
) -> Tensor:
    """Return what the blocks give for (n, c, h, w), by folded weights.

    `drop_path` is the share of shortcuts on which what the block adds is left
    out, drawn for each picture (Huang et al., arXiv 1603.09382).
    """
    import torch
    from torch.nn import functional

    for block in blocks:
        kept = x
        for layer in block.layers:
            weight, bias = weights[layer.name + ".weight"], weights[layer.name + ".bias"]
            before, after = trunk.pads(x.shape[-1], weight.shape[2], layer.stride)
            if before != after:
                x = functional.pad(x, (before, after, before, after))
            x = functional.conv2d(
                x,
                weight,
                bias,
                stride=layer.stride,
                padding=before if before == after else 0,
                groups=weight.shape[0] if layer.is_grouped else 1,
            )
            x = functional.relu6(x) if layer.has_relu6 else x
        if block.is_shortcut:
            if drop_path:
                goes = torch.rand(len(x), 1, 1, 1, device=x.device) >= drop_path
                x = x * goes / (1 - drop_path)
            x = x + kept
    return x


def front(plan: recipe.Trunk) -> tuple[trunk.Block, ...]:
    """Return the stem and the blocks that are not trained."""
    return trunk.BLOCKS[: plan.first_block + 1]


def tail(plan: recipe.Trunk) -> tuple[trunk.Block, ...]:
    """Return the blocks that are trained, and the convolution before the pooling."""
    return trunk.BLOCKS[plan.first_block + 1 :]


class Network:
    """Both towers in training.

    `weights` holds what is trained: the convolutions of the tail by their
    names, TOWER.MEMBER.LAYER.weight and .bias of the heads, TOWER.norm.weight
    and .bias where the recipe asks for it, judge.MEMBER.CLASS.weight and .bias,
    and scale.MEMBER, the logarithm of 1 / temperature. `fixed` holds what is not:
    TOWER.mean and TOWER.scale, by which features are standardised.
    """

    def __init__(
        self, plan: recipe.Recipe, start: trunk.Pretrained, classes: dict[str, int], seed: int
    ) -> None:
        """Start from the published weights, with heads and judges drawn by `seed`."""
        import torch

        torch.manual_seed(seed)
        self.plan = plan
        self.is_training = False
        self.device = torch.device("cpu")
        self._tail = tail(plan.trunk)
        names = [layer.name for block in self._tail for layer in block.layers]
        self._gains: dict[str, Tensor] = {}
        self.weights: dict[str, Tensor] = {}
        for name in names:
            weight = torch.from_numpy(start.weights[name + ".weight"].copy())
            if plan.trunk.unfolded:
                gain = torch.from_numpy(start.gains[name].copy())[:, None, None, None]
                gain[gain.abs() < _LEAST_GAIN] = _LEAST_GAIN
                self._gains[name + ".weight"] = gain
                weight = weight / gain
            self.weights[name + ".weight"] = weight
            self.weights[name + ".bias"] = torch.from_numpy(start.weights[name + ".bias"].copy())
        self.of_tail = frozenset(self.weights)
        self.fixed: dict[str, Tensor] = {}
        heads = plan.heads
        for member in range(heads.members):
            for tower, features, hidden in (
                ("image", trunk.FEATURES, heads.hidden_image),
                ("text", 384, heads.hidden_text),
            ):
                widths = [features, *([hidden] if hidden else []), heads.width]
                self._add_head(tower, member, widths)
            for name, count in classes.items():
                self._add_linear(f"judge.{member}.{name}", heads.width, count)
            scale = torch.tensor(float(np.log(1 / plan.losses.temperature)))
            self.weights[f"scale.{member}"] = scale
        for weight in self.weights.values():
            weight.requires_grad_(True)

    def _add_head(self, tower: str, member: int, widths: list[int]) -> None:
        import torch

        self.fixed[f"{tower}.mean"] = torch.zeros(widths[0])
        self.fixed[f"{tower}.scale"] = torch.ones(widths[0])
        if self.plan.heads.norm:
            self.weights[f"{tower}.norm.weight"] = torch.ones(widths[0])
            self.weights[f"{tower}.norm.bias"] = torch.zeros(widths[0])
        for layer, (before, after) in enumerate(itertools.pairwise(widths)):
            self._add_linear(f"{tower}.{member}.{layer}", before, after)

    def _add_linear(self, name: str, before: int, after: int) -> None:
        import torch

        drawn = torch.nn.Linear(before, after)
        self.weights[f"{name}.weight"] = drawn.weight.detach()
        self.weights[f"{name}.bias"] = drawn.bias.detach()

    def standardise(self, features: np.ndarray, texts: np.ndarray) -> None:
        """Take mean and spread from the training rows, where the heads have no norm of their own.

        `features` is (n, 1280) and `texts` (m, 384), both before any training.
        """
        import torch

        if self.plan.heads.norm:
            return
        # One scale for all: the directions of a sentence vector are not to be whitened.
        spread = np.full(texts.shape[1], texts.std() + 1e-6, np.float32)
        for name, value in (
            ("image.mean", features.mean(axis=0)),
            ("image.scale", features.std(axis=0) + 1e-3),
            ("text.mean", texts.mean(axis=0)),
            ("text.scale", spread),
        ):
            self.fixed[name] = torch.from_numpy(value.astype(np.float32))

    def to(self, device: str) -> None:
        """Move everything to a torch device."""
        import torch

        self.device = torch.device(device)
        for tensors in (self.fixed, self._gains):
            tensors.update({name: value.to(self.device) for name, value in tensors.items()})
        for name, value in self.weights.items():
            self.weights[name] = value.detach().to(self.device).requires_grad_(True)

    def take(self, weights: dict[str, Tensor]) -> None:
        """Go on from these weights."""
        self.weights = {name: weight.requires_grad_(True) for name, weight in weights.items()}

    def features(self, activations: Tensor) -> Tensor:
        """Return the features (n, 1280) of activations before the tail, (n, c, h, w)."""
        drop = self.plan.trunk.drop_path if self.is_training else 0.0
        return run(self._tail, self._folded_tail(), activations, drop).mean(dim=(2, 3))

    def judge(self, member: int, name: str, vectors: Tensor) -> Tensor:
        """Return a member's logits of the classes `name` for its unit vectors."""
        stretched, prefix = vectors * self.plan.losses.sharpness, f"judge.{member}.{name}"
        return stretched @ self.weights[f"{prefix}.weight"].T + self.weights[f"{prefix}.bias"]

    def project(self, tower: str, features: Tensor) -> list[Tensor]:
        """Return each member's unit vectors (n, width) of a tower's features (n, f)."""
        from torch.nn import functional

        x = (features - self.fixed[f"{tower}.mean"]) / self.fixed[f"{tower}.scale"]
        if (norm := self.weights.get(f"{tower}.norm.weight")) is not None:
            x = functional.layer_norm(x, norm.shape, norm, self.weights[f"{tower}.norm.bias"])
        return [self._member(f"{tower}.{member}", x) for member in range(self.plan.heads.members)]

    def _member(self, prefix: str, x: Tensor) -> Tensor:
        from torch.nn import functional

        layer = 0
        while (weight := self.weights.get(f"{prefix}.{layer}.weight")) is not None:
            x = functional.gelu(x, approximate="tanh") if layer else x
            x = functional.dropout(x, self.plan.heads.dropout, training=self.is_training)
            x = x @ weight.T + self.weights[f"{prefix}.{layer}.bias"]
            layer += 1
        return functional.normalize(x, dim=1)

    def _folded_tail(self) -> dict[str, Tensor]:
        if not self._gains:
            return self.weights
        return {
            name: self.weights[name] * self._gains[name]
            if name in self._gains
            else self.weights[name]
            for name in self.of_tail
        }

    def embed_images(self, activations: np.ndarray) -> np.ndarray:
        """Return unit vectors, float32 (n, members x width), for activations (n, c, h, w)."""
        import torch

        with torch.inference_mode():
            parts = [
                self._joined("image", self.features(self.put(activations[at])))
                for at in _parts(len(activations))
            ]
        return np.concatenate(parts)

    def embed_texts(self, features: np.ndarray) -> np.ndarray:
        """Return unit vectors, float32 (n, members x width), for sentence vectors (n, 384)."""
        import torch

        with torch.inference_mode():
            return self._joined("text", self.put(features))

    def _joined(self, tower: str, features: Tensor) -> np.ndarray:
        import torch

        joined = torch.cat(self.project(tower, features), dim=1)
        return _array(joined / self.plan.heads.members**0.5)

    def put(self, values: np.ndarray) -> Tensor:
        """Return an array as float32 on the device; pictures with their channels last."""
        import torch

        tensor = torch.from_numpy(np.asarray(values, np.float32)).to(self.device)
        return tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor

    def folded(self) -> dict[str, np.ndarray]:
        """Return the tail's trained convolutions, with their gains folded in again."""
        weights = self._folded_tail()
        return {name: _array(weights[name]) for name in self.of_tail}

    def head_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of `projections.Heads`, with GELU between layers."""
        of_heads = tuple(f"{tower}." for tower in TOWERS)
        found = {**self.fixed, **self.weights}
        arrays = {k: _array(v) for k, v in found.items() if k.startswith(of_heads)}
        members = self.plan.heads.members
        shares = np.full(members, 1 / members, np.float32)
        return {**arrays, "weights": shares, "gelu": np.ones(1, np.float32)}


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + _EMBEDDED) for start in range(0, max(count, 1), _EMBEDDED))


def _array(tensor: Tensor) -> np.ndarray:
    found: np.ndarray = tensor.detach().cpu().numpy()
    return found
