"""WordIndex: field-weighted BM25 over one tantivy index per generation, memory-mapped."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsearch_desktop import cases

# The searched fields and their weights; chosen so that a word of the title or a label counts
# more than one in a long report, and a word made from a code (CT: computed tomography) less.
FIELDS = {"title": 1.2, "text": 1.0, "labels": 1.0, "facets": 0.5}

_ANALYZER = "medsearch"
_HEAP_BYTES = 64_000_000
# Ties at the end of a ranking are resolved by asking on, up to this many rows.
_TIE_ROWS = 20_000
_MOST_WORDS = 200
_MOST_META_BYTES = 16 << 20
_WORD = re.compile(r"\w+")

# What a reader may type for a DICOM modality code (PS3.3 C.7.3.1.1.1) or one of our origins.
_CODE_WORDS = {
    "CT": "CT computed tomography scan",
    "MR": "MR MRI magnetic resonance imaging scan",
    "US": "US ultrasound sonography sonogram",
    "DX": "DX XR x-ray xray radiograph radiography",
    "CR": "CR XR x-ray xray radiograph radiography",
    "XR": "XR x-ray xray radiograph radiography",
    "RG": "RG XR x-ray xray radiograph radiography",
    "MG": "MG mammography mammogram",
    "NM": "NM nuclear medicine scintigraphy",
    "PT": "PT PET positron emission tomography",
    "XA": "XA angiography angiogram",
    "RF": "RF fluoroscopy",
}


@dataclass(frozen=True)
class Match:
    """A case found by words; `score` is BM25 summed over words and weighted fields."""

    place: int
    score: float


def facet_words(facets: cases.Facets) -> str:
    """Return the words under which the facets of a case can be found."""
    modality = _CODE_WORDS.get(facets.modality.upper(), facets.modality)
    parts = (modality, facets.view, facets.body_part, facets.sex, facets.origin)
    return " ".join(part for part in parts if part)


def key(field: str, value: str) -> str:
    """Return the exact term of a filter; letter case does not count."""
    return f"{field.casefold()}={value.casefold()}"


def _analyzer() -> Any:
    import tantivy

    steps = tantivy.Filter
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for step in (
        steps.remove_long(64),
        steps.lowercase(),
        steps.ascii_fold(),
        steps.stopword("english"),
        steps.stemmer("english"),
    ):
        builder = builder.filter(step)
    return builder.build()


def _schema() -> Any:
    import tantivy

    builder = tantivy.SchemaBuilder()
    for field in FIELDS:
        builder.add_text_field(field, tokenizer_name=_ANALYZER, index_option="freq")
    builder.add_text_field("keys", tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("place", indexed=True, fast=True)
    return builder.build()


def write(folder: Path, entries: Iterable[tuple[int, cases.Case, Sequence[str]]]) -> None:
    """Add (place, case, keys) to the index in `folder`, which is made if it holds none.

    `place` names the case within the collection; `keys` are the exact terms
    (see `key`) that filters may ask for. The files are not synced.
    """
    import tantivy

    if (folder / "meta.json").exists():
        index = tantivy.Index.open(str(folder))
    else:
        folder.mkdir(parents=True, exist_ok=True)
        index = tantivy.Index(_schema(), path=str(folder))
    index.register_tokenizer(_ANALYZER, _analyzer())
    # One thread keeps the order of addition, so that equal scores are ordered alike.
    writer = index.writer(_HEAP_BYTES, 1)
    for place, case, keys in entries:
        document = tantivy.Document()
        document.add_text("title", case.title)
        document.add_text("text", _texts(case))
        document.add_text("labels", " ".join(dict.fromkeys(_labels(case))))
        document.add_text("facets", facet_words(case.facets))
        for term in keys:
            document.add_text("keys", term)
        document.add_unsigned("place", place)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()


def _texts(case: cases.Case) -> str:
    return "\n".join(dict.fromkeys(t for t in (case.text, *(i.text for i in case.images)) if t))


def _labels(case: cases.Case) -> Iterable[str]:
    yield from case.labels
    for image in case.images:
        yield from image.labels


def _index(folder: Path) -> Any:
    """Open an index with tantivy; ValueError when it is none or has other fields than ours."""
    import tantivy

    try:
        index = tantivy.Index.open(str(folder))
        for field in (*FIELDS, "keys"):
            tantivy.Query.term_query(index.schema, field, "a", "basic")
        tantivy.Query.term_query(index.schema, "place", 1, "basic")
    except (KeyboardInterrupt, SystemExit, ValueError):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of a Rust library is no Exception
        raise ValueError(f"the words index cannot be opened: {type(error).__name__}") from None
    return index


class WordIndex:
    """Finds cases by words. What a user types is never read as query syntax."""

    def __init__(self, index: Any, links: tempfile.TemporaryDirectory[str] | None = None) -> None:
        self._analyzer = _analyzer()
        index.register_tokenizer(_ANALYZER, self._analyzer)
        self._schema, self._searcher, self._links = index.schema, index.searcher(), links

    @staticmethod
    def open(folder: Path) -> WordIndex:
        """Map the index in `folder`, which may be read-only; ValueError if it is none."""
        meta = folder / "meta.json"
        if not meta.is_file() or meta.stat().st_size > _MOST_META_BYTES:
            raise ValueError("the words index has no meta.json, or one larger than any is")
        try:
            return WordIndex(_index(folder))
        except ValueError as error:
            if "lock" not in str(error).lower():
                raise
        # tantivy wants to lock a file beside the index, which a read-only folder refuses:
        # it is given a folder of links instead.
        links = tempfile.TemporaryDirectory(prefix="medsearch-words-")
        for path in folder.iterdir():
            if not path.name.endswith(".lock"):
                (Path(links.name) / path.name).symlink_to(path.absolute())
        return WordIndex(_index(Path(links.name)), links)

    def close(self) -> None:
        """Unmap the index; it cannot be asked again."""
        self._searcher = None
        if self._links is not None:
            self._links.cleanup()
            self._links = None

    def terms(self, text: str) -> dict[str, str]:
        """Return the index terms of `text`, each with the word as it was typed.

        Stop words have no term. At most 200 words are taken.
        """
        found: dict[str, str] = {}
        for word in _WORD.findall(text):
            for term in self._analyzer.analyze(word):
                found.setdefault(term, word)
            if len(found) >= _MOST_WORDS:
                break
        return found

    def matching(
        self,
        text: str,
        depth: int,
        *,
        required: Sequence[Sequence[str]] = (),
        excluded: Sequence[str] = (),
    ) -> list[Match]:
        """Return at most `depth` cases that hold any word of `text`, best first.

        Each group of `required` keys must be met by one of its keys, none of
        `excluded` may be. Equal scores are ordered by place.
        """
        import tantivy

        terms = self.terms(text)
        if not terms or depth < 1:
            return []
        clauses = [(tantivy.Occur.Must, self._any_field(list(terms)))]
        clauses += [(tantivy.Occur.Must, self._one_key(group)) for group in required]
        clauses += [(tantivy.Occur.MustNot, self._key(term)) for term in excluded]
        query = tantivy.Query.boolean_query(clauses)
        wanted = depth
        while True:
            hits = self._searcher.search(query, wanted + 1, count=False).hits
            is_cut_in_tie = len(hits) > wanted and hits[depth - 1][0] == hits[-1][0]
            if not is_cut_in_tie or wanted >= _TIE_ROWS:
                break
            wanted *= 4
        places = self._searcher.fast_field_values("place", [address for _, address in hits])
        found = [Match(p, float(s)) for p, (s, _) in zip(places, hits, strict=True)]
        return sorted(found, key=lambda match: (-match.score, match.place))[:depth]

    def parts(self, text: str, places: Sequence[int]) -> dict[int, list[tuple[str, float]]]:
        """Return for each place the matched words and their part of its score, best first.

        BM25 is a sum over words, so the parts of a case add up to its score.
        """
        import tantivy

        found: dict[int, list[tuple[str, float]]] = {place: [] for place in places}
        if not places:
            return found
        among = tantivy.Query.term_set_query(self._schema, "place", list(places))
        limit = tantivy.Query.const_score_query(among, 0.0)
        for term, word in self.terms(text).items():
            query = tantivy.Query.boolean_query(
                [(tantivy.Occur.Must, self._any_field([term])), (tantivy.Occur.Must, limit)]
            )
            hits = self._searcher.search(query, len(found), count=False).hits
            numbers = self._searcher.fast_field_values("place", [a for _, a in hits])
            for place, (score, _) in zip(numbers, hits, strict=True):
                found[place].append((word, float(score)))
        for words in found.values():
            words.sort(key=lambda part: -part[1])
        return found

    def count(self) -> int:
        """Return the number of cases in the index."""
        return int(self._searcher.num_docs)

    def _any_field(self, terms: list[str]) -> Any:
        import tantivy

        make = tantivy.Query
        clauses = []
        for field, weight in FIELDS.items():
            for term in terms:
                query = make.term_query(self._schema, field, term, "freq")
                clauses.append((tantivy.Occur.Should, make.boost_query(query, weight)))
        return make.boolean_query(clauses)

    def _key(self, term: str) -> Any:
        import tantivy

        return tantivy.Query.term_query(self._schema, "keys", term, "basic")

    def _one_key(self, terms: Sequence[str]) -> Any:
        import tantivy

        query = tantivy.Query.boolean_query([(tantivy.Occur.Should, self._key(t)) for t in terms])
        return tantivy.Query.const_score_query(query, 0.0)
