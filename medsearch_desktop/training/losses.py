"""Losses of one batch: contrast of pictures and texts, classes, and pictures of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medsearch_desktop.training import network

if TYPE_CHECKING:
    from torch import Tensor

# Texts with a cosine above this before any head say the same: dozens of films have one caption.
_SAME_WORDS = 0.98


@dataclass(frozen=True)
class Judged:
    """Unit vectors (n, d) and the class of each under every name, -1 where it says none."""

    vectors: Tensor
    classes: dict[str, np.ndarray]


def contrast(scale: Tensor, images: Tensor, texts: Tensor, words: Tensor, known: np.ndarray
             ) -> Tensor:  # fmt: skip
    """Return InfoNCE in both directions (van den Oord et al., arXiv 1807.03748).

    `scale` is the logarithm of 1 / temperature. `words` are the sentence
    vectors behind `texts`; those that say the same are positives of one
    another. Rows that are not `known` have no say.
    """
    import torch
    from torch.nn import functional

    has_words = torch.from_numpy(known).to(images.device)
    same = functional.normalize(words, dim=1)
    alike = (same @ same.T > _SAME_WORDS) & has_words[None, :] & has_words[:, None]
    positive = alike.float() + torch.eye(len(images), device=images.device) * 1e-6
    likeness = images @ texts.T * scale.exp().clamp(max=100)
    loss = likeness.new_zeros(())
    if not known.any():
        return loss
    for scores, wanted in ((likeness, positive), (likeness.T, positive.T)):
        share = wanted / wanted.sum(1, keepdim=True)
        each = -(share * functional.log_softmax(scores, dim=1)).sum(1)
        loss = loss + each[has_words].mean() / 2
    return loss


def classes(
    net: network.Network, member: int, judged: Sequence[Judged], names: Sequence[str]
) -> Tensor:
    """Return how badly a member tells the classes from its vectors, a mean over the names."""
    import torch
    from torch.nn import functional

    loss = judged[0].vectors.new_zeros(())
    for name in names:
        for one in judged:
            wanted = one.classes.get(name)
            if wanted is None or not (usable := wanted >= 0).any():
                continue
            logits = net.judge(member, name, one.vectors[torch.from_numpy(usable).to(net.device)])
            target = torch.from_numpy(wanted[usable]).to(net.device)
            loss = loss + functional.cross_entropy(
                logits, target, label_smoothing=net.plan.losses.smoothing
            )
    return loss / max(1, len(names))


def same_kind(images: Tensor, kinds: np.ndarray, temperature: float) -> Tensor:
    """Return the contrast between pictures of one kind (Khosla et al., arXiv 2004.11362).

    `kinds` is (n,); -1 is no kind.
    """
    import torch
    from torch.nn import functional

    kind = torch.from_numpy(kinds).to(images.device)
    itself = torch.eye(len(images), dtype=torch.bool, device=images.device)
    alike = (kind[:, None] == kind[None, :]) & (kind >= 0)[:, None] & ~itself
    has_any = alike.any(1)
    if not bool(has_any.any()):
        return images.new_zeros(())
    scores = (images @ images.T / temperature).masked_fill(itself, -1e9)
    likely = functional.log_softmax(scores, dim=1)
    shares = (likely * alike).sum(1)[has_any] / alike.sum(1)[has_any]
    return -shares.mean()
