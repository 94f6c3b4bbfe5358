"""Files of a model folder that may come from a stranger: where they lie, and how large they are."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from medsearch_desktop import errors


def check_sums_names(name: str, files: Iterable[str]) -> None:
    """Raise EncoderError when a list of checksums names a file outside of the model's folder."""
    for file in files:
        paths = (PurePosixPath(file), PureWindowsPath(file))
        if any(path.anchor or ".." in path.parts for path in paths):
            raise errors.EncoderError(name, f"its SHA256SUMS names a file outside of it: {file}")


def check_file(folder: Path, file: str, most: int, name: str) -> None:
    """Raise EncoderError for a file of a model that lies elsewhere, is none or is too large.

    Missing ones are left to whoever needs them. The links of a Hugging Face
    cache, which lead to the blobs beside the snapshots, are let through.
    """
    path = folder / file
    try:
        found, target, root = path.stat(), path.resolve(), folder.resolve()
    except FileNotFoundError:
        return
    except (OSError, RuntimeError) as error:
        raise errors.EncoderError(name, f"its {file} cannot be read") from error
    blobs = root.parent.parent / "blobs" if root.parent.name == "snapshots" else root
    if not target.is_relative_to(root) and not target.is_relative_to(blobs):
        raise errors.EncoderError(name, f"its {file} is a link that leads out of it")
    if not stat.S_ISREG(found.st_mode):
        raise errors.EncoderError(name, f"its {file} is no file")
    if found.st_size > most:
        raise errors.EncoderError(name, f"its {file} is larger than any is")
