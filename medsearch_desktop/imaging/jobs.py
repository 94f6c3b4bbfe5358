"""The jobs of a reader process, carried out one at a time."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from multiprocessing import shared_memory
from typing import Any

import numpy as np

from medsearch_desktop import errors
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
        job.paths,
        announce=lambda path: send(("at", path)),
        skip=job.skip,
        is_stopped=is_stopped,
        grow=job.grow,
        only=job.only,
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

    with pixels.Planes(series) as reading:
        for count, plane in enumerate(job.order, start=1):
            if is_stopped():
                return
            path = series.slices[job.indices[plane]].path
            send(("at", path))
            try:
                is_last = count == len(job.order)
                voxels[plane] = reading.plane(job.indices[plane], is_last=is_last)
            except errors.UnreadableFileError as error:
                send(("unread", (plane, error.path, error.reason)))
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - one plane must not cost the others
                send(("unread", (plane, path, f"It could not be read ({type(error).__name__}).")))
            else:
                send(("plane", plane))
