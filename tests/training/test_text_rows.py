"""Words without a picture: which may be used, and what they say."""

import csv
from pathlib import Path

import pytest

from medsearch_desktop.training import rows, text_rows

_HEAD = (
    "path",
    "item_id",
    "patient_id",
    "text",
    "labels",
    "modality",
    "view",
    "body_part",
    "licence",
)


def _captions(tmp_path: Path, *lines: tuple[str, str]) -> Path:
    place = tmp_path / "captions"
    place.mkdir()
    with (place / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, _HEAD, restval="")
        writer.writeheader()
        writer.writerows({"text": text, "licence": licence} for text, licence in lines)
    return tmp_path


def test_that_only_allowed_captions_that_say_something_are_read(tmp_path: Path):
    data = _captions(
        tmp_path,
        ("Axial CT of the liver", "CC BY"),
        ("Axial CT of the liver", "CC BY-NC"),
        ("MRI of the brain", "CC0"),
        ("An arrow", "CC BY 4.0"),
    )
    found = text_rows.read(data, "captions")
    assert [(one.modality, one.part) for one in found] == [("CT", "abdomen"), ("MR", "head")]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("Chest radiograph", "chest"),
        ("Ultrasound of the gallbladder", "abdomen"),
        ("Ultrasound of the bladder", "urogenital"),
        ("CT of chest and abdomen", ""),
        ("nothing known", ""),
    ],
)
def test_that_a_caption_says_one_part_or_none(text: str, part: str):
    assert text_rows.part_of(text) == part


def test_that_every_part_said_is_one_that_pictures_have():
    known = {name for name, _ in rows.PART_WORDS.values()}
    assert {name for name, _ in text_rows._PART_PATTERNS} <= known


def test_that_prompts_are_the_words_of_the_classes_of_the_rows():
    row = rows.Row(
        Path("a"), "a", "p", "", "CT", "", "", "chest", ("chest", "lung"), "CC0", "drawn"
    )
    found = text_rows.prompts([row])
    assert {one.text for one in found} == {"CT", "CT scan", "computed tomography", "chest", "lung"}


@pytest.mark.pack
def test_that_the_pack_gives_captions_only_under_allowed_licences(pack: Path):
    found = text_rows.read(pack, "roco-captions")
    allowed = {
        plain["text"].strip()
        for plain in rows.table(pack, "roco-captions")
        if rows.is_allowed(plain["licence"])
    }
    assert {one.text for one in found} <= allowed
    assert len(found) > 2000
