"""Notes every internet address that a process or its children bind or connect to.

With MEDSEARCH_REFUSE the system's answer is that there is no network, as in a namespace of one's
own.
"""

import os
import sys

_report = os.environ.get("MEDSEARCH_AUDIT")


def _note(event: str, arguments: tuple) -> None:
    # Unix sockets have a path; internet ones a tuple of host and port.
    if event in ("socket.bind", "socket.connect") and isinstance(arguments[1], tuple):
        with open(_report, "a", encoding="utf-8") as file:
            file.write(f"{event} {arguments[1]}\n")
        if os.environ.get("MEDSEARCH_REFUSE"):
            raise OSError(101, "Network is unreachable")


if _report:
    with open(_report, "a", encoding="utf-8") as _file:
        _file.write("started\n")
    sys.addaudithook(_note)
