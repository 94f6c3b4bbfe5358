"""Safetensors files: the shapes in their header, checked, and whether all numbers are finite."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from medsearch_desktop import errors

_HEADER_LIMIT = 100 << 20
_CHUNK_BYTES = 16 << 20
# Letters of a type in the header -> type of its bits, and the bits of its exponent, which are
# all set in infinities and in what is not a number (IEEE 754; bfloat16 is half a float32).
_EXPONENTS: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F64": (np.uint64, 0x7FF0000000000000),
    "F32": (np.uint32, 0x7F800000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}


def shapes(path: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor from the header of a safetensors file.

    Raises WeightsMissingError where the file is not whole.
    """
    return {key: tuple(int(n) for n in entry["shape"]) for key, entry in _header(path, name)[0]}


def check_finite(path: Path, name: str) -> None:
    """Raise WeightsMissingError, with the tensor's name, where a weight is no finite number.

    Masks are left out: infinity is what some of them are made of.
    """
    entries, start = _header(path, name)
    content = np.memmap(path, np.uint8, "r", offset=start) if entries else np.empty(0, np.uint8)
    for key, entry in entries:
        if entry["dtype"] not in _EXPONENTS or key.endswith("mask"):
            continue
        bits, exponent = _EXPONENTS[entry["dtype"]]
        begin, end = entry["data_offsets"]
        for at in range(begin, end, _CHUNK_BYTES):
            part = content[at : min(at + _CHUNK_BYTES, end)].view(bits)
            if ((part & bits(exponent)) == bits(exponent)).any():
                raise errors.WeightsMissingError(
                    name, f"its weights {key} in {path.name} hold what is no finite number"
                )


def _header(path: Path, name: str) -> tuple[list[tuple[str, dict[str, Any]]], int]:
    """Return name and entry of each tensor, and the offset behind the header."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _HEADER_LIMIT:
                raise ValueError("its header is too long")
            header = json.loads(file.read(length))
        entries = [(key, entry) for key, entry in header.items() if key != "__metadata__"]
        _check_extents(entries, path.stat().st_size - 8 - length)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        struct.error,
    ) as error:
        raise errors.WeightsMissingError(
            name, f"{path.name} is not a whole safetensors file"
        ) from error
    return entries, 8 + length


def _check_extents(entries: list[tuple[str, dict[str, Any]]], size: int) -> None:
    """Raise ValueError where a tensor lies outside the `size` bytes behind the header."""
    for key, entry in entries:
        begin, end = (int(n) for n in entry["data_offsets"])
        if not 0 <= begin <= end <= size or min((*entry["shape"], 0)) < 0:
            raise ValueError(f"{key} lies outside of the file")
        wide = (
            np.dtype(_EXPONENTS[entry["dtype"]][0]).itemsize if entry["dtype"] in _EXPONENTS else 1
        )
        if (end - begin) % wide:
            raise ValueError(f"{key} is not whole")
