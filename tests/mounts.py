"""A folder on a full or a read-only file system, as one command sees it; also root cannot write."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_SCRIPTS = {
    # What lies there is carried over; then a file takes what is left.
    "full": (
        'mkdir "$0.before" && cp -a "$0/." "$0.before" && mount -t tmpfs -o size=8m none "$0" && '
        'cp -a "$0.before/." "$0" && { cat /dev/zero > "$0/filling" 2>/dev/null; exec "$@"; }'
    ),
    "read-only": 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"',
}


def seen_by(folder: Path, kind: str) -> list[str]:
    """Return what a command is put behind to see `folder` "full" or "read-only", or skip."""
    folder.mkdir(exist_ok=True)
    probe = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs none "$0"', str(folder)]
    if shutil.which("unshare") is None or subprocess.run(probe, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    return ["unshare", "-rm", "sh", "-c", _SCRIPTS[kind], str(folder)]
