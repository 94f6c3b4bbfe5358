"""Small collections of coloured pictures with captions, for tests of search and worker."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import toy_encoder
from PIL import Image

from medsearch_desktop import cases
from medsearch_desktop.engine import collection
from medsearch_desktop.engine.encoders import base

COLOURS = list(toy_encoder.COLOURS)
FINDINGS = ("effusion", "fracture", "nodule", "pneumothorax", "oedema")


def picture(colour: str, size: int = 16) -> np.ndarray:
    """Return a square of one colour, uint8 (size, size, 3)."""
    shown = np.array(toy_encoder.COLOURS[colour], np.uint8)
    return np.ascontiguousarray(np.broadcast_to(shown, (size, size, 3)))


def case(number: int, folder: Path = Path("/pictures")) -> cases.Case:
    """Return case `number`: its colour and finding follow from the number."""
    colour, finding = COLOURS[number % 8], FINDINGS[number % 5]
    return cases.Case(
        case_id=f"case-{number}",
        title=f"{colour} square",
        text=f"A {colour} square with {finding}, number {number}.",
        labels=(finding, "square"),
        facets=cases.Facets(modality="CT" if number % 2 else "MR", age_years=40.0 + number % 3),
        provenance=cases.Provenance("CC0-1.0", "toys", "https://example.org/toys"),
        images=(cases.CaseImage(cases.ImageRef(str(folder / f"{colour}.png"))),),
        patient=f"p{number // 2}",
    )


def add(
    writer: collection.CollectionWriter, numbers: Sequence[int], folder: Path = Path("/pictures")
) -> None:
    """Add cases to an open writer, with their vectors, that of their tags, and a thumbnail."""
    encoder = toy_encoder.ToyEncoder()
    for number in numbers:
        one = case(number, folder)
        writer.add(
            one,
            encoder.encode_images(picture(COLOURS[number % 8])[None]),
            encoder.encode_texts([one.text]),
            [f"thumbnail {number}".encode()],
            tag_vector=encoder.encode_texts([one.facets.modality]),
        )


def study(number: int, folder: Path = Path("/pictures")) -> cases.Case:
    """Return case `number` with three images: of its own colour and of the next two."""
    chosen = [COLOURS[(number + step) % 8] for step in range(3)]
    images = tuple(cases.CaseImage(cases.ImageRef(str(folder / f"{c}.png"))) for c in chosen)
    return dataclasses.replace(case(number), images=images)


def add_studies(
    writer: collection.CollectionWriter, numbers: Sequence[int], folder: Path = Path("/pictures")
) -> None:
    """Add studies to an open writer, with their vectors and that of their tags."""
    encoder = toy_encoder.ToyEncoder()
    for number in numbers:
        one = study(number, folder)
        shown = [picture(Path(image.ref.path).stem) for image in one.images]
        writer.add(
            one,
            encoder.encode_images(np.stack(shown)),
            encoder.encode_texts([one.text]),
            tag_vector=encoder.encode_texts([one.facets.modality]),
        )


def write(
    path: Path,
    numbers: Sequence[int],
    *,
    name: str = "Toys",
    card: base.EncoderCard | None = None,
    folder: Path = Path("/pictures"),
) -> collection.Manifest:
    """Write, or add, one segment of cases and commit it."""
    chosen = card or toy_encoder.ToyEncoder().card
    with collection.CollectionWriter(path, name=name, card=chosen, sources=["toys"]) as writer:
        add(writer, numbers, folder)
        return writer.commit()


def write_pictures(folder: Path) -> Path:
    """Write one PNG a colour, as the cases name them, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for colour in COLOURS:
        Image.fromarray(picture(colour)).save(folder / f"{colour}.png")
    return folder
