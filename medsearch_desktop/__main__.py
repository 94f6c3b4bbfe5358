"""Starts the window; Qt is imported inside main(): spawned children import this file too."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the window with the command line's arguments."""
    import multiprocessing

    # First: a spawned child of the frozen program arrives here too and goes no further.
    multiprocessing.freeze_support()
    from medsearch_desktop.gui import app

    return app.main()


if __name__ == "__main__":
    sys.exit(main())
