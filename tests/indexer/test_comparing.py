"""Two collections of the same cases compared: the same questions, measures, and the page."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pytest
import toy_collection
import toy_encoder

from indexer import cli, comparing, comparison_page, progress
from medsearch_desktop import cases, errors
from medsearch_desktop.engine import collection
from medsearch_desktop.engine.encoders import base

COUNT = 48
MODALITIES = ("CT", "MR", "DX", "CR", "US", "NM", "PT", "XA")
SILENT = progress.Progress("none", io.StringIO())
BLIND = dataclasses.replace(toy_encoder.ToyEncoder(salt="blind").card, name="blind")


def _never(card: base.EncoderCard) -> base.Encoder:
    raise AssertionError("no encoder is needed to ask cases by their own vectors")


def _case(number: int, folder: Path) -> cases.Case:
    plain = toy_collection.case(number, folder)
    facets = cases.Facets(modality=MODALITIES[number % 8], body_part="chest")
    return dataclasses.replace(plain, facets=facets, text=plain.text + " <b>&bold</b>\u202e")


def _write(path: Path, card: base.EncoderCard, numbers: range = range(COUNT)) -> Path:
    """Write cases whose vectors are the toy's, or drawn at random where the card is BLIND."""
    toy, draw = toy_encoder.ToyEncoder(), np.random.default_rng(1)
    picture = (path.parent / "one.jpg").read_bytes()
    with collection.CollectionWriter(path, name=path.name, card=card) as writer:
        for number in numbers:
            case = _case(number, path.parent)
            colour = toy_collection.picture(toy_collection.COLOURS[number % 8])
            vectors = toy.encode_images(colour[None]), toy.encode_texts([case.text])
            if card is BLIND:
                rows = draw.normal(size=(2, card.dimension)).astype(np.float32)
                rows /= np.linalg.norm(rows, axis=1, keepdims=True)
                vectors = rows[:1], rows[1:]
            writer.add(case, *vectors, [picture])
        writer.commit()
    return path


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """The same cases by an encoder that sees colours, and by one that sees nothing."""
    phantoms.write_picture(tmp_path / "one.jpg")
    seeing = _write(tmp_path / "seeing", toy_encoder.ToyEncoder().card)
    return seeing, _write(tmp_path / "blind", BLIND)


def _measure(found: comparing.Comparison, mode: str, metric: str) -> comparing.Measure:
    return next(one for one in found.measures if (one.mode, one.metric) == (mode, metric))


def test_that_the_encoder_which_sees_is_told_from_one_that_does_not(both: tuple[Path, Path]):
    found = comparing.compare((both[1], both[0]), None, _never, SILENT)
    by_image = _measure(found, comparing.IMAGES, "P@1")
    blind, seeing = by_image.values
    assert seeing.value == 1
    assert blind.value < 2 * by_image.chance
    assert by_image.difference.low > 0
    by_text = _measure(found, comparing.TEXTS, "MdR")
    assert by_text.values[1].value < by_text.values[0].value
    assert by_text.chance == (COUNT + 1) / 2


def test_that_a_collection_compared_with_itself_differs_in_nothing(both: tuple[Path, Path]):
    found = comparing.compare((both[0], both[0]), None, _never, SILENT)
    assert {(m.difference.low, m.difference.high) for m in found.measures} == {(0, 0)}
    assert {answers.interval.value for answers in found.answers} == {1}


def test_that_only_cases_which_both_hold_are_asked_and_the_others_are_counted(
    both: tuple[Path, Path], tmp_path: Path
):
    less = _write(tmp_path / "less", BLIND, range(10, COUNT + 4))
    found = comparing.compare((both[0], less), None, _never, SILENT)
    assert (len(found.pool), found.only_in) == (COUNT - 10, (10, 4))


def test_that_collections_without_a_case_in_common_are_refused(
    both: tuple[Path, Path], tmp_path: Path
):
    other = _write(tmp_path / "other", BLIND, range(100, 110))
    with pytest.raises(comparing.NothingComparableError, match="0 cases with pictures in common"):
        comparing.compare((both[0], other), None, _never, SILENT)


def test_that_no_hit_is_a_case_of_the_questions_own_patient(both: tuple[Path, Path]):
    found = comparing.compare(both, None, _never, SILENT)
    answers = next(one for one in found.answers if one.mode == comparing.IMAGES)
    for place, number in enumerate(answers.asked):
        asked = found.questions.cases[number]
        hits = [hit for one in answers.found for hit in one.first[place] if hit >= 0]
        assert asked.patient not in {found.pool[hit].patient for hit in hits}


def test_that_the_page_loads_nothing_runs_nothing_and_escapes_all_words(both: tuple[Path, Path]):
    page = comparison_page.page(comparing.compare(both, None, _never, SILENT))
    assert "<b>&bold" not in page
    assert "&lt;b&gt;&amp;bold" in page
    assert "\u202e" not in page
    assert not re.search(r"<script|javascript:|\son\w+=|https?://", page)
    sources = set(re.findall(r'(?:src|href)="([^"]{0,22})', page))
    assert sources == {"data:image/jpeg;base64"}
    assert "default-src 'none'" in page


def _run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    status = cli.main([*map(str, words), "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_that_the_command_writes_a_report_and_names_both_encoders(
    both: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
):
    report = both[0].parent / "report.html"
    status, said = _run(capsys, "compare", *both, "--report", report)
    assert (status, said["pool"], said["report"]) == (0, COUNT, str(report))
    assert [one["encoder"] for one in said["collections"]] == [toy_encoder.NAME, "blind"]
    assert set(said["overlap"][comparing.IMAGES]) == {"questions", "value", "low", "high"}
    assert report.read_text("utf-8").count("data:image/jpeg") > 20


def test_that_a_report_without_a_place_is_refused_before_anything_is_asked(
    both: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
):
    report = both[0].parent / "nowhere" / "report.html"
    status, said = _run(capsys, "compare", *both, "--report", report)
    assert (status, said["error"]["type"]) == (1, "UnreadableFileError")
    assert "nowhere" in said["error"]["message"]


def test_that_questions_out_of_a_table_are_encoded_and_an_own_case_is_its_answer(
    both: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
):
    folder = both[0].parent / "asked"
    lines = ["path,item_id,text,modality,body_part"]
    for number, colour in enumerate(toy_collection.COLOURS):
        modality = MODALITIES[number]
        phantoms.write_picture(folder / f"{colour}.png", toy_collection.picture(colour))
        lines.append(f"{colour}.png,case-{number},A {colour} square.,{modality},chest")
    lines.append("gone.png,case-99,Not there.,CT,chest")
    (folder / "t.csv").write_text("\n".join(lines), "utf-8")
    status, said = _run(capsys, "compare", both[0], both[0], "--queries", folder / "t.csv")
    assert (status, said["questions"], len(said["skipped"])) == (3, 8, 1)
    first = said["measures"][0]
    assert (first["metric"], first["questions"], first["values"][0]["value"]) == ("P@1", 8, 1.0)
    recall = next(one for one in said["measures"] if one["metric"] == "R@10")
    assert recall["questions"] == 8


def test_that_a_table_is_refused_when_an_encoder_is_not_that_of_its_collection(
    both: tuple[Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
):
    (both[0].parent / "t.csv").write_text("path,item_id,text\n,a,A red square.", "utf-8")
    status, said = _run(capsys, "compare", *both, "--queries", both[0].parent / "t.csv")
    assert (status, said["error"]["type"]) == (1, errors.EncoderMissingError.__name__)
