"""The recipe of a training run: one TOML file, every key known and in its range."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from medsearch_desktop import errors

PINS = ("image_checkpoint", "text_onnx", "tokenizer")


@dataclass(frozen=True)
class Trunk:
    """The table [trunk]: which part of the image network is trained, on which pictures, how long.

    Blocks `first_block` to 15 and the last convolution are trained, all before
    them stay as they are; batch normalisation is folded into the convolutions
    and so frozen. `unfolded`: the convolutions are trained as they were before
    the folding, with their fixed gains behind them. `learning_rate` is theirs,
    `heads_learning_rate` that of the heads trained with them. `drop_path` is the share
    of shortcuts taken alone. `average` networks are trained from one start in
    different orders and their weights averaged; `ema` averages them along the
    way. `disturbed` is the share of pictures drawn from the `views` disturbed
    ones, `tone_curves` that of CT pictures among these with three windows as
    channels. `trim`: uniform borders are cut off first. `hard_negatives` is
    the share of a batch with the modality and part of another row in it.
    """

    first_block: int = 9
    unfolded: bool = False
    learning_rate: float = 3e-4
    heads_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    drop_path: float = 0.0
    epochs: int = 12
    batch: int = 96
    seed: int = 0
    average: int = 1
    ema: float = 0.0
    warm_up: float = 0.15
    views: int = 0
    disturbed: float = 0.0
    tone_curves: float = 0.0
    trim: bool = False
    hard_negatives: float = 0.0


@dataclass(frozen=True)
class Heads:
    """The table [heads]: the projections of both towers to `width` numbers.

    `members` heads stand side by side, each with its own losses. A hidden layer
    of 0 means a linear head. `norm`: the features pass a layer normalisation;
    without it they are standardised by the training rows. For `epochs` the
    heads are trained alone, before the image network is trained with them, in
    batches of `batch` with `learning_rate` and a share of `disturbed` pictures.
    """

    members: int = 1
    width: int = 256
    hidden_image: int = 0
    hidden_text: int = 0
    norm: bool = False
    dropout: float = 0.1
    weight_decay: float = 0.05
    epochs: int = 0
    batch: int = 256
    learning_rate: float = 1e-3
    disturbed: float = 0.0


@dataclass(frozen=True)
class Texts:
    """The table [texts]: which words stand for a picture in a step.

    `wordings` ways to say a caption are drawn from, besides the share `plain`
    of captions in the first of them; `findings` and `tags` are the shares of
    texts that are the finding alone and the tag phrase alone.
    `text_only` captions without a picture, as a share of the batch, train the
    text head; they come from the source `captions`.
    """

    wordings: int = 1
    plain: float = 0.0
    findings: float = 0.0
    tags: float = 0.0
    text_only: float = 0.0
    captions: str = ""


@dataclass(frozen=True)
class Losses:
    """The table [losses]: what is added to the contrast of pictures and texts.

    `class_weight` weighs modality, part and plane, judged from both towers
    with `smoothing`. `same_modality`, `same_part` and `same_view` weigh the
    contrast of pictures with pictures: those of one modality, of one part in
    one modality, and of one plane of that, with `kind_temperature`.
    `sharpness` stretches unit vectors before they are judged, or no class
    could become likely.
    """

    temperature: float = 0.07
    class_weight: float = 1.0
    same_modality: float = 0.0
    same_part: float = 0.0
    same_view: float = 0.0
    kind_temperature: float = 0.1
    sharpness: float = 8.0
    smoothing: float = 0.0


@dataclass(frozen=True)
class Figures:
    """The table [figures]: how the recipe is measured, and files of what was measured.

    The patients are dealt into `folds` by `fold_seed`; each of `seeds` trains
    on all folds but one, in turn. `measured` and `prototype` are files that
    `--figures` wrote, of this recipe and of the one it is compared with.
    """

    folds: int = 3
    fold_seed: int = 1
    seeds: tuple[int, ...] = (0, 1, 2)
    measured: str = ""
    prototype: str = ""


@dataclass(frozen=True)
class Views:
    """The table [views]: how the program shows volumes to the model; nothing here is trained on.

    `ct_windows`: slices of CT as three windows, one a channel.
    """

    ct_windows: bool = False


_RANGES: dict[str, tuple[float, float]] = {
    "trunk.first_block": (0, 16),
    "trunk.learning_rate": (0, 1),
    "trunk.weight_decay": (0, 10),
    "trunk.drop_path": (0, 0.9),
    "trunk.heads_learning_rate": (0, 1),
    "trunk.epochs": (0, 1000),
    "trunk.batch": (8, 65536),
    "trunk.seed": (0, 2**31),
    "trunk.average": (1, 64),
    "trunk.ema": (0, 0.99999),
    "trunk.warm_up": (0.01, 0.99),
    "trunk.views": (0, 64),
    "trunk.disturbed": (0, 1),
    "trunk.tone_curves": (0, 1),
    "trunk.hard_negatives": (0, 0.9),
    "heads.members": (1, 16),
    "heads.width": (8, 1024),
    "heads.hidden_image": (0, 4096),
    "heads.hidden_text": (0, 4096),
    "heads.dropout": (0, 0.9),
    "heads.epochs": (0, 1000),
    "heads.batch": (8, 65536),
    "heads.learning_rate": (0, 1),
    "heads.disturbed": (0, 1),
    "heads.weight_decay": (0, 10),
    "texts.wordings": (1, 5),
    "texts.plain": (0, 1),
    "texts.findings": (0, 1),
    "texts.tags": (0, 1),
    "texts.text_only": (0, 4),
    "losses.temperature": (0.01, 1),
    "losses.class_weight": (0, 100),
    "losses.same_modality": (0, 100),
    "losses.same_part": (0, 100),
    "losses.same_view": (0, 100),
    "losses.kind_temperature": (0.01, 1),
    "losses.sharpness": (0.1, 100),
    "losses.smoothing": (0, 0.9),
    "figures.folds": (2, 10),
    "figures.fold_seed": (0, 2**31),
}


@dataclass(frozen=True)
class Recipe:
    """One training run.

    `data` is the folder of the training data (a folder a source, each with
    `manifest.csv`), `out` the model folder to write, `pins` the SHA-256 of the
    files taken from installed packages, `place` the recipe's own folder.
    """

    name: str
    place: Path
    data: Path
    out: Path
    sources: tuple[str, ...]
    pins: dict[str, str]
    trunk: Trunk = field(default_factory=Trunk)
    heads: Heads = field(default_factory=Heads)
    texts: Texts = field(default_factory=Texts)
    losses: Losses = field(default_factory=Losses)
    figures: Figures = field(default_factory=Figures)
    views: Views = field(default_factory=Views)

    def settings(self) -> dict[str, Any]:
        """Return everything that the weights and the figures depend on, but for the data."""
        figures = {"folds": self.figures.folds, "fold_seed": self.figures.fold_seed}
        return {
            "sources": list(self.sources),
            "pins": self.pins,
            **{
                table: dataclasses.asdict(getattr(self, table))
                for table in ("trunk", "heads", "texts", "losses")
            },
            "figures": figures,
        }

    def digest(self) -> str:
        """Return 64 hexadecimal digits over `settings`."""
        return hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode()).hexdigest()


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
        place=path.absolute().parent,
        data=data or _folder(table, "data", path),
        out=out or _folder(table, "out", path),
        sources=tuple(table.take("sources", list)),
        pins={name: pins.take(name, str) for name in PINS},
        trunk=_settings(table, "trunk", Trunk),
        heads=_settings(table, "heads", Heads),
        texts=_settings(table, "texts", Texts),
        losses=_settings(table, "losses", Losses),
        figures=_settings(table, "figures", Figures),
        views=_settings(table, "views", Views),
    )
    for given in ("data", "out"):
        table.plain.pop(given, None)
    table.finish()
    pins.finish()
    _check(recipe, path.name)
    return recipe


def _check(recipe: Recipe, file: str) -> None:
    """Refuse what fits key by key and not together."""
    if not recipe.sources or not all(isinstance(name, str) for name in recipe.sources):
        raise errors.QuerySyntaxError(f"{file}: sources must name at least one folder.")
    for name, pin in recipe.pins.items():
        if not re.fullmatch(r"[0-9a-f]{64}", pin):
            raise errors.QuerySyntaxError(f"{file}: pins.{name} is no SHA-256.")
    if not recipe.data.is_dir():
        raise errors.QuerySyntaxError(
            f"The folder of the training data is not there: {recipe.data}"
        )
    for table in ("trunk", "heads"):
        if getattr(recipe, table).disturbed and not recipe.trunk.views:
            raise errors.QuerySyntaxError(f"{file}: {table}.disturbed needs trunk.views above 0.")
    if not recipe.trunk.epochs and not recipe.heads.epochs:
        raise errors.QuerySyntaxError(f"{file}: trunk.epochs and heads.epochs are both 0.")
    if recipe.texts.text_only and not recipe.texts.captions:
        raise errors.QuerySyntaxError(f"{file}: texts.text_only needs texts.captions.")


class _Table:
    """A TOML table from which known keys are taken; what is left over is refused."""

    def __init__(self, file: str, plain: dict[str, Any], prefix: str = "") -> None:
        self.file, self.plain, self.prefix = file, dict(plain), prefix

    def take(self, key: str, kind: type, default: Any = None) -> Any:
        value: Any = self.plain.pop(key, default)
        name = self.prefix + key
        if value is None:
            raise errors.QuerySyntaxError(f"{self.file} lacks the key {name}.")
        if kind is float and type(value) is int:
            value = float(value)
        if kind is tuple and type(value) is list:
            value = tuple(value)
        low, high = _RANGES.get(name, (float("-inf"), float("inf")))
        is_outside = type(value) in (int, float) and not low <= value <= high
        is_list = kind is tuple and type(value) is tuple
        is_wrong = is_list and (not value or any(type(one) is not int or one < 0 for one in value))
        if type(value) is not kind or is_outside or is_wrong:
            raise errors.QuerySyntaxError(f"{self.file}: {name} = {value!r} is not allowed.")
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


_Settings = TypeVar("_Settings", Trunk, Heads, Texts, Losses, Figures, Views)


def _settings(table: _Table, name: str, kind: type[_Settings]) -> _Settings:
    inner = _Table(table.file, table.take(name, dict, {}), f"{name}.")
    default = kind()
    values = {
        one.name: inner.take(one.name, type(value), value)
        for one in dataclasses.fields(kind)
        for value in (getattr(default, one.name),)
    }
    inner.finish()
    return kind(**values)
