"""Brings model folders from elsewhere into the data folder, checks them there, removes them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from medsearch_desktop import errors, locks, settings
from medsearch_desktop.engine.encoders import (
    base,
    biovil,
    clip_layout,
    compact,
    folders,
    image_only,
    openclip_folder,
    pickles,
    reference,
    tensors,
    trial,
)

from . import model_cards

if TYPE_CHECKING:
    from medsearch_desktop.engine.encoders import conversion

SUMS = folders.SUMS
# What a model needs. Pickles (.bin, .pt, .pth, .ckpt) are not copied but converted.
_SUFFIXES = frozenset((".json", ".toml", ".txt", ".md", ".log", ".safetensors", ".onnx", ".model"))
_NAMES = frozenset(("LICENSE", "LICENCE", "NOTICE", SUMS))
_WEIGHTS = (".safetensors", ".onnx")
_MOST_BYTES = 64 << 30
# Made here out of the weights, and so never taken from elsewhere.
_CONVERTED = "int8"
# kind -> the module that knows how models of that kind are published: `missing`, `conversions`.
_LAYOUTS: dict[str, ModuleType] = {
    "biovil": biovil,
    "clip": clip_layout,
    "image_only": image_only,
    "open_clip": openclip_folder,
}

# What is not finished lies in hidden folders beside the models; _LOCK tells who is at work there.
_IMPORTING, _REMOVING, _LOCK = ".importing-", ".removing-", ".lock"

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Imported:
    """A model that was brought in: what it is, how it was converted, and what to know of it."""

    card: base.EncoderCard
    verdict: conversion.Verdict | None
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """What came of letting a model encode a drawn picture and a text.

    `picture` and `text` are the cosines to the vectors that were stored at its
    import, None where there are none. `sentence` is for the user.
    """

    card: base.EncoderCard
    picture: float | None
    text: float | None
    ok: bool
    sentence: str
    notices: tuple[str, ...]


def copy_in(
    folder: Path,
    models: Path,
    device: str,
    *,
    convert: bool = True,
    progress: Told = lambda stage, done, total: None,
) -> Imported:
    """Copy the model in `folder` to `models`, where it is found by its name from then on.

    Checksums and reference vectors that come with it are compared, else
    written; a pickle is converted; with `convert` a faster copy for CPUs is
    made. The model takes its place only after it has run in a process without
    a network. `progress` is called with a stage, what is done and the total.
    Raises EncoderError, or a child of it that names the file.
    """
    name, kind = _described(folder)
    target = models / name
    if target.exists() or name in base.BUILT_IN:
        raise errors.EncoderError(name, "an encoder of that name is installed already")
    if lacking := missing(folder):
        raise errors.WeightsMissingError(name, f"it lacks {'; '.join(lacking)}")
    notices: list[str] = []
    try:
        models.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(models)
        with tempfile.TemporaryDirectory(dir=models, prefix=_IMPORTING) as aside, _locked(aside):
            made = Path(aside) / name
            made.mkdir()
            _fill(folder, made, name, kind, progress)
            notices += _completed(made, name, kind)
            progress("checking", 0, 1)
            tried = trial.run(made, name)
            notices += tried.notices
            _keep_reference(made, tried)
            progress("checking", 1, 1)
            verdict = _converted(made, name, notices, progress) if convert else None
            os.rename(made, target)
    except OSError as error:
        reason = f"it cannot be copied to {models}: {error.strerror or error}"
        raise errors.EncoderError(name, reason) from error
    try:
        checked = check(name, models=models, device=device)
        if not checked.ok:
            raise errors.EncoderError(name, checked.sentence)
    except BaseException:
        remove(name, models)
        raise
    return Imported(checked.card, verdict, tuple(dict.fromkeys((*notices, *checked.notices))))


def check(name: str, *, models: Path, device: str = "auto", precision: str = "auto") -> Checked:
    """Let an encoder encode the reference picture and text, and compare with what was stored.

    Raises EncoderError where it cannot be loaded or gives what are no vectors.
    """
    encoder = base.find(name, models=models, device=device, precision=precision)
    now = reference.seen(encoder)
    notices = tuple(base.taken_notices(encoder))
    folder = _place(name, models)
    kept = reference.read(folder, encoder.card.name) if folder else None
    if kept is None:
        sentence = "It runs here. No reference vectors lie with it to compare with."
        return Checked(encoder.card, None, None, True, sentence, notices)
    found = reference.compare(kept, now, encoder.card)
    problem = found.problem
    if kept.digest != now.digest:
        problem = "its files are not those that it was imported with"
    sentence = "It runs here, and gives the vectors that were stored at its import."
    if problem:
        sentence = f"It must not be used: {errors.with_stop(problem)} Import it again."
    return Checked(encoder.card, found.picture, found.text, not problem, sentence, notices)


def remove(name: str, models: Path) -> None:
    """Remove an imported model; raises EncoderError for one that is built in or not there."""
    if name in base.BUILT_IN and not (models / name).is_dir():
        raise errors.EncoderError(name, "it comes with the program and cannot be removed")
    if not base.is_plain_name(name) or not (models / name).is_dir():
        raise errors.EncoderMissingError(name, f"{models} holds no model of that name")
    try:
        if (models / name).is_symlink():
            (models / name).unlink()
            return
        # Renamed first, in place: a full disk has no room for a folder, and a kill leaves no half.
        aside = models / f"{_REMOVING}{name}-{os.getpid()}"
        os.rename(models / name, aside)
        shutil.rmtree(aside)
    except OSError as error:
        raise errors.EncoderError(
            name, f"it cannot be removed from {models}: {error.strerror or error}"
        ) from error


def _sweep(models: Path) -> None:
    """Remove what imports and removals left behind that were killed: a large model each."""
    for left in (*models.glob(f"{_IMPORTING}*"), *models.glob(f"{_REMOVING}*")):
        with contextlib.suppress(OSError):
            lock = locks.held(left / _LOCK)
            if lock is None:
                continue  # another import is at work in it
            lock.close()
        shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Keep other imports from sweeping a folder; where there are no locks, go on without."""
    lock = None
    with contextlib.suppress(OSError):
        lock = locks.held(Path(folder) / _LOCK)
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def missing(folder: Path) -> list[str]:
    """Return what a downloaded model folder lacks: each file, and the repository it comes from."""
    name, kind = _described(folder)
    if kind == "compact":
        return [
            f"{file} of the model {name}"
            for file in compact.WEIGHTS
            if not (folder / file).is_file()
        ]
    found: list[str] = _LAYOUTS[kind].missing(folder) if kind in _LAYOUTS else []
    return found


def _described(folder: Path) -> tuple[str, str]:
    """Return name and kind of a model folder; the kind may be a layout that is rewritten."""
    name, kind = _own_name(folder), ""
    if not folder.is_dir():
        raise errors.EncoderMissingError(name, f"{folder} is no folder")
    if not (folder / "model.toml").is_file() and clip_layout.is_published(folder):
        kind = "clip"
    else:
        try:
            described = base.describe_folder(folder)
        except errors.EncoderMissingError:
            if not _has_weights(folder):
                raise
            lacking = "; ".join(openclip_folder.missing(folder))
            raise errors.WeightsMissingError(name, f"it lacks {lacking}") from None
        kind = described.kind
        if described.name != folder.absolute().name:  # as its model.toml says
            name = described.name
    if not base.is_plain_name(name):
        raise errors.EncoderError(name, "its name is no plain word: rename its folder")
    return name, kind


def _own_name(folder: Path) -> str:
    """Return what a folder is called; a snapshot in a cache of downloads as its repository."""
    whole = folder.absolute()
    cached = whole.parents[1].name if whole.parent.name == "snapshots" else ""
    return cached.rpartition("--")[2] if cached.startswith("models--") else whole.name


def _has_weights(folder: Path) -> bool:
    suffixes = (*_WEIGHTS, *pickles.SUFFIXES)
    return folder.is_dir() and any(path.suffix in suffixes for path in folder.iterdir())


def _fill(folder: Path, made: Path, name: str, kind: str, progress: Told) -> None:
    """Copy what a model needs, compared with its checksums, its pickles as safetensors."""
    pickled: dict[str, str] = _LAYOUTS[kind].conversions(folder) if kind in _LAYOUTS else {}
    files = _needed(folder)
    total = len(files) + len(pickled)
    sums = folders.sums(folder, name)
    for number, path in enumerate(files):
        inner = path.relative_to(folder)
        folders.check_file(folder, inner.as_posix(), _MOST_BYTES, name)
        progress("copying", number, total)
        (made / inner).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, made / inner)
        _compare(made / inner, inner.as_posix(), sums, name)
    for number, (source, target) in enumerate(pickled.items(), len(files)):
        progress("copying", number, total)
        _compare(folder / source, source, sums, name)
        pickles.convert(folder / source, made / target, name)
    for file in sums:
        if file.endswith(_WEIGHTS) and not (made / file).is_file():
            raise errors.WeightsMissingError(name, f"{file} of its {SUMS} is missing")
    (made / SUMS).unlink(missing_ok=True)
    progress("copying", total, total)


def _needed(folder: Path) -> list[Path]:
    """Return the files to copy: of our own folders all, of a repository the topmost.

    Repositories keep the same model once more in folders below, for other
    programs.
    """
    found = folder.rglob("*") if (folder / "model.toml").is_file() else folder.iterdir()
    return [
        path
        for path in sorted(found)
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.relative_to(folder).parts[0] != _CONVERTED
        and (path.suffix.lower() in _SUFFIXES or path.name in _NAMES)
    ]


def _completed(made: Path, name: str, kind: str) -> list[str]:
    """Rewrite other layouts, add model.toml and checksums; returns what to know of the model."""
    notices = clip_layout.adopt(made, name) if kind == "clip" else []
    for path in sorted(made.rglob("*.safetensors")):
        tensors.check_finite(path, name)
    config = made / openclip_folder.CONFIG
    if config.is_file():
        notices += openclip_folder.doubts(openclip_folder.read(made, name))
    if kind in ("clip", "open_clip", "image_only") and not (made / "model.toml").is_file():
        is_seeing = kind == "image_only"
        described = made / image_only.CONFIG if is_seeing else config
        model_cards.write(made, name, kind if is_seeing else "open_clip", described)
    lines = [
        f"{folders.sha256(path)}  {path.relative_to(made).as_posix()}\n"
        for path in sorted(made.rglob("*"))
        if path.is_file() and path.name != reference.FILE
    ]
    (made / SUMS).write_text("".join(lines), "utf-8")
    return notices


def _keep_reference(made: Path, tried: trial.Trial) -> None:
    """Compare with the reference vectors that came along, and keep those of this trial."""
    name = tried.card.name
    kept = reference.read(made, name)
    if kept is not None:
        problem = reference.compare(kept, tried.vectors, tried.card).problem
        if problem:
            raise errors.EncoderError(name, problem)
    reference.write(made, tried.vectors)


def _converted(
    made: Path, name: str, notices: list[str], progress: Told
) -> conversion.Verdict | None:
    """Make the copy that is faster on CPUs; where that fails, the model goes without."""
    if not (made / openclip_folder.CONFIG).is_file():
        return None
    from medsearch_desktop.engine.encoders import conversion

    try:
        with base.told(name):
            return conversion.convert(made, progress=progress)
    except errors.EncoderError as error:
        shutil.rmtree(made / _CONVERTED, ignore_errors=True)
        notices.append(f"No faster copy for CPUs could be made. {errors.with_stop(str(error))}")
        return None


def _compare(path: Path, file: str, sums: dict[str, str], name: str) -> None:
    if file in sums and folders.sha256(path) != sums[file]:
        raise errors.WeightsMissingError(name, f"{file} is not the file that {SUMS} names")


def _place(name: str, models: Path) -> Path | None:
    """Return the folder of an installed model, None for one out of a plug-in."""
    if not base.is_plain_name(name):
        return Path(name) if Path(name).is_dir() else None
    places = [models / name]
    if name in base.BUILT_IN:
        with contextlib.suppress(FileNotFoundError):
            places.append(settings.resource(base.BUILT_IN[name]))
    return next((place for place in places if place.is_dir()), None)
