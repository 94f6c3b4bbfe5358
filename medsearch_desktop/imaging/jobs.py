"""The jobs of a reader process, carried out one at a time."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from multiprocessing import shared_memory
from typing import Any

import numpy as np

from medsearch_desktop.imaging import opening, pixels, reader_process

# Decoders that are imported on first use otherwise, which would cost the first file a second.
_SOON = ("pylibjpeg", "openjpeg", "rle", "jpeg_ls", "nibabel", "PIL.PngImagePlugin")


def prepare() -> None:
    """Import what some file will need, while nobody waits."""
    for name in _SOON:
        importlib.import_module(name)


def run(
    job: Any, send: Callable[[reader_process.Reply], None], is_stopped: Callable[[], bool]
) -> None:
    """Carry out one job; what it finds goes to `send`. Raises what the decoders raise."""
    if isinstance(job, reader_process.Open):
        _open(job, send, is_stopped)
    elif isinstance(job, reader_process.Load):
        _load(job, send, is_stopped)
    elif isinstance(job, reader_process.Picture):
        send(("at", job.ref.path))
        send(("picture", pixels.picture(job.ref, job.window, job.max_side)))
    else:
        raise ValueError(f"not a job: {job!r}")


def _open(
    job: reader_process.Open,
    send: Callable[[reader_process.Reply], None],
    is_stopped: Callable[[], bool],
) -> None:
    found = opening.open_paths(
        job.paths, announce=lambda path: send(("at", path)), skip=job.skip, is_stopped=is_stopped
    )
    for each in found:
        send(("found", each))


def _load(
    job: reader_process.Load,
    send: Callable[[reader_process.Reply], None],
    is_stopped: Callable[[], bool],
) -> None:
    block = shared_memory.SharedMemory(name=job.block)
    try:
        _fill(block, job, send, is_stopped)
    finally:
        block.close()


def _fill(
    block: shared_memory.SharedMemory,
    job: reader_process.Load,
    send: Callable[[reader_process.Reply], None],
    is_stopped: Callable[[], bool],
) -> None:
    series = job.series
    shape = (len(job.indices), *series.plane_shape)
    voxels = np.ndarray(shape, series.dtype, buffer=block.buf)

    def wanted() -> Iterator[int]:
        for plane in job.order:
            if is_stopped():
                return
            send(("at", series.slices[job.indices[plane]].path))
            yield job.indices[plane]

    for plane, (_, values) in zip(job.order, pixels.planes(series, wanted()), strict=False):
        voxels[plane] = values
        send(("plane", plane))
