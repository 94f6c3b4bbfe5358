"""Prints speed and memory beside their bars; exits 1 when one is missed.

With names (`encoders`, `runtimes`, `volumes`, `building`, `querying`, `windows`, `loads`) it
measures only those.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import building
import encoders
import loads
import querying
import runtimes
import volumes
import windows

MEASURED = {
    module.__name__: module.measure
    for module in (encoders, runtimes, volumes, building, querying, windows, loads)
}


def machine() -> str:
    """Name processor, cores, system and the load that the figures were taken under."""
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [n for n in cpuinfo.read_text("utf-8").splitlines() if n.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}{load}"


def main() -> int:
    """Measure what is named, or everything, and print it as a table."""
    names = sys.argv[1:] or list(MEASURED)
    if unknown := [name for name in names if name not in MEASURED]:
        sys.stderr.write(f"{unknown[0]} is none of {', '.join(MEASURED)}.\n")
        return 2
    sys.stdout.write(f"{time.strftime('%Y-%m-%d')}, {machine()}\n\n")
    sys.stdout.write("| Measured | Figure | Bar | |\n|---|---|---|---|\n")
    is_met = True
    for name in names:
        for figure in MEASURED[name]():
            sys.stdout.write(figure.line() + "\n")
            sys.stdout.flush()
            is_met &= figure.is_met
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
