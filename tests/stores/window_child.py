"""A program that searches and reads like the window does, says so, and is killed for it."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from medsearch_desktop import queries
from medsearch_desktop.imaging import isolated
from medsearch_desktop.worker import client, messages


def main() -> None:
    """Read the studies and search the collection that are named, again and again."""
    home, path, studies = sys.argv[1:]
    answered = threading.Event()

    def heard(told: messages.FromWorker) -> None:
        if isinstance(told, messages.Answer):
            answered.set()

    searching = client.WorkerClient(Path(home), heard, on_lost=lambda: None)
    with isolated.Readers(2) as readers:
        ticket = 0
        while True:
            ticket += 1
            answered.clear()
            asked = queries.Query(terms=(queries.TextTerm("red"),), collections=(path,))
            searching.send(messages.Search(ticket, asked))
            found = list(readers.open_paths([studies]))
            readers.load(found[-1].series[0])
            answered.wait(30)
            os.write(1, (json.dumps({"round": ticket}) + "\n").encode())


if __name__ == "__main__":
    main()
