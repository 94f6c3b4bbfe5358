"""The demo collection: enough real series, each once, and drawn ones that say so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from indexer import demo, demo_images, drawn_cases
from indexer import sources as inputs
from medsearch_desktop import cases, settings
from medsearch_desktop.imaging import isolated

Found = list[cases.Case | inputs.Skipped]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def readers() -> Iterator[isolated.Readers]:
    with isolated.Readers(1) as opened:
        yield opened


@pytest.fixture(scope="module")
def found(folder: Path, readers: isolated.Readers) -> Found:
    return list(demo.sources(folder, readers))


@pytest.fixture(scope="module")
def real(found: Found) -> list[cases.Case]:
    return [c for c in found if isinstance(c, cases.Case) and c.facets.origin == "real"]


@pytest.fixture(scope="module")
def drawn(found: Found) -> list[cases.Case]:
    return [c for c in found if isinstance(c, cases.Case) and c.facets.origin == "drawn"]


@pytest.mark.slow
def test_that_nothing_is_skipped_when_all_packages_are_there(found: Found) -> None:
    assert [one for one in found if isinstance(one, inputs.Skipped)] == []
    assert len(found) == demo.count()


@pytest.mark.slow
def test_that_at_least_25_real_series_have_64_pixels_a_side(
    real: list[cases.Case], readers: isolated.Readers
) -> None:
    assert len(real) >= 25
    for case in real:
        for image in case.images:
            assert min(readers.render_picture(image.ref).shape[:2]) >= 64, case.case_id


@pytest.mark.slow
def test_that_drawn_cases_are_at_most_half_and_say_that_they_are_drawn(
    real: list[cases.Case], drawn: list[cases.Case]
) -> None:
    assert len(drawn) == drawn_cases.count() <= len(real)
    for case in drawn:
        assert case.title.startswith("Drawn: ")
        assert "not taken from a patient" in case.text
    assert not any(case.title.startswith("Drawn") for case in real)


@pytest.mark.slow
def test_that_no_case_has_more_than_four_images_and_every_id_is_its_own(found: Found) -> None:
    known = [case for case in found if isinstance(case, cases.Case)]
    assert all(1 <= len(case.images) <= 4 for case in known)
    assert len({case.case_id for case in known}) == len(known)


@pytest.mark.slow
def test_that_no_two_real_cases_show_the_same_picture(
    real: list[cases.Case], readers: isolated.Readers
) -> None:
    small = {}
    for case in real:
        middle = case.images[len(case.images) // 2]
        shown = readers.render_picture(middle.ref, max_side=32).astype(float).mean(axis=2)
        small[case.case_id] = np.ravel(shown - shown.mean()) / max(float(shown.std()), 1e-6)
    for one, first in small.items():
        for other, second in small.items():
            if one < other and first.shape == second.shape:
                assert (first * second).mean() < 0.97, (one, other)


@pytest.mark.slow
def test_that_other_encodings_of_a_picture_are_folded_and_counted(real: list[cases.Case]) -> None:
    files = {case.case_id: int(dict(case.extra)["files"]) for case in real}
    assert files["real/pydicom-data/RG1_UNCR.dcm"] == 4
    assert files["real/pydicom-data/emri_small.dcm"] >= 5
    assert files["real/pydicom/MR_small.dcm"] >= 8
    assert sum(files.values()) - len(files) >= 40


@pytest.mark.slow
def test_that_every_case_names_its_licence_and_the_package_it_comes_from(found: Found) -> None:
    for case in found:
        assert isinstance(case, cases.Case)
        assert case.provenance.licence
        if case.facets.origin == "real":
            assert re.fullmatch(r"\S+ [\d.]+", case.provenance.source)
            assert case.provenance.source_url.startswith("https://")


@pytest.mark.slow
def test_that_no_name_id_or_date_of_a_header_stands_in_a_case(real: list[cases.Case]) -> None:
    for case in real:
        path = Path(case.images[0].ref.path)
        if path.suffix != ".dcm":
            continue
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        told = f"{case.case_id} {case.title} {case.text} {case.extra} {case.patient}".casefold()
        for keyword in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "StudyDate",
            "InstitutionName",
            "ReferringPhysicianName",
            "OperatorsName",
            "AccessionNumber",
        ):
            said = str(header.get(keyword) or "").strip().casefold()
            whole = said.replace("^", " ").strip()
            if whole and whole in str(header.get("Manufacturer")).casefold():
                continue  # a test image made at the maker's own site
            assert len(whole) < 4 or whole not in told, (case.case_id, keyword)


@pytest.mark.slow
def test_that_the_files_lie_in_the_folder_and_outlive_their_packages(
    found: Found, folder: Path
) -> None:
    for case in found:
        assert isinstance(case, cases.Case)
        for image in case.images:
            assert Path(image.ref.path).is_relative_to(folder)


@pytest.mark.slow
def test_that_a_second_look_finds_the_same_cases_and_copies_nothing_again(
    folder: Path, readers: isolated.Readers, real: list[cases.Case]
) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "real").rglob("*.*")}
    again = list(demo_images.found(folder, readers))
    assert again == real
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


@pytest.mark.slow
def test_that_the_description_counts_cases_twins_and_licences(found: Found) -> None:
    known = [case for case in found if isinstance(case, cases.Case)]
    told = demo.describe(known)
    assert re.match(r"The demo collection holds \d+ real series and \d+ drawn phantoms\.", told[0])
    assert "folded" in told[1]
    assert any("pydicom-data" in line and "MIT" in line for line in told)
    assert "origin=real" in " ".join(told)


def test_that_a_missing_package_skips_its_images_with_a_sentence(
    tmp_path: Path, readers: isolated.Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(row for row in demo_images.rows() if row.distribution == "nibabel")
    absent = demo_images.Row("no-such-package", row.path, (), row.given, "MIT", "https://x")
    monkeypatch.setattr(demo_images, "rows", lambda: (absent,))
    (skipped,) = demo_images.found(tmp_path, readers)
    assert isinstance(skipped, inputs.Skipped)
    assert "no-such-package" in skipped.reason
    assert skipped.reason.endswith("is not installed.")


def test_that_the_collection_and_its_files_lie_in_the_data_folder(home: Path) -> None:
    folders = settings.folders()
    assert demo.collection_folder(folders) == home / "collections" / "demo"
    assert demo.files_folder(folders) == home / "demo"
    assert 3 <= len(demo.SAMPLE_QUERIES) <= 5
