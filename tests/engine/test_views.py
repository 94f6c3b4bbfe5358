"""Volumes and images as encoders see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import phantoms
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import asking, views
from medsearch_desktop.imaging import isolated


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
            assert picture.dtype == np.uint8
            assert np.array_equal(picture, readers.render_picture(ref))


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
    together = asking.encode_pictures(encoder, shown)
    alone = np.concatenate([encoder.encode_images(one[None]) for one in shown])
    assert np.array_equal(together, alone)
    assert asking.encode_pictures(encoder, []).shape == (0, 16)


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
    assert np.array_equal(picture, phantoms.picture())
