"""Published weights fitted into a torch network, tensor by tensor, by name and shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import pickles, tensors

if TYPE_CHECKING:
    import torch


def weights(folder: Path, preferred: Iterable[str], name: str) -> Path:
    """Return the first of the `preferred` weight files that the folder of the model `name` holds.

    Raises WeightsMissingError, which names the first of them, or a pickle that
    lies there in its place.
    """
    files = tuple(preferred)
    for file in files:
        if (folder / file).is_file():
            return folder / file
    stems = {Path(file).stem for file in files}
    for found in sorted(folder.iterdir()):
        if found.suffix in pickles.SUFFIXES and found.stem in stems:
            raise errors.WeightsMissingError(
                name,
                f"{found.name} is a pickle, which can run code; importing the folder converts it",
            )
    raise errors.WeightsMissingError(name, f"{files[0]} is missing")


def read(path: Path, name: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file, numbers as float32 and finite.

    Raises WeightsMissingError, which names the tensor where one is not finite.
    """
    import torch
    from safetensors.torch import load_file

    tensors.check_finite(path, name)
    found: dict[str, torch.Tensor] = load_file(path)
    return {
        key: value.to(torch.float32) if value.is_floating_point() else value
        for key, value in found.items()
    }


def fitted(make: Callable[[], Any], given: dict[str, torch.Tensor], file: str, name: str) -> Any:
    """Return the network that `make` builds, with exactly the `given` tensors in it.

    It is first built without memory, so that a configuration that asks for a
    network larger than the file costs nothing. Raises EncoderError, which
    names the tensor that is missing, left over or of another shape.
    """
    import torch

    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in make().state_dict().items()}
    for key in shapes:
        if key not in given:
            raise errors.EncoderError(name, f"its {file} lacks the tensor {key}")
    for key, tensor in given.items():
        if key not in shapes:
            raise errors.EncoderError(name, f"its {file} holds {key}, which the network has not")
        if tuple(tensor.shape) != shapes[key]:
            said, wanted = list(tensor.shape), list(shapes[key])
            raise errors.EncoderError(
                name, f"its {file} holds {key} of the shape {said}, the network has {wanted}"
            )
    network = make()
    network.load_state_dict(given)
    return network


def without(given: dict[str, torch.Tensor], *prefixes: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose name begins with none of the prefixes."""
    return {key: tensor for key, tensor in given.items() if not key.startswith(prefixes)}


def unit(rows: np.ndarray) -> np.ndarray:
    """Return float32 rows at unit length; what has no direction stays as it is, to be told."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
