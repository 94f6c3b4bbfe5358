"""Safetensors files of a stranger: shapes out of the header, and weights that are no numbers."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import tensors


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_that_a_weight_that_is_no_finite_number_is_found_by_its_name(
    tmp_path: Path, kind: type[np.floating], value: float
) -> None:
    weights = {"sound": np.ones((3, 5), kind), "layer.1.weight": np.ones((7, 3), kind)}
    save_file(weights, tmp_path / "a.safetensors")
    tensors.check_finite(tmp_path / "a.safetensors", "given")
    weights["layer.1.weight"][6, 2] = value
    save_file(weights, tmp_path / "a.safetensors")
    with pytest.raises(errors.WeightsMissingError, match=r"layer\.1\.weight in a\.safetensors"):
        tensors.check_finite(tmp_path / "a.safetensors", "given")


def test_that_bfloat16_weights_are_looked_at_too(tmp_path: Path) -> None:
    import torch
    from safetensors import torch as saving

    weights = {"odd": torch.ones(3, dtype=torch.bfloat16)}
    saving.save_file(weights, tmp_path / "a.safetensors")
    tensors.check_finite(tmp_path / "a.safetensors", "given")
    weights["odd"][1] = float("nan")
    saving.save_file(weights, tmp_path / "a.safetensors")
    with pytest.raises(errors.WeightsMissingError, match="odd"):
        tensors.check_finite(tmp_path / "a.safetensors", "given")


def test_that_infinity_in_a_mask_and_whole_numbers_are_let_through(tmp_path: Path) -> None:
    held = {"attn_mask": np.full((2, 2), -np.inf, np.float32), "ids": np.arange(4), "b": np.ones(0)}
    save_file(held, tmp_path / "a.safetensors")
    tensors.check_finite(tmp_path / "a.safetensors", "given")
    assert tensors.shapes(tmp_path / "a.safetensors", "given")["ids"] == (4,)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 40]},
        {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 15]},
        {"dtype": "F32", "shape": [4], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [4]},
        [],
    ],
)
def test_that_a_header_that_lies_is_refused(tmp_path: Path, entry: object) -> None:
    header = json.dumps({"a": entry}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(errors.WeightsMissingError, match="not a whole safetensors file"):
        tensors.check_finite(tmp_path / "a.safetensors", "given")
