"""The words of a result card: title, facets, why it was found, source, and all of it spoken."""

from __future__ import annotations

import html
import re

from PySide6.QtCore import QCoreApplication

from medsearch_desktop import cases, queries
from medsearch_desktop.viewer import plain

# A piece of a line; True where it is a word that was found.
Piece = tuple[str, bool]
# Percentiles from which a match has this word, and its number of bars.
_STRENGTHS = ((75.0, 4, "Very close"), (40.0, 3, "Close"), (5.0, 2, "Loose"))
_WORD = re.compile(r"\w+(?:[-'’]\w+)*")
# Forms of one English word share this many letters, but for a short ending
# (effusion, effusions; nodule, nodular).
_SHORTEST_STEM, _CHANGED_LETTERS, _LONGEST_ENDING = 4, 2, 4
_TOOLTIP_LETTERS = 1200
# The version behind a licence's name: "CC BY 4.0", "Apache-2.0".
_VERSION = re.compile(r"[\s-]v?\d+(\.\d+)*$")


def _tr(words: str) -> str:
    return QCoreApplication.translate("results", words)


def title(hit: queries.Hit) -> str:
    """Return the case's title, else the beginning of its text, else its id."""
    case = hit.case
    first_line = case.text.strip().split("\n", 1)[0]
    return plain.line(case.title.strip() or first_line or " · ".join(case.labels) or case.case_id)


def facets(hit: queries.Hit) -> str:
    """Return "CT · chest · axial · M 45", with what is known."""
    known = hit.case.facets
    age = "" if known.age_years is None else f"{known.age_years:g}"
    person = " ".join(part for part in (known.sex, age) if part)
    kind = known.modality or ("" if hit.case.images else _tr("Report"))
    parts = (kind, known.body_part.lower(), known.view, person)
    return plain.line(" · ".join(part for part in parts if part))


def strength(hit: queries.Hit) -> tuple[int, str, str] | None:
    """Return (bars, word, "P 99.4"), or None while the strength is not calibrated."""
    if hit.strength is None:
        return None
    value = f"P {hit.strength:.1f}"
    for least, bars, word in _STRENGTHS:
        if hit.strength >= least:
            return bars, _tr(word), value
    return 1, _tr("Ordinary"), value


def found_by(hit: queries.Hit) -> str:
    """Return which rankings found the case; stands where the strength will, without a claim."""
    evidence = hit.evidence
    by_image, by_words = evidence.vector_rank is not None, evidence.word_rank is not None
    if by_image and by_words:
        return _tr("By likeness and words")
    if by_image:
        return _tr("By likeness")
    return _tr("By words") if by_words else ""


def why(hit: queries.Hit) -> tuple[Piece, ...]:
    """Return the line that says why: the words found, else how many images match."""
    words = found_words(hit)
    if words:
        pieces: list[Piece] = [(_tr("Matched: "), False)]
        for place, word in enumerate(words):
            pieces += [(", ", False)] * (place > 0) + [(word, True)]
        return tuple(pieces)
    matching = len(hit.evidence.images)
    if matching > 1:
        return ((_tr("{} images match").format(matching), False),)
    if hit.evidence.vector_rank is not None:
        kind = _tr("Image only") if hit.case.images else _tr("Meaning of the text only")
        return ((kind, False),)
    return ()


def source(hit: queries.Hit, *, with_licence: bool) -> str:
    """Return "MedPix · CC BY" (the tooltip gives the version), or the source's name alone."""
    given = hit.case.provenance
    licence = _VERSION.sub("", given.licence) if with_licence else ""
    return plain.line(" · ".join(part for part in (given.source, licence) if part))


def badge(hit: queries.Hit) -> str:
    """Return what stands at the lower right of the image: folded cases, or the images."""
    if not hit.case.images:
        return _tr("Text only")
    if hit.folded:
        return _tr("+{} alike").format(hit.folded)
    count = len(hit.case.images)
    return _tr("{} images").format(count) if count > 1 else ""


def is_drawn(hit: queries.Hit) -> bool:
    """Say whether a program made the pictures."""
    return hit.case.facets.origin == "drawn"


def found_words(hit: queries.Hit) -> tuple[str, ...]:
    """Return the words found as the case writes them: an index may hold their stems only."""
    case = hit.case
    written = f"{case.title} {case.text} {' '.join(case.labels)} {facets(hit)}"
    words = [match.group().lower() for match in _WORD.finditer(written)]
    shown = (
        next((word for word in words if _is_form(word, stem.lower())), stem)
        for stem, _ in hit.evidence.words
    )
    return tuple(dict.fromkeys(shown))


def _is_form(word: str, found: str) -> bool:
    """Say whether two words are forms of one: what was typed, its stem, what the case writes."""
    shorter = min(len(word), len(found))
    if word == found or abs(len(word) - len(found)) > _LONGEST_ENDING:
        return word == found
    shared = next((i for i in range(shorter) if word[i] != found[i]), shorter)
    return shared >= max(_SHORTEST_STEM, shorter - _CHANGED_LETTERS)


def drawn() -> str:
    """Return the badge of a case that a program made."""
    return _tr("drawn")


def unreadable() -> str:
    """Return what stands in place of a stored picture that is damaged or gone."""
    return _tr("The stored picture cannot be read")


def marked(text: str, hit: queries.Hit) -> tuple[Piece, ...]:
    """Return `text` in pieces, with the words that the search found marked."""
    found = [word.lower() for word, _ in hit.evidence.words]
    pieces: list[Piece] = []
    end = 0
    for match in _WORD.finditer(text):
        if any(_is_form(match.group().lower(), stem) for stem in found):
            pieces += [(text[end : match.start()], False), (match.group(), True)]
            end = match.end()
    pieces.append((text[end:], False))
    return tuple(piece for piece in pieces if piece[0])


def spoken(hit: queries.Hit, verdict: int, kept: bool) -> str:
    """Return the card for a screen reader: "Rank 2, very close, Pulmonary …, liked"."""
    level = strength(hit)
    state = {1: _tr("liked"), -1: _tr("disliked")}.get(verdict, "")
    parts = (
        _tr("Rank {}").format(hit.rank),
        level[1].lower() if level else "",
        title(hit),
        facets(hit),
        _tr("drawn by a program") if is_drawn(hit) else "",
        state,
        _tr("kept") if kept else "",
    )
    return ", ".join(part for part in parts if part)


def body(hit: queries.Hit) -> str:
    """Return the text of the case as it can be shown and spoken."""
    return plain.paragraph(hit.case.text)


def _origin(given: cases.Provenance) -> tuple[str, str]:
    return given.source, given.licence


def tooltip(hit: queries.Hit) -> str:
    """Return the whole of the card as rich text; everything from the case is escaped."""
    case = hit.case
    level = strength(hit)
    words = ", ".join(found_words(hit))
    text = plain.paragraph(case.text, _TOOLTIP_LETTERS)
    lines = [
        f"<b>{html.escape(title(hit))}</b>",
        html.escape(facets(hit)),
        html.escape(text).replace("\n", "<br>")
        if text.strip().casefold() != title(hit).casefold()
        else "",
        html.escape(plain.line(", ".join(case.labels))),
        _tr("Words found: {}").format(html.escape(words)) if words else "",
        f"{level[1]}, {level[2]}"
        if level
        else _tr("How close this is has not been calibrated: the rank tells the order only."),
        html.escape(plain.line(" · ".join(filter(None, _origin(case.provenance))))),
        _tr("Drawn by a program, not a patient.") if is_drawn(hit) else "",
    ]
    return "<qt>" + "<br>".join(line for line in lines if line) + "</qt>"
