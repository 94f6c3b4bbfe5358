"""Terms of a query -> unit vectors, by the encoder of each collection."""

from __future__ import annotations

import dataclasses
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from medsearch_desktop import errors, queries
from medsearch_desktop.engine import manifest, snapshot, views
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.imaging import isolated

EncoderFor = Callable[[base.EncoderCard], base.Encoder]
PICTURED = (queries.ImageTerm, queries.VolumeTerm)
Pictured = queries.ImageTerm | queries.VolumeTerm

_REMEMBERED = 64
_BATCH = 8


class Memory:
    """Keeps the vectors of the last terms, so that a thumb does not read a volume again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[object, np.ndarray] = OrderedDict()

    def get(self, term: queries.Term, digest: str) -> np.ndarray | None:
        """Return what `keep` was given for this term, file and encoder, else None."""
        key = _memory_key(term, digest)
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, term: queries.Term, digest: str, vectors: np.ndarray) -> None:
        self._kept[_memory_key(term, digest)] = vectors
        while len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)


def _memory_key(term: queries.Term, digest: str) -> object:
    path = ""
    if isinstance(term, queries.ImageTerm):
        path = term.ref.path
    elif isinstance(term, queries.VolumeTerm):
        path = term.path
    try:
        found = os.stat(path.split("!/")[0].split("#")[0]) if path else None
    except OSError:
        found = None
    stamp = (found.st_mtime_ns, found.st_size) if found else None
    return dataclasses.replace(term, weight=1.0), digest, stamp


class Encoders:
    """The encoders of the collections asked, each loaded once; `notices` tells what is missing.

    An encoder that fails while it encodes is left out from there on.
    `left_out` is the last error for which vectors are not searched.
    """

    def __init__(
        self, opened: Sequence[snapshot.Collection], encoder_for: EncoderFor, memory: Memory
    ) -> None:
        self.notices: list[str] = []
        self.left_out: errors.MedsearchError | None = None
        self._memory = memory
        self._found: dict[str, base.Encoder] = {}
        self._names: dict[str, list[str]] = {}
        self._recipes: dict[str, views.Recipe] = {}
        for collection in opened:
            described = collection.manifest
            if collection.notice and not collection.has_vectors:
                reason = "its vectors are damaged, so that pictures cannot be searched"
                self.left_out = errors.CollectionDamagedError(str(collection.path), reason)
                continue
            self._names.setdefault(described.encoder.digest, []).append(described.name)
            if len(self._names[described.encoder.digest]) == 1:
                self._load(described.encoder, encoder_for)
            self._note_recipe(described)

    def _note_recipe(self, described: manifest.Manifest) -> None:
        """Keep how a collection's pictures were made ready, for those that are asked of it."""
        try:
            recipe = views.Recipe.read(described.views)
        except ValueError:
            recipe = views.recipe_for(described.encoder)
        kept = self._recipes.setdefault(described.encoder.digest, recipe)
        if dataclasses.replace(recipe, slices=kept.slices) != kept:
            self.notices.append(
                f"{described.name}: its pictures were prepared in another way than those of "
                f"{self._names[described.encoder.digest][0]}, which are asked with it; its hits "
                "would be better alone."
            )

    def _load(self, card: base.EncoderCard, encoder_for: EncoderFor) -> None:
        try:
            encoder = encoder_for(card)
            base.check_fits(card, encoder.card)
            self._found[card.digest] = encoder
        except (errors.EncoderError, errors.EncoderMismatchError) as error:
            self._leave_out(card.digest, error)

    def _leave_out(self, digest: str, error: errors.MedsearchError) -> None:
        self.left_out = error
        self._found.pop(digest, None)
        names = ", ".join(self._names[digest])
        self.notices.append(f"{names}: searched by words only. {errors.told(error)}")

    def _tell_wordless(self, digest: str, card: base.EncoderCard) -> None:
        told = (
            f"{', '.join(self._names[digest])}: words are searched in its texts only, because its "
            f"encoder {card.name} sees pictures and reads no words."
        )
        if told not in self.notices:
            self.notices.append(told)

    def _note(self, encoder: base.Encoder) -> None:
        """Hand on what an encoder had to work around."""
        self.notices += base.taken_notices(encoder)

    @property
    def digests(self) -> tuple[str, ...]:
        """Return the digests of the encoders that can be used."""
        return tuple(self._found)

    def text(self, term: queries.TextTerm) -> dict[str, np.ndarray]:
        """Return the vector (1, d) of words, by the digest of each encoder that reads texts."""
        found = {}
        for digest, encoder in list(self._found.items()):
            if "texts" not in encoder.card.abilities:
                self._tell_wordless(digest, encoder.card)
                continue
            vectors = self._memory.get(term, digest)
            if vectors is None:
                try:
                    vectors = base.text_vectors(encoder, [term.words])
                except errors.EncoderError as error:
                    self._leave_out(digest, error)
                    continue
                self._memory.keep(term, digest, vectors)
                self._note(encoder)
            found[digest] = vectors
        return found

    def image(self, term: queries.ImageTerm, readers: isolated.Readers) -> dict[str, np.ndarray]:
        """Return the vector (1, d) of an image, by the digest of each encoder that sees.

        Raises UnreadableFileError, and EncoderError when none that sees is left.
        """
        known = self.remembered(term)
        if known is None:
            known = self.images([picture for _, picture in views.render(term, readers)])
            self.remember(term, known)
        return known

    def remembered(self, term: Pictured) -> dict[str, np.ndarray] | None:
        """Return the vectors of a term that every encoder has seen whole, else None."""
        known = {digest: self._memory.get(term, self._way(digest)) for digest in self._seeing()}
        found = {digest: vectors for digest, vectors in known.items() if vectors is not None}
        return found if len(found) == len(known) else None

    def remember(self, term: Pictured, vectors: dict[str, np.ndarray]) -> None:
        """Keep the vectors of a term whose pictures have all been encoded."""
        for digest, rows in vectors.items():
            self._memory.keep(term, self._way(digest), rows)

    def _way(self, digest: str) -> str:
        """Name the encoder together with how pictures are made ready for it."""
        return f"{digest} {self._recipes[digest].text}"

    def images(self, pictures: Sequence[views.Picture]) -> dict[str, np.ndarray]:
        """Return the vectors (n, d) of n pictures by the digest of each encoder that sees.

        Raises EncoderError when the last of them fails.
        """
        found: dict[str, np.ndarray] = {}
        for digest in self._seeing():
            encoder = self._found[digest]
            try:
                seen = [picture.encoded(self._recipes[digest]) for picture in pictures]
                found[digest] = base.picture_vectors(encoder, seen)
            except errors.EncoderError as error:
                self._leave_out(digest, error)
                if not self._seeing():
                    raise
            self._note(encoder)
        return found

    def _seeing(self) -> list[str]:
        return [d for d, encoder in self._found.items() if "images" in encoder.card.abilities]


def volume_batches(
    term: queries.VolumeTerm,
    encoders: Encoders,
    readers: isolated.Readers,
    cancelled: Callable[[], bool] = isolated.never,
) -> Iterator[tuple[dict[str, np.ndarray], int, int]]:
    """Yield (vectors of all slices so far, slices done, slices in all), batch by batch.

    The first yield holds a few slices spread over the volume. What is known
    from an earlier query is yielded at once. Blank slices count as done but
    give no vector where others do. Ends early once `cancelled`. Raises
    UnreadableFileError.
    """
    known = encoders.remembered(term)
    if known is not None:
        done = max((len(rows) for rows in known.values()), default=0)
        yield known, done, done
        return
    found = views.matching_series(term, readers, cancelled=cancelled)
    _, series = views.longest(found)
    if len(found) > 1 and not term.series_uid:
        encoders.notices.append(
            f"{len(found)} series are in {os.path.basename(term.path)}; the one with the most "
            f"slices, {len(series.slices)}, was asked."
        )
    total = len(views.volume_slices(series))
    so_far: dict[str, np.ndarray] = {}
    waiting: list[views.Picture] = []
    done = 0
    is_all_blank = True
    read = 0
    pictures = views.render_series(series, readers, cancelled=cancelled)
    while True:
        picture = next(pictures, None)
        if picture is None and cancelled():
            return
        if picture is not None:
            waiting.append(picture[1])
            read += 1
            is_first = done == 0 and len(waiting) == views.FIRST_SLICES
            if not (is_first or len(waiting) == _BATCH or done + len(waiting) == total):
                continue
        seen = [picture for picture in waiting if not picture.is_blank]
        if seen and is_all_blank:
            so_far, is_all_blank = {}, False
        # As long as all is blank, one blank slice stands for the volume.
        chosen = seen or ([] if so_far else waiting[:1])
        for digest, rows in encoders.images(chosen).items() if chosen else ():
            so_far[digest] = np.concatenate([so_far[digest], rows]) if digest in so_far else rows
        done = done + len(waiting) if picture is not None else total
        waiting.clear()
        if done == total:
            break
        yield dict(so_far), done, total
    if read < total:
        encoders.notices.append(
            f"{total - read} of {total} slices of {os.path.basename(term.path)} cannot be read "
            "and were left out."
        )
    encoders.remember(term, so_far)
    yield dict(so_far), total, total
