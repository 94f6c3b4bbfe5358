"""Rows of a table -> Case or Skipped."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medsearch_desktop import cases, errors

from . import sources, wording

# field -> the column it comes from when --columns says nothing else.
DEFAULT_COLUMNS = {
    "path": "path",
    "id": "item_id",
    "patient": "patient_id",
    "study": "study_id",
    "title": "title",
    "text": "text",
    "labels": "labels",
    "modality": "modality",
    "view": "view",
    "body_part": "body_part",
    "sex": "sex",
    "age": "age",
    "licence": "licence",
    "source": "source",
    "source_url": "source_url",
}
# The columns' own names stand for their fields in --columns as well: item_id=case.
_ALIASES = {"item_id": "id", "patient_id": "patient", "study_id": "study"}
_FACETS = ("modality", "view", "body_part", "sex", "age")
_ARRAY = re.compile(r"^(?P<file>.+\.npz)#(?P<array>\w+)\[(?P<index>\d+)\]$", re.IGNORECASE)
# A report may be long; a field beyond this is a broken quote, not a report.
_LONGEST_FIELD = 4_000_000


@dataclass(frozen=True)
class Row:
    """One line of a table by our names for its fields; `extra` are the columns we do not know."""

    line: int
    fields: dict[str, str]
    extra: tuple[tuple[str, str], ...]


def columns(mapping: str) -> dict[str, str]:
    """Return `path=file,id=case` as {"path": "file", "id": "case"}; raises QuerySyntaxError.

    `item_id=case` says the same as `id=case`.
    """
    found: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in mapping.split(","))):
        field, sign, column = (p.strip() for p in part.partition("="))
        field = _ALIASES.get(field, field)
        if not sign or not column or field not in DEFAULT_COLUMNS:
            raise errors.QuerySyntaxError(
                f"--columns does not understand {part!r}; it takes FIELD=COLUMN with the fields "
                f"{', '.join(DEFAULT_COLUMNS)}."
            )
        found[field] = column
    return found


def read(
    table: Path, mapping: dict[str, str], reading: sources.Reading
) -> Iterator[cases.Case | sources.Skipped]:
    """Yield a case for each row of a csv file.

    Raises TableError when the table as a whole cannot be used, after the rows
    before the fault where it lies further down.
    """
    source = table.parent.name if table.stem == "manifest" else table.stem
    for row in rows(table, mapping):
        if isinstance(row, sources.Skipped):
            yield row
        else:
            yield case(row, table, source, reading)


def rows(table: Path, mapping: dict[str, str]) -> Iterator[Row | sources.Skipped]:
    """Yield the rows of a csv file; one with too few or too many fields is skipped."""
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter=_delimiter(table))
            header = [name.strip() for name in next(lines, [])]
            known = _known(table, header, mapping)
            for values in lines:
                if not any(values):
                    continue
                if len(values) != len(header):
                    yield sources.Skipped(
                        f"{table}:{lines.line_num}",
                        f"The row has {len(values)} fields, the header {len(header)}.",
                    )
                    continue
                yield _row(lines.line_num, dict(zip(header, values, strict=True)), known)
    except UnicodeDecodeError as error:
        raise errors.TableError(
            str(table), f"it is not UTF-8 text (byte {error.start} of a part); save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise errors.TableError(str(table), f"{error}.") from error
    except OSError as error:
        raise errors.TableError(str(table), f"{error.strerror or error}.") from error


def case(
    row: Row, table: Path, source: str, reading: sources.Reading
) -> cases.Case | sources.Skipped:
    """Return the case of a row, with its images named and not yet decoded."""
    given = row.fields
    images = _images(given.get("path", ""), table.parent, reading)
    if isinstance(images, sources.Skipped):
        return images
    text = given.get("text", "")
    if not images and not text and not given.get("labels"):
        return sources.Skipped(
            f"{table}:{row.line}", "The row has neither a path nor a text nor labels."
        )
    facets, kept = wording.facets({name: given.get(name, "") for name in _FACETS})
    labels = tuple(filter(None, (label.strip() for label in given.get("labels", "").split("|"))))
    name, url = given.get("source", ""), given.get("source_url", "")
    if name.startswith(("http://", "https://")) and not url:
        name, url = "", name
    case_id = given.get("id") or given.get("path") or f"{source}-{row.line}"
    return cases.Case(
        case_id=case_id,
        title=given.get("title") or wording.title(text, labels, facets, case_id),
        text=text,
        labels=labels,
        facets=facets,
        provenance=cases.Provenance(given.get("licence", ""), name or source, url),
        images=images,
        patient=given.get("patient", ""),
        study=given.get("study", ""),
        extra=kept + row.extra,
    )


def _images(
    given: str, folder: Path, reading: sources.Reading
) -> tuple[cases.CaseImage, ...] | sources.Skipped:
    if not given:
        return ()
    array = _ARRAY.match(given)
    path = folder / (array["file"] if array else given)
    if not path.exists():
        return sources.Skipped(str(path), "There is no such file or folder.")
    if array:
        named = f"{path}#{array['array']}[{array['index']}]"
        return (cases.CaseImage(cases.ImageRef(named)),)
    return sources.one(path, reading)


def _delimiter(table: Path) -> str:
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = file.readline(_LONGEST_FIELD)
    return max(",;\t", key=header.count)


def _known(table: Path, header: list[str], mapping: dict[str, str]) -> dict[str, str]:
    """Return column -> field for this header."""
    if not any(header):
        raise errors.TableError(str(table), "it has no header.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise errors.TableError(str(table), f"it has the column {twice[0]!r} more than once.")
    missing = [column for column in mapping.values() if column not in header]
    if missing:
        raise errors.TableError(
            str(table), f"it has no column {missing[0]!r}; it has {', '.join(header)}."
        )
    chosen = DEFAULT_COLUMNS | mapping
    known = {column: field for field, column in chosen.items() if column in header}
    if not {"path", "text", "labels"} & set(known.values()):
        raise errors.TableError(
            str(table),
            f"none of its columns is a path, a text or labels; it has {', '.join(header)}.",
        )
    return known


def _row(line: int, values: dict[str, str], known: dict[str, str]) -> Row:
    fields = {known[name]: value.strip() for name, value in values.items() if name in known}
    extra = tuple(
        (name, value.strip())
        for name, value in values.items()
        if name not in known and value.strip()
    )
    return Row(line, fields, extra)
