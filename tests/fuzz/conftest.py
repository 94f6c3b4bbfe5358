"""The fixtures of the window, for the runs that drop damaged files into it."""

from __future__ import annotations

from gui.conftest import dressed, drop, pictures, program, toys

__all__ = ["dressed", "drop", "pictures", "program", "toys"]
