"""Terms made of what is open: the path the engine reads again, and words without a name."""

from __future__ import annotations

import phantoms
import pytest

from medsearch_desktop import cases, queries
from medsearch_desktop.gui import terms
from medsearch_desktop.imaging import opening
from medsearch_desktop.imaging import study as studies


def opened(*paths) -> studies.Study:
    (study,) = (s for s in opening.open_paths([str(p) for p in paths]) if hasattr(s, "series"))
    return study


def test_that_a_folder_an_archive_and_loose_files_are_named_by_what_holds_them(tmp_path):
    paths = phantoms.write_ct_series(tmp_path / "ct", slices=3)
    packed = phantoms.zip_folder(tmp_path / "ct", tmp_path / "ct.zip")
    for given, expected in (
        ((tmp_path / "ct",), tmp_path / "ct"),
        ((packed,), packed),
        (paths, tmp_path / "ct"),
    ):
        study = opened(*given)
        assert terms.source_of(study, study.series[0]) == str(expected)


def test_that_a_single_image_asks_as_an_image_and_a_stack_as_a_volume(tmp_path):
    picture = opened(phantoms.write_picture(tmp_path / "a.png"))
    assert isinstance(terms.term_of_series(picture, picture.series[0]), queries.ImageTerm)
    volume = opened(phantoms.write_nifti(tmp_path / "b.nii.gz"))
    term = terms.term_of_series(volume, volume.series[0])
    assert isinstance(term, queries.VolumeTerm)
    assert term.path == str(tmp_path / "b.nii.gz")


@pytest.mark.parametrize(
    ("term", "label"),
    [
        (queries.TextTerm("left effusion"), "left effusion"),
        (queries.ImageTerm(cases.ImageRef("/a/chest.png")), "chest.png"),
        (queries.ImageTerm(cases.ImageRef("/a/study.zip!/1/2.dcm")), "study.zip"),
        (queries.ImageTerm(cases.ImageRef(f"/scratch/{'a' * 64}.png")), "Pasted picture"),
        (queries.VolumeTerm("/a/ct"), "ct"),
        (queries.CaseTerm("case-7"), "Case case-7"),
    ],
)
def test_that_every_kind_of_term_has_its_words(term, label):
    assert terms.label_of(term) == label


def test_that_the_title_is_modality_and_part_alone(tmp_path):
    phantoms.write_ct_series(tmp_path / "ct", slices=3)
    study = opened(tmp_path / "ct")
    title = terms.title_of(study, study.series[0])
    assert title.startswith("CT")
    for private in (study.patient_name, study.patient_id, study.study_uid, str(tmp_path)):
        assert not private or private not in title
