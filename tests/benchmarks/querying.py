"""A warm query over 3,000 cases: all but the encoder."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import figures
import numpy as np

from medsearch_desktop import cases, queries
from medsearch_desktop.engine import collection, search
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.imaging import isolated

CASES, DIMENSION = 3000, 512
_SITES = ("lung", "liver", "brain", "kidney", "femur", "breast", "spine", "heart")
_FINDINGS = ("effusion", "nodule", "fracture", "oedema", "mass", "infarct", "cyst", "normal")


class SeededEncoder:
    """Unit vectors of 512 numbers drawn from a seed that the text gives: no network, no time."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.card = base.EncoderCard(
            name="seeded",
            kind="benchmark",
            digest=hashlib.sha256(b"seeded").hexdigest(),
            dimension=DIMENSION,
            abilities=("images", "texts"),
        )

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        began = time.process_time()
        rows = []
        for text in texts:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
            rows.append(np.random.default_rng(seed).normal(size=DIMENSION))
        vectors = np.array(rows, dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.spent += time.process_time() - began
        return vectors

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        return self.encode_texts([hashlib.sha256(image.tobytes()).hexdigest() for image in images])


def _case(number: int) -> cases.Case:
    site, finding = _SITES[number % 8], _FINDINGS[number // 8 % 8]
    text = f"Case {number}: {finding} of the {site}, seen on slice {number % 37}, stable since."
    return cases.Case(
        case_id=f"case-{number}",
        title=f"{finding.title()} of the {site}",
        text=text,
        labels=(finding, site),
        facets=cases.Facets(modality=("CT", "MR", "DX")[number % 3], body_part=site),
        images=(cases.CaseImage(cases.ImageRef(f"case-{number}.png")),),
    )


def measure() -> Iterator[figures.Figure]:
    """Yield the CPU time of a query by words and vectors, and of one with a filter and a thumb."""
    encoder = SeededEncoder()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "collection"
        with collection.CollectionWriter(target, name="bench", card=encoder.card) as writer:
            for number in range(CASES):
                case = _case(number)
                vector = encoder.encode_texts([case.text])
                writer.add(case, vector, vector[0])
            writer.commit()
        opened = collection.open_collection(target)
        readers = isolated.Readers()

        def ask(*, is_filtered: bool) -> None:
            query = queries.Query(
                terms=(
                    queries.TextTerm("pleural effusion of the lung"),
                    *([queries.CaseTerm("case-8")] if is_filtered else []),
                ),
                filters=(queries.Filter("modality", "CT"),) if is_filtered else (),
            )
            *_, last = search.search(query, [opened], lambda card: encoder, readers)
            assert len(last.hits) == query.limit

        for is_filtered in (False, True):
            ask(is_filtered=is_filtered)
            encoder.spent = 0.0
            spent = figures.cpu_ms(lambda which=is_filtered: ask(is_filtered=which), 100)
            name = "with a filter and a thumb" if is_filtered else "by words and vectors"
            own = spent - 1000 * encoder.spent / 100
            yield figures.Figure(
                f"warm query over {CASES} cases {name}, all but the encoder, p95",
                float(np.percentile(own, 95)),
                "ms CPU",
                20,
            )
        readers.close()
        opened.close()
