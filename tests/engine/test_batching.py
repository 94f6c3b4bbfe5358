"""Batches of torch encoders: the device chosen, what it computes with, and what a full one does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from medsearch_desktop import errors
from medsearch_desktop.engine import devices
from medsearch_desktop.engine.encoders import batching


class Line(torch.nn.Module):
    """Doubles its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.full((1,), 2.0))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows * self.factor


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device of another name than the CPU, on which nothing is really computed."""
    monkeypatch.setattr(devices, "choose", lambda name, wanted: torch.device("meta"))


def _limited(seen: list[tuple[str, int]], batcher: batching.Batcher, most: int):
    """Return a network that has room for `most` rows on a device that is not the CPU."""

    def call(rows: Sequence[float]) -> torch.Tensor:
        seen.append((batcher.device.type, len(rows)))
        if len(rows) > most and batcher.device.type != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return torch.tensor(list(rows)).reshape(-1, 1)

    return call


def test_that_every_row_comes_back_once_and_in_order_whatever_the_batch():
    for batch in (1, 3, 8, 100):
        batcher = batching.Batcher("x", "cpu", cpu_batch=batch)
        line = batcher.placed(Line())
        rows = np.arange(20, dtype=np.float32).reshape(10, 2)
        found = batcher.run(lambda part, line=line: line(torch.from_numpy(part)), rows)
        assert np.array_equal(found, rows * 2)
        made = batcher.run(line, list(rows), lambda row: row + 1)
        assert np.array_equal(made, (rows + 1) * 2)
    assert batching.Batcher("x", "cpu").run(Line(), []).shape[0] == 0


def test_that_a_batch_without_room_is_halved_and_the_halving_is_told_once(fake_gpu: None):
    batcher = batching.Batcher("x", gpu_batch=64)
    seen: list[tuple[str, int]] = []
    found = batcher.run(_limited(seen, batcher, 10), [float(n) for n in range(40)])
    assert found[:, 0].tolist() == list(range(40))
    assert [n for _, n in seen] == [40, 20, 10, 10, 10, 10]
    (told,) = batcher.notices
    assert "40 at a time" in told
    assert "goes on with 10" in told
    assert not batcher.has_left_device
    batcher.run(_limited(seen, batcher, 10), [0.0] * 40)
    assert len(batcher.notices) == 1


def test_that_rows_made_ahead_on_threads_survive_a_halved_batch(fake_gpu: None):
    batcher = batching.Batcher("x", gpu_batch=8)
    made: list[int] = []

    def prepare(row: int) -> np.ndarray:
        made.append(row)
        return np.full((4, 4, 3), row, np.uint8)

    def call(fed: torch.Tensor) -> torch.Tensor:
        if len(fed) > 3 and batcher.device.type != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory")
        assert fed.device.type == batcher.device.type
        return torch.zeros(len(fed), 1)

    assert batcher.run(call, list(range(20)), prepare).shape == (20, 1)
    assert sorted(made) == list(range(20))


def test_that_a_device_without_room_for_one_row_is_left_for_the_cpu(fake_gpu: None):
    batcher = batching.Batcher("x", cpu_batch=4, gpu_batch=64)
    seen: list[tuple[str, int]] = []
    found = batcher.run(_limited(seen, batcher, 0), [1.0] * 6)
    assert found.shape == (6, 1)
    assert seen == [("meta", 6), ("meta", 3), ("meta", 1), ("cpu", 4), ("cpu", 2)]
    assert batcher.has_left_device
    assert batcher.precision == "fp32"
    (told,) = batcher.notices
    assert "goes on on the CPU" in told


def test_that_a_model_without_room_on_the_device_is_placed_on_the_cpu(fake_gpu: None):
    class Large(Line):
        def to(self, *where: object, **how: object) -> Large:
            if torch.device("meta") in where:
                raise RuntimeError("MPS backend out of memory (MPS allocated: 18.00 GB)")
            return super().to(*where, **how)

    batcher = batching.Batcher("x")
    assert batcher.placed(Large()).factor.device.type == "cpu"
    assert batcher.device.type == "cpu"
    assert batcher.has_left_device


def test_that_a_full_memory_of_the_cpu_and_any_other_fault_are_told_as_ours():
    batcher = batching.Batcher("x", "cpu", cpu_batch=2)

    def full(rows: object) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.")

    def broken(rows: object) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)\nmore")

    with pytest.raises(errors.DeviceMemoryError):
        batcher.run(full, [1, 2])
    with pytest.raises(errors.EncoderError, match=r"encoder x cannot be used: mat1 .*\)$"):
        batcher.run(broken, [1, 2])


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.half)])
def test_that_a_precision_that_is_asked_for_is_what_network_and_rows_have(
    precision: str, dtype: torch.dtype
):
    batcher = batching.Batcher("x", "cpu", precision)
    line = batcher.placed(Line())
    assert line.factor.dtype == dtype
    assert batcher.fed(torch.zeros(1, 3, 2, 2)).dtype == dtype
    assert batcher.fed(torch.zeros(1, dtype=torch.int64)).dtype == torch.int64
    assert batcher.run(line, [0.5], lambda row: np.full(2, row, np.float32)).tolist() == [[1, 1]]


def test_that_numbers_too_large_for_half_precision_are_computed_in_full():
    batcher = batching.Batcher("x", "cpu", "fp16")
    line = batcher.placed(Line())
    found = batcher.run(line, [6e4], lambda row: np.full(2, row, np.float32))
    assert found.tolist() == [[1.2e5, 1.2e5]]
    assert batcher.precision == "fp32"
    (told,) = batcher.notices
    assert "fp16 cannot hold" in told


def test_that_pictures_are_fed_with_the_channels_of_a_pixel_side_by_side():
    fed = batching.Batcher("x", "cpu").fed(torch.zeros(2, 3, 4, 4))
    assert fed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_that_a_real_gpu_computes_in_half_precision_and_frees_what_it_could_not_hold():
    batcher = batching.Batcher("x", "cuda", gpu_batch=64)
    assert batcher.precision in ("fp16", "fp32")
    line = batcher.placed(Line())
    free, _ = torch.cuda.mem_get_info()

    def greedy(fed: torch.Tensor) -> torch.Tensor:
        torch.empty(len(fed), free // 8, dtype=torch.uint8, device="cuda")
        return line(fed)

    found = batcher.run(greedy, [0.5] * 64, lambda row: np.full(2, row, np.float32))
    assert found.tolist() == [[1, 1]] * 64
    assert batcher.notices
    assert not batcher.has_left_device
