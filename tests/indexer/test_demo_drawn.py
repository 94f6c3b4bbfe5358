"""Drawn phantoms: what their reports say is measured in their pixels."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from indexer import drawn, drawn_body, drawn_cases, drawn_chest, drawn_files, drawn_head
from medsearch_desktop.imaging import isolated, study, volume

pytestmark = pytest.mark.slow

FINDINGS = [(key, one) for key, found in drawn_cases.planned().items() for one in found]
SIDED = [(key, one) for key, one in FINDINGS if one.sign and one.kind != "midline shift"]
BALLS = {"nodule", "mass", "liver lesion", "kidney stone", "haemorrhage", "tumour"}


@functools.cache
def drawing_of(key: str) -> drawn.Drawing:
    return drawn_cases.drawing(key)


@functools.cache
def changed(key: str, finding: drawn.Finding) -> np.ndarray:
    """What one finding adds to the values of a drawing, (z, y, x)."""
    without = drawn_cases.drawing(key, leave_out=finding)
    return drawing_of(key).values.astype(float) - without.values


def extent_mm(mask: np.ndarray, axis: int, step_mm: float) -> float:
    """The length of the box around a mask along one of its axes."""
    places = np.flatnonzero(mask.any(axis=tuple(k for k in range(mask.ndim) if k != axis)))
    return (places[-1] - places[0] + 1) * step_mm


def columns_mm(drawing: drawn.Drawing) -> np.ndarray:
    """Where the columns lie, in mm to the patient's left."""
    count = drawing.values.shape[2]
    return (np.arange(count) - (count - 1) / 2) * drawing.spacing_mm[2]


def rows_mm(drawing: drawn.Drawing) -> np.ndarray:
    count = drawing.values.shape[1]
    return (np.arange(count) - (count - 1) / 2) * drawing.spacing_mm[1]


@pytest.mark.parametrize(("key", "finding"), SIDED)
def test_that_a_finding_lies_on_the_side_its_report_names(key: str, finding: drawn.Finding) -> None:
    drawing = drawing_of(key)
    weight = np.abs(changed(key, finding))
    weight[weight < 0.25 * weight.max()] = 0
    middle = float((weight * columns_mm(drawing)).sum() / weight.sum())
    assert np.sign(middle) == finding.sign
    assert any(finding.side in sentence.casefold() for sentence in drawing.sentences)


def test_that_the_patients_right_is_on_the_left_of_the_screen() -> None:
    ct = drawing_of("abdomen-ct-31")
    liver, spleen = ct.values[7][:, : ct.values.shape[2] // 2], ct.values[7]
    assert np.median(liver[110:140, 40:60]) == pytest.approx(108, abs=12)
    gas = np.argwhere(spleen[60:120] < -900)[:, 1]
    inside = gas[(gas > 60) & (gas < 200)]
    assert np.median(inside) > ct.values.shape[2] / 2, "the stomach is on the patient's left"


@pytest.mark.parametrize(("key", "finding"), [f for f in FINDINGS if f[1].kind in BALLS])
def test_that_a_round_finding_has_the_size_its_report_gives(
    key: str, finding: drawn.Finding
) -> None:
    drawing, added = drawing_of(key), changed(key, finding)
    if finding.kind == "liver lesion":
        # A bright rim around a dark middle.
        mask = np.abs(added) > 15
    elif finding.kind == "tumour":
        # The rim is bright and the middle dark: the outer edge of the rim counts.
        mask = (added > 8) & (drawing.values > 45)
    else:
        # A ball thins out towards its edge in a projection, on CT it does not.
        mask = added > (0.1 if drawing.modality == "DX" else 0.4) * added.max()
    largest = mask[int(mask.sum(axis=(1, 2)).argmax())]
    assert f"{finding.size_mm:.0f} mm" in " ".join(drawing.sentences)
    for axis in (0, 1):
        measured = extent_mm(largest, axis, drawing.spacing_mm[1 + axis])
        assert measured == pytest.approx(finding.size_mm, abs=max(3.0, 0.1 * finding.size_mm))


@pytest.mark.parametrize(("key", "finding"), [f for f in FINDINGS if f[1].kind == "consolidation"])
def test_that_a_consolidation_has_about_the_size_its_report_gives(
    key: str, finding: drawn.Finding
) -> None:
    added = changed(key, finding)
    mask = added > 0.5 * added.max()
    largest = mask[int(mask.sum(axis=(1, 2)).argmax())]
    measured = extent_mm(largest, 0, drawing_of(key).spacing_mm[1])
    assert measured == pytest.approx(finding.size_mm, rel=0.2)


@pytest.mark.parametrize("key", ["chest-radiograph-03", "chest-radiograph-04"])
def test_that_an_effusion_rises_along_the_wall_as_far_as_its_report_says(key: str) -> None:
    drawing = drawing_of(key)
    (finding,) = drawing.findings
    added = changed(key, finding)[0]
    beside_wall = np.abs(columns_mm(drawing) * finding.sign - 124) < 3
    column = added[:, beside_wall].mean(axis=1)
    filled = rows_mm(drawing)[column > 0.25 * added.max()]
    measured = drawn_chest.recess_mm(finding.sign) - filled.min()
    assert measured == pytest.approx(finding.size_mm, abs=8)


def test_that_fluid_on_ct_is_as_deep_as_its_report_says_and_has_the_density_of_water() -> None:
    drawing = drawing_of("chest-ct-23")
    (finding,) = drawing.findings
    fluid = (changed(drawing.key, finding) > 400) & (np.abs(drawing.values - 10) < 60)
    assert extent_mm(fluid[0], 0, drawing.spacing_mm[1]) == pytest.approx(finding.size_mm, abs=5)
    assert np.median(drawing.values[fluid]) == pytest.approx(11, abs=10)


@pytest.mark.parametrize("key", ["chest-radiograph-05", "chest-radiograph-06"])
def test_that_a_pneumothorax_is_as_wide_at_the_apex_as_its_report_says(key: str) -> None:
    drawing = drawing_of(key)
    (finding,) = drawing.findings
    added = changed(key, finding)[0]
    top = (rows_mm(drawing) > -128) & (rows_mm(drawing) < -118)
    widths = (np.abs(added[top]) > 30).sum(axis=1) * drawing.spacing_mm[2]
    measured = np.median(widths)
    assert measured == pytest.approx(finding.size_mm, abs=5)


def heart_ratio(drawing: drawn.Drawing) -> float:
    """The widths of heart and inner chest, read off a band across the heart, as a ratio."""
    rows = np.abs(rows_mm(drawing) - 38) < 4
    profile = drawn.blur(drawing.values[0, rows].mean(axis=0)[None].repeat(8, 0), 2)[0]
    x = columns_mm(drawing)
    lung = np.percentile(profile[np.abs(x) < 125], 10)
    heart = np.median(profile[np.abs(x) < 15])
    dense = profile > (lung + heart) / 2
    middle = len(x) // 2
    right = middle - int(np.argmin(dense[middle::-1]))
    left = middle + int(np.argmin(dense[middle:]))
    return float((x[left] - x[right]) / (2 * drawn_chest.wall_mm(38.0)))


@pytest.mark.parametrize(
    ("key", "said"),
    [("chest-radiograph-01", 0.46), ("chest-radiograph-02", 0.44), ("chest-radiograph-11", 0.62)],
)
def test_that_the_heart_is_as_wide_as_its_report_says(key: str, said: float) -> None:
    drawing = drawing_of(key)
    assert f"cardiothoracic ratio {said}" in " ".join(drawing.sentences)
    assert heart_ratio(drawing) == pytest.approx(said, abs=0.04)
    assert ("cardiomegaly" in drawing.labels) == (said > 0.5)


def test_that_a_subdural_haematoma_is_as_thick_as_its_report_says() -> None:
    drawing = drawing_of("head-ct-43")
    finding = next(f for f in drawing.findings if f.kind == "subdural haematoma")
    blood = (changed(drawing.key, finding) > 12) & (drawing.values > 50)
    thickest = max(int(row.sum()) for plane in blood for row in plane) * drawing.spacing_mm[2]
    assert thickest == pytest.approx(finding.size_mm, abs=2.5)


@pytest.mark.parametrize("key", ["head-ct-41", "head-ct-42", "head-ct-43"])
def test_that_the_midline_is_shifted_as_far_as_the_report_says(key: str) -> None:
    drawing = drawing_of(key)
    plane = drawn_head.HEIGHTS_MM.index(0.0)
    x, y = columns_mm(drawing), rows_mm(drawing)
    near = (np.abs(y[:, None] - 19) < 5) & (np.abs(x[None, :]) < 14)
    pineal = near & (drawing.values[plane] > 75)
    measured = float((pineal * x).sum() / pineal.sum())
    said = next((f.sign * f.size_mm for f in drawing.findings if f.kind == "midline shift"), 0.0)
    assert measured == pytest.approx(said, abs=0.8)


def test_that_hydrocephalus_means_ventricles_at_least_twice_as_large() -> None:
    def water(key: str) -> int:
        drawing = drawing_of(key)
        middle = (np.abs(columns_mm(drawing)) < 35)[None, :] & (np.abs(rows_mm(drawing)) < 55)[
            :, None
        ]
        return int(((drawing.values[4] < 16) & middle).sum())

    assert water("head-ct-46") > 2 * water("head-ct-41")


def test_that_an_infarct_is_dark_and_a_hydronephrosis_is_wide_with_water() -> None:
    infarct, kidney = drawing_of("head-ct-44"), drawing_of("abdomen-ct-34")
    dark = changed(infarct.key, infarct.findings[0]) < -6
    assert np.median(infarct.values[dark]) < 24
    (finding,) = kidney.findings
    water = (changed(kidney.key, finding) < -40) | (changed(kidney.key, finding) > 40)
    plane = int(water.sum(axis=(1, 2)).argmax())
    centre = np.argwhere(water[plane])[:, 0].mean()
    assert abs(rows_mm(kidney)[int(centre)] - 40) < 12
    assert extent_mm(water[plane], 1, kidney.spacing_mm[2]) >= 0.8 * finding.size_mm


def test_that_ct_values_are_hounsfield_units() -> None:
    chest, head = drawing_of("chest-ct-21").values, drawing_of("head-ct-41").values
    assert np.median(chest[:, :20, :20]) == pytest.approx(-1000, abs=20)
    x, z = drawn_body.LUNG_PLACES["lower lobe"][0], 3
    column = round(x / drawn_body.PIXEL_MM + 127.5)
    assert np.median(chest[z, 120:140, column - 8 : column + 8]) < -700
    assert head.max() > 800
    assert 20 < np.median(head[6, 100:150, 90:120]) < 45


def test_that_drawing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = drawing_of("head-ct-42")
    again = drawn_cases.drawing(first.key)
    assert np.array_equal(first.values, again.values)
    one = drawn_files.write(first, tmp_path / "one")
    other = drawn_files.write(again, tmp_path / "other")
    for a, b in zip(one, other, strict=True):
        assert Path(a.path).read_bytes() == Path(b.path).read_bytes()


def test_that_every_title_says_drawn_and_no_sentence_denies_a_finding() -> None:
    assert len(drawn_cases.planned()) == drawn_cases.count()
    for drawing in map(drawing_of, drawn_cases.planned()):
        assert drawing.title.startswith(drawn.BADGE)
        assert "Drawn by a program" in drawing.sentences[-1]
        said = " ".join(drawing.sentences[:-1]).casefold()
        assert " no " not in said
        for finding in drawing.findings:
            assert finding.kind.split()[-1] in said
        assert (drawing.labels == ("normal",)) == ("normal " in drawing.sentences[0].casefold())


def test_that_the_viewer_gets_hounsfield_units_letters_and_a_window(tmp_path: Path) -> None:
    drawing = drawing_of("head-ct-43")
    drawn_files.write(drawing, tmp_path)
    with isolated.Readers(1) as readers:
        (opened,) = readers.open_paths([tmp_path])
        assert isinstance(opened, study.Study)
        (series,) = opened.series
        loaded = readers.load(series)
    assert opened.patient_name == ""
    assert (series.units, series.marks) == ("HU", ())
    assert (series.windows[0].centre, series.windows[0].width) == drawing.window
    assert series.slice_spacing_mm == pytest.approx(drawn_head.SLICE_MM)
    assert np.array_equal(loaded.modality_values(5), drawing.values[5])
    assert series.affine is not None
    assert volume.orientation_letters(np.array(series.affine)) == ("R", "L", "A", "P")
