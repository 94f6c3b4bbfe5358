"""A child process for a stranger's model: no network, and only so much memory and time."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from medsearch_desktop import errors, settings
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.imaging import limits

_PACKAGES = Path(__file__).parents[3]
# Flags of unshare(2): a user namespace of its own, and in it a network without any device.
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_CONNECTING = frozenset(("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"))
_LOOKING_UP = frozenset(
    ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
)
_ERRORS: dict[str, type[errors.EncoderError]] = {
    kind.__name__: kind
    for kind in (
        errors.EncoderError,
        errors.EncoderMissingError,
        errors.WeightsMissingError,
        errors.DeviceMemoryError,
    )
}


def run(
    module: str, arguments: Sequence[str], name: str, *, cap_bytes: int, deadline_s: float
) -> dict[str, Any]:
    """Run `python -m module CAP ARGUMENTS` and return the object that its `answer` printed.

    `name` is that of the model. Raises the EncoderError that the child met,
    or one that says that it ran out of time or ended without an answer.
    """
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(
            filter(None, (str(_PACKAGES), os.environ.get("PYTHONPATH", "")))
        ),
    }
    # -P: the working directory, which may be the model's own folder, holds no modules for us.
    command = [sys.executable, "-P", "-m", module, str(cap_bytes), *arguments]
    with tempfile.TemporaryFile() as said, contextlib.ExitStack() as held:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # closed by our end, whatever that is: the child ends with us
            stdout=said,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        held.callback(_end, child)
        if limits.keeper() == "job object":
            job = limits.JobObject(child.pid)
            held.callback(job.close)
            job.allow(cap_bytes)
        try:
            status = child.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise errors.EncoderError(
                name, f"reading it takes more than {deadline_s:,.0f} seconds"
            ) from None
        said.seek(0)
        return _answer(said.read(), status, name)


def answer(module: str, work: Callable[[list[str], list[str]], dict[str, Any]]) -> None:
    """In the child: do `work`, cut off, and print what came of it.

    `work` is given the arguments, and the list of what asked for the network.
    """
    cap_bytes, arguments = int(sys.argv[1]), sys.argv[2:]
    with contextlib.suppress(OSError, ValueError):
        limits.die_with(sys.stdin.fileno())
    settings.offline()
    asked = cut_off()
    if limits.keeper() == "itself":
        limits.cap_address_space(cap_bytes)
    found: dict[str, Any]
    try:
        with base.told(module):
            found = {"done": work(arguments, asked)}
    except errors.EncoderError as error:
        found = {"failed": [type(error).__name__, *map(str, error.args)]}
    sys.stdout.write("\n" + json.dumps(found) + "\n")
    sys.stdout.flush()


def cut_off() -> list[str]:
    """Leave this process without a network; returns the list of what asks for it from now on.

    Where the system allows it (Linux with user namespaces), the process gets
    a network that has no device, native code included; everywhere, Python's
    sockets are refused as if no network were there. There is no way back.
    """
    asked: list[str] = []
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK)

    def refuse(event: str, given: tuple[Any, ...]) -> None:
        if event in _LOOKING_UP:
            wanted = str(given[0])
        elif event in _CONNECTING:
            local = getattr(socket, "AF_UNIX", None)
            if local is not None and getattr(given[0], "family", None) == local:
                return
            wanted = ":".join(map(str, given[-1])) if isinstance(given[-1], tuple) else event
        else:
            return
        asked.append(wanted)
        raise OSError(errno.ENETUNREACH, f"the network is cut off ({wanted})")

    sys.addaudithook(refuse)
    return asked


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        child.stdin.close()
    if child.poll() is None:
        child.kill()
        child.wait()


def _answer(said: bytes, status: int, name: str) -> dict[str, Any]:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
        failed, done = found.get("failed"), found.get("done", {})
    except (IndexError, ValueError, AttributeError):
        how = f"signal {-status}" if status < 0 else f"status {status}"
        raise errors.EncoderError(
            name, f"the process that read it ended without an answer ({how})"
        ) from None
    if failed:
        raise _ERRORS.get(failed[0], errors.EncoderError)(name, str(failed[-1]))
    return dict(done)
