"""The demo collection: real images out of Python packages, and phantoms that our code draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from medsearch_desktop import cases, settings
from medsearch_desktop.imaging import isolated

from . import demo_images, drawn, drawn_cases, drawn_files
from . import sources as inputs

NAME = "Demo"
# Words that have good answers in it.
SAMPLE_QUERIES = (
    "chest radiograph with pleural effusion",
    "brain MR",
    "subdural haematoma",
    "ultrasound of the heart",
    "stone in the left kidney",
)


def collection_folder(folders: settings.Folders) -> Path:
    """Return where the demo collection lies."""
    return folders.collections / "demo"


def files_folder(folders: settings.Folders) -> Path:
    """Return where the images of the demo collection lie."""
    return folders.home / "demo"


def count() -> int:
    """Return how many cases the demo holds when every package is there."""
    return len(demo_images.rows()) + drawn_cases.count()


def sources(folder: Path, readers: isolated.Readers) -> Iterator[cases.Case | inputs.Skipped]:
    """Yield the real cases, then the drawn ones; their files are written below `folder`."""
    yield from demo_images.found(folder, readers)
    for drawing in drawn_cases.drawings():
        yield drawn_case(drawing, folder / "drawn")


def drawn_case(drawing: drawn.Drawing, folder: Path) -> cases.Case:
    """Write a drawing below `folder` and return its case, of origin "drawn"."""
    refs = drawn_files.write(drawing, folder / drawing.key)
    return cases.Case(
        case_id=f"drawn/{drawing.key}",
        title=drawing.title,
        text=" ".join(drawing.sentences),
        labels=drawing.labels,
        facets=cases.Facets(
            modality=drawing.modality,
            view=drawing.view,
            body_part=drawing.body_part,
            origin="drawn",
        ),
        provenance=cases.Provenance("MIT (MedSearch Desktop)", "Drawn by MedSearch Desktop"),
        images=tuple(cases.CaseImage(refs[plane]) for plane in drawing.shown),
        study=f"drawn/{drawing.key}",
    )


def describe(found: Iterable[cases.Case]) -> list[str]:
    """Return sentences: what the demo collection holds, from where and under which licences."""
    real: list[cases.Case] = []
    drawn_count = 0
    for case in found:
        if case.facets.origin == "drawn":
            drawn_count += 1
        else:
            real.append(case)
    files = sum(int(dict(case.extra).get("files", "1")) for case in real)
    kinds = Counter(case.facets.modality or "other" for case in real)
    said = [
        f"The demo collection holds {len(real)} real series and {drawn_count} drawn phantoms.",
        f"The real ones are {', '.join(f'{n} {kind}' for kind, n in kinds.most_common())}; "
        f"{files - len(real)} further files show the same pictures in other encodings "
        "and are folded.",
        "Drawn ones say so in their titles; the filter origin=real leaves them out.",
    ]
    licences: dict[str, Counter[str]] = {}
    for case in real:
        licences.setdefault(case.provenance.source, Counter())[case.provenance.licence] += 1
    for source, counted in licences.items():
        named = "; ".join(f"{licence} ({number})" for licence, number in counted.items())
        said.append(f"Python package {source}: {counted.total()} series. {named}.")
    return said
