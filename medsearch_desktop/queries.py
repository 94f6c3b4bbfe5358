"""Query, its terms, Hit, Results, Verdict: what is asked and answered."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

from medsearch_desktop import cases

Against = Literal["images", "texts", "both"]
AGAINST: tuple[Against, ...] = ("images", "texts", "both")
MAX_LIMIT = 200


@dataclass(frozen=True)
class TextTerm:
    """Words, as typed. A negative weight asks for cases unlike them."""

    words: str
    weight: float = 1.0


@dataclass(frozen=True)
class ImageTerm:
    """One image or a region of it."""

    ref: cases.ImageRef
    weight: float = 1.0


@dataclass(frozen=True)
class VolumeTerm:
    """A series: a NIfTI file or a DICOM folder, file or archive.

    `series_uid` picks one series where the path holds several; "" takes the
    series with the most slices.
    """

    path: str
    series_uid: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class CaseTerm:
    """A case of a collection: "more like this", or a thumb (negative: thumb down)."""

    case_id: str
    collection: str = ""
    weight: float = 1.0


Term = TextTerm | ImageTerm | VolumeTerm | CaseTerm
_TERMS: dict[str, type] = {
    "text": TextTerm,
    "image": ImageTerm,
    "volume": VolumeTerm,
    "case": CaseTerm,
}


@dataclass(frozen=True)
class Filter:
    """Keeps the cases whose `field` equals `value`, ignoring case ("label" is a field too)."""

    field: str
    value: str
    negated: bool = False


@dataclass(frozen=True)
class Query:
    """What is asked: weighted terms, yes/no filters, and where to look.

    `collections` are folders. `mix` is None (ranks are fused), or the share of
    vectors from 0 (words only) to 1 (vectors only). `min_cosine` is a cosine
    from -1 to 1, `min_strength` a percentile from 0 to 100.
    """

    terms: tuple[Term, ...] = ()
    filters: tuple[Filter, ...] = ()
    collections: tuple[str, ...] = ()
    limit: int = 20
    against: Against = "both"
    mix: float | None = None
    min_cosine: float | None = None
    min_strength: float | None = None
    exact: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise ValueError(f"limit must be 1 to {MAX_LIMIT}, not {self.limit}")
        if self.mix is not None and not 0 <= self.mix <= 1:
            raise ValueError(f"mix must lie between 0 and 1, not {self.mix}")
        if self.against not in AGAINST:
            raise ValueError(f"against must be one of {AGAINST}, not {self.against!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the query as JSON values; `from_dict` is its inverse."""
        kinds = {kind: name for name, kind in _TERMS.items()}
        plain = dataclasses.asdict(self)
        plain["terms"] = [{"kind": kinds[type(t)], **dataclasses.asdict(t)} for t in self.terms]
        plain["collections"] = list(self.collections)
        plain["filters"] = [dataclasses.asdict(f) for f in self.filters]
        return plain

    @staticmethod
    def from_dict(plain: dict[str, Any]) -> Query:
        """Return the query that `to_dict` wrote; ValueError or KeyError if it is none."""
        fields = dict(plain)
        fields["terms"] = tuple(_term(dict(term)) for term in plain.get("terms", ()))
        fields["filters"] = tuple(Filter(**f) for f in plain.get("filters", ()))
        fields["collections"] = tuple(plain.get("collections", ()))
        return Query(**fields)

    def fingerprint(self) -> str:
        """Return 32 hexadecimal digits that name this very question."""
        import hashlib  # loads OpenSSL, which the first window does not wait for

        plain = _one_zero(self.to_dict())
        return hashlib.sha256(
            json.dumps(plain, sort_keys=True, ensure_ascii=True).encode()
        ).hexdigest()[:32]


def _one_zero(plain: Any) -> Any:
    """Return JSON values with 0.0 for -0.0: they are equal and must not read differently."""
    if isinstance(plain, dict):
        return {key: _one_zero(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_one_zero(value) for value in plain]
    return plain + 0.0 if isinstance(plain, float) else plain


def _term(plain: dict[str, Any]) -> Term:
    kind = _TERMS[plain.pop("kind")]
    if kind is ImageTerm:
        ref = dict(plain["ref"])
        if ref.get("region"):
            ref["region"] = cases.Region(**ref["region"])
        plain["ref"] = cases.ImageRef(**ref)
    term: Term = kind(**plain)
    return term


@dataclass(frozen=True)
class ImageMatch:
    """How well one image of a case matched; `score` is a cosine."""

    ref: cases.ImageRef
    score: float


@dataclass(frozen=True)
class Evidence:
    """Why a case was found: 1-based ranks in the vectors and the words, None where absent.

    `words` are matched words with their part of the words' score; `shares`
    name each ranking that took part (`images`, `texts`, `words`, `feedback`)
    with its part of the fused score.
    """

    vector_rank: int | None = None
    word_rank: int | None = None
    words: tuple[tuple[str, float], ...] = ()
    images: tuple[ImageMatch, ...] = ()
    shares: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Hit:
    """A returned case; `rank` counts from 1, `strength` is a percentile or None (uncalibrated)."""

    case: cases.Case
    collection: str
    rank: int
    score: float
    strength: float | None = None
    evidence: Evidence = Evidence()
    thumbnail: cases.Thumbnail | None = None
    folded: int = 0


@dataclass(frozen=True)
class Results:
    """The answer to one ticket.

    `total` counts the candidates that were ranked, `facets` maps a field to
    its values with counts over them, `took_ms` a stage to milliseconds.
    `notices` are sentences about what was left out (words only, say).
    """

    ticket: int
    hits: tuple[Hit, ...]
    total: int
    facets: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    complete: bool = True
    fingerprint: str = ""
    took_ms: tuple[tuple[str, float], ...] = ()
    notices: tuple[str, ...] = ()
    encoder: str = ""


@dataclass(frozen=True)
class Verdict:
    """A thumb: +1 or -1 on a case shown at `rank` for a query.

    `query` is the fingerprint of the question without its thumbs; `scope` is
    "search" until wider ones are offered. An undo is a later row, never a delete.
    """

    query: str
    case_id: str
    collection: str
    thumb: int
    rank: int
    encoder_digest: str
    scope: str = "search"

    def __post_init__(self) -> None:
        if self.thumb not in (-1, 1):
            raise ValueError(f"a thumb is +1 or -1, not {self.thumb}")
