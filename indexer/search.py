"""Terms and options -> a query; its answer -> the JSON of the interface."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import answers, collection, search
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.imaging import isolated

from . import filters, progress, sources

# A term as it was given: the option's name without dashes, and its value.
Given = tuple[str, str]

_WEIGHTED = re.compile(
    r"^(?P<weight>(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|nan|inf|infinity):(?P<value>.+)$",
    re.DOTALL | re.IGNORECASE,
)
_REGION = re.compile(r"^(\d+),(\d+),(\d+),(\d+)$")


def terms(given: Sequence[Given], home: str = "") -> tuple[queries.Term, ...]:
    """Return the terms of `--text 0.5:effusion`, `--not-image FILE` and so on, in their order.

    `home` is the collection that `--like` names cases of. Raises
    QuerySyntaxError, and UnreadableFileError for a file that is not there.
    """
    found: list[queries.Term] = []
    for option, value in given:
        if option == "region":
            found.append(_with_region(found.pop() if found else None, value))
            continue
        sign = -1.0 if option.startswith("not-") else 1.0
        weighted = _WEIGHTED.match(value)
        weight = sign * (float(weighted["weight"]) if weighted else 1.0)
        if not math.isfinite(weight):
            raise errors.QuerySyntaxError(
                f"--{option} {value} has the weight {weight:g}, which is no number to multiply by."
            )
        if weight == 0:
            raise errors.QuerySyntaxError(
                f"--{option} {value} has the weight 0, so it asks nothing."
            )
        plain = weighted["value"] if weighted else value
        kind = option.removeprefix("not-")
        if not plain.strip():
            raise errors.QuerySyntaxError(f"--{option} is empty.")
        if kind == "text":
            found.append(queries.TextTerm(plain, weight))
        elif kind == "image":
            ref = cases.ImageRef(str(sources.require(Path(plain))))
            found.append(queries.ImageTerm(ref, weight))
        elif kind == "volume":
            path = str(sources.require(Path(plain)))
            found.append(queries.VolumeTerm(path, weight=weight))
        else:
            found.append(queries.CaseTerm(plain, home, weight))
    return tuple(found)


def _with_region(term: queries.Term | None, value: str) -> queries.Term:
    found = _REGION.match(value)
    if found is None or not isinstance(term, queries.ImageTerm):
        raise errors.QuerySyntaxError(
            f"--region {value} is not understood: it is X,Y,W,H in pixels and follows an --image."
        )
    try:
        region = cases.Region(*(int(number) for number in found.groups()))
    except ValueError as error:
        raise errors.QuerySyntaxError(f"--region {value} is no part of an image.") from error
    ref = cases.ImageRef(term.ref.path, term.ref.frame, term.ref.sop_instance_uid, region)
    return queries.ImageTerm(ref, term.weight)


def query(
    folders: Sequence[str], given: Sequence[Given], expressions: Sequence[str], **options: Any
) -> queries.Query:
    """Return the query; `options` are the other fields of queries.Query by name.

    Raises QuerySyntaxError for what is not understood or out of range.
    """
    # A collection that is given twice is searched once.
    paths = tuple(dict.fromkeys(os.path.abspath(folder) for folder in folders))
    asked = terms(given, home=paths[0] if len(paths) == 1 else "")
    chosen = tuple(f for expression in expressions for f in filters.parse(expression))
    if not asked and not chosen:
        raise errors.QuerySyntaxError(
            "There is nothing to search for: give --text, --image, --volume, --like or --filter."
        )
    strength = options.get("min_strength")
    if strength is not None and not 0 <= strength <= 100:
        raise errors.QuerySyntaxError(f"--min-strength is 0 to 100 percent, not {strength:g}.")
    cosine = options.get("min_cosine")
    if cosine is not None and not -1 <= cosine <= 1:
        raise errors.QuerySyntaxError(f"--min-cosine is -1 to 1, not {cosine:g}.")
    try:
        return queries.Query(asked, chosen, paths, **options)
    except ValueError as error:
        raise errors.QuerySyntaxError(f"{error}.") from error


def ask(
    asked: queries.Query,
    load: Callable[[base.EncoderCard], base.Encoder],
    device: str,
    shown: progress.Progress,
) -> queries.Results:
    """Open the collections, ask, and return the complete answer.

    `load` finds the encoder of a collection, `device` is where it is wanted.
    Raises InputError where the one case that is to be asked by is nowhere.
    """
    with contextlib.ExitStack() as opened:
        collections, refused = search.opened(
            asked.collections,
            lambda path: opened.enter_context(collection.open_collection(path)),
        )
        readers = isolated.Readers(1)
        opened.callback(readers.close)

        told: list[str] = []

        def encoder_for(card: base.EncoderCard) -> base.Encoder:
            found = load(card)
            told.extend(device_notices(device, found.card))
            return found

        given = search.search(
            asked,
            collections,
            encoder_for,
            readers,
            on_progress=lambda done, total: shown.step("Reading slices", done, total),
        )
        # The last is the complete one.
        last = list(given)[-1]
        _require_case(asked, last)
        return dataclasses.replace(last, notices=(*refused, *last.notices, *told))


def _require_case(asked: queries.Query, found: queries.Results) -> None:
    """Refuse an answer whose whole question was a case that is nowhere."""
    if len(asked.terms) == 1 and isinstance(asked.terms[0], queries.CaseTerm):
        for notice in found.notices:
            if notice == answers.no_such_case(asked.terms[0]):
                raise errors.InputError(notice)


def device_notices(wanted: str, card: base.EncoderCard) -> list[str]:
    """Return a sentence where a GPU was asked for by name and the encoder does without it."""
    if wanted in ("auto", "cpu") or card.device != "cpu":
        return []
    return [f"The encoder {card.name} runs on the CPU, not on {wanted}."]


def to_json(asked: queries.Query, found: queries.Results) -> dict[str, Any]:
    """Return the answer with the keys that the interface promises."""
    return {
        "query": asked.to_dict(),
        "took_ms": {stage: round(ms, 1) for stage, ms in found.took_ms},
        "total": found.total,
        "complete": found.complete,
        "fingerprint": found.fingerprint,
        "encoder": found.encoder,
        "notices": list(notices(asked, found)),
        "facets": {field: dict(counts) for field, counts in found.facets},
        "hits": [_hit(hit) for hit in found.hits],
    }


def notices(asked: queries.Query, found: queries.Results) -> tuple[str, ...]:
    """Return what was left out or not regarded, as sentences."""
    return found.notices


def _hit(hit: queries.Hit) -> dict[str, Any]:
    case, evidence = hit.case, hit.evidence
    return {
        "rank": hit.rank,
        "case_id": case.case_id,
        "collection": hit.collection,
        "score": round(hit.score, 6),
        "strength": hit.strength,
        "title": case.title,
        "text": case.text,
        "facets": case.facets.as_dict(),
        "labels": list(case.labels),
        "provenance": {
            "licence": case.provenance.licence,
            "source": case.provenance.source,
            "source_url": case.provenance.source_url,
        },
        "images": _images(hit),
        "evidence": {
            "vector_rank": evidence.vector_rank,
            "word_rank": evidence.word_rank,
            "words": [[word, round(part, 4)] for word, part in evidence.words],
            "shares": {name: round(part, 4) for name, part in evidence.shares},
        },
        "folded": hit.folded,
        "extra": dict(case.extra),
    }


def _images(hit: queries.Hit) -> list[dict[str, Any]]:
    """Return the images that matched, best first, then the others of the case without a score."""
    scores = {match.ref: round(match.score, 4) for match in hit.evidence.images}
    others = [image.ref for image in hit.case.images if image.ref not in scores]
    return [
        {"path": ref.path, "frame": ref.frame, "score": scores.get(ref)}
        for ref in (*scores, *others)
    ]


def lines(asked: queries.Query, found: queries.Results) -> list[str]:
    """Return the answer for a person to read."""
    told = list(notices(asked, found))
    for hit in found.hits:
        case = hit.case
        facets = " · ".join(
            f"{value:g}" if isinstance(value, float) else value
            for name, value in case.facets.as_dict().items()
            if (name, value) != ("origin", "real")
        )
        source = " · ".join(filter(None, (case.provenance.source, case.provenance.licence)))
        told.append(f"{hit.rank:3}. {case.title}  [{facets}]")
        told.append(f"     {case.case_id}  {source}")
        if case.text and not case.title.casefold().startswith(case.text[:40].casefold()):
            told.append(f"     {case.text[:160]}")
    took = dict(found.took_ms).get("total", 0.0)
    told.append(f"{len(found.hits)} of {found.total} cases in {took:.0f} ms.")
    return told
