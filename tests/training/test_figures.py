"""Measurements that stop and go on."""

import dataclasses
import json
from pathlib import Path

import drawn_samples
import pytest

from medsearch_desktop import errors
from medsearch_desktop.training import figures, rows

pytest.importorskip("torch")


_FOUND = drawn_samples.made(36)


def _rows() -> list[rows.Row]:
    return [
        rows.Row(Path("a.png"), f"i{n}", patient, "", "", "", "", "", (), "CC0", "drawn")
        for n, patient in enumerate(_FOUND.patients)
    ]


def _measure(
    tmp_path: Path,
    given: list[rows.Row] | None = None,
    said: list[str] | None = None,
    **tables: dict[str, object],
) -> figures.Report:
    tables = {"trunk": {"epochs": 1}, **tables}
    plan = drawn_samples.plan(tmp_path, **tables)
    return figures.measure(
        plan,
        given or _rows(),
        _FOUND,
        drawn_samples.start(),
        tmp_path / "figures.json",
        log=(said if said is not None else []).append,
        progress=lambda *step: None,
    )


def test_that_an_interrupted_measurement_goes_on_and_ends_as_a_whole_one(tmp_path: Path):
    whole = _measure(tmp_path)
    assert (whole.runs, whole.wanted) == (4, 4)
    path = tmp_path / "figures.json"
    plain = json.loads(path.read_text("utf-8"))
    # As it was after two of four runs.
    path.write_text(json.dumps({**plain, "runs": plain["runs"][:2]}), "utf-8")
    said: list[str] = []
    again = _measure(tmp_path, said=said)
    trained = [line for line in said if "epoch" in line]
    assert [line[:13] for line in trained] == ["fold 0 seed 1", "fold 1 seed 1"]
    assert again.figures == whole.figures
    assert again.calibration == whole.calibration
    assert {"image_slope", "text_offset"} <= set(again.calibration)


def test_that_seeds_may_be_added_later(tmp_path: Path):
    first = _measure(tmp_path, figures={"seeds": (0,)})
    assert (first.runs, first.wanted) == (2, 2)
    more = _measure(tmp_path, figures={"seeds": (0, 1)})
    assert (more.runs, more.wanted) == (4, 4)
    assert more.plain["runs"][:2] == first.plain["runs"]


def test_that_figures_of_another_recipe_or_of_other_data_are_not_mixed_in(tmp_path: Path):
    _measure(tmp_path, figures={"seeds": (0,)})
    with pytest.raises(errors.QuerySyntaxError, match="another recipe"):
        _measure(tmp_path, losses={"class_weight": 3.0})
    other = [dataclasses.replace(row, licence="CC BY") for row in _rows()]
    with pytest.raises(errors.QuerySyntaxError, match="other training data"):
        _measure(tmp_path, other)


def test_that_the_published_network_is_measured_beside_it(tmp_path: Path):
    report = _measure(tmp_path, figures={"seeds": (0,)})
    assert "modality and part P@1" in {one.name for one in report.raw}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": 99}'])
def test_that_a_file_which_holds_no_figures_is_refused(tmp_path: Path, content: str):
    path = tmp_path / "figures.json"
    path.write_text(content, "utf-8")
    with pytest.raises(errors.QuerySyntaxError, match=r"figures\.json"):
        figures.read(path)
