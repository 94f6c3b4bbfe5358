"""The loop: batches are drawn, both towers trained, their weights averaged along the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medsearch_desktop.training import losses, network, recipe, samples, trunk

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SMALLEST_BATCH = 8  # what is left over at the end of an epoch and smaller is not learned from
_LARGEST_GRADIENT = 5.0  # for each member of the heads, whose losses are added
_SAME_WORDS = 0.98
# Says one line of the training log.
Log = Callable[[str], None]


@dataclass(frozen=True)
class _Stage:
    """One part of the training: the heads alone on fixed features, or the tail with them."""

    name: str
    has_trunk: bool
    epochs: int
    batch: int
    heads_rate: float
    disturbed: float
    warm_up: float
    hard_negatives: float = 0.0
    ema: float = 0.0


def fit(
    plan: recipe.Recipe,
    found: samples.Samples,
    picked: np.ndarray,
    start: trunk.Pretrained,
    *,
    seed: int,
    log: Log,
    device: str = "cpu",
) -> network.Network:
    """Return the network trained on the rows `picked`, averaged over the recipe's orders.

    All orders start from the same heads, drawn by `seed` and trained alone
    first where the recipe says so. One thread and one seed give the same
    weights again on the same machine.
    """
    net = network.Network(plan, start, found.counts(), seed)
    words = found.captions[: plan.texts.wordings, picked].reshape(-1, found.captions.shape[2])
    net.standardise(found.features[0, picked], words)
    net.to(device)
    heads, whole = _stages(plan)
    if heads.epochs:
        course = _Course(net, found, picked, heads, np.random.default_rng((seed, 0, 0)))
        net.take(course.run(log))
    begun = {name: weight.detach().clone() for name, weight in net.weights.items()}
    sums: dict[str, Tensor] = {}
    for order in range(plan.trunk.average if whole.epochs else 0):
        net.take({name: weight.clone() for name, weight in begun.items()})
        draw = np.random.default_rng((seed, order) if order else seed)
        course = _Course(net, found, picked, whole, draw)
        weights = course.run(log, f"order {order + 1}, " if plan.trunk.average > 1 else "")
        sums = {name: sums[name] + w if sums else w.clone() for name, w in weights.items()}
    last = {name: total / plan.trunk.average for name, total in sums.items()} or net.weights
    net.weights = {name: weight.detach() for name, weight in last.items()}
    return net


def _stages(plan: recipe.Recipe) -> tuple[_Stage, _Stage]:
    heads, both = plan.heads, plan.trunk
    return (
        _Stage("heads, ", False, heads.epochs, heads.batch, heads.learning_rate, heads.disturbed,
               both.warm_up),
        _Stage("", True, both.epochs, both.batch, both.heads_learning_rate, both.disturbed,
               both.warm_up, both.hard_negatives, both.ema),
    )  # fmt: skip


class _Course:
    """One network on its way through the epochs: what is drawn, and what is learned from it."""

    def __init__(
        self,
        net: network.Network,
        found: samples.Samples,
        picked: np.ndarray,
        stage: _Stage,
        draw: np.random.Generator,
    ) -> None:
        self._net, self._found, self._picked, self._stage = net, found, picked, stage
        self._plan, self._draw = net.plan, draw
        self._kinds = _kinds(found)
        # Rows of a batch that are its own; the others are drawn beside them.
        self._own = max(1, round(stage.batch * (1 - stage.hard_negatives)))

    def run(self, log: Log, prefix: str = "") -> dict[str, Tensor]:
        """Train and return the weights, averaged along the way where the recipe says so."""
        import torch

        net, stage = self._net, self._stage
        optimizer, schedule = self._optimizer()
        average = {name: w.detach().clone() for name, w in net.weights.items()} if stage.ema else {}
        net.is_training, step = True, 0
        for epoch in range(stage.epochs):
            begun, seen, told = time.monotonic(), 0, np.zeros(3)
            shuffled = self._draw.permutation(self._picked)
            for at in range(0, len(shuffled), self._own):
                batch = shuffled[at : at + self._own]
                step += 1
                if len(batch) >= min(_SMALLEST_BATCH, len(self._picked)):
                    parts = self._losses(self._with_hard(batch))
                    self._step(optimizer, parts)
                    told += [float(part.detach()) for part in parts]
                    seen += 1
                schedule.step()
                # Young averages forget faster, or they would keep the untrained heads.
                kept = min(stage.ema, (step + 1) / (step + 10))
                with torch.no_grad():
                    for name, value in average.items():
                        value.lerp_(net.weights[name], 1 - kept)
            contrast, classes, kind = told / max(1, seen) / self._plan.heads.members
            log(
                f"{stage.name}{prefix}epoch {epoch + 1} of {stage.epochs}: contrast "
                f"{contrast:.3f}, classes {classes:.3f}, kind {kind:.3f}; "
                f"{time.monotonic() - begun:.1f} s"
            )
        net.is_training = False
        return average or {name: weight.detach() for name, weight in net.weights.items()}

    def _optimizer(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        import torch

        net, stage, plan = self._net, self._stage, self._plan
        scales = [name for name in net.weights if name.startswith("scale.")]
        of_heads = [n for n in net.weights if n not in net.of_tail and n not in scales]
        groups = [
            (of_heads, stage.heads_rate, plan.heads.weight_decay),
            (scales, stage.heads_rate, 0.0),
        ]
        if stage.has_trunk:
            groups.append((sorted(net.of_tail), plan.trunk.learning_rate, plan.trunk.weight_decay))
        optimizer = torch.optim.AdamW(
            [
                {"params": [net.weights[n] for n in names], "lr": rate, "weight_decay": decay}
                for names, rate, decay in groups
            ]
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            [rate for _, rate, _ in groups],
            total_steps=stage.epochs * -(-len(self._picked) // self._own),
            pct_start=stage.warm_up,
        )
        return optimizer, schedule

    def _step(self, optimizer: torch.optim.Optimizer, parts: tuple[Tensor, ...]) -> None:
        import torch

        contrast, classes, kind = parts
        loss = contrast + self._plan.losses.class_weight * classes + kind
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        largest = _LARGEST_GRADIENT * self._plan.heads.members
        torch.nn.utils.clip_grad_norm_(list(self._net.weights.values()), largest)
        optimizer.step()

    def _with_hard(self, batch: np.ndarray) -> np.ndarray:
        """Return the batch filled up with rows of the kinds in it and another caption."""
        kinds, said = self._kinds["same_part"], self._found.captions[0]
        extra: list[int] = []
        for row in self._draw.permutation(batch)[: self._stage.batch - self._own]:
            near = self._picked[kinds[self._picked] == kinds[row]]
            is_other = (said[near] @ said[row] < _SAME_WORDS) & ~np.isin(near, [*batch, *extra])
            if kinds[row] >= 0 and is_other.any():
                extra.append(int(self._draw.choice(near[is_other])))
        return np.concatenate([batch, np.array(extra, batch.dtype)])

    def _losses(self, batch: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return contrast, classes and kinds of one batch, each the sum over the members."""
        net, found = self._net, self._found
        images = net.project("image", self._pictures(batch))
        drawn, says_tags = self._texts(batch)
        words = net.put(drawn)
        texts = net.project("text", words)
        known = {name: classes[batch] for name, classes in found.classes.items()}
        told = {name: np.where(says_tags, classes, -1) for name, classes in known.items()}
        alone, said_alone = self._alone()
        contrast, classes, kind = (images[0].new_zeros(()) for _ in range(3))
        for member, (image, text) in enumerate(zip(images, texts, strict=True)):
            judged = [losses.Judged(image, known), losses.Judged(text, told)]
            judged += [losses.Judged(alone[member], said_alone)] if alone else []
            scale = net.weights[f"scale.{member}"]
            contrast = contrast + losses.contrast(scale, image, text, words, found.has_words[batch])
            classes = classes + losses.classes(net, member, judged, tuple(found.counts()))
            for name, kinds in self._kinds.items():
                if weight := getattr(self._plan.losses, name):
                    heat = self._plan.losses.kind_temperature
                    kind = kind + weight * losses.same_kind(image, kinds[batch], heat)
        return contrast, classes, kind

    def _pictures(self, batch: np.ndarray) -> Tensor:
        """Return the features of one drawn view of each row."""
        net, has_trunk = self._net, self._stage.has_trunk
        kept = self._found.activations if has_trunk else self._found.features
        is_disturbed = self._draw.random(len(batch)) < self._stage.disturbed
        views = np.where(is_disturbed, self._draw.integers(1, max(2, len(kept)), len(batch)), 0)
        seen = net.put(np.stack([kept[v, row] for v, row in zip(views, batch, strict=True)]))
        return net.features(seen) if has_trunk else seen

    def _texts(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return one drawn text of each row, and which of them say modality, part and plane."""
        draw, found, plan = self._draw, self._found, self._plan.texts
        lot = draw.random(len(batch))
        wording = draw.integers(0, plan.wordings, len(batch))
        if plan.plain:
            wording[draw.random(len(batch)) < plan.plain] = 0
        phrase = draw.integers(0, len(found.tags), len(batch))
        words = found.captions[wording, batch].copy()
        is_finding = (lot < plan.findings) & found.has_finding[batch]
        is_tags = lot > 1 - plan.tags
        words[is_finding] = found.findings[batch][is_finding]
        words[is_tags] = found.tags[phrase, batch][is_tags]
        return words, ~is_finding | is_tags

    def _alone(self) -> tuple[list[Tensor], dict[str, np.ndarray]]:
        """Return each member's vectors of drawn texts without a picture, and what they say."""
        found = self._found
        count = round(self._plan.texts.text_only * self._stage.batch)
        if not count or not len(found.alone):
            return [], {}
        drawn = self._draw.integers(0, len(found.alone), count)
        vectors = self._net.project("text", self._net.put(found.alone[drawn]))
        return vectors, {name: classes[drawn] for name, classes in found.alone_classes.items()}


def _kinds(found: samples.Samples) -> dict[str, np.ndarray]:
    """Return for each loss of kinds (n,) numbers, one for each kind; -1 where it is not known."""
    kinds: dict[str, np.ndarray] = {}
    kind = np.zeros(len(found), np.int64)
    for name, compared in zip(
        ("same_modality", "same_part", "same_view"), samples.CLASSES, strict=True
    ):
        classes = found.classes[compared]
        is_known = (kind >= 0) & (classes >= 0)
        kind = np.where(is_known, kind * (int(classes.max(initial=0)) + 1) + classes, -1)
        kinds[name] = kind
    return kinds
