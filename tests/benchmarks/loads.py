"""Loads beyond any study: 100,000 files, 10,000 slices, 2 GB in one file, 50,000 in a ZIP."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import figures
import numpy as np
import phantoms
import psutil

from medsearch_desktop import errors
from medsearch_desktop.imaging import isolated, study

# What `make trial` measures, and the hundredth of it for every day.
_PART = 1 if os.environ.get("MEDSEARCH_TRIAL") else 100
FILES, SLICES, ENTRIES = 100_000 // _PART, 10_000 // _PART, 50_000 // _PART
FRAMES = 8_300 // _PART  # of 512 x 512 bytes: 2 GB and a little
SERIES_FILES, STUDY_FILES = 500, 5_000

_FIRST_CPU_S, _CANCEL_S, _RESIDENT_MB = 5.0, 1.0, 4096.0
# Placeholders of the same length as what they are replaced by.
_UID, _STUDY, _SERIES = (f"1.2.826.0.1.3680043.8.498.{kind}0000000" for kind in (1, 2, 3))
_NUMBER, _PLACE = "7654321", "8888888.5"


def _template(folder: Path, size: tuple[int, int]) -> bytes:
    def change(found: object, k: int) -> None:
        for keyword, value in (
            ("SOPInstanceUID", _UID),
            ("StudyInstanceUID", _STUDY),
            ("SeriesInstanceUID", _SERIES),
            ("InstanceNumber", _NUMBER),
            ("ImagePositionPatient", ["-200", "-200", _PLACE]),
        ):
            setattr(found, keyword, value)
        found.file_meta.MediaStorageSOPInstanceUID = _UID  # type: ignore[attr-defined]

    (path,) = phantoms.write_ct_series(folder, 1, size, change=change)
    data = path.read_bytes()
    path.unlink()
    return data


def _file(template: bytes, number: int, series: int, study_number: int) -> bytes:
    data = template.replace(_UID.encode(), f"{_UID[:-7]}{number:07d}".encode())
    data = data.replace(_SERIES.encode(), f"{_SERIES[:-7]}{series:07d}".encode())
    data = data.replace(_STUDY.encode(), f"{_STUDY[:-7]}{study_number:07d}".encode())
    data = data.replace(_PLACE.encode(), f"{1_000_000 + number}.5".encode())
    return data.replace(_NUMBER.encode(), f"{number:07d}".encode())


def _many(template: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Give names and bytes of slices of many series and studies."""
    for k in range(count):
        yield f"IM{k:06d}", _file(template, k, k // SERIES_FILES, k // STUDY_FILES)


def _folder(where: Path) -> Path:
    for name, data in _many(_template(where, (32, 32)), FILES):
        (where / name).write_bytes(data)
    return where


def _series(where: Path) -> Path:
    template = _template(where, (512, 512))
    for k in range(SLICES):
        (where / f"IM{k:06d}").write_bytes(_file(template, k, 0, 0))
    return where


def _multi_frame(where: Path) -> Path:
    path = where / "frames.dcm"
    phantoms.write_dicom_image(path, np.zeros((2, 512, 512), np.uint8))
    raw = path.read_bytes()
    size = 512 * 512
    head = raw[: len(raw) - 2 * size]
    frames = head.index(b"(\x00\x08\x00IS")
    length = int.from_bytes(head[frames + 6 : frames + 8], "little")
    digits = f"{FRAMES:<4}".encode()
    head = head[: frames + 6] + b"\x04\x00" + digits + head[frames + 8 + length : -4]
    with path.open("wb") as file:
        file.write(head + (FRAMES * size).to_bytes(4, "little"))
        for _ in range(FRAMES):
            file.write(raw[-size:])
    return path


def _archive(where: Path) -> Path:
    path = where / "packed.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name, data in _many(_template(where, (32, 32)), ENTRIES):
            packed.writestr(name, data)
    return path


def _readers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any("spawn_main" in word for word in child.cmdline()):
                found.append(child)
    return found


def _cpu_s() -> float:
    """Return the CPU seconds of this process and its readers."""
    spent = time.process_time()
    for child in _readers():
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            spent += times.user + times.system
    return spent


def _peak_mb() -> float:
    """Return the most that the readers ever held, and this process now (Linux; 0 elsewhere)."""
    held = psutil.Process().memory_info().rss / 2**20
    for child in _readers():
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{child.pid}/status").read_text("ascii")
            (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
            held += int(line.split()[1]) / 2**10
    return held


class Resident:
    """The most memory that this process and its readers held at once, shared pages counted once."""

    def __init__(self) -> None:
        self.most_mb, self._looked = 0.0, 0.0

    def look(self) -> None:
        """Look now, unless the last look was a moment ago."""
        if time.monotonic() - self._looked < 0.2:
            return
        held = 0
        for process in (psutil.Process(), *_readers()):
            with contextlib.suppress(psutil.Error):
                held += process.memory_full_info().pss
        self.most_mb = max(self.most_mb, held / 2**20)
        self._looked = time.monotonic()


@dataclass
class _Run:
    """What was seen while one input was opened and its largest series was loaded."""

    count: int = 0
    first_files: int = 0
    first_cpu_s: float = 0.0
    whole_cpu_s: float = 0.0
    load_cancel_s: float = 0.0
    planes: int = 0
    resident_mb: float = 0.0


def _opened(path: Path) -> _Run:
    """Open a path to its end and load as many slices as are loaded without asking."""
    run, resident = _Run(), Resident()
    with isolated.Readers() as readers:
        began, largest = _cpu_s(), None
        for found in readers.open_paths([path], grow=True):
            resident.look()
            if isinstance(found, study.Refused):
                raise errors.UnreadableFileError(found.path, found.reason)
            if not run.first_files:
                run.first_cpu_s = _cpu_s() - began
                run.first_files = sum(len(s.slices) for s in found.series)
            if found.is_complete:
                run.count += sum(len(s.slices) for s in found.series)
                for series in found.series:
                    if largest is None or len(series.slices) > len(largest.slices):
                        largest = series
        run.whole_cpu_s = _cpu_s() - began
        opening_mb = _peak_mb()
        assert largest is not None
        run.planes = min(len(largest.slices), isolated.ASK_ABOVE_BYTES // largest.slice_bytes)
        held = readers.load(largest, indices=range(run.planes), on_slice=lambda *_: resident.look())
        assert held.ready.all()
        resident.look()
        run.load_cancel_s = _cancelled_load(readers, largest, run.planes)
    run.resident_mb = max(resident.most_mb, opening_mb)
    return run


def _cancelled_load(readers: isolated.Readers, series: study.Series, planes: int) -> float:
    """Return the seconds from giving up a load to its end."""
    given_up: list[float] = []

    def stop(*_: object) -> None:
        if not given_up:
            given_up.append(time.monotonic())

    readers.load(series, indices=range(planes), on_slice=stop, cancelled=lambda: bool(given_up))
    return time.monotonic() - given_up[0]


def _cancelled_opening(path: Path, after_s: float) -> float:
    """Return the seconds from giving up, `after_s` from the beginning, to the end.

    The clock runs from that moment and not from when it is first looked at.
    0 where all was over before.
    """
    with isolated.Readers() as readers:
        given_up_at = time.monotonic() + after_s
        found = readers.open_paths(
            [path], cancelled=lambda: time.monotonic() > given_up_at, grow=True
        )
        for _ in found:
            pass
        return max(0.0, time.monotonic() - given_up_at)


_INPUTS: tuple[tuple[str, Callable[[Path], Path], int], ...] = (
    (f"folder of {FILES:,} files", _folder, FILES),
    (f"series of {SLICES:,} slices", _series, SLICES),
    (f"one file of {FRAMES * 512 * 512 / 2**30:.2f} GB", _multi_frame, FRAMES),
    (f"ZIP of {ENTRIES:,} files", _archive, ENTRIES),
)


def measure() -> Iterator[figures.Figure]:
    """Yield what each load costs until its first series, to its end, and to be given up."""
    for name, write, count in _INPUTS:
        with tempfile.TemporaryDirectory() as folder:
            path = write(Path(folder))
            run = _opened(path)
            if run.count != count:
                raise AssertionError(f"{name}: {run.count} images were found")
            moments = [_cancelled_opening(path, after_s) for after_s in (0.1, 0.5, 1.0, 2.0, 4.0)]
            opening_s = max(moments)
        yield figures.Figure(f"{name}: images known at its first series", run.first_files, "images")
        yield figures.Figure(f"{name}: first series", run.first_cpu_s, "s CPU", _FIRST_CPU_S)
        share = 100 * run.first_cpu_s / max(run.whole_cpu_s, 1e-9)
        yield figures.Figure(f"{name}: the same of all of it", share, "%")
        yield figures.Figure(f"{name}: all of it", run.whole_cpu_s, "s CPU")
        yield figures.Figure(f"{name}: cancel of opening to end", opening_s, "s", _CANCEL_S)
        load_s = run.load_cancel_s
        yield figures.Figure(f"{name}: cancel of loading to end", load_s, "s", _CANCEL_S)
        what = f"{name}: reader and window resident, {run.planes:,} slices loaded"
        yield figures.Figure(what, run.resident_mb, "MB", _RESIDENT_MB)


if __name__ == "__main__":
    for figure in measure():
        sys.stdout.write(figure.line() + "\n")
        sys.stdout.flush()
