"""How a case is stored: JSON both ways, its facets and labels as words."""

from __future__ import annotations

from typing import Any

from medsearch_desktop import cases

# The facets of a case in the order of the columns of facets.npy; "label" has many values a case.
FIELDS = ("modality", "view", "body_part", "sex", "age", "origin", "licence", "source")
LABEL = "label"


def facet_values(case: cases.Case) -> dict[str, str]:
    """Return the known facets of a case as words, by the names of FIELDS."""
    named = {name: value_text(value) for name, value in case.facets.as_dict().items()}
    named |= {"licence": case.provenance.licence, "source": case.provenance.source}
    return {name: value for name, value in named.items() if value}


def value_text(value: str | float) -> str:
    """Return a facet's value as it is stored, counted and asked for (61.0 is "61")."""
    return value if isinstance(value, str) else f"{value:g}"


def case_labels(case: cases.Case) -> tuple[str, ...]:
    """Return the labels of a case and of its images, each once."""
    images = (label for image in case.images for label in image.labels)
    return tuple(dict.fromkeys(label for label in (*case.labels, *images) if label))


def to_plain(case: cases.Case, places: list[tuple[int, int] | None]) -> dict[str, Any]:
    facets, provenance = case.facets, case.provenance
    plain: dict[str, Any] = {
        "id": case.case_id,
        "title": case.title,
        "text": case.text,
        "labels": case.labels,
        "facets": facets.__dict__,
        "provenance": provenance.__dict__,
        "patient": case.patient,
        "study": case.study,
        "extra": case.extra,
    }
    plain["images"] = []
    for number, image in enumerate(case.images):
        ref, region = image.ref, image.ref.region
        plain["images"].append(
            {
                "path": ref.path,
                "frame": ref.frame,
                "sop": ref.sop_instance_uid,
                "region": region and [region.x, region.y, region.width, region.height],
                "text": image.text,
                "labels": image.labels,
                "thumb": places[number] if number < len(places) else None,
            }
        )
    return plain


def from_plain(plain: dict[str, Any], thumbs: str) -> cases.Case:
    images = []
    for image in plain["images"]:
        region, place = image["region"], image["thumb"]
        ref = cases.ImageRef(
            image["path"], image["frame"], image["sop"], cases.Region(*region) if region else None
        )
        thumbnail = cases.Thumbnail(thumbs, *place) if place and thumbs else None
        images.append(cases.CaseImage(ref, image["text"], tuple(image["labels"]), thumbnail))
    return cases.Case(
        case_id=plain["id"],
        title=plain["title"],
        text=plain["text"],
        labels=tuple(plain["labels"]),
        facets=cases.Facets(**plain["facets"]),
        provenance=cases.Provenance(**plain["provenance"]),
        images=tuple(images),
        patient=plain["patient"],
        study=plain["study"],
        extra=tuple((str(k), str(v)) for k, v in plain["extra"]),
    )
