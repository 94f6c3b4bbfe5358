"""The one place that reads a pickle: weights only, in a child, and back as safetensors."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import folders, isolation

SUFFIXES = frozenset((".bin", ".pt", ".pth", ".ckpt"))
_MOST_BYTES = 64 << 30
_DEADLINE_S = 900.0
# What the child may take beside copies of the weights: torch and its libraries.
_ROOM_BYTES, _COPIES = 6 << 30, 4
_PICKLE = b"\x80"  # every pickle since protocol 2 begins with it
# Under which key training programs keep the weights beside what else they save.
_WRAPPINGS = ("state_dict", "model_state_dict", "model", "module")
# What torch raises about a file that is not whole, beside what it says of its pickle.
_DAMAGED = (
    RuntimeError,
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
)
_INSTEAD = "take the .safetensors file of the same repository, or a checkpoint that holds weights"


def convert(source: Path, target: Path, name: str) -> int:
    """Write the tensors of a checkpoint as safetensors and return how many there are.

    The checkpoint is unpickled weights-only, by a child process that has no
    network, a cap on its memory and a deadline. Raises WeightsMissingError
    for one that holds code, is TorchScript or cannot be read, and then leaves
    no target.
    """
    folders.check_file(source.parent, source.name, _MOST_BYTES, name)
    if not source.is_file():
        raise errors.WeightsMissingError(name, f"{source.name} is missing")
    cap = _ROOM_BYTES + _COPIES * source.stat().st_size
    try:
        done = isolation.run(
            __name__,
            [str(source), str(target), name],
            name,
            cap_bytes=cap,
            deadline_s=_DEADLINE_S,
        )
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return int(done["tensors"])


def _convert(arguments: list[str], asked: list[str]) -> dict[str, Any]:
    """In the child: read the checkpoint and write its tensors."""
    source, target, name = Path(arguments[0]), Path(arguments[1]), arguments[2]
    is_archive = zipfile.is_zipfile(source)
    if is_archive and _is_script(source):
        raise errors.WeightsMissingError(
            name,
            f"{source.name} is a TorchScript archive, which is a program and not only weights; "
            "for CLIP of OpenAI take open_clip_model.safetensors and open_clip_config.json of "
            "the repository timm/vit_base_patch32_clip_224.openai (or of the size you want)",
        )
    with source.open("rb") as file:
        is_pickle = file.read(1) == _PICKLE
    if not is_archive and not is_pickle:
        raise errors.WeightsMissingError(name, f"{source.name} is not a whole checkpoint of torch")
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        raise errors.WeightsMissingError(name, _what_it_holds(source.name, str(error))) from error
    except _DAMAGED as error:
        raise errors.WeightsMissingError(
            name, f"{source.name} is not a whole checkpoint of torch"
        ) from error
    tensors = _separate(_unwrapped(loaded), source.name, name)
    save_file(tensors, target, metadata={"format": "pt"})
    return {"tensors": len(tensors)}


def _is_script(source: Path) -> bool:
    with zipfile.ZipFile(source) as archive:
        return any(inner.endswith("/constants.pkl") for inner in archive.namelist())


def _what_it_holds(file: str, said: str) -> str:
    """Return a sentence from torch's words about what it would not unpickle."""
    named = re.search(r"GLOBAL ([\w.]+)|[Uu]nsupported class ([\w.]+)", said)
    if named:
        wanted = (named.group(1) or named.group(2))[:80]
        return f"{file} asks to run {wanted} while it is read, and was not read; {_INSTEAD}"
    return f"{file} holds more than weights, and was not read; {_INSTEAD}"


def _unwrapped(loaded: Any) -> dict[str, Any]:
    """Return the weights out of what a training program saved: a flat dictionary of tensors."""
    for key in _WRAPPINGS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        return {}
    found = {str(key): value for key, value in loaded.items() if hasattr(value, "untyped_storage")}
    if found and all(key.startswith("module.") for key in found):
        found = {key.removeprefix("module."): value for key, value in found.items()}
    return found


def _separate(found: dict[str, Any], file: str, name: str) -> dict[str, Any]:
    """Return tensors that share no memory, as safetensors wants them."""
    import torch

    if not found:
        raise errors.WeightsMissingError(name, f"{file} holds no weights")
    tensors: dict[str, Any] = {}
    seen: set[int] = set()
    for key, value in found.items():
        if value.layout != torch.strided or value.is_quantized or value.is_complex():
            raise errors.WeightsMissingError(name, f"{file} holds {key}, which is no plain tensor")
        plain = value.detach().contiguous()
        storage = plain.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != plain.numel() * plain.element_size():
            plain = plain.clone()
        seen.add(storage.data_ptr())
        tensors[key] = plain
    return tensors


if __name__ == "__main__":
    isolation.answer("checkpoint", _convert)
