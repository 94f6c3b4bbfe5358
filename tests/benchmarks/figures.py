"""One measured figure, and the CPU time it is made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Figure:
    """A measured value in `unit`; `bar` is the largest allowed value, None where there is none."""

    name: str
    value: float
    unit: str
    bar: float | None = None

    @property
    def is_met(self) -> bool:
        return self.bar is None or self.value <= self.bar

    def line(self) -> str:
        bar = "" if self.bar is None else f"<= {self.bar:g}"
        verdict = "" if self.bar is None else ("met" if self.is_met else "MISSED")
        return f"| {self.name} | {self.value:.2f} {self.unit} | {bar} | {verdict} |"


def cpu_ms(work: Callable[[], object], repeats: int) -> np.ndarray:
    """Return the CPU milliseconds of this process for each of `repeats` calls."""
    spent = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        spent.append(1000 * (time.process_time() - began))
    return np.array(spent)
