"""Starts the command line: no library may go online, then the commands."""

from __future__ import annotations

import sys

from medsearch_desktop import settings


def main() -> int:
    """Run one command and return its exit status."""
    settings.offline()
    from . import cli

    return cli.main(sys.argv[1:])


# Reader processes import this file again when they are started.
if __name__ == "__main__":
    sys.exit(main())
