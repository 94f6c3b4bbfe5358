"""A filter expression -> the filters of a query."""

from __future__ import annotations

import re

from medsearch_desktop import errors, queries

from . import modalities

# The fields of cases.Facets, and those that every case has.
FIELDS = ("modality", "view", "body_part", "sex", "age", "origin", "label", "licence", "source")
_ONE = re.compile(
    r"\s*(?P<no>not\s+)?(?P<field>[A-Za-z_]+)\s*(?P<sign>!=|=)\s*"
    r"(?:\"(?P<quoted>[^\"]*)\"|'(?P<single>[^']*)'|(?P<bare>.*?))\s*(?:\s+and\s+|$)",
    re.IGNORECASE,
)


def parse(expression: str) -> tuple[queries.Filter, ...]:
    """Return the filters of `modality=CT and not label=normal and body_part="chest"`.

    A value with " and " in it is quoted. Modality words are mapped as in a
    build, so `modality=X-ray` finds DX. Raises QuerySyntaxError for what is
    not understood.
    """
    filters: list[queries.Filter] = []
    if re.search(r"\band\s*$", expression, re.IGNORECASE):
        raise errors.QuerySyntaxError("The filter ends with “and”.")
    at = 0
    while at < len(expression):
        found = _ONE.match(expression, at)
        if found is None:
            raise errors.QuerySyntaxError(
                f"The filter {expression[at:].strip()!r} is not of the form FIELD=VALUE, "
                "joined by “and”, each with “not” before it if wanted."
            )
        filters.append(_filter(found))
        at = found.end()
    if not filters:
        raise errors.QuerySyntaxError("The filter is empty.")
    return tuple(filters)


def _filter(found: re.Match[str]) -> queries.Filter:
    field = found["field"].casefold()
    field = {"labels": "label", "bodypart": "body_part", "license": "licence"}.get(field, field)
    if field not in FIELDS:
        raise errors.QuerySyntaxError(
            f"There is no field {found['field']!r} to filter by; there are {', '.join(FIELDS)}."
        )
    value = next(v for v in (found["quoted"], found["single"], found["bare"]) if v is not None)
    value = value.strip()
    if not value or (found["bare"] is not None and re.search(r"[=<>()]|\bor\b|\bin\b", value)):
        raise errors.QuerySyntaxError(
            f"{value!r} is no value that {field} can equal; put it in quotes if it is."
        )
    if field == "modality":
        value = modalities.code(value) or value
    return queries.Filter(field, value, bool(found["no"]) != (found["sign"] == "!="))
