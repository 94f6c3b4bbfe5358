"""Case, Facets, Provenance, ImageRef, Region: what a collection can return."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Region:
    """A rectangle of one frame, in pixels; (x, y) is its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or self.x < 0 or self.y < 0:
            raise ValueError(f"not a rectangle of an image: {self}")


@dataclass(frozen=True)
class ImageRef:
    """Names one image and holds no pixels.

    `path` is a file, a member of an archive (`/a/b.zip!/inner/1.dcm`) or one
    array of a file (`/a/b.npz#images[7]`). `frame` counts from 0 and is, for a
    NIfTI volume, the slice along its third axis.
    """

    path: str
    frame: int = 0
    sop_instance_uid: str = ""
    region: Region | None = None


@dataclass(frozen=True)
class Facets:
    """The countable fields of a case; an empty string or None means not known.

    `modality` is a DICOM code (CT, MR, DX, CR, US ...), `age_years` is in
    years, `origin` is "real" or "drawn" (made by a program).
    """

    modality: str = ""
    view: str = ""
    body_part: str = ""
    sex: str = ""
    age_years: float | None = None
    origin: str = "real"

    def as_dict(self) -> dict[str, str | float]:
        """Return the known fields, by the names that filters and JSON use."""
        named = {
            "modality": self.modality,
            "view": self.view,
            "body_part": self.body_part,
            "sex": self.sex,
            "age": self.age_years,
            "origin": self.origin,
        }
        return {name: value for name, value in named.items() if value not in ("", None)}


@dataclass(frozen=True)
class Provenance:
    """Where a case comes from and under which licence it may be shown."""

    licence: str = ""
    source: str = ""
    source_url: str = ""


@dataclass(frozen=True)
class Thumbnail:
    """A stored JPEG or PNG picture: `length` bytes at `offset` of `file`."""

    file: str
    offset: int
    length: int


@dataclass(frozen=True)
class CaseImage:
    """One image of a case, with the words that belong to it alone."""

    ref: ImageRef
    text: str = ""
    labels: tuple[str, ...] = ()
    thumbnail: Thumbnail | None = None


@dataclass(frozen=True)
class Case:
    """What a collection returns: a study, or a figure with its caption.

    `case_id` is stable over rebuilds from the same source. `patient` is the
    source's patient or group id, "" when it is not known; it serves splits and
    leak rules and is never shown. `extra` keeps unknown columns.
    """

    case_id: str
    title: str = ""
    text: str = ""
    labels: tuple[str, ...] = ()
    facets: Facets = field(default_factory=Facets)
    provenance: Provenance = field(default_factory=Provenance)
    images: tuple[CaseImage, ...] = ()
    patient: str = ""
    study: str = ""
    extra: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.case_id:
            raise ValueError("a case needs an id")
