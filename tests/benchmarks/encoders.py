"""The encoder that comes with the program: one picture, one text, its files, and its start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import figures
import numpy as np

from medsearch_desktop import settings
from medsearch_desktop.engine.encoders import base

_NOWHERE = Path("no-models")
_REPEATS = 60
_TEXT = "Frontal chest radiograph with a small left pleural effusion and no pneumothorax, number {}"

# What a search process does once: the code and the weights, until the first vectors are there.
_START = """
import json, time
from pathlib import Path
import numpy as np
began = time.process_time()
from medsearch_desktop.engine.encoders import base
encoder = base.find("compact", models=Path("no-models"), device="cpu")
loaded = time.process_time()
encoder.encode_images(np.zeros((1, 64, 64, 3), np.uint8))
encoder.encode_texts(["chest"])
print(json.dumps({"load": loaded - began, "first": time.process_time() - loaded}))
"""


def measure() -> Iterator[figures.Figure]:
    """Yield the CPU time of one picture and one text, the size of the model, and its start."""
    encoder = base.find("compact", models=_NOWHERE, device="cpu")
    draw = np.random.default_rng(0)
    smooth = draw.integers(0, 256, (_REPEATS, 16, 16, 1), np.uint8)
    pictures = iter(np.repeat(np.kron(one, np.ones((32, 32, 1), np.uint8)), 3, 2) for one in smooth)
    texts = iter(_TEXT.format(number) for number in range(_REPEATS))
    warm = 10
    by_picture = figures.cpu_ms(lambda: encoder.encode_images(next(pictures)[None]), _REPEATS)
    by_text = figures.cpu_ms(lambda: encoder.encode_texts([next(texts)]), _REPEATS)
    for name, spent, bar in (("picture of 512 x 512", by_picture, 20), ("text", by_text, 10)):
        middle = float(np.median(spent[warm:]))
        yield figures.Figure(f"compact: one {name}, median", middle, "ms CPU", bar)
    folder = settings.resource(base.BUILT_IN["compact"])
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    yield figures.Figure("compact: all its files", size / 1e6, "MB", 45)
    done = subprocess.run(
        [sys.executable, "-c", _START], check=True, capture_output=True, text=True
    )
    took = json.loads(done.stdout)
    yield figures.Figure("compact: code and weights in a new process", took["load"], "s CPU")
    yield figures.Figure("compact: the first picture and text there", took["first"], "s CPU")
