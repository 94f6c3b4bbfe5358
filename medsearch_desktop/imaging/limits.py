"""What a reader process may take and how long it may live: the memory cap of each system."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Literal

# Who keeps the cap: the process itself by its address space (Linux), a job object around
# it (Windows), or we, by looking at its resident size every now and then.
Keeper = Literal["itself", "job object", "watched"]

_PROCESS_MEMORY, _DIE_ON_UNHANDLED, _KILL_ON_CLOSE = 0x100, 0x400, 0x2000
_EXTENDED_LIMITS = 9
_SET_QUOTA_AND_TERMINATE = 0x0100 | 0x0001


def keeper() -> Keeper:
    """Return who keeps the memory cap on this system."""
    kept: dict[str, Keeper] = {"linux": "itself", "win32": "job object"}
    return kept.get(sys.platform, "watched")


def cap_address_space(cap_bytes: int) -> None:
    """Allow this process `cap_bytes` more address space than it takes now (Linux)."""
    import resource

    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    allowed = pages * resource.getpagesize() + cap_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        allowed = min(allowed, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))


def die_with(sentinel: int) -> None:
    """End this process when the other end of the pipe `sentinel` is closed, as its death does.

    On Linux the kernel does it, whatever native code runs here. (The signal
    of PR_SET_PDEATHSIG comes when the starting *thread* ends, which is no
    use: readers are started by threads that pass.) Elsewhere a thread waits
    for it; on Windows the job object of the parent does the same.
    """
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([sentinel], [], [], 0)[0]:
            os._exit(1)
    elif sys.platform != "win32":
        waiting = threading.Thread(target=_wait_for, args=(sentinel,), name="parent", daemon=True)
        waiting.start()


def _wait_for(sentinel: int) -> None:
    select.select([sentinel], [], [])
    os._exit(1)


class IoCounters(ctypes.Structure):
    """IO_COUNTERS of the Windows API."""

    _fields_ = tuple(
        (f"{what}{kind}Count", ctypes.c_uint64)
        for kind in ("Operation", "Transfer")
        for what in ("Read", "Write", "Other")
    )


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION of the Windows API."""

    _fields_ = (
        ("PerProcessUserTimeLimit", ctypes.c_int64),
        ("PerJobUserTimeLimit", ctypes.c_int64),
        ("LimitFlags", ctypes.c_uint32),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", ctypes.c_uint32),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", ctypes.c_uint32),
        ("SchedulingClass", ctypes.c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION of the Windows API."""

    _fields_ = (
        ("BasicLimitInformation", BasicLimits),
        ("IoInfo", IoCounters),
        ("ProcessMemoryLimit", ctypes.c_size_t),
        ("JobMemoryLimit", ctypes.c_size_t),
        ("PeakProcessMemoryUsed", ctypes.c_size_t),
        ("PeakJobMemoryUsed", ctypes.c_size_t),
    )


class JobObject:
    """A job object of Windows around one process: its memory cap, and its end with ours.

    The system refuses it more committed memory than allowed, which Python
    tells as MemoryError, and ends it when the last handle to the job is
    closed, as the end of our process does. Raises OSError where a call fails.
    Tried against a stand-in of the Windows API only.
    """

    def __init__(self, process_id: int, kernel32: Any = None) -> None:
        self._api = kernel32 if kernel32 is not None else _kernel32()
        self._job = self._api.CreateJobObjectW(None, None)
        self._check(self._job)
        try:
            self._set(_KILL_ON_CLOSE | _DIE_ON_UNHANDLED, 0)
            process = self._api.OpenProcess(_SET_QUOTA_AND_TERMINATE, False, process_id)
            self._check(process)
            try:
                self._check(self._api.AssignProcessToJobObject(self._job, process))
            finally:
                self._api.CloseHandle(process)
        except OSError:
            self.close()
            raise

    def allow(self, limit_bytes: int) -> None:
        """Set the committed memory that the process may have in all."""
        self._set(_KILL_ON_CLOSE | _DIE_ON_UNHANDLED | _PROCESS_MEMORY, limit_bytes)

    def close(self) -> None:
        """Close the job, which ends its process; may be called twice."""
        if self._job:
            self._api.CloseHandle(self._job)
            self._job = None

    def _set(self, flags: int, limit_bytes: int) -> None:
        limits = ExtendedLimits()
        limits.BasicLimitInformation.LimitFlags = flags
        limits.ProcessMemoryLimit = limit_bytes
        size = ctypes.sizeof(limits)
        self._check(
            self._api.SetInformationJobObject(
                self._job, _EXTENDED_LIMITS, ctypes.byref(limits), size
            )
        )

    def _check(self, result: Any) -> None:
        if not result:
            raise OSError(self._api.GetLastError(), "a job object cannot be set up")


def _kernel32() -> Any:
    """Return the Windows API with the types of the calls used here."""
    from ctypes import wintypes

    api = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    handle, truth = wintypes.HANDLE, wintypes.BOOL
    api.CreateJobObjectW.restype = handle
    api.CreateJobObjectW.argtypes = [ctypes.c_void_p, wintypes.LPCWSTR]
    api.OpenProcess.restype = handle
    api.OpenProcess.argtypes = [wintypes.DWORD, truth, wintypes.DWORD]
    api.AssignProcessToJobObject.restype = truth
    api.AssignProcessToJobObject.argtypes = [handle, handle]
    api.SetInformationJobObject.restype = truth
    api.SetInformationJobObject.argtypes = [handle, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD]
    api.CloseHandle.argtypes = [handle]
    return api
