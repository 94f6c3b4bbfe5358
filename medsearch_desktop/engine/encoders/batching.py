"""Batches of torch encoders: device, precision, pinned memory, halves where memory is short."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from medsearch_desktop import errors
from medsearch_desktop.engine import devices
from medsearch_desktop.engine.encoders import base

if TYPE_CHECKING:
    import torch

# Decoders and resizers let go of Python's lock; more threads than this wait for one another.
_MOST_THREADS = 8
# What torch says when memory is short and the error has no class of its own (MPS, CPU).
_FULL = ("out of memory", "not enough memory")


class Batcher:
    """Runs the networks of one encoder on one device, batch by batch.

    `device` is a wish as devices.choose takes it, `precision` one as
    devices.precision does; the attributes of these names say what became of
    them. `notices` are for the encoder's attribute of that name, and
    `has_left_device` tells that a GPU without room was left for the CPU.
    Raises EncoderError for a device that is not there.
    """

    def __init__(
        self,
        name: str,
        device: str = "auto",
        precision: str = "auto",
        cpu_batch: int = 8,
        gpu_batch: int = 64,
    ) -> None:
        self.device = devices.choose(name, device)
        self.precision = devices.precision(name, self.device, precision)
        self.notices: list[str] = []
        self.has_left_device = False
        self._name, self._cpu_batch = name, cpu_batch
        self._batch = cpu_batch if self.device.type == "cpu" else gpu_batch
        self._halved_from = 0
        self._models: list[Any] = []

    @property
    def dtype(self) -> torch.dtype:
        """The type of the numbers that the networks compute with."""
        import torch

        return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.precision, torch.float32)

    def placed(self, model: Any) -> Any:
        """Return a torch module on the device, or on the CPU when that has no room for it.

        The batcher keeps it, to move it along when the device is left.
        """
        self._models.append(model.eval().requires_grad_(False))
        try:
            self._place(model)
        except RuntimeError as error:
            self._check_is_memory(error)
            if self.device.type == "cpu":
                raise errors.DeviceMemoryError(self._name, "the memory is full") from error
        else:
            return model
        self._go_on_on_cpu()
        return model

    def _place(self, model: Any) -> None:
        import torch

        model.to(self.device)
        if self.dtype != torch.float32:
            model.to(self.dtype)
        # Convolutions are faster where the channels of a pixel lie side by side.
        if self.device.type != "mps":
            for parameter in model.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def fed(self, given: torch.Tensor) -> torch.Tensor:
        """Return a tensor on the device, floating-point numbers as the networks compute them."""
        import torch

        is_copied_aside = self.device.type == "cuda" and given.device.type == "cpu"
        pinned = given.pin_memory() if is_copied_aside else given
        moved = pinned.to(self.device, non_blocking=is_copied_aside)
        if moved.is_floating_point():
            moved = moved.to(self.dtype)
            if moved.ndim == 4 and self.device.type != "mps":
                moved = moved.contiguous(memory_format=torch.channels_last)
        return moved

    def run(
        self,
        model_call: Callable[[Any], torch.Tensor],
        rows: Sequence[Any] | np.ndarray,
        prepare: Callable[[Any], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Return float32 rows, one for each of `rows`, as `model_call` computes them.

        `model_call` gets a slice of `rows`. With `prepare`, a row becomes an
        array first, and `model_call` gets the arrays of a batch stacked and
        fed; beside a GPU they are made on threads, while it works on those
        before. A batch without room is halved; a device without room for one
        row is left for the CPU. Raises DeviceMemoryError when that is full
        too, EncoderError for any other fault.
        """
        if not len(rows):
            return np.empty((0, 0), np.float32)
        done: list[np.ndarray] = []
        with _Rows(rows, prepare, self.device.type != "cpu") as given:
            start = 0
            while start < len(rows):
                stop = min(start + self._batch, len(rows))
                found = self._computed(model_call, given, start, stop)
                if found is None:
                    self._make_room(stop - start)
                elif not np.isfinite(found).all() and self.precision != "fp32":
                    self._widen()
                else:
                    self._tell_halved()
                    done.append(found)
                    start = stop
        return np.concatenate(done)

    def _computed(
        self, model_call: Callable[[Any], torch.Tensor], given: _Rows, start: int, stop: int
    ) -> np.ndarray | None:
        """Return what becomes of the rows from `start` to `stop`, None without memory for them."""
        import torch

        part = given.taken(start, stop)
        try:
            with torch.inference_mode():
                fed = self.fed(torch.from_numpy(part)) if given.are_arrays else part
                # A GPU computes while this goes on; reading the numbers waits for it.
                computing = model_call(fed)
                given.begin(stop, stop + self._batch)
                found: np.ndarray = computing.float().cpu().numpy()
                return found
        except RuntimeError as error:
            self._check_is_memory(error)
        return None

    def _check_is_memory(self, error: RuntimeError) -> None:
        """Raise EncoderError for an error that is not about memory."""
        import torch

        is_memory = isinstance(error, torch.OutOfMemoryError)
        if not is_memory and not any(words in str(error) for words in _FULL):
            raise errors.EncoderError(self._name, base.first_line(error)) from error

    def _make_room(self, tried: int) -> None:
        """Halve the batch of `tried` rows, or leave a device that has no room even for one."""
        if tried == 1 and self.device.type == "cpu":
            raise errors.DeviceMemoryError(self._name, f"{self.device} is full")
        if tried == 1:
            self._go_on_on_cpu()
            return
        self._halved_from = self._halved_from or tried
        self._batch = tried // 2
        self._empty_cache()

    def _tell_halved(self) -> None:
        if self._halved_from:
            self.notices.append(
                f"The memory of {self.device} is too small for {self._halved_from} at a time: the "
                f"encoder {self._name} goes on with {self._batch}."
            )
            self._halved_from = 0

    def _widen(self) -> None:
        """Compute with more bits, or with a wider range, what is too large for these."""
        narrow, self.precision = self.precision, devices.wider(self.device, self.precision)
        for model in self._models:
            model.to(self.dtype)
        self.notices.append(
            f"The encoder {self._name} has numbers that {narrow} cannot hold: it goes on in "
            f"{self.precision}."
        )

    def _go_on_on_cpu(self) -> None:
        """Leave a device that has no room even for one row, and say so.

        Weights that were rounded to the device's precision stay rounded.
        """
        import torch

        full, self.device = self.device, torch.device("cpu")
        is_narrow, self.precision = self.precision != "fp32", "fp32"
        self._batch, self._halved_from, self.has_left_device = self._cpu_batch, 0, True
        for model in self._models:
            model.to(self.device)
            if is_narrow:
                model.to(torch.float32)
        self._empty_cache(full)
        self.notices.append(
            f"The memory of {full} is full: the encoder {self._name} goes on on the CPU, more "
            "slowly. Close other programs that use the GPU and start again."
        )

    def _empty_cache(self, device: torch.device | None = None) -> None:
        import torch

        kind = (device or self.device).type
        if kind == "cuda":
            torch.cuda.empty_cache()
        elif kind == "mps":
            torch.mps.empty_cache()


class _Rows:
    """The rows of one run: as they are, or as arrays made on threads while a GPU is at work."""

    def __init__(
        self,
        rows: Sequence[Any] | np.ndarray,
        prepare: Callable[[Any], np.ndarray] | None,
        is_ahead: bool,
    ) -> None:
        self._rows, self._prepare = rows, prepare
        self.are_arrays = prepare is not None
        threads = min(_MOST_THREADS, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(threads) if prepare is not None and is_ahead else None
        self._begun: dict[int, Future[np.ndarray]] = {}

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def begin(self, start: int, stop: int) -> None:
        """Have the rows from `start` to `stop` made in the background, where that helps."""
        if self._pool is None or self._prepare is None:
            return
        for place in range(start, min(stop, len(self._rows))):
            if place not in self._begun:
                self._begun[place] = self._pool.submit(self._prepare, self._rows[place])

    def taken(self, start: int, stop: int) -> Any:
        """Return the rows from `start` to `stop`; they can be taken again until later ones are."""
        if self._prepare is None:
            return self._rows[start:stop]
        if self._pool is None:
            return np.stack([self._prepare(row) for row in self._rows[start:stop]])
        self.begin(start, stop)
        self._begun = {place: made for place, made in self._begun.items() if place >= start}
        return np.stack([self._begun[place].result() for place in range(start, stop)])


class Batched:
    """What encoders share whose networks a Batcher runs: `_batcher`, and a `_card` to fill in."""

    _batcher: Batcher
    _card: base.EncoderCard

    @property
    def card(self) -> base.EncoderCard:
        device, precision = str(self._batcher.device), self._batcher.precision
        return dataclasses.replace(self._card, device=device, precision=precision, runtime="torch")

    @property
    def notices(self) -> list[str]:
        return self._batcher.notices

    @property
    def has_left_device(self) -> bool:
        return self._batcher.has_left_device
