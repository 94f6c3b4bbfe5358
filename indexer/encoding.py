"""Batches of prepared cases -> their vectors, on as many threads as the encoder can use."""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from medsearch_desktop.engine import views
from medsearch_desktop.engine.encoders import base

from . import rendering

# So many vectors are remembered, for pictures and words that come again: figures that two cases
# share, one caption under many of them, and the few phrases that all tags make.
_REMEMBERED = 4096
_MOST_THREADS = 16
_ON_CPU, _ON_GPU = 32, 256


@dataclass(frozen=True, eq=False)
class Encoded:
    """A prepared case with its vectors: (n, d) of its images, (d,) of its text and of its tags."""

    prepared: rendering.Prepared
    images: np.ndarray | None
    text: np.ndarray | None
    tags: np.ndarray | None


class Encoding:
    """Encodes batch after batch in the background and gives them back in their order.

    No picture and no text is encoded again while it is remembered. A CPU
    encoder of onnxruntime may be called by several threads, and by one for
    each core it is: a network alone does not fill two cores. Any other is
    called by one thread, beside which cases are read.
    """

    def __init__(self, encoder: base.Encoder) -> None:
        self._encoder = encoder
        abilities = encoder.card.abilities
        self._sees, self._reads = "images" in abilities, "texts" in abilities
        self._threads = threads(encoder.card)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="encoding")
        self._running: deque[tuple[_Batch, Future[dict[Hashable, np.ndarray]]]] = deque()
        self._known: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._coming: set[Hashable] = set()

    @property
    def is_full(self) -> bool:
        """Tell whether a batch should be taken before another is given."""
        return len(self._running) > self._threads

    def give(self, cases: Sequence[rendering.Prepared]) -> None:
        """Begin to encode a batch."""
        batch = _Batch(tuple(cases), self._sees, self._reads)
        pictures, texts = batch.pictures, batch.texts
        fresh = [key for key in (*pictures, *texts) if self._is_fresh(key)]
        self._coming.update(fresh)
        new_pictures = {key: pictures[key] for key in fresh if key in pictures}
        new_texts = [key for key in fresh if key not in pictures]
        self._running.append((batch, self._pool.submit(self._vectors, new_pictures, new_texts)))

    def _is_fresh(self, key: Hashable) -> bool:
        if key in self._known:
            self._known.move_to_end(key)
        return key not in self._known and key not in self._coming

    def _vectors(
        self, pictures: dict[Hashable, np.ndarray], texts: Sequence[Hashable]
    ) -> dict[Hashable, np.ndarray]:
        found: dict[Hashable, np.ndarray] = {}
        if pictures:
            rows = base.picture_vectors(self._encoder, list(pictures.values()))
            found.update(zip(pictures, rows, strict=True))
        if texts:
            rows = base.text_vectors(self._encoder, [str(text) for text in texts])
            found.update(zip(texts, rows, strict=True))
        return found

    def take(self) -> list[Encoded]:
        """Return the vectors of the oldest batch, [] when there is none; raises EncoderError."""
        if not self._running:
            return []
        batch, future = self._running.popleft()
        found = future.result()
        self._coming.difference_update(found)
        self._known.update(found)
        encoded = [batch.encoded(one, self._known) for one in batch.cases]
        self._forget()
        return encoded

    def _forget(self) -> None:
        """Drop the oldest vectors, but none that a batch under way was given without."""
        too_many = len(self._known) - _REMEMBERED
        if too_many <= 0:
            return
        needed = {key for batch, _ in self._running for key in (*batch.pictures, *batch.texts)}
        for key in [key for key in self._known if key not in needed][:too_many]:
            del self._known[key]

    def close(self) -> None:
        """Drop what has not begun and wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, eq=False)
class _Batch:
    cases: tuple[rendering.Prepared, ...]
    sees: bool
    reads: bool

    @property
    def pictures(self) -> dict[Hashable, np.ndarray]:
        return {
            image.ref: picture
            for one in self.cases
            if self.sees
            for image, picture in zip(one.case.images, one.pictures, strict=True)
        }

    @property
    def texts(self) -> dict[Hashable, None]:
        said = [text for one in self.cases for text in (one.case.text, _phrase(one))]
        return dict.fromkeys(text for text in said if text and self.reads)

    def encoded(self, one: rendering.Prepared, known: OrderedDict[Hashable, np.ndarray]) -> Encoded:
        refs = [image.ref for image in one.case.images]
        return Encoded(
            one,
            np.stack([known[ref] for ref in refs]) if self.sees and refs else None,
            known[one.case.text] if self.reads and one.case.text else None,
            known[_phrase(one)] if self.reads and _phrase(one) else None,
        )


def _phrase(one: rendering.Prepared) -> str:
    return views.tag_phrase(one.case.facets)


def batch_size(card: base.EncoderCard) -> int:
    """Return how many pictures an encoder is best given at once.

    A GPU gets several of its own batches, so that pictures are made ready for
    the next while it works on one.
    """
    return _ON_CPU if card.device == "cpu" else _ON_GPU


def threads(card: base.EncoderCard) -> int:
    """Return by how many threads an encoder is best called."""
    if card.runtime != "onnxruntime" or card.device != "cpu":
        return 1
    return min(_MOST_THREADS, os.cpu_count() or 1)
