"""The memory cap of each system, and the end of readers whose window is gone."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from multiprocessing import shared_memory
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import phantoms
import psutil
import pytest

from medsearch_desktop import errors
from medsearch_desktop.imaging import blocks, isolated, limits, reader_client


class FakeKernel32:
    """The calls of the Windows API that a job object takes, and what was asked of them."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.calls: list[str] = []
        self.flags: list[int] = []
        self.limits: list[int] = []
        self.closed: list[int] = []
        self.assigned: list[tuple[int, int]] = []

    def _answer(self, name: str, value: int) -> int:
        self.calls.append(name)
        return 0 if name == self.failing else value

    def CreateJobObjectW(self, security: None, name: None) -> int:  # noqa: N802
        return self._answer("CreateJobObjectW", 77)

    def OpenProcess(self, access: int, inherit: bool, process: int) -> int:  # noqa: N802
        assert access == 0x0101
        return self._answer("OpenProcess", process + 1000)

    def AssignProcessToJobObject(self, job: int, process: int) -> int:  # noqa: N802
        self.assigned.append((job, process))
        return self._answer("AssignProcessToJobObject", 1)

    def SetInformationJobObject(  # noqa: N802
        self, job: int, kind: int, pointer: Any, size: int
    ) -> int:
        assert (job, kind, size) == (77, 9, ctypes.sizeof(limits.ExtendedLimits))
        asked = ctypes.cast(pointer, ctypes.POINTER(limits.ExtendedLimits)).contents
        self.flags.append(asked.BasicLimitInformation.LimitFlags)
        self.limits.append(asked.ProcessMemoryLimit)
        return self._answer("SetInformationJobObject", 1)

    def CloseHandle(self, handle: int) -> int:  # noqa: N802
        self.closed.append(handle)
        return 1

    def GetLastError(self) -> int:  # noqa: N802
        return 5


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="sizes of a system of 64 bits")
def test_that_the_structures_of_windows_have_the_sizes_of_its_headers():
    assert ctypes.sizeof(limits.BasicLimits) == 64
    assert ctypes.sizeof(limits.IoCounters) == 48
    assert ctypes.sizeof(limits.ExtendedLimits) == 144
    assert limits.BasicLimits.LimitFlags.offset == 16
    assert limits.BasicLimits.MinimumWorkingSetSize.offset == 24
    assert limits.BasicLimits.Affinity.offset == 48
    assert limits.ExtendedLimits.ProcessMemoryLimit.offset == 112


def test_that_a_job_object_caps_memory_and_ends_its_process_with_us():
    api = FakeKernel32()
    job = limits.JobObject(12, api)
    assert api.assigned == [(77, 1012)]
    assert api.closed == [1012], "the handle of the process is not kept"
    assert api.flags == [0x2400]
    job.allow(5 << 30)
    assert api.flags[-1] == 0x2500
    assert api.limits[-1] == 5 << 30
    job.close()
    job.close()
    assert api.closed == [1012, 77]


@pytest.mark.parametrize(
    "failing",
    ["CreateJobObjectW", "SetInformationJobObject", "OpenProcess", "AssignProcessToJobObject"],
)
def test_that_a_job_object_that_cannot_be_set_up_says_so_and_leaves_no_handle(failing):
    api = FakeKernel32(failing)
    with pytest.raises(OSError, match="job object"):
        limits.JobObject(12, api)
    made = {"CreateJobObjectW": 77, "OpenProcess": 1012}
    assert sorted(api.closed) == sorted(
        value for name, value in made.items() if name in api.calls and name != failing
    )


def test_that_the_size_is_watched_where_a_job_object_cannot_be_had(monkeypatch, tmp_path):
    def refused(process_id: int) -> limits.JobObject:
        raise OSError(5, "a job object cannot be set up")

    monkeypatch.setattr(limits, "JobObject", refused)
    path = phantoms.write_picture(tmp_path / "a.png")
    with isolated.Readers(limit="job object") as readers:
        (found,) = readers.open_paths([path])
        assert readers.load(found.series[0]).ready.all()


def test_that_each_system_has_its_keeper(monkeypatch):
    kept = {}
    for system in ("linux", "win32", "darwin"):
        monkeypatch.setattr(sys, "platform", system)
        kept[system] = limits.keeper()
    assert kept == {"linux": "itself", "win32": "job object", "darwin": "watched"}


@pytest.mark.parametrize("stop", [signal.SIGSTOP, None])
def test_that_a_reader_that_does_not_answer_is_dead_when_the_loss_is_told(stop):
    reader = reader_client.Reader(1 << 30, limits.keeper())
    warmed = reader.replies("no job", 60.0, reader_client.never)
    assert [kind for kind, _ in warmed] == ["failed"]
    (child,) = (c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline()))
    if stop is not None:
        child.send_signal(stop)
        with pytest.raises(reader_client.LostError, match=r"longer than 0\.2 seconds"):
            list(reader.replies("no job", 0.2, reader_client.never))
    else:
        reader.close()
    assert not child.is_running()


def test_that_a_reader_that_still_starts_is_not_waited_for_when_cancelled():
    reader = reader_client.Reader(1 << 30, limits.keeper())
    assert list(reader.replies("no job", 60.0, lambda: True)) == []
    replies = reader.replies("no job", 60.0, reader_client.never)
    assert [kind for kind, _ in replies] == ["failed"], "it is of use later"
    reader.close()


@pytest.mark.parametrize(
    ("shared", "words"),
    [("tiny", "0 MB are free"), ("missing", "gives no shared memory"), ("full", "No space left")],
)
def test_that_a_machine_without_room_for_shared_pixels_says_so(monkeypatch, shared, words):
    def statvfs(path: str) -> SimpleNamespace:
        if shared == "missing":
            raise FileNotFoundError(2, "No such file or directory")
        return SimpleNamespace(f_bavail=1 if shared == "tiny" else 1 << 30, f_frsize=4096)

    def no_memory(**options: object) -> None:
        number = errno.ENOENT if shared == "missing" else errno.ENOSPC
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "statvfs", statvfs)
    monkeypatch.setattr(shared_memory, "SharedMemory", no_memory)
    with pytest.raises(errors.UnreadableFileError, match=words):
        blocks.Block("a.dcm", 1 << 20)


_WINDOW = """
import os, sys, threading, time
from medsearch_desktop import errors
from medsearch_desktop.imaging import blocks, isolated, reader_client
if __name__ == "__main__":
    readers = isolated.Readers()
    readers.warm()
    (found,) = readers.open_paths([sys.argv[1]])
    print("open", flush=True)
    time.sleep(60)
"""


def _alive(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux does it")
@pytest.mark.parametrize("state", ["idle", "stuck"])
def test_that_no_reader_outlives_a_window_that_was_killed(tmp_path, state):
    path = phantoms.write_picture(tmp_path / "a.png")
    script = tmp_path / "window.py"
    script.write_text(_WINDOW)
    window = subprocess.Popen(
        [sys.executable, "-P", str(script), str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(isolated.__file__).parents[2])},
    )
    with window:
        assert window.stdout is not None
        assert window.stdout.readline() == b"open\n"
        children = psutil.Process(window.pid).children()
        readers = [c for c in children if "spawn_main" in " ".join(c.cmdline())]
        assert readers
        if state == "stuck":
            # A stopped process runs no line of Python, like one that is lost in native code.
            for reader in readers:
                reader.send_signal(signal.SIGSTOP)
        window.kill()
        window.wait()
    end = time.monotonic() + 10
    while any(_alive(reader.pid) for reader in readers) and time.monotonic() < end:
        time.sleep(0.02)
    assert not [reader.pid for reader in readers if _alive(reader.pid)]


@pytest.mark.skipif(sys.platform != "linux", reason="the address space of Linux")
def test_that_the_cap_is_what_the_process_takes_and_what_it_may_take_more():
    code = (
        "import resource, pathlib\n"
        "from medsearch_desktop.imaging import limits\n"
        "limits.cap_address_space(300 << 20)\n"
        "bytearray(200 << 20)\n"
        "try:\n"
        "    bytearray(400 << 20)\n"
        "except MemoryError:\n"
        "    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(isolated.__file__).parents[2])},
    )
    assert done.stdout == "refused\n"
