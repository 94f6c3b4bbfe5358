"""Image encoders without words, from a folder: models of timm, and those like DINOv2."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medsearch_desktop import errors, settings
from medsearch_desktop.engine.encoders import (
    base,
    batching,
    cropping,
    fitting,
    folders,
    torchvision_shim,
)

if TYPE_CHECKING:
    import torch

# Enters the digest: a change of how images are fed makes other vectors.
_VERSION = "image only 1"
_CPU_BATCH, _GPU_BATCH = 4, 64
CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.safetensors")
PICKLE = "pytorch_model.bin"
_MOST_BYTES, _MOST_CONFIG_BYTES = 16 << 30, 4 << 20

# model_type of transformers -> classes of its configuration and its network, and the prefix of the
# network's tensors where it was saved below a classifier.
_TYPES = {
    "dinov2": ("Dinov2Config", "Dinov2Model", "dinov2."),
    "dinov2_with_registers": (
        "Dinov2WithRegistersConfig",
        "Dinov2WithRegistersModel",
        "dinov2_with_registers.",
    ),
    "vit": ("ViTConfig", "ViTModel", "vit."),
}
# What a configuration may say of a network; any other key is not looked at, so that none of them
# can name a file or an address.
_OF_TRANSFORMERS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "mlp_ratio",
    "image_size",
    "patch_size",
    "num_channels",
    "num_register_tokens",
    "qkv_bias",
    "use_swiglu_ffn",
    "layerscale_value",
    "layer_norm_eps",
    "hidden_act",
)
_OF_TIMM = (
    "img_size",
    "patch_size",
    "embed_dim",
    "depth",
    "num_heads",
    "mlp_ratio",
    "qkv_bias",
    "init_values",
    "reg_tokens",
    "no_embed_class",
    "class_token",
    "dynamic_img_size",
    "pre_norm",
    "final_norm",
    "fc_norm",
    "width",
)
_LAYERS = ("num_hidden_layers", "depth")
_CLASSIFIERS = ("head.", "head_dist.", "fc.", "classifier.", "last_linear.")
_POOLS = ("cls", "mean")


class ImageOnly(batching.Batched):
    """A network that sees and does not read: it finds pictures by pictures.

    The folder holds `config.json` as timm or transformers publish it,
    `model.safetensors`, for transformers `preprocessor_config.json`, and
    optionally `model.toml` (where `pool = "cls"` or `"mean"` says which tokens
    make the vector) and SHA256SUMS. Raises WeightsMissingError,
    DeviceMemoryError or EncoderError.
    """

    def __init__(self, folder: Path, *, device: str = "auto", precision: str = "auto") -> None:
        settings.offline()
        described = base.describe_folder(folder)
        about = dict(described.about)
        self._name = described.name
        with base.told(self._name), _of_config(self._name):
            recipe, weights = _read(folder, self._name, about.get("pool"))
            self._framing = recipe.framing
            self._batcher = batching.Batcher(self._name, device, precision, _CPU_BATCH, _GPU_BATCH)
            self._call = self._network(recipe, weights)
            self._card = _card(about, self._name, recipe, weights)

    def _network(self, recipe: _Recipe, weights: Path) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return what turns pixels (n, 3, s, s) into rows (n, d)."""
        torchvision_shim.declare_operators()
        given = fitting.read(weights, self._name)
        recipe.check_layers(len(given), self._name)
        given = recipe.renamed(given)
        network = fitting.fitted(recipe.built, given, weights.name, self._name)
        placed = self._batcher.placed(network)
        return lambda pixels: recipe.pooled(placed, pixels)

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, d), unit length, for uint8 (n, h, w, 3)."""
        return self.encode_pictures(images)

    def encode_pictures(self, pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return float32 (n, d), unit length, for n pictures uint8 (h, w, 3) of any sizes."""
        if not len(pictures):
            return np.empty((0, self._card.dimension), np.float32)
        return fitting.unit(self._batcher.run(self._call, list(pictures), self._framing.pixels))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Raise EncoderError: it has no words."""
        raise errors.EncoderError(self._name, "it knows images only and reads no words")


@dataclass(frozen=True)
class _Recipe:
    """Which network a folder holds, and what goes into it and comes out of it.

    `library` is "timm" or "transformers", `network` its name there, `options`
    what its configuration may say, `pool` which tokens make the vector ("" as
    the network itself does).
    """

    library: str
    network: str
    options: tuple[tuple[str, Any], ...]
    pool: str
    framing: cropping.Framing

    def digest(self, weights: Path) -> str:
        """Return 64 hexadecimal digits over the weights and how images are fed."""
        said = json.dumps(dataclasses.asdict(self), sort_keys=True)
        parts = [_VERSION, folders.sha256(weights), said]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def check_layers(self, most: int, name: str) -> None:
        """Raise EncoderError for more layers than tensors: they would be built for hours."""
        for key, asked in self.options:
            if key in _LAYERS and isinstance(asked, int | float) and asked > most:
                raise errors.EncoderError(
                    name, f"its {CONFIG} asks for {asked} layers, its weights are {most} tensors"
                )

    def built(self) -> Any:
        """Return the network with weights drawn at random."""
        options = dict(self.options)
        if self.library == "timm":
            import timm

            if self.pool:
                options["global_pool"] = {"cls": "token", "mean": "avg"}[self.pool]
            return timm.create_model(self.network, pretrained=False, num_classes=0, **options)
        import transformers

        config, network, _ = _TYPES[self.network]
        described = getattr(transformers, config)(**options)
        extra = {"add_pooling_layer": False} if self.network == "vit" else {}
        return getattr(transformers, network)(described, **extra)

    def dimension(self) -> int:
        """Return how many numbers a vector has, without computing one."""
        import torch

        with torch.device("meta"):
            pixels = torch.empty(1, 3, self.framing.side, self.framing.side)
            return int(self.pooled(self.built().eval(), pixels).shape[1])

    def renamed(self, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the tensors by the network's own names, without a classifier's."""
        if self.library == "timm":
            return _without_classifier(given, self.built)
        prefix = _TYPES[self.network][2]
        short = {key.removeprefix(prefix): tensor for key, tensor in given.items()}
        return fitting.without(short, "classifier.", "pooler.")

    def pooled(self, network: Any, pixels: torch.Tensor) -> torch.Tensor:
        """Return the rows (n, d) of pixels (n, 3, s, s)."""
        if self.library == "timm":
            found: torch.Tensor = network(pixels)
            return found
        states: torch.Tensor = network(pixel_values=pixels).last_hidden_state
        if self.pool != "mean":
            return states[:, 0]
        registers = getattr(network.config, "num_register_tokens", 0)
        return states[:, 1 + int(registers) :].mean(dim=1)


def is_published(folder: Path) -> bool:
    """Tell whether a folder was downloaded as models of timm or DINOv2-like ones are published."""
    config: dict[str, Any] = {}
    with contextlib.suppress(errors.EncoderError):
        folders.check_file(folder, CONFIG, _MOST_CONFIG_BYTES, folder.name)
        config = folders.read_json(folder / CONFIG, folder.name)
    is_timm = "architecture" in config and "pretrained_cfg" in config
    return is_timm or config.get("model_type") in _TYPES


def missing(folder: Path) -> list[str]:
    """Return what a folder lacks, each with where it comes from; a pickle counts as weights."""
    absent = [file for file in (CONFIG,) if not (folder / file).is_file()]
    if not any((folder / file).is_file() for file in (*WEIGHTS, PICKLE)):
        absent.append(WEIGHTS[0])
    config: dict[str, Any] = {}
    with contextlib.suppress(errors.EncoderError):
        config = folders.read_json(folder / CONFIG, folder.name)
    if config.get("model_type") in _TYPES and not (folder / PROCESSOR).is_file():
        absent.append(PROCESSOR)
    return [f"{file} of the repository that the model comes from" for file in absent]


def conversions(folder: Path) -> dict[str, str]:
    """Return the pickles of a downloaded folder that are needed, and what they become."""
    has_weights = any((folder / file).is_file() for file in WEIGHTS)
    return {} if has_weights or not (folder / PICKLE).is_file() else {PICKLE: WEIGHTS[0]}


@contextlib.contextmanager
def _of_config(name: str) -> Iterator[None]:
    """Turn what a library says of a configuration into a sentence that names its files."""
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        said = f"no {error} is in it" if isinstance(error, KeyError) else base.first_line(error)
        raise errors.EncoderError(
            name, f"its {CONFIG} or {PROCESSOR} describes no network that can be built: {said}"
        ) from error


def _card(about: Mapping[str, Any], name: str, recipe: _Recipe, weights: Path) -> base.EncoderCard:
    return base.EncoderCard(
        name=name,
        kind="image_only",
        digest=recipe.digest(weights),
        dimension=recipe.dimension(),
        abilities=("images",),
        licence=str(about.get("licence", "")),
        source=str(about.get("source", "")),
        limits=str(about.get("limits", "Finds pictures by pictures; it reads no words.")),
        modalities=tuple(str(m) for m in about.get("modalities", ())),
        runtime="torch",
    )


def _read(folder: Path, name: str, pool: object) -> tuple[_Recipe, Path]:
    for file in WEIGHTS:
        folders.check_file(folder, file, _MOST_BYTES, name)
    for file in (CONFIG, PROCESSOR):
        folders.check_file(folder, file, _MOST_CONFIG_BYTES, name)
    if pool is not None and pool not in _POOLS:
        raise errors.EncoderError(name, f"its pool {pool!r} is neither cls nor mean")
    config = folders.read_json(folder / CONFIG, name)
    weights = fitting.weights(folder, WEIGHTS, name)
    is_timm = "architecture" in config
    used = (weights.name, CONFIG) if is_timm else (weights.name, CONFIG, PROCESSOR)
    folders.check_sums(folder, used, name)
    chosen = str(pool or "")
    if is_timm:
        return _of_timm(config, chosen, name), weights
    processor = folders.read_json(folder / PROCESSOR, name)
    return _of_transformers(config, processor, chosen, name), weights


def _of_timm(config: Mapping[str, Any], pool: str, name: str) -> _Recipe:
    torchvision_shim.declare_operators()
    import timm

    architecture = str(config["architecture"])
    if any(sign in architecture for sign in ":/\\"):
        raise errors.EncoderError(name, f"its network {architecture} would have to be downloaded")
    network = architecture.partition(".")[0]
    if not timm.is_model(network):
        raise errors.EncoderError(name, f"timm does not know its architecture {architecture}")
    options = _plain(config.get("model_args") or {}, _OF_TIMM)
    if "global_pool" in config and not pool:
        options["global_pool"] = str(config["global_pool"])
    shown = config.get("pretrained_cfg") or {}
    side = _side(shown.get("input_size", (3, 224, 224))[-2:])
    how = {"center": math.floor(side / float(shown.get("crop_pct", 0.875))), "squash": 0}
    mode = str(shown.get("crop_mode", "center"))
    if mode not in how:
        raise errors.EncoderError(name, f"pictures cut by {mode!r} are not known")
    framing = cropping.Framing(
        side,
        how[mode],
        str(shown.get("interpolation", "bicubic")),
        _colours(shown["mean"]),
        _colours(shown["std"]),
    )
    return _Recipe("timm", network, tuple(sorted(options.items())), pool, framing)


def _of_transformers(
    config: Mapping[str, Any], processor: Mapping[str, Any], pool: str, name: str
) -> _Recipe:
    kind = str(config.get("model_type"))
    if kind not in _TYPES:
        raise errors.EncoderError(name, f"its network {kind} is none of {', '.join(_TYPES)}")
    size = processor.get("size", {})
    is_cropped = processor.get("do_center_crop", False)
    cut = processor.get("crop_size", {}) if is_cropped else size
    if not isinstance(size, dict) or not isinstance(cut, dict):
        raise errors.EncoderError(name, f"its {PROCESSOR} names no size")
    side = _side([cut.get("height", 0), cut.get("width", 0)])
    shorter = int(size.get("shortest_edge", side)) if is_cropped else 0
    framing = cropping.Framing(
        side,
        shorter,
        Image.Resampling(int(processor.get("resample", 3))).name.lower(),
        _colours(processor["image_mean"]),
        _colours(processor["image_std"]),
        floors=True,
    )
    options = _plain(config, _OF_TRANSFORMERS)
    return _Recipe("transformers", kind, tuple(sorted(options.items())), pool or "cls", framing)


def _without_classifier(
    given: dict[str, torch.Tensor], build: Callable[[], Any]
) -> dict[str, torch.Tensor]:
    """Return the tensors without the classes that the network was trained on."""
    import torch

    with torch.device("meta"):
        kept = set(build().state_dict())
    return {
        key: tensor
        for key, tensor in given.items()
        if key in kept or not key.startswith(_CLASSIFIERS)
    }


def _plain(config: Mapping[str, Any], allowed: Sequence[str]) -> dict[str, Any]:
    """Return the allowed options whose values are numbers, words or yes and no."""
    found = {key: config[key] for key in allowed if key in config}
    return {key: value for key, value in found.items() if isinstance(value, str | int | float)}


def _side(sizes: Sequence[Any]) -> int:
    height, width = (int(size) for size in sizes)
    if height != width:
        raise ValueError(f"pictures of {width} x {height} are not square")
    return height


def _colours(given: Sequence[Any]) -> tuple[float, float, float]:
    red, green, blue = (float(number) for number in given)
    return red, green, blue
