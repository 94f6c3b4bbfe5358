"""The recipe of a training run: one TOML file, every key known and in its range."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsearch_desktop import errors
from medsearch_desktop.training import heads

PINS = ("image_checkpoint", "text_onnx", "tokenizer")
_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31),
    "members": (1, 16),
    "width": (8, 1024),
    "hidden_image": (0, 4096),
    "hidden_text": (0, 4096),
    "epochs": (1, 1000),
    "batch": (8, 65536),
    "learning_rate": (1e-6, 1.0),
    "weight_decay": (0, 10),
    "dropout": (0, 0.9),
    "findings": (0, 1),
    "tags": (0, 1),
    "class_weight": (0, 100),
    "temperature": (0.01, 1),
    "disturbed": (0, 1),
    "views": (0, 64),
    "folds": (0, 10),
}


@dataclass(frozen=True)
class Recipe:
    """One training run.

    `data` is the folder of the training data (a folder a source, each with
    `manifest.csv`), `out` the model folder to write, `pins` the SHA-256 of the
    files taken from installed packages, `folds` the patient-disjoint parts for
    the figures (0: measure nothing).
    """

    name: str
    data: Path
    out: Path
    sources: tuple[str, ...]
    pins: dict[str, str]
    heads: heads.Settings
    folds: int = 3


def read(path: Path, *, data: Path | None = None, out: Path | None = None) -> Recipe:
    """Return the recipe of a TOML file; `data` and `out` go before the file's own.

    Paths may name environment variables; relative ones count from the file's
    folder. Raises QuerySyntaxError that names the key which is unknown,
    missing, of the wrong kind or out of range.
    """
    try:
        plain = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise errors.QuerySyntaxError(f"The recipe {path.name} cannot be read: {error}") from error
    table = _Table(path.name, plain)
    pins = _Table(path.name, table.take("pins", dict), "pins.")
    recipe = Recipe(
        name=table.take("name", str),
        data=data or _folder(table, "data", path),
        out=out or _folder(table, "out", path),
        sources=tuple(table.take("sources", list)),
        pins={name: pins.take(name, str) for name in PINS},
        heads=_settings(path.name, table.take("heads", dict, {})),
        folds=table.take("folds", int, 3),
    )
    for given in ("data", "out"):
        table.plain.pop(given, None)
    table.finish()
    pins.finish()
    if not recipe.sources or not all(isinstance(name, str) for name in recipe.sources):
        raise errors.QuerySyntaxError(f"{path.name}: sources must name at least one folder.")
    for name, pin in recipe.pins.items():
        if not re.fullmatch(r"[0-9a-f]{64}", pin):
            raise errors.QuerySyntaxError(f"{path.name}: pins.{name} is no SHA-256.")
    if not recipe.data.is_dir():
        raise errors.QuerySyntaxError(
            f"The folder of the training data is not there: {recipe.data}"
        )
    return recipe


class _Table:
    """A TOML table from which known keys are taken; what is left over is refused."""

    def __init__(self, file: str, plain: dict[str, Any], prefix: str = "") -> None:
        self.file, self.plain, self.prefix = file, dict(plain), prefix

    def take(self, key: str, kind: type, default: Any = None) -> Any:
        value: Any = self.plain.pop(key, default)
        if value is None:
            raise errors.QuerySyntaxError(f"{self.file} lacks the key {self.prefix}{key}.")
        if kind is float and type(value) is int:
            value = float(value)
        low, high = _RANGES.get(key, (float("-inf"), float("inf")))
        is_outside = type(value) in (int, float) and not low <= value <= high
        if type(value) is not kind or is_outside:
            raise errors.QuerySyntaxError(
                f"{self.file}: {self.prefix}{key} = {value!r} is not allowed."
            )
        return value

    def finish(self) -> None:
        if self.plain:
            name = self.prefix + next(iter(self.plain))
            raise errors.QuerySyntaxError(f"{self.file}: the key {name} is not known.")


def _folder(table: _Table, key: str, path: Path) -> Path:
    given: str = table.take(key, str)
    expanded = os.path.expanduser(os.path.expandvars(given))
    if "$" in expanded:
        raise errors.QuerySyntaxError(f"{path.name}: {key} = {given!r} names a variable not set.")
    return (path.parent / expanded).absolute()


def _settings(file: str, plain: dict[str, Any]) -> heads.Settings:
    table = _Table(file, plain, "heads.")
    default = heads.Settings()
    values = {
        field.name: table.take(field.name, type(getattr(default, field.name)), value)
        for field in dataclasses.fields(heads.Settings)
        for value in (getattr(default, field.name),)
    }
    table.finish()
    return heads.Settings(**values)
