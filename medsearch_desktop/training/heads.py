"""Losses and loop: projection heads of images and texts, trained on frozen features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CLASSES = ("modality", "part", "plane")
# What the heads are stored as: half the size, and cosines differ by less than 1e-4.
STORED = np.float16
# Unit vectors are stretched before they are judged, or no class could become likely.
_SHARPNESS = 8.0


@dataclass(frozen=True)
class Settings:
    """How the heads are trained; the fields are the keys of [heads] in a recipe.

    `members` networks are trained one after the other with seeds `seed`,
    `seed` + 1, ...; each gives `width` numbers of the vector. `findings` and
    `tags` are the shares of steps' texts that are the finding alone and the
    tag phrase alone; the rest are whole captions. `class_weight` weighs the
    losses of modality, part and plane against the contrast. `disturbed` is the
    share of pictures drawn from the `views` disturbed ones.
    """

    seed: int = 1
    members: int = 3
    width: int = 128
    hidden_image: int = 512
    hidden_text: int = 512
    epochs: int = 60
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    dropout: float = 0.3
    findings: float = 0.3
    tags: float = 0.2
    class_weight: float = 2.0
    temperature: float = 0.07
    disturbed: float = 0.5
    views: int = 6


@dataclass(frozen=True)
class Samples:
    """Frozen features of the training rows.

    `images` is (views, n, f): view 0 is the picture as it is, the others are
    disturbed ones. `captions` and `tags` are (wordings, n, g), `findings` is
    (n, g). `has_finding` and `has_words` are (n,) booleans. `classes` maps a
    name of CLASSES to (n,) class numbers, -1 where not known.
    """

    images: np.ndarray
    captions: np.ndarray
    tags: np.ndarray
    findings: np.ndarray
    has_finding: np.ndarray
    has_words: np.ndarray
    classes: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.images.shape[1])


def train(
    samples: Samples,
    rows: np.ndarray,
    settings: Settings,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Return the arrays of `engine.encoders.compact.Heads`, trained on the rows named.

    One thread and one seed give the same arrays again on the same machine.
    """
    import torch

    base = samples.images[0, rows]
    words = samples.captions[:, rows].reshape(-1, samples.captions.shape[2])
    arrays = {
        "image.mean": base.mean(axis=0),
        "image.scale": base.std(axis=0) + 1e-3,
        "text.mean": words.mean(axis=0),
        # One scale for all: the directions of a sentence vector are not to be whitened.
        "text.scale": np.full(words.shape[1], words.std(), np.float32),
        "weights": np.full(settings.members, 1 / settings.members, np.float32),
    }
    prepared = {
        "images": (samples.images - arrays["image.mean"]) / arrays["image.scale"],
        **{
            name: (getattr(samples, name) - arrays["text.mean"]) / arrays["text.scale"]
            for name in ("captions", "tags", "findings")
        },
    }
    tensors = {k: torch.tensor(v, dtype=torch.float32) for k, v in prepared.items()}
    for member in range(settings.members):
        if progress is not None:
            progress("heads", member, settings.members)
        trained = _Member(samples, tensors, settings, settings.seed + member)
        for tower, network in trained.fitted(rows).items():
            linear = [m for m in network if isinstance(m, torch.nn.Linear)]
            for layer, module in enumerate(linear):
                prefix = f"{tower}.{member}.{layer}"
                arrays[prefix + ".weight"] = module.weight.detach().numpy()
                arrays[prefix + ".bias"] = module.bias.detach().numpy()
    return {name: np.ascontiguousarray(value, STORED) for name, value in arrays.items()}


class _Member:
    """One pair of towers in training: its networks, its judges of classes, its lots."""

    def __init__(
        self, samples: Samples, tensors: dict[str, Any], settings: Settings, seed: int
    ) -> None:
        import torch

        torch.manual_seed(seed)
        self._draw = np.random.default_rng(seed)
        self._samples, self._tensors, self._settings = samples, tensors, settings
        self._towers = {
            "image": _tower(tensors["images"].shape[2], settings.hidden_image, settings),
            "text": _tower(tensors["captions"].shape[2], settings.hidden_text, settings),
        }
        counts = {name: int(classes.max()) + 1 for name, classes in samples.classes.items()}
        self._judges = {n: torch.nn.Linear(settings.width, c) for n, c in counts.items() if c > 1}
        self._scale = torch.nn.Parameter(torch.tensor(float(np.log(1 / settings.temperature))))

    def fitted(self, rows: np.ndarray) -> dict[str, Any]:
        """Train on these rows and return the towers."""
        import torch

        settings = self._settings
        weights = [
            weight
            for module in (*self._towers.values(), *self._judges.values())
            for weight in module.parameters()
        ]
        optimizer = torch.optim.AdamW(
            [
                {"params": weights, "weight_decay": settings.weight_decay},
                {"params": [self._scale], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            settings.learning_rate,
            total_steps=settings.epochs * -(-len(rows) // settings.batch),
        )
        for _ in range(settings.epochs):
            shuffled = self._draw.permutation(rows)
            for start in range(0, len(shuffled), settings.batch):
                loss = self._loss(shuffled[start : start + settings.batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        return self._towers

    def _loss(self, picked: np.ndarray) -> Any:
        """Return contrast plus classes of one batch."""
        from torch.nn import functional

        images = functional.normalize(self._towers["image"](self._pictures(picked)), dim=1)
        words, says_tags = self._texts(picked)
        texts = functional.normalize(self._towers["text"](words), dim=1)
        contrast = self._contrast(images, texts, words, picked)
        return contrast + self._settings.class_weight * self._classes(
            images, texts, says_tags, picked
        )

    def _contrast(self, images: Any, texts: Any, words: Any, picked: np.ndarray) -> Any:
        """Return InfoNCE in both directions (van den Oord et al., arXiv 1807.03748).

        Texts of the same words (cosine over 0.98) are positives of one
        another: dozens of radiographs have one caption.
        """
        import torch
        from torch.nn import functional

        known = torch.tensor(self._samples.has_words[picked])
        same = functional.normalize(words, dim=1)
        alike = (same @ same.T > 0.98) & known[None, :] & known[:, None]
        positive = alike.float() + torch.eye(len(picked)) * 1e-6
        likeness = images @ texts.T * self._scale.exp().clamp(max=100)
        loss = likeness.new_zeros(())
        for scores, wanted in ((likeness, positive), (likeness.T, positive.T)):
            share = wanted / wanted.sum(1, keepdim=True)
            each = -(share * functional.log_softmax(scores, dim=1)).sum(1)
            if bool(known.any()):
                loss = loss + each[known].mean() / 2
        return loss

    def _classes(self, images: Any, texts: Any, says_tags: Any, picked: np.ndarray) -> Any:
        """Return how badly modality, part and plane are told from the vectors of both towers."""
        import torch
        from torch.nn import functional

        loss = images.new_zeros(())
        for name, judge in self._judges.items():
            classes = torch.tensor(self._samples.classes[name][picked])
            for vectors, usable in ((images, classes >= 0), (texts, (classes >= 0) & says_tags)):
                if bool(usable.any()):
                    judged = judge(vectors[usable] * _SHARPNESS)
                    loss = loss + functional.cross_entropy(judged, classes[usable])
        return loss / max(1, len(self._judges))

    def _pictures(self, picked: np.ndarray) -> Any:
        """Return the features of one drawn view of each row."""
        found = self._tensors["images"]
        views = self._draw.integers(1, max(2, len(found)), len(picked))
        views[self._draw.random(len(picked)) >= self._settings.disturbed] = 0
        return found[np.minimum(views, len(found) - 1), picked]

    def _texts(self, picked: np.ndarray) -> tuple[Any, Any]:
        """Return one drawn text of each row, and which of them say the tags."""
        import torch

        draw, tensors = self._draw, self._tensors
        lot = draw.random(len(picked))
        wording = draw.integers(0, len(tensors["captions"]), len(picked))
        phrase = draw.integers(0, len(tensors["tags"]), len(picked))
        words = tensors["captions"][wording, picked].clone()
        finding = torch.tensor((lot < self._settings.findings) & self._samples.has_finding[picked])
        tags = torch.tensor(lot > 1 - self._settings.tags)
        words[finding] = tensors["findings"][picked][finding]
        words[tags] = tensors["tags"][phrase, picked][tags]
        return words, ~finding


def _tower(features: int, hidden: int, settings: Settings) -> Any:
    from torch import nn

    if not hidden:
        return nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(features, settings.width))
    return nn.Sequential(
        nn.Dropout(settings.dropout),
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Dropout(settings.dropout),
        nn.Linear(hidden, settings.width),
    )
