"""What a trained network finds among patients it has not seen: values query by query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from medsearch_desktop.training import metrics, samples

# The first hits that are looked at.
FIRST = (1, 10)
# With what weight the vector of a picture's own tag phrase is added to its own.
TAG_WEIGHTS = (0.25, 0.5, 1.0)
# "CT, chest, axial": the form of phrase that is added, of those that rows.Row.tags gives.
TAG_WORDING = 1
# Name of a measure of ranks -> what the figures call it.
RANKS = ("caption", "finding", *(f"caption, tags {weight}" for weight in TAG_WEIGHTS))
RELATIONS = ("modality", "modality and part", "modality, part and view")
PROMPTED = ("modality", "part")
# (n, 384) sentence vectors -> (n, d) unit vectors.
Texts = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Fold:
    """One part of the patients: rows to train on, and rows to ask with.

    `groups` maps a name to the rows of `outside` that the measures of that
    name ask with.
    """

    number: int
    inside: np.ndarray
    outside: np.ndarray
    groups: dict[str, np.ndarray]


def folds(found: samples.Samples, count: int, seed: int) -> list[Fold]:
    """Return the folds; all rows of one patient are in one of them."""
    of_row = metrics.folds(found.patients, count, seed)
    return [_fold(found, of_row, number) for number in range(count)]


def _fold(found: samples.Samples, of_row: np.ndarray, number: int) -> Fold:
    outside = np.flatnonzero(of_row == number)
    known = {name: classes[outside] >= 0 for name, classes in found.classes.items()}
    both = known["modality"] & known["part"]
    groups = {
        "told": outside[found.has_finding[outside]],
        "modality and part": outside[both],
        "modality, part and view": outside[both & known["plane"]],
        "prompted modality": outside[known["modality"]],
        "prompted part": outside[known["part"]],
    }
    return Fold(number, np.flatnonzero(of_row != number), outside, groups)


def group_of(measure: str) -> str:
    """Return the name of the group in `Fold.groups` that a measure asks with."""
    if measure in RANKS:
        return "told"
    if measure.startswith("prompted"):
        return measure
    relation = measure.rpartition(" P@")[0]
    return "modality and part" if relation == "modality" else relation


def chances(found: samples.Samples, fold: Fold) -> dict[str, float]:
    """Return what guessing reaches in each measure; of ranks, the size of the pool."""
    told = {name: float(len(fold.groups["told"])) for name in RANKS}
    shares = {
        f"{name} P@{k}": float(relevant.mean()) if relevant.size else 0.0
        for name in RELATIONS
        for relevant in (_relevant(found, fold, name),)
        for k in FIRST
    }
    words = {f"prompted {name}": 1 / max(1, len(found.prompts[name])) for name in PROMPTED}
    return told | shares | words


def neighbours(found: samples.Samples, fold: Fold, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the shares of relevant rows among the first hits, asked with pictures.

    `images` is (n, d), unit vectors of all rows; the gallery is what was trained on.
    """
    values: dict[str, np.ndarray] = {}
    for name in RELATIONS:
        asked = images[fold.groups[group_of(f"{name} P@1")]]
        relevant = _relevant(found, fold, name)
        shares = metrics.precision(asked, images[fold.inside], relevant, FIRST)
        values |= {f"{name} P@{k}": share for k, share in zip(FIRST, shares, strict=True)}
    return values


def measured(
    found: samples.Samples, fold: Fold, images: np.ndarray, texts: Texts
) -> dict[str, np.ndarray]:
    """Return the values of every measure, in the order of its group's rows.

    Captions and findings are asked for the one right picture among all of the
    fold that have a finding: ranks from 1, ties at their middle.
    """
    told = fold.groups["told"]
    captions, pool = texts(found.captions[0, told]), images[told]
    tags = texts(found.tags[TAG_WORDING, told])
    values = {
        "caption": metrics.ranks(captions @ pool.T),
        "finding": metrics.ranks(texts(found.findings[told]) @ pool.T),
    }
    for weight in TAG_WEIGHTS:
        joined = pool + weight * tags
        joined /= np.linalg.norm(joined, axis=1, keepdims=True)
        values[f"caption, tags {weight}"] = metrics.ranks(captions @ joined.T)
    for name in PROMPTED:
        asked = fold.groups[f"prompted {name}"]
        if len(words := texts(found.prompts[name])):
            best = (images[asked] @ words.T).argmax(axis=1)
            values[f"prompted {name}"] = (best == found.classes[name][asked]).astype(float)
    return values | neighbours(found, fold, images)


def calibration(
    found: samples.Samples, fold: Fold, images: np.ndarray, texts: Texts
) -> dict[str, float]:
    """Return slope and offset that make a cosine the chance of "same modality and part".

    `image_slope`, `image_offset` for two pictures, of which one was trained
    on; `text_slope`, `text_offset` for a caption and a picture, both not.
    """
    asked = fold.groups["modality and part"]
    kinds = _kinds(found)
    same = kinds[asked][:, None] == kinds[fold.inside][None, :]
    scores = images[asked] @ images[fold.inside].T
    image = metrics.logistic(scores.ravel(), same.ravel())
    said = texts(found.captions[0, asked])
    same = kinds[asked][:, None] == kinds[asked][None, :]
    text = metrics.logistic((said @ images[asked].T).ravel(), same.ravel())
    return {
        "image_slope": image[0],
        "image_offset": image[1],
        "text_slope": text[0],
        "text_offset": text[1],
    }


def _relevant(found: samples.Samples, fold: Fold, name: str) -> np.ndarray:
    """Return (queries, gallery) booleans: which rows of the gallery are alike in this."""
    asked = fold.groups[group_of(f"{name} P@1")]
    compared = ("modality", "part", "plane")[: RELATIONS.index(name) + 1]
    same = np.ones((len(asked), len(fold.inside)), bool)
    for one in compared:
        classes = found.classes[one]
        same &= classes[asked][:, None] == classes[fold.inside][None, :]
    return same


def _kinds(found: samples.Samples) -> np.ndarray:
    """Return (n,) numbers, one for each pair of modality and part; each unknown is its own."""
    modality, part = found.classes["modality"], found.classes["part"]
    known = (modality >= 0) & (part >= 0)
    kinds: np.ndarray = np.where(known, modality * 1000 + part, -1 - np.arange(len(modality)))
    return kinds
