"""Figures of a recipe: cross-validation over patients, run by run, kept in a file that goes on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsearch_desktop import errors
from medsearch_desktop.training import (
    fitting,
    measuring,
    network,
    recipe,
    rows,
    samples,
    summary,
    trunk,
)

_FORMAT = 1
# Digits kept of a value: a share of ten and the middle of a tie are exact.
_DIGITS = 4


@dataclass(frozen=True)
class Report:
    """What a file of figures says of a recipe, as far as it was measured."""

    settings: dict[str, Any]
    digest: str
    runs: int
    wanted: int
    figures: tuple[summary.Figure, ...]
    raw: tuple[summary.Figure, ...]
    calibration: dict[str, float]
    plain: dict[str, Any]


def read(path: Path) -> Report:
    """Return what `measure` wrote; raises QuerySyntaxError for any other file."""
    try:
        plain = json.loads(path.read_text("utf-8"))
        if plain["format"] != _FORMAT:
            raise errors.QuerySyntaxError(f"{path.name} holds figures of another version.")
        return Report(
            settings=plain["settings"],
            digest=plain["digest"],
            runs=len(plain["runs"]),
            wanted=plain["wanted"],
            figures=_read_figures(plain["figures"]),
            raw=_read_figures(plain["raw"]),
            calibration={str(k): float(v) for k, v in plain["calibration"].items()},
            plain=plain,
        )
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.QuerySyntaxError(f"{path} holds no figures of a recipe: {error}") from error


def _read_figures(plain: list[dict[str, Any]]) -> tuple[summary.Figure, ...]:
    return tuple(summary.Figure(**{**one, "seeds": tuple(one["seeds"])}) for one in plain)


def measure(
    plan: recipe.Recipe,
    found_rows: Sequence[rows.Row],
    found: samples.Samples,
    start: trunk.Pretrained,
    out: Path,
    *,
    log: fitting.Log,
    progress: samples.Progress,
    device: str = "cpu",
) -> Report:
    """Train and measure each fold with each seed, and keep what was found in `out`.

    Runs that are in the file already are not made again; a file of another
    recipe or of other data is refused with QuerySyntaxError.
    """
    plain = _begun(plan, found_rows, out)
    folds = measuring.folds(found, plan.figures.folds, plan.figures.fold_seed)
    numbers = {name: number for number, name in enumerate(sorted(set(found.patients)))}
    of_row = np.array([numbers[name] for name in found.patients])
    published = found.features[0] / np.linalg.norm(found.features[0], axis=1, keepdims=True)
    plain["folds"] = [
        {
            "patients": {name: of_row[group].tolist() for name, group in fold.groups.items()},
            "chance": measuring.chances(found, fold),
            "raw": _rounded(measuring.neighbours(found, fold, published)),
        }
        for fold in folds
    ]
    wanted = [(fold, seed) for seed in plan.figures.seeds for fold in folds]
    plain["wanted"] = len(wanted)
    for number, (fold, seed) in enumerate(wanted):
        progress("measuring", number, len(wanted))
        if any((run["fold"], run["seed"]) == (fold.number, seed) for run in plain["runs"]):
            continue
        plain["runs"].append(_run(plan, found, fold, seed, start, log, device))
        _write(plain, out)
    _write(plain, out)
    progress("measuring", len(wanted), len(wanted))
    return read(out)


def _begun(plan: recipe.Recipe, found_rows: Sequence[rows.Row], out: Path) -> dict[str, Any]:
    """Return the content of an earlier, interrupted measurement, or of a new one."""
    said = "\n".join(f"{r.source} {r.item_id} {r.patient} {r.licence}" for r in found_rows)
    head = {
        "format": _FORMAT,
        "recipe": plan.name,
        "settings": plan.settings(),
        "digest": plan.digest(),
        "data": hashlib.sha256(said.encode()).hexdigest(),
        "rows": len(found_rows),
    }
    if not out.exists():
        return {**head, "runs": []}
    plain = read(out).plain
    for what in ("digest", "data"):
        if plain[what] != head[what]:
            told = {"digest": "another recipe", "data": "other training data"}[what]
            raise errors.QuerySyntaxError(
                f"{out} holds figures of {told}; name another file, or remove that one."
            )
    wanted = set(plan.figures.seeds)
    return {**head, "runs": [run for run in plain["runs"] if run["seed"] in wanted]}


def _run(
    plan: recipe.Recipe,
    found: samples.Samples,
    fold: measuring.Fold,
    seed: int,
    start: trunk.Pretrained,
    log: fitting.Log,
    device: str,
) -> dict[str, Any]:
    begun = time.process_time()
    net = fitting.fit(
        plan,
        found,
        fold.inside,
        start,
        seed=seed,
        log=lambda said: log(f"fold {fold.number} seed {seed} {said}"),
        device=device,
    )
    images = embedded(net, found)
    values = measuring.measured(found, fold, images, net.embed_texts)
    run = {
        "fold": fold.number,
        "seed": seed,
        "cpu_s": round(time.process_time() - begun, 1),
        "values": _rounded(values),
        "calibration": measuring.calibration(found, fold, images, net.embed_texts),
    }
    shares = {f"{name} P@1": values[f"{name} P@1"] for name in measuring.RELATIONS}
    shown = {
        "caption R@10": 100 * float((values["caption"] <= 10).mean()),
        "caption MdR": float(np.median(values["caption"])),
        **{name: 100 * float(share.mean()) for name, share in shares.items() if len(share)},
    }
    told = ", ".join(f"{name} {value:.1f}" for name, value in shown.items())
    log(f"fold {fold.number} seed {seed} measured: {told}; {run['cpu_s']} CPU s")
    return run


def embedded(net: network.Network, found: samples.Samples) -> np.ndarray:
    """Return the unit vectors (n, width) of all rows' pictures as they are."""
    return net.embed_images(found.activations[0])


def _rounded(values: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: np.round(found, _DIGITS).tolist() for name, found in values.items()}


def _write(plain: dict[str, Any], out: Path) -> None:
    """Write the file whole, with the figures of the runs so far; an earlier one is replaced."""
    runs = plain["runs"]
    calibration = {
        name: float(np.mean([run["calibration"][name] for run in runs]))
        for name in (runs[0]["calibration"] if runs else ())
    }
    whole = {
        **plain,
        "figures": [asdict(one) for one in summary.figures(plain)],
        "raw": [asdict(one) for one in summary.raw_figures(plain)],
        "calibration": calibration,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(out.name + ".part")
    aside.write_text(json.dumps(whole), "utf-8")
    os.replace(aside, out)
