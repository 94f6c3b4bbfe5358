"""A model tried in a process without a network: does it run, and what are its vectors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import base, isolation, reference

_DEADLINE_S = 900.0
# What the child may take: torch and its libraries, and beside the weights a few copies of them.
_ROOM_BYTES, _COPIES = 8 << 30, 4


@dataclass(frozen=True)
class Trial:
    """What a model said of itself, and its vectors, in fp32 on the CPU."""

    card: base.EncoderCard
    vectors: reference.Vectors
    notices: tuple[str, ...]


def run(folder: Path, name: str) -> Trial:
    """Load the model in a child that is cut off, and let it encode picture and text.

    Raises EncoderError where it fails, asks for the network or gives what are
    no vectors, WeightsMissingError where a file is missing.
    """
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    done = isolation.run(
        __name__,
        [str(folder)],
        name,
        cap_bytes=_ROOM_BYTES + _COPIES * size,
        deadline_s=_DEADLINE_S,
    )
    if done["asked"]:
        wanted = ", ".join(done["asked"])[:200]
        raise errors.EncoderError(name, f"it asks for the network ({wanted}), which it must not")
    plain = done["card"]
    fields = {key: tuple(plain[key]) for key in ("abilities", "modalities")}
    calibration = tuple((str(key), float(number)) for key, number in plain["calibration"])
    return Trial(
        base.EncoderCard(**(plain | fields | {"calibration": calibration})),
        reference.Vectors(
            plain["digest"], tuple(done["vectors"]["picture"]), tuple(done["vectors"]["text"])
        ),
        tuple(done["notices"]),
    )


def _try(arguments: list[str], asked: list[str]) -> dict[str, Any]:
    """In the child: load the model and encode."""
    encoder = base.load_folder(Path(arguments[0]), device="cpu", precision="fp32")
    vectors = reference.seen(encoder)
    return {
        "card": dataclasses.asdict(encoder.card),
        "vectors": dataclasses.asdict(vectors),
        "notices": base.taken_notices(encoder),
        "asked": asked,
    }


if __name__ == "__main__":
    isolation.answer("model", _try)
