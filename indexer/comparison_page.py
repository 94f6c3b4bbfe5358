"""The report of a comparison: JSON, lines, and one HTML file with pictures of some questions."""

from __future__ import annotations

import base64
import html
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from medsearch_desktop import cases, errors
from medsearch_desktop.engine import manifest

from . import comparing, retrieval, stored_thumbnails

# Questions shown of each mode: from the two answers most unlike to the two most alike.
_SHOWN = 4
_LONGEST = 300

_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;
color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}h3{font-size:1rem}
table{border-collapse:collapse;width:100%}th,td{padding:.35rem .6rem;text-align:left;
border-bottom:1px solid #d5dae0;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.s{color:#57606a}.q{display:flex;gap:1rem;margin:.6rem 0 1rem}.q img{max-height:9rem}
.two{display:grid;grid-template-columns:1fr 1fr;gap:1.5rem}
.hits{display:grid;grid-template-columns:repeat(auto-fill,minmax(6.5rem,1fr));gap:.6rem;
padding:0;list-style:none}
.hits li{font-size:.75rem;overflow-wrap:anywhere;border:2px solid #d5dae0;padding:.25rem}
.hits li.both{border-color:#1a5fb4}.hits img{width:100%;height:6.5rem;object-fit:contain;
background:#000}.none{height:6.5rem;background:#eef1f4}
"""


def to_json(found: comparing.Comparison) -> dict[str, Any]:
    """Return the comparison with the keys that the interface promises."""
    return {
        "questions": len(found.questions.cases),
        "pool": len(found.pool),
        "top": found.top,
        "only_in": list(found.only_in),
        "skipped": [{"path": s.path, "reason": s.reason} for s in found.questions.skipped],
        "notices": list(found.notices),
        "collections": [
            {
                "path": str(side.path.absolute()),
                "name": side.described.name,
                "encoder": side.described.encoder.name,
                "kind": side.described.encoder.kind,
                "digest": side.described.encoder.digest,
                "dimension": side.described.encoder.dimension,
                "effective_dimension": round(side.effective_dimension, 1),
                "views": side.described.views,
                "tag_weight": side.described.tag_weight,
            }
            for side in found.sides
        ],
        "measures": [
            {
                "mode": one.mode,
                "relevance": one.relevance,
                "metric": one.metric,
                "questions": one.questions,
                "chance": round(one.chance, 4),
                "values": [_plain(value) for value in one.values],
                "difference": _plain(one.difference),
            }
            for one in found.measures
        ],
        "overlap": {
            one.mode: {"questions": len(one.asked), **_plain(one.interval)} for one in found.answers
        },
    }


def _plain(one: retrieval.Interval) -> dict[str, float]:
    return {"value": round(one.value, 4), "low": round(one.low, 4), "high": round(one.high, 4)}


def lines(found: comparing.Comparison) -> list[str]:
    """Return the comparison for a person to read."""
    first, second = (_named(side.described) for side in found.sides)
    told = [
        *found.notices,
        f"A: {first}. B: {second}.",
        f"{len(found.questions.cases):,} questions, {len(found.pool):,} cases with pictures in "
        "both. 95 % intervals over patients.",
    ]
    if any(found.only_in):
        told.append(
            f"Left out: {found.only_in[0]:,} cases that only A holds, {found.only_in[1]:,} that "
            "only B holds."
        )
    for one in found.measures:
        a, b = (_words(one.metric, value) for value in one.values)
        told.append(
            f"{one.mode}, {one.relevance}, {one.metric}: A {a}, B {b}, "
            f"B - A {_words(one.metric, one.difference)}, by chance "
            f"{_number(one.metric, one.chance)} ({one.questions:,} questions)"
        )
    for answers in found.answers:
        told.append(
            f"{answers.mode}: of the first {found.top} cases "
            f"{_words('', answers.interval)} % are found by both."
        )
    return told


def _named(described: manifest.Manifest) -> str:
    card = described.encoder
    return f"{described.name}, encoder {card.name}, {card.dimension} numbers"


def _words(metric: str, one: retrieval.Interval) -> str:
    value, low, high = (_number(metric, n) for n in (one.value, one.low, one.high))
    return f"{value} [{low}, {high}]"


def _number(metric: str, value: float) -> str:
    """Return a share in percent; a rank is no share."""
    return f"{value:.1f}" if metric == "MdR" else f"{100 * value:.1f}"


def write(found: comparing.Comparison, path: Path) -> None:
    """Write the page: one file, without scripts, that loads nothing; raises CollectionError."""
    try:
        path.write_text(page(found), "utf-8")
    except OSError as error:
        raise errors.CollectionError(
            f"The report cannot be written to {path}: {error.strerror or error}."
        ) from error


def page(found: comparing.Comparison) -> str:
    """Return the report as HTML; all words out of collections are escaped."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">",
        f"<title>Two encoders compared</title><style>{_STYLE}</style></head><body>",
        "<h1>Two encoders compared</h1>",
        '<p class="s">Research and teaching. Not for diagnostic use.</p>',
        *_sides(found),
        *_measures(found),
        *_shown(found),
        "</body></html>",
    ]
    return "\n".join(parts)


def _sides(found: comparing.Comparison) -> Iterator[str]:
    yield "<h2>What was compared</h2><table><tr><th></th><th>A</th><th>B</th></tr>"
    described = [side.described for side in found.sides]
    cards = [one.encoder for one in described]
    rows = (
        ("Collection", [one.name for one in described]),
        ("Encoder", [f"{card.name} ({card.kind})" for card in cards]),
        ("Digest", [card.digest[:12] for card in cards]),
        ("Built in", [f"{card.precision}, by {card.runtime or card.kind}" for card in cards]),
        ("Numbers a vector", [str(card.dimension) for card in cards]),
        ("Effective dimension", [f"{side.effective_dimension:.1f}" for side in found.sides]),
        ("Pictures of volumes", [one.views for one in described]),
        ("Licence of the encoder", [card.licence for card in cards]),
        ("Limits", [card.limits for card in cards]),
    )
    for name, values in rows:
        cells = "".join(f"<td>{_text(value)}</td>" for value in values)
        yield f"<tr><th>{name}</th>{cells}</tr>"
    yield "</table>"
    left_out = ""
    if any(found.only_in):
        left_out = f" {found.only_in[0]:,} cases of A and {found.only_in[1]:,} of B are left out."
    yield (
        f"<p>{len(found.questions.cases):,} questions over the {len(found.pool):,} cases with "
        f"pictures that both hold.{left_out} Each is asked of the whole pool, exactly. Image "
        "questions leave out cases of their own patient; the right answer to a text is its own "
        "case alone. Measures of facets leave out cases of which these are not known.</p>"
    )


def _measures(found: comparing.Comparison) -> Iterator[str]:
    yield (
        "<h2>Measures</h2><p>Shares in percent, MdR in ranks; in brackets the 95 % interval, "
        "resampled over patients. B − A is resampled with both on the same patients: where its "
        "interval holds 0, no difference is proved. Over cases that an encoder was trained on it "
        "looks better than it is.</p><table><tr><th>Question</th><th>Relevant</th>"
        '<th>Measure</th><th class="n">Questions</th><th class="n">Chance</th>'
        '<th class="n">A</th><th class="n">B</th><th class="n">B − A</th></tr>'
    )
    for one in found.measures:
        values = (_words(one.metric, v) for v in (*one.values, one.difference))
        numbers = (f"{one.questions:,}", _number(one.metric, one.chance), *values)
        cells = "".join(f'<td class="n">{value}</td>' for value in numbers)
        yield f"<tr><td>{one.mode}</td><td>{one.relevance}</td><td>{one.metric}</td>{cells}</tr>"
    yield "</table><h3>In common</h3><ul>"
    for answers in found.answers:
        yield (
            f"<li>{answers.mode}: of the first {found.top}, {_words('', answers.interval)} % are "
            f"found by both ({len(answers.asked):,} questions)</li>"
        )
    yield "</ul>"


def _shown(found: comparing.Comparison) -> Iterator[str]:
    for answers in found.answers:
        yield (
            f"<h2>Some questions: {answers.mode}</h2><p>From the answers most unlike to those most "
            "alike. ● and a thick blue frame: found by both.</p>"
        )
        by_overlap = np.argsort(answers.overlap, kind="stable")
        steps = np.linspace(0, len(by_overlap) - 1, min(_SHOWN, len(by_overlap)))
        for place in by_overlap[np.unique(steps.astype(int))]:
            yield from _question(found, answers, int(place))


def _question(found: comparing.Comparison, answers: comparing.Answers, place: int) -> Iterator[str]:
    number = int(answers.asked[place])
    case = found.questions.cases[number]
    shown = _text(case.text or case.title)
    if answers.mode == comparing.IMAGES:
        shown = _picture(found.questions.picture(number), case.title) + f"<div>{_about(case)}</div>"
    yield f'<div class="q">{shown}</div>'
    lists = [one.first[place, : found.top].tolist() for one in answers.found]
    both = set(lists[0]) & set(lists[1]) - {-1}
    yield '<div class="two">'
    for letter, side, first in zip("AB", found.sides, lists, strict=True):
        common = f"{len(both)} of {found.top} in common"
        yield f"<div><h3>{letter}: {_text(side.described.encoder.name)}, {common}</h3>"
        yield '<ol class="hits">'
        for rank, hit in enumerate((one for one in first if one >= 0), start=1):
            yield _hit(found.pool[hit], rank, is_common=hit in both)
        yield "</ol></div>"
    yield "</div>"


def _hit(case: cases.Case, rank: int, *, is_common: bool) -> str:
    mark, kind = ("● ", ' class="both"') if is_common else ("", "")
    content = stored_thumbnails.content(case.images[0]) if case.images else b""
    return f"<li{kind}>{_picture(content, case.title)}<b>{mark}{rank}</b> {_about(case)}</li>"


def _about(case: cases.Case) -> str:
    facets = case.facets
    known = " · ".join(filter(None, (facets.modality, facets.body_part, facets.view)))
    source = " · ".join(filter(None, (case.provenance.source, case.provenance.licence)))
    return f'{_text(case.title)}<br><span class="s">{_text(known)}<br>{_text(source)}</span>'


def _picture(content: bytes, title: str) -> str:
    kind = stored_thumbnails.media_type(content)
    if not kind:
        return '<div class="none"></div>'
    data = base64.b64encode(content).decode("ascii")
    return f'<img alt="{_escaped(title)}" src="data:{kind};base64,{data}">'


def _text(words: str) -> str:
    """Return words of unknown origin for the page: escaped, one direction a piece, cut."""
    return f"<bdi>{_escaped(words)}</bdi>"


def _escaped(words: str) -> str:
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in words)
    cut = plain if len(plain) <= _LONGEST else plain[:_LONGEST] + "…"
    return html.escape("".join(c for c in cut if unicodedata.category(c) != "Cf"), quote=True)
