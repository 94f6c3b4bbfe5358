"""EfficientNet-lite0 by torch: the same numbers as the file gives in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from medsearch_desktop import errors, settings
from medsearch_desktop.engine.encoders import compact, lite0


@pytest.fixture(scope="module")
def image_network() -> Path:
    return settings.resource("models/compact") / "image.onnx"


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, 3, 224, 224)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(image_network: Path, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(image_network, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["features"], {"pixels": pixels})[0])


def test_that_torch_computes_the_features_of_the_file(
    image_network: Path, pixels: np.ndarray, expected: np.ndarray
):
    network = lite0.Lite0(image_network, "cpu")
    assert np.abs(network.features(pixels) - expected).max() < 1e-3
    assert network.features(pixels[:0]).shape == (0, 1280)
    assert (str(network.batcher.device), network.batcher.precision) == ("cpu", "fp32")


def test_that_pictures_of_several_sizes_have_the_features_they_have_one_by_one(
    image_network: Path,
):
    draw = np.random.default_rng(0)
    shown = [draw.integers(0, 256, (60 + n, 90, 3), np.uint8) for n in range(3)]
    network = lite0.Lite0(image_network, "cpu")
    together = network.of_pictures(shown, compact.pixels)
    alone = [network.features(compact.pixels(one)[None]) for one in shown]
    assert np.abs(together - np.concatenate(alone)).max() < 1e-3
    assert network.of_pictures([], compact.pixels).shape == (0, 1280)


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.999), ("fp16", 0.9999)])
def test_that_fewer_digits_leave_the_direction_of_the_features(
    image_network: Path, pixels: np.ndarray, expected: np.ndarray, precision: str, least: float
):
    found = lite0.Lite0(image_network, "cpu", precision).features(pixels[:2])
    cosines = (found * expected[:2]).sum(axis=1)
    cosines /= np.linalg.norm(found, axis=1) * np.linalg.norm(expected[:2], axis=1)
    assert cosines.min() > least


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_that_a_gpu_leaves_the_direction_of_the_features(
    image_network: Path, pixels: np.ndarray, expected: np.ndarray
):
    found = lite0.Lite0(image_network, "cuda").features(pixels)
    cosines = (found * expected).sum(axis=1)
    cosines /= np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.9999


def _written(path: Path, nodes: list, **external: str) -> Path:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 3, 1, 1], [1.0, 2.0, 3.0])
    if external:
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=external["at"])
    entry = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 4, 4])
    end = helper.make_tensor_value_info("features", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [entry], [end], [weight])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path.write_bytes(content.SerializeToString())
    return path


def test_that_another_network_or_one_with_parts_elsewhere_is_refused(tmp_path: Path):
    sine = [helper.make_node("Sin", ["pixels"], ["features"])]
    with pytest.raises(errors.EncoderError, match="operator Sin"):
        lite0.Lite0(_written(tmp_path / "sine.onnx", sine), "cpu")
    product = [helper.make_node("Conv", ["pixels", "w"], ["features"])]
    with pytest.raises(errors.EncoderError, match="file outside"):
        lite0.Lite0(_written(tmp_path / "outside.onnx", product, at="/etc/hostname"), "cpu")
    (tmp_path / "noise.onnx").write_bytes(b"\xff" * 64)
    with pytest.raises(errors.EncoderError):
        lite0.Lite0(tmp_path / "noise.onnx", "cpu")
    with pytest.raises(errors.EncoderError):
        lite0.Lite0(tmp_path / "missing.onnx", "cpu")
    found = lite0.Lite0(_written(tmp_path / "plain.onnx", product), "cpu")
    assert (found.features(np.ones((2, 3, 4, 4), np.float32)) == 6).all()
