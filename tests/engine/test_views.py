"""Volumes and images as encoders see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import phantoms
import pytest
import small_models
from hypothesis import given
from hypothesis import strategies as st

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import views
from medsearch_desktop.engine.encoders import base, compact, openclip
from medsearch_desktop.imaging import display, isolated, study


@pytest.fixture(scope="module")
def readers() -> Iterator[isolated.Readers]:
    with isolated.Readers(1) as started:
        yield started


class _Stack:
    def __init__(self, count: int) -> None:
        self.slices = tuple(range(count))


@given(total=st.integers(1, 400), count=st.integers(1, 40))
def test_that_the_slices_chosen_are_spread_evenly(total: int, count: int) -> None:
    chosen = views.volume_slices(_Stack(total), count)  # type: ignore[arg-type]
    assert len(chosen) == min(total, count)
    steps = np.diff([-chosen[0] - 1, *chosen, 2 * total - chosen[-1]])
    assert steps.min() > 0
    assert steps[1:-1].max(initial=0) - steps[1:-1].min(initial=total) <= 1


@given(count=st.integers(1, 40))
def test_that_the_first_slices_lie_over_the_whole_stack(count: int) -> None:
    order = views.spread(tuple(range(count)))
    assert sorted(order) == list(range(count))
    if count > 6:
        assert min(order[:3]) < count / 3 < order[1] < 2 * count / 3 < max(order[:3])


def test_that_a_volume_is_rendered_as_single_slices_of_it_are(
    readers: isolated.Readers, tmp_path: Path
) -> None:
    phantoms.write_ct_series(tmp_path / "ct", slices=30, formula=phantoms.body)
    phantoms.write_nifti(tmp_path / "brain.nii.gz", (20, 24, 30), formula=phantoms.body)
    for path in (tmp_path / "ct", tmp_path / "brain.nii.gz"):
        rendered = list(views.render(queries.VolumeTerm(str(path)), readers))
        assert len(rendered) == views.SLICES
        assert len({ref for ref, _ in rendered}) == views.SLICES
        for ref, picture in rendered[:5]:
            assert picture.shown.dtype == np.uint8
            assert np.array_equal(picture.shown, readers.render_picture(ref))
            alone = views.image(ref, readers)
            for recipe in (views.Recipe(), views.Recipe(ct_windows=True)):
                assert np.array_equal(picture.encoded(recipe), alone.encoded(recipe))


def test_that_the_series_with_most_slices_is_taken_unless_one_is_named(
    readers: isolated.Readers, tmp_path: Path
) -> None:
    phantoms.write_ct_series(tmp_path / "a", slices=4, name="short")
    phantoms.write_ct_series(tmp_path / "b", slices=9, name="long")
    _, longest = views.open_series(queries.VolumeTerm(str(tmp_path)), readers)
    assert len(longest.slices) == 9
    short = phantoms.uid("short", "series")
    _, named = views.open_series(queries.VolumeTerm(str(tmp_path), short), readers)
    assert len(named.slices) == 4
    with pytest.raises(errors.UnreadableFileError):
        views.open_series(queries.VolumeTerm(str(tmp_path), "1.2.3"), readers)


def test_that_pictures_of_any_sizes_are_encoded_in_their_order() -> None:
    import toy_encoder

    encoder = toy_encoder.ToyEncoder()
    shown = []
    for number, colour in enumerate([*toy_encoder.COLOURS] * 2):
        size = 4 + number % 3
        one = np.empty((size, size, 3), np.uint8)
        one[:] = toy_encoder.COLOURS[colour]
        shown.append(one)
    together = base.picture_vectors(encoder, shown)
    alone = np.concatenate([encoder.encode_images(one[None]) for one in shown])
    assert np.array_equal(together, alone)
    assert base.picture_vectors(encoder, []).shape == (0, 16)


def test_that_the_pooled_vector_is_the_unit_vector_in_the_middle() -> None:
    assert np.allclose(views.pooled(np.eye(2)), [[0.5**0.5, 0.5**0.5]])
    opposite = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert np.allclose(views.pooled(opposite), [[1, 0]])


def test_that_an_image_term_gives_its_one_picture(
    readers: isolated.Readers, tmp_path: Path
) -> None:
    path = phantoms.write_picture(tmp_path / "a.png")
    ref = cases.ImageRef(str(path))
    ((found, picture),) = views.render(queries.ImageTerm(ref), readers)
    assert found == ref
    assert np.array_equal(picture.shown, phantoms.picture())


def test_that_a_recipe_reads_as_it_was_written_and_older_ones_are_known() -> None:
    for slices in (1, 24, 300):
        for windows in (False, True):
            for trims in (False, True):
                recipe = views.Recipe(slices, windows, trims)
                assert views.Recipe.read(recipe.text) == recipe
    assert views.Recipe.read("slices-24") == views.Recipe(24, False, False)
    assert views.Recipe.read(views.VIEWS) == views.Recipe()
    for wrong in ("", "slices-", "slices-24 mirrored", "pooled"):
        with pytest.raises(ValueError, match="not a recipe"):
            views.Recipe.read(wrong)


def test_that_an_encoder_is_shown_what_its_card_asks_for() -> None:
    import dataclasses

    import toy_encoder

    card = toy_encoder.ToyEncoder().card
    assert views.recipe_for(card) == views.Recipe()
    other = dataclasses.replace(card, trims=False, ct_windows=True)
    assert views.recipe_for(other, 30) == views.Recipe(30, True, False)


def test_that_tags_are_said_as_people_type_them() -> None:
    said = views.tag_phrase
    assert said(cases.Facets("CT", "axial", "CHEST")) == "CT, chest, axial"
    assert said(cases.Facets("DX", "PA", "Chest")) == "X-ray, chest, PA"
    assert said(cases.Facets("MR")) == "MRI"
    assert said(cases.Facets(sex="F", age_years=40)) == ""


def test_that_three_windows_of_a_ct_are_its_channels(
    readers: isolated.Readers, tmp_path: Path
) -> None:
    phantoms.write_ct_series(tmp_path / "ct", slices=5, formula=phantoms.ramp)
    series = views.open_series(queries.VolumeTerm(str(tmp_path / "ct")), readers)[1]
    loaded = readers.load(series, indices=[2])
    values = loaded.modality_values(0)
    seen = views.slice_picture(loaded, 0).encoded(
        views.Recipe(ct_windows=True, trims_radiographs=False)
    )
    for channel, window in enumerate(((-600, 1500), (40, 400), (400, 1800))):
        expected = display.to_8bit(values, study.Window(*window))
        assert np.array_equal(seen[..., channel], expected)


def _dicom(path: Path, stored: np.ndarray, photometric: str) -> str:
    return str(
        phantoms.write_dicom_image(
            path,
            stored,
            Modality="DX",
            PhotometricInterpretation=photometric,
            WindowCenter=str(2000),
            WindowWidth=str(3000),
        )
    )


def test_that_one_radiograph_stored_in_either_polarity_has_one_vector(
    readers: isolated.Readers, tmp_path: Path
) -> None:
    from medsearch_desktop.engine.encoders import compact

    y, x = np.mgrid[0:300, 0:240]
    drawn = 2000 + 900 * np.sin(x / 17) * np.cos(y / 23)
    bright = np.full((400, 340), 0, np.uint16)
    bright[40:340, 60:300] = drawn.astype(np.uint16)
    one = _dicom(tmp_path / "two.dcm", bright, "MONOCHROME2")
    # The window's centre is turned with the values: 4000 - v, (c - 0.5) -> 4000 - (c - 0.5).
    other = _dicom(tmp_path / "one.dcm", (3999 - bright).astype(np.uint16), "MONOCHROME1")
    encoder = compact.Compact(device="cpu")
    seen = [
        views.image(cases.ImageRef(path), readers).encoded(views.Recipe()) for path in (one, other)
    ]
    assert seen[0].shape == seen[1].shape != (400, 340, 3)
    # Rounding to 8 bits differs by one grey level at most.
    assert np.abs(seen[0].astype(int) - seen[1]).max() <= 1
    vectors = base.picture_vectors(encoder, seen)
    assert vectors[0] @ vectors[1] > 0.999


def test_that_a_nifti_file_with_the_values_of_a_ct_is_seen_through_soft_tissue(
    readers: isolated.Readers, tmp_path: Path
) -> None:
    path = phantoms.write_nifti(tmp_path / "ct.nii.gz", (40, 44, 6), formula=_torso)
    series = views.open_series(queries.VolumeTerm(str(path)), readers)[1]
    loaded = readers.load(series, indices=[3])
    expected = display.to_8bit(loaded.modality_values(0), display.PRESETS[0])
    shown = views.slice_image(loaded, 0)[..., 0]
    assert np.array_equal(np.sort(shown, axis=None), np.sort(expected, axis=None))


def _torso(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Air around an ellipse of soft tissue, by the place in mm."""
    inside = (x - x.mean()) ** 2 + (y - y.mean()) ** 2 < (0.3 * np.ptp(x)) ** 2 + 1
    return np.where(inside, 60.0 + 5 * np.sin(x), -1000.0)


def test_that_pictures_of_many_sizes_go_through_a_network_in_full_batches(tmp_path: Path) -> None:
    folder = small_models.biomedclip(tmp_path / "model")
    encoder = openclip.OpenClip(folder, device="cpu")
    sizes: list[int] = []
    visual = encoder.towers.model.visual
    visual.register_forward_hook(lambda _module, given, _found: sizes.append(len(given[0])))
    draw = np.random.default_rng(0)
    shown = [draw.integers(0, 256, (20 + n, 30 + n, 3), np.uint8) for n in range(16)]
    together = base.picture_vectors(encoder, shown)
    assert sizes == [8, 8]
    alone = np.concatenate([base.image_vectors(encoder, one[None]) for one in shown])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_that_what_is_no_picture_is_refused_among_pictures_of_many_sizes() -> None:
    encoder = compact.Compact(device="cpu")
    shown = [np.zeros((9, 9, 3), np.uint8), np.zeros((8, 9, 3), np.float32)]
    with pytest.raises(ValueError, match="not uint8"):
        base.picture_vectors(encoder, shown)
