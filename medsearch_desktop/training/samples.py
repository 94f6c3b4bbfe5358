"""Samples: activations before the trained blocks, and sentence vectors, once for a whole run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsearch_desktop.engine.encoders import compact
from medsearch_desktop.imaging import isolated
from medsearch_desktop.training import network, pictures, recipe, rows, text_rows, trunk

# (what is done, steps done, steps in all)
Progress = Callable[[str, int, int], None]
CLASSES = ("modality", "part", "plane")
# A modality, part or plane with fewer pictures is not judged on its own.
_SMALLEST_CLASS = 10
_UNKNOWN = -1


@dataclass(frozen=True)
class Samples:
    """What is computed once of the training rows.

    `activations` is float16 (1 + views, n, c, h, w), mapped from a file: what
    the blocks that are not trained make of each picture, view 0 as it is, the
    others disturbed. `features` is (k, n, 1280): what the network as it was
    published makes of them, of view 0 alone where no more are needed.
    `captions` and `tags` are (wordings, n, g) sentence vectors,
    `findings` is (n, g). `has_finding` and `has_words` are (n,) booleans.
    `classes` maps a name of CLASSES to (n,) class numbers, -1 where not known,
    `prompts` maps it to the (k, g) words of each class. `alone` are the (m, g)
    texts without a picture, `alone_classes` what they say.
    """

    patients: tuple[str, ...]
    activations: np.ndarray
    features: np.ndarray
    captions: np.ndarray
    tags: np.ndarray
    findings: np.ndarray
    has_finding: np.ndarray
    has_words: np.ndarray
    classes: dict[str, np.ndarray]
    prompts: dict[str, np.ndarray]
    alone: np.ndarray
    alone_classes: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.patients)

    def counts(self) -> dict[str, int]:
        """Return how many classes there are of each of CLASSES, where there are two or more."""
        counts = {name: int(classes.max(initial=0)) + 1 for name, classes in self.classes.items()}
        return {name: count for name, count in counts.items() if count > 1}


def gather(
    plan: recipe.Recipe,
    found: Sequence[rows.Row],
    start: trunk.Pretrained,
    words: compact.TextTrunk,
    folder: Path,
    progress: Progress,
    device: str = "cpu",
) -> Samples:
    """Return the samples of the rows; activations are kept in a file in `folder`."""
    encoded = _Encoded(words)
    alone = _alone(plan, found)
    names = {name: _names([getattr(row, name) for row in found]) for name in CLASSES}
    activations, features = _activations(plan, found, start, folder, progress, device)
    progress("texts", 0, 1)
    return Samples(
        patients=tuple(row.patient for row in found),
        activations=activations,
        features=features,
        captions=_by_wording(encoded, [row.captions() for row in found]),
        tags=_by_wording(encoded, [row.tags() for row in found]),
        findings=encoded([row.finding or rows.NOTHING_KNOWN for row in found]),
        has_finding=np.array([bool(row.finding) for row in found]),
        has_words=np.array([row.captions()[0] != rows.NOTHING_KNOWN for row in found]),
        classes={n: _numbers([getattr(row, n) for row in found], names[n]) for n in CLASSES},
        prompts={
            "modality": encoded([rows.MODALITY_WORDS[name][0] for name in names["modality"]]),
            "part": encoded([_part_word(found, name) for name in names["part"]]),
        },
        alone=encoded([one.text for one in alone]),
        alone_classes={
            name: _numbers([getattr(one, name) for one in alone], names[name])
            for name in ("modality", "part")
        },
    )


class _Encoded:
    """Sentence vectors of texts; one that repeats is encoded once."""

    def __init__(self, words: compact.TextTrunk) -> None:
        self._words = words
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (n, 384)."""
        for text in texts:
            if text not in self._known:
                self._known[text] = self._words.features([text])[0]
        rows_ = [self._known[text] for text in texts]
        return np.stack(rows_) if rows_ else np.empty((0, 384), np.float32)


def _by_wording(encoded: _Encoded, said: list[tuple[str, ...]]) -> np.ndarray:
    return np.stack([encoded(list(wording)) for wording in zip(*said, strict=True)])


def _alone(plan: recipe.Recipe, found: Sequence[rows.Row]) -> list[text_rows.Words]:
    if not plan.texts.text_only:
        return []
    return [*text_rows.read(plan.data, plan.texts.captions), *text_rows.prompts(found)]


def _names(values: list[str]) -> list[str]:
    counts = Counter(value for value in values if value)
    return sorted(name for name, count in counts.items() if count >= _SMALLEST_CLASS)


def _numbers(values: list[str], names: list[str]) -> np.ndarray:
    found = [names.index(value) if value in names else _UNKNOWN for value in values]
    return np.array(found, np.int64)


def _part_word(found: Sequence[rows.Row], part: str) -> str:
    return next(row.part_words[0] for row in found if row.part == part)


def _activations(
    plan: recipe.Recipe,
    found: Sequence[rows.Row],
    start: trunk.Pretrained,
    folder: Path,
    progress: Progress,
    device: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the file of activations, and the published network's features."""
    import torch

    weights = {name: torch.from_numpy(value).to(device) for name, value in start.weights.items()}
    count = 1 + plan.trunk.views if plan.heads.epochs else 1
    features = np.empty((count, len(found), trunk.FEATURES), np.float32)
    kept: np.ndarray | None = None
    readers = isolated.Readers(1)
    try:
        for number, pixels in enumerate(pictures.views(found, plan.trunk, readers)):
            with torch.inference_mode():
                seen = torch.from_numpy(pixels).to(device, memory_format=torch.channels_last)
                before = network.run(network.front(plan.trunk), weights, seen)
                after = network.run(network.tail(plan.trunk), weights, before[:count])
            if kept is None:
                shape = (len(pixels), len(found), *before.shape[1:])
                kept = np.lib.format.open_memmap(
                    folder / "activations.npy", "w+", np.float16, shape
                )
            kept[:, number] = before.cpu().numpy()
            features[:, number] = after.mean(dim=(2, 3)).cpu().numpy()
            progress("pictures", number + 1, len(found))
    finally:
        readers.close()
    if kept is None:
        raise ValueError("no rows")
    return kept, features
