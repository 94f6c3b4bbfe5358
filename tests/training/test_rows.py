"""Which rows may train, and what they say."""

import csv
import re
from pathlib import Path

import pytest

from medsearch_desktop import errors
from medsearch_desktop.training import rows

_HEAD = ["path", "item_id", "patient_id", "text", "labels", "modality", "view", "body_part"]


def _manifest(folder: Path, *lines: dict[str, str]) -> Path:
    """Write one source's manifest and return the folder of the data."""
    place = folder / "films"
    place.mkdir(parents=True)
    with (place / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [*_HEAD, "licence"], restval="")
        writer.writeheader()
        writer.writerows(lines)
    return folder


def _line(**fields: str) -> dict[str, str]:
    return {"path": "a.png", "item_id": "a", "licence": "CC BY 4.0", **fields}


@pytest.mark.parametrize(
    "licence", ["CC BY", "CC BY 3.0", "CC BY 4.0", " CC BY 4.0 ", "CC-BY-4.0", "CC0", "CC0-1.0"]
)
def test_that_attribution_and_public_domain_may_train(licence: str):
    assert rows.is_allowed(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "",
        "CC BY-SA",
        "CC BY-SA 4.0",
        "CC BY-NC",
        "CC BY-NC 4.0",
        "CC BY-NC-SA",
        "CC BY-NC-SA 4.0",
        "CC BY-ND",
        "CC BY-NC-ND",
        "CC BY-NC-ND 4.0",
        "CC-BY-NC-4.0",
        "CC BY 4.0, non-commercial",
        "cc by",
        "MIT",
        "Apache-2.0",
        "PDDL-1.0",
        "all rights reserved",
    ],
)
def test_that_every_other_licence_may_not_train(licence: str):
    assert not rows.is_allowed(licence)


@pytest.mark.pack
def test_that_each_licence_of_the_pack_is_taken_only_without_sa_nc_and_nd(pack: Path):
    found = set()
    for manifest in pack.glob("*/manifest.csv"):
        with manifest.open(encoding="utf-8", newline="") as stream:
            found |= {row["licence"] for row in csv.DictReader(stream)}
    allowed = {name for name in found if rows.is_allowed(name)}
    assert allowed == {"CC BY", "CC BY 3.0", "CC BY 4.0", "CC0", "CC0-1.0"}
    assert not any(re.search(r"\b(SA|NC|ND)\b", name) for name in allowed)
    assert len(found) > 15


@pytest.mark.pack
def test_that_the_pack_gives_only_rows_whose_licence_allows_it(pack: Path):
    found, left_out = rows.read(pack, ("vqa-med-2019", "covid-chestxray", "vqa-rad"))
    assert {row.licence for row in found} == {"CC BY", "CC BY 3.0", "CC BY 4.0", "CC0-1.0"}
    assert (len(found), left_out["covid-chestxray"]) == (1189, 244)
    assert all(row.path.is_file() for row in found)
    refused, left_out = rows.read(pack, ("mednist",))
    assert (refused, left_out) == ([], {"mednist": 1800})


def test_that_rows_without_a_picture_or_a_licence_are_counted_as_left_out(tmp_path: Path):
    data = _manifest(
        tmp_path, _line(), _line(path=""), _line(licence=""), _line(licence="CC BY-NC 4.0")
    )
    found, left_out = rows.read(data, ("films",))
    assert len(found) == 1
    assert left_out == {"films": 3}


def test_that_a_missing_source_or_column_is_named(tmp_path: Path):
    with pytest.raises(errors.QuerySyntaxError, match="nowhere"):
        rows.read(tmp_path, ("nowhere",))
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "manifest.csv").write_text("path,item_id\na.png,a\n", "utf-8")
    with pytest.raises(errors.QuerySyntaxError, match="licence"):
        rows.read(tmp_path, ("films",))


def test_that_captions_say_modality_view_part_and_finding_in_several_words(tmp_path: Path):
    data = _manifest(
        tmp_path,
        _line(modality="MR", view="axial", body_part="skull and contents", text="meningioma"),
    )
    ((row,), _) = rows.read(data, ("films",))
    assert row.captions()[0] == "MRI axial head. meningioma"
    assert row.captions()[2] == "magnetic resonance imaging axial skull. meningioma"
    assert row.captions()[4] == "MR axial skull and contents. meningioma"
    assert "MRI of the head" in row.tags()
    assert "axial brain MR" in row.tags()
    assert not any("meningioma" in tag for tag in row.tags())


def test_that_a_row_of_which_nothing_is_known_says_so(tmp_path: Path):
    ((row,), _) = rows.read(_manifest(tmp_path, _line()), ("films",))
    assert set(row.captions()) == set(row.tags()) == {rows.NOTHING_KNOWN}
    assert row.finding == ""
    assert row.patient == "a"


def test_that_answers_are_read_without_their_questions(tmp_path: Path):
    text = "Q: Is this an MRI? A: no. Q: What kind of scan is this? A: a CT. Q: Seen? A: Infarct."
    ((row,), _) = rows.read(_manifest(tmp_path, _line(text=text, body_part="head")), ("films",))
    assert row.finding == "Infarct"
    assert row.modality == "CT"


def test_that_findings_in_the_labels_are_kept_and_tags_are_not(tmp_path: Path):
    data = _manifest(
        tmp_path,
        _line(labels="chest|PA|X-ray|COVID-19", modality="X-ray", view="PA", body_part="chest"),
    )
    ((row,), _) = rows.read(data, ("films",))
    assert row.finding == "COVID-19"


@pytest.mark.parametrize(
    ("words", "modality"),
    [
        ("CXR", "XR"),
        ("X-ray", "XR"),
        ("Non-contrast CT", "CT"),
        ("MR - T2 weighted", "MR"),
        ("FLAIR", "MR"),
        ("ultrasound", "US"),
        ("photograph", ""),
        ("", ""),
    ],
)
def test_that_the_sources_words_for_a_modality_become_one(words: str, modality: str):
    assert rows.modality_of(words) == modality
