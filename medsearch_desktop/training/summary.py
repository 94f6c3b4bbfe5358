"""Summaries of measured runs: means over seeds, intervals over patients, and what was gained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medsearch_desktop.training import measuring, metrics

_SEED = 0  # of the resampling


@dataclass(frozen=True)
class Figure:
    """A measure over `count` queries: value, 95 % interval over patients, and chance.

    `seeds` are the values of the single seeds, of which `value` is the mean;
    "R@k" and "P@k" are shares, "MdR" is a rank.
    """

    name: str
    value: float
    low: float
    high: float
    chance: float
    count: int
    seeds: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Table:
    """One measure's values, (seeds, n), with the patient and the chance of each column."""

    values: np.ndarray
    patients: list[str]
    chance: np.ndarray


def figures(plain: dict[str, Any]) -> list[Figure]:
    """Return the figures over the seeds of which every fold was measured; none without one."""
    made: list[Figure] = []
    for name, table in _tables(plain).items():
        if not table.patients:
            continue
        made += _of_ranks(name, table) if name in measuring.RANKS else [_of_shares(name, table)]
    return made


def raw_figures(plain: dict[str, Any]) -> list[Figure]:
    """Return the figures of the network as it was published, without training."""
    names = plain["folds"][0]["raw"]
    of_folds = [fold["raw"] for fold in plain["folds"]]
    tables = {name: _table(plain, name, [of_folds]) for name in names}
    return [_of_shares(name, table) for name, table in tables.items() if table.patients]


def gains(plain: dict[str, Any], other: dict[str, Any]) -> list[Figure]:
    """Return by how much the first is above the other, query by query, with intervals.

    Both must have been measured on the same folds; of a median rank below
    zero is better. Empty where they were not.
    """
    if (plain["data"], plain["settings"]["figures"]) != (
        other["data"],
        other["settings"]["figures"],
    ):
        return []
    ours, theirs = _tables(plain), _tables(other)
    made = []
    for name in (name for name in ours if name in theirs and ours[name].patients):
        pair = ours[name], theirs[name]
        if name in measuring.RANKS:
            for k in measuring.FIRST:
                made.append(_gain(f"{name} R@{k}", *(_within(table, k) for table in pair)))
            made.append(_gain_of_medians(f"{name} MdR", *pair))
        else:
            made.append(_gain(name, *pair))
    return made


def _tables(plain: dict[str, Any]) -> dict[str, _Table]:
    """Return the values of every measure, of the seeds that are whole."""
    count = len(plain["folds"])
    by_seed: dict[int, dict[int, dict[str, list[float]]]] = {}
    for run in plain["runs"]:
        by_seed.setdefault(run["seed"], {})[run["fold"]] = run["values"]
    whole = [[found[n] for n in range(count)] for found in by_seed.values() if len(found) == count]
    return {name: _table(plain, name, whole) for name in (whole[0][0] if whole else ())}


def _table(
    plain: dict[str, Any], name: str, of_seeds: list[list[dict[str, list[float]]]]
) -> _Table:
    group = measuring.group_of(name)
    patients = [str(one) for fold in plain["folds"] for one in fold["patients"][group]]
    chance = [[f["chance"][name]] * len(f["patients"][group]) for f in plain["folds"]]
    values = [np.concatenate([fold[name] for fold in folds]) for folds in of_seeds]
    return _Table(np.array(values), patients, np.concatenate(chance))


def _within(table: _Table, k: int) -> _Table:
    """Return which ranks are within the first k; the chance of a rank was its pool."""
    return _Table((table.values <= k).astype(float), table.patients, k / table.chance)


def _of_shares(name: str, table: _Table) -> Figure:
    each = table.values.mean(axis=0)
    low, high = metrics.interval(each, table.patients, _SEED)
    return Figure(
        name,
        float(each.mean()),
        low,
        high,
        float(table.chance.mean()),
        len(each),
        tuple(float(one) for one in table.values.mean(axis=1)),
    )


def _of_ranks(name: str, table: _Table) -> list[Figure]:
    made = [_of_shares(f"{name} R@{k}", _within(table, k)) for k in measuring.FIRST]
    medians = np.median(table.values, axis=1)
    low, high = metrics.interval_of(
        lambda rows: float(np.median(table.values[:, rows], axis=1).mean()), table.patients, _SEED
    )
    chance = float((table.chance.mean() + 1) / 2)
    seeds = tuple(float(one) for one in medians)
    count = table.values.shape[1]
    return [*made, Figure(f"{name} MdR", float(medians.mean()), low, high, chance, count, seeds)]


def _gain(name: str, ours: _Table, theirs: _Table) -> Figure:
    each = ours.values.mean(axis=0) - theirs.values.mean(axis=0)
    low, high = metrics.interval(each, ours.patients, _SEED)
    return Figure(name, float(each.mean()), low, high, 0.0, len(each))


def _gain_of_medians(name: str, ours: _Table, theirs: _Table) -> Figure:
    def gained(rows: np.ndarray) -> float:
        medians = [np.median(table.values[:, rows], axis=1).mean() for table in (ours, theirs)]
        return float(medians[0] - medians[1])

    count = ours.values.shape[1]
    low, high = metrics.interval_of(gained, ours.patients, _SEED)
    return Figure(name, gained(np.arange(count)), low, high, 0.0, count)
