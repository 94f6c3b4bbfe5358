"""What grows in a process while it works: resident memory, handles and threads."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field

import numpy as np
import psutil

MB = 1 << 20


@dataclass
class Growth:
    """Samples of one process beside the number of operations done; 0 samples at first.

    A process that is replaced (a reader) is followed by giving its new id.
    """

    name: str
    operations: list[int] = field(default_factory=list)
    resident_mb: list[float] = field(default_factory=list)
    handles: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def sample(self, done: int, process_id: int) -> None:
        """Note how large the process is after `done` operations."""
        gc.collect()
        process = psutil.Process(process_id)
        self.operations.append(done)
        self.resident_mb.append(process.memory_info().rss / MB)
        self.handles.append(process.num_fds())
        self.threads.append(process.num_threads())

    def slope_mb(self) -> float:
        """Return MB gained per 1,000 operations: least squares over the samples after a third."""
        after = len(self.operations) // 3
        done = np.array(self.operations[after:], dtype=np.float64)
        return 1000 * float(np.polyfit(done, self.resident_mb[after:], 1)[0])

    def handles_gained(self) -> int:
        """Return the most handles of the last third less the most of the middle third."""
        return self._gained(self.handles)

    def threads_gained(self) -> int:
        """Return the most threads of the last third less the most of the middle third."""
        return self._gained(self.threads)

    def row(self) -> str:
        """Return one line of the printed table."""
        return (
            f"| {self.name} | {self.operations[-1]:,} | {self.resident_mb[0]:.0f} -> "
            f"{self.resident_mb[-1]:.0f} MB | {self.slope_mb():+.3f} MB | "
            f"{self.handles[-1]} ({self.handles_gained():+d}) | "
            f"{self.threads[-1]} ({self.threads_gained():+d}) |"
        )

    def _gained(self, values: list[int]) -> int:
        third = len(values) // 3
        return max(values[-third:]) - max(values[third : 2 * third])


def head() -> str:
    """Return the head of the printed table."""
    return (
        "\n| process | operations | resident | slope per 1,000 | handles (gained) "
        "| threads (gained) |\n|---|---|---|---|---|---|"
    )
