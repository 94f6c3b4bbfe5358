"""File systems of our own for a test, mounted where root allows and always unmounted."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_PATIENCE_S = 60


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )


@functools.cache
def refused_tmpfs() -> str:
    """Return why no file system of a chosen size can be mounted here, "" where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "mounting needs root on Linux"
    with tempfile.TemporaryDirectory() as folder:
        done = _run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder)
        if done.returncode:
            return f"mount says: {done.stderr.strip()}"
        _unmount(Path(folder))
    return ""


@functools.cache
def refused_loop() -> str:
    """Return why no image of a file system can be mounted here, "" where one can."""
    if refused_tmpfs():
        return refused_tmpfs()
    if shutil.which("mkfs.ext4") is None:
        return "there is no mkfs.ext4"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with loop(new_image(Path(folder) / "probe.img", 8), Path(folder) / "at"):
                return ""
        except OSError as error:
            return str(error)


def need_tmpfs() -> None:
    """Skip the test where nothing can be mounted."""
    if refused_tmpfs():
        pytest.skip(f"needs a mounted file system: {refused_tmpfs()}")


def need_loop() -> None:
    """Skip the test where no image can be mounted."""
    if refused_loop():
        pytest.skip(f"needs a loop-mounted file system: {refused_loop()}")


@contextlib.contextmanager
def tmpfs(at: Path, kilobytes: int) -> Iterator[Path]:
    """Mount an empty file system in memory of a chosen size."""
    at.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", at)
    try:
        yield at
    finally:
        _unmount(at)


def resize(at: Path, kilobytes: int) -> None:
    """Give a file system in memory another size."""
    _mount("-o", f"remount,size={kilobytes}k", at)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only, for root too."""
    _mount("--bind", folder, folder)
    try:
        _mount("-o", "remount,bind,ro", folder)
        yield
    finally:
        _unmount(folder)


def new_image(path: Path, megabytes: int) -> Path:
    """Make the image of an empty ext4 file system."""
    with path.open("wb") as file:
        file.truncate(megabytes << 20)
    done = _run("mkfs.ext4", "-q", "-F", path)
    if done.returncode:
        raise OSError(f"mkfs.ext4 says: {done.stderr.strip()}")
    return path


@contextlib.contextmanager
def loop(image: Path, at: Path, options: str = "") -> Iterator[Path]:
    """Mount an image; the journal of one that was copied in use is replayed."""
    at.mkdir(parents=True, exist_ok=True)
    _mount("-o", ",".join(filter(None, ("loop", options))), image, at)
    try:
        yield at
    finally:
        _unmount(at)


def snapshot(image: Path, copy: Path) -> Path:
    """Copy what the disk of a mounted image holds at this moment, as after a power cut."""
    done = _run("cp", "--sparse=always", image, copy)
    if done.returncode:
        raise OSError(f"cp says: {done.stderr.strip()}")
    return copy


def pull(at: Path) -> None:
    """Take a mounted file system away while it is in use, as one pulls a USB stick."""
    _run("umount", "--lazy", at)


def _mount(*words: object) -> None:
    done = _run("mount", *words)
    if done.returncode:
        raise OSError(f"mount says: {done.stderr.strip()}")


def _unmount(at: Path) -> None:
    if str(at.absolute()) in mounted() and _run("umount", at).returncode:
        _run("umount", "--lazy", at)


def mounted() -> list[str]:
    """Return where file systems are mounted; a folder bound to itself counts."""
    lines = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    return [line.split()[1] for line in lines]
