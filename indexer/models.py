"""Copies a model folder from elsewhere into the data folder, with checksums, once it runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import base

SUMS = "SHA256SUMS"
# What a model needs. Pickles (.bin, .pt, .pth, .ckpt) are not among it: reading one runs code.
_SUFFIXES = frozenset((".json", ".toml", ".txt", ".md", ".safetensors", ".onnx", ".model"))
_NAMES = frozenset(("LICENSE", "LICENCE", "NOTICE", SUMS))


def copy_in(folder: Path, models: Path, device: str) -> base.Encoder:
    """Copy the model in `folder` to `models`, and return it loaded from there.

    Checksums that come with it are compared, else written. The copy takes its
    place only after it was loaded. Raises EncoderError, or a child of it that
    names the file.
    """
    described = base.describe_folder(folder)
    if not base.is_plain_name(described.name):
        raise errors.EncoderError(described.name, "its name is no plain word")
    target = models / described.name
    if target.exists() or described.name in base.BUILT_IN:
        raise errors.EncoderError(described.name, "an encoder of that name is installed already")
    try:
        models.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=models, prefix=".importing-") as aside:
            made = Path(aside) / described.name
            _copy(folder, made)
            _compare_sums(made, described.name)
            base.load_folder(made, device=device)
            os.rename(made, target)
    except OSError as error:
        reason = f"it cannot be copied to {models}: {error.strerror or error}"
        raise errors.EncoderError(described.name, reason) from error
    return base.find(described.name, models=models, device=device)


def _copy(folder: Path, made: Path) -> None:
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if any(part.startswith(".") for part in inner.parts) or not path.is_file():
            continue
        if path.suffix.lower() in _SUFFIXES or path.name in _NAMES:
            (made / inner).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, made / inner)


def _compare_sums(made: Path, name: str) -> None:
    """Compare the files with their checksums; write those where none came along."""
    found = {
        path.relative_to(made).as_posix(): _sha256(path)
        for path in sorted(made.rglob("*"))
        if path.is_file() and path.name != SUMS
    }
    if not (made / SUMS).exists():
        lines = [f"{sha}  {file}\n" for file, sha in found.items()]
        (made / SUMS).write_text("".join(lines), "utf-8")
        return
    for line in (made / SUMS).read_text("utf-8", errors="replace").splitlines():
        sha, _, file = line.partition("  ")
        if file in found and found[file] != sha:
            raise errors.WeightsMissingError(name, f"{file} is not the file that {SUMS} names")
        if file not in found and Path(file).suffix in (".safetensors", ".onnx"):
            raise errors.WeightsMissingError(name, f"{file} is missing")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
