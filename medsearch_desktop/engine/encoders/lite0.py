"""EfficientNet-lite0 as a torch module, its weights read out of the ONNX file: for GPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import base, batching

if TYPE_CHECKING:
    import onnx
    import torch

_CPU_BATCH, _GPU_BATCH = 8, 256


class Lite0:
    """The image network of an image.onnx, run by torch on CUDA, MPS or the CPU.

    The file must hold the operators of EfficientNet-lite and nothing else:
    they are carried out one by one, none of its text is. Raises EncoderError
    for another file. `batcher` tells device, precision and notices.
    """

    def __init__(
        self, path: Path, device: str = "auto", precision: str = "auto", *, name: str = ""
    ) -> None:
        self._name = name or path.parent.name
        self.batcher = batching.Batcher(self._name, device, precision, _CPU_BATCH, _GPU_BATCH)
        with base.told(self._name):
            self._network = self.batcher.placed(_network(path, self._name))

    def of_pictures(
        self, pictures: Sequence[np.ndarray], pixels: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Return float32 (n, 1280) for n pictures, each of which `pixels` makes (3, 224, 224).

        Beside a GPU that is done on threads, while it works on the pictures before.
        """
        if not len(pictures):
            return np.empty((0, 1280), np.float32)

        def computed(fed: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self._network(fed, "features")
            return found

        return self.batcher.run(computed, pictures, pixels)

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Return float32 (n, 1280) for pixels, float32 (n, 3, 224, 224)."""
        return self._run(pixels, "features", (0, 1280))

    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """Return float32 (n, 1280, 7, 7), the activation before its mean, where the file has it."""
        return self._run(pixels, "map", (0, 1280, 7, 7))

    def _run(self, pixels: np.ndarray, output: str, empty: tuple[int, ...]) -> np.ndarray:
        import torch

        if not len(pixels):
            return np.empty(empty, np.float32)

        def computed(rows: np.ndarray) -> torch.Tensor:
            fed = self.batcher.fed(torch.from_numpy(rows))
            found: torch.Tensor = self._network(fed, output)
            return found

        return self.batcher.run(computed, pixels)


def _network(path: Path, name: str) -> Any:
    """Return the torch module of an ONNX file; raises EncoderError for operators it has not."""
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load_from_string(path.read_bytes()).graph
    if any(tensor.external_data for tensor in graph.initializer):
        raise errors.EncoderError(name, f"{path.name} asks for a file outside of it")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}

    class Network(torch.nn.Module):
        """Carries out the steps of the graph in its order."""

        def __init__(self) -> None:
            super().__init__()
            self.steps: list[tuple[Any, tuple[str, ...], str]] = []
            self.layers = torch.nn.ModuleList()
            for node in graph.node:
                self._add(node)
            self.entry = graph.input[0].name

        def _add(self, node: onnx.NodeProto) -> None:
            given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                constants[node.output[0]] = numpy_helper.to_array(given["value"])
                return
            step = _step(node, given, constants)
            if step is None:
                raise errors.EncoderError(name, f"{path.name} has the operator {node.op_type}")
            if isinstance(step, torch.nn.Module):
                self.layers.append(step)
            sources = tuple(i for i in node.input if i and i not in constants)
            self.steps.append((step, sources, node.output[0]))

        def forward(self, pixels: torch.Tensor, output: str) -> torch.Tensor:
            values = {self.entry: pixels}
            for step, sources, target in self.steps:
                values[target] = step(*(values[source] for source in sources))
                if target == output:
                    break
            return values[output]

    return Network()


def _step(node: onnx.NodeProto, given: dict[str, Any], constants: dict[str, np.ndarray]) -> Any:
    """Return what one node does to tensors, None for an operator that is not known here."""
    import torch
    from torch.nn import functional

    if node.op_type == "Conv":
        return _convolution([constants[n] for n in node.input[1:]], given)
    if node.op_type == "Clip":
        low, high = (float(constants[n]) for n in node.input[1:3])
        return lambda x: functional.hardtanh(x, low, high)
    plain = {
        "Relu": functional.relu,
        "Add": torch.add,
        "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
        "Flatten": lambda x: x.flatten(1),
        "Identity": lambda x: x,
    }
    return plain.get(node.op_type)


def _convolution(weights: list[np.ndarray], given: dict[str, Any]) -> Any:
    """Return a convolution; the padding of an even step is one-sided, which torch has apart."""
    import torch

    kernel = weights[0]
    top, left, bottom, right = given.get("pads", [0, 0, 0, 0])
    is_even = (top, left) == (bottom, right)
    groups = int(given.get("group", 1))
    layer = torch.nn.Conv2d(
        kernel.shape[1] * groups,
        kernel.shape[0],
        tuple(kernel.shape[2:]),
        stride=tuple(given.get("strides", [1, 1])),
        padding=(top, left) if is_even else 0,
        dilation=tuple(given.get("dilations", [1, 1])),
        groups=groups,
        bias=len(weights) > 1,
    )
    layer.weight.data = torch.from_numpy(kernel.copy())
    if layer.bias is not None:
        layer.bias.data = torch.from_numpy(weights[1].copy())
    if is_even:
        return layer
    return torch.nn.Sequential(torch.nn.ZeroPad2d((left, right, top, bottom)), layer)
