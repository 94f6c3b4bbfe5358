"""Text from files: markup is shown, what could mislead is taken out, a megabyte is cut."""

from __future__ import annotations

import dataclasses

import phantoms
import pytest

from medsearch_desktop.imaging import opening
from medsearch_desktop.viewer import plain

MARKUP = '<img src="file:///etc/passwd"><b>Doe</b>'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Doe Jane", "Doe Jane"),
        ("a\nb\tc\x00d\x1be", "a b c d e"),
        ("exe.\u202egnp", "exe.gnp"),
        ("\u2066a\u2069\u200f\ufeffb", "ab"),
        ("a\u2028b\u2029c", "a b c"),
        ("\ud800x", "x"),
        ("نمی\u200cخواهم", "نمی\u200cخواهم"),
        ("Müller 山田", "Müller 山田"),
        (MARKUP, MARKUP),
        ("", ""),
    ],
)
def test_that_a_line_keeps_what_can_be_read_and_nothing_that_misleads(text, shown):
    assert plain.line(text) == shown


def test_that_a_megabyte_is_cut_to_a_line():
    cut = plain.line("x" * 1_000_000)
    assert len(cut) == plain.LINE_LETTERS
    assert cut.endswith("…")
    assert len(plain.tooltip("<" * 1_000_000)) < 10 * plain.TIP_LETTERS


def test_that_a_tooltip_shows_markup_letter_by_letter():
    shown = plain.tooltip(f"{MARKUP}\nsecond")
    assert "<img" not in shown
    assert "<b>" not in shown
    assert "&lt;img src=" in shown
    assert "<br>second" in shown
    assert plain.tooltip("") == ""


def test_that_a_label_shows_an_ampersand_and_underlines_nothing():
    assert plain.label("Head & neck") == "Head && neck"


def test_that_every_text_of_a_study_is_made_harmless_and_its_paths_stay(tmp_path):
    phantoms.write_ct_series(tmp_path / "ct", slices=2)
    (found,) = opening.open_paths([tmp_path / "ct"])
    harmful = "a\u202e\x07" + "b" * 10_000
    names = ("modality", "description", "body_part", "units", "laterality", "view")
    bad = dataclasses.replace(
        found.series[0],
        marks=(harmful,),
        details=(("Machine", harmful),),
        **dict.fromkeys(names, harmful),
    )
    texts = ("title", "patient_name", "patient_id", "sex", "age", "date", "accession_number")
    study = dataclasses.replace(found, series=(bad,), **dict.fromkeys(texts, harmful))
    cleaned = plain.study(study)
    series = cleaned.series[0]
    told = [getattr(cleaned, name) for name in texts] + [getattr(series, name) for name in names]
    told += [*series.marks, series.details[0][1]]
    assert all(text.startswith("a b") and len(text) <= plain.LINE_LETTERS for text in told)
    assert series.slices == found.series[0].slices
    assert (cleaned.study_uid, cleaned.paths) == (found.study_uid, found.paths)
