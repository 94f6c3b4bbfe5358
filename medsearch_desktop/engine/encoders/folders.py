"""Files of a model folder that may come from a stranger: where they lie, and how large they are."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from medsearch_desktop import errors

SUMS = "SHA256SUMS"
_MOST_SUMS_BYTES = 1 << 20
# A line of sha256sum: a star before the name says that the file was read as it is, which Windows
# makes a difference of; others write the digits in capitals.
_SUM = re.compile(r"([0-9A-Fa-f]{64})[ \t]+\*?(\S.*)")


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


def check_sums(folder: Path, used: Iterable[str], name: str) -> None:
    """Compare the files that a model uses with its SHA256SUMS, where it has one.

    Raises WeightsMissingError for one that is missing, differs or is not listed.
    """
    if not (folder / SUMS).is_file():
        return
    listed = sums(folder, name)
    for file in used:
        if file not in listed:
            raise errors.WeightsMissingError(name, f"{SUMS} does not name {file}")
        if not (folder / file).is_file():
            raise errors.WeightsMissingError(name, f"{file} of its {SUMS} is missing")
        if sha256(folder / file) != listed[file]:
            raise errors.WeightsMissingError(name, f"{file} differs from its checksum")


def sums(folder: Path, name: str) -> dict[str, str]:
    """Return the checksums that lie in a model folder, by file; none where it has no list.

    Raises EncoderError for a list that cannot be understood, or that names a
    file outside of the folder.
    """
    check_file(folder, SUMS, _MOST_SUMS_BYTES, name)
    if not (folder / SUMS).is_file():
        return {}
    found: dict[str, str] = {}
    for line in (folder / SUMS).read_text("utf-8-sig", "replace").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        read = _SUM.fullmatch(line.strip())
        if read is None:
            raise errors.EncoderError(
                name, f"a line of its {SUMS} is no checksum and name: {line.strip()[:80]}"
            )
        found[read[2]] = read[1].lower()
    check_sums_names(name, found)
    return {file.removeprefix("./"): digits for file, digits in found.items()}


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, name: str) -> dict[str, Any]:
    """Return the object in a JSON file; raises WeightsMissingError or EncoderError."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise errors.WeightsMissingError(name, f"{path.name} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise errors.EncoderError(name, f"its {path.name} cannot be read") from error
    if not isinstance(found, dict):
        raise errors.EncoderError(name, f"its {path.name} holds no object")
    return found
