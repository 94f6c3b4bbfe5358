"""Cases are given their pictures, in order, whatever some files are like."""

from __future__ import annotations

import io
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pytest
import toy_encoder
from PIL import Image

from indexer import rendering, sources
from medsearch_desktop import cases, queries
from medsearch_desktop.engine import asking, views
from medsearch_desktop.imaging import isolated


@pytest.fixture
def readers() -> Iterator[isolated.Readers]:
    opened = isolated.Readers(2)
    yield opened
    opened.close()


def _case(name: str, *paths: Path) -> cases.Case:
    images = tuple(cases.CaseImage(cases.ImageRef(str(path))) for path in paths)
    return cases.Case(name, images=images)


def test_that_cases_come_in_order_with_the_pixels_of_their_files(
    tmp_path: Path, readers: isolated.Readers
) -> None:
    for number in range(12):
        phantoms.write_picture(
            tmp_path / f"{number}.png", np.full((40, 30, 3), 20 * number, np.uint8)
        )
    given = [_case(str(n), tmp_path / f"{n}.png") for n in range(12)]
    found = list(rendering.prepared(iter(given), readers, 3))
    assert [one.case for one in found if isinstance(one, rendering.Prepared)] == given
    for number, one in enumerate(found):
        assert isinstance(one, rendering.Prepared)
        assert one.pictures[0].shape == (40, 30, 3)
        assert (one.pictures[0] == 20 * number).all()


def test_that_an_unreadable_image_is_left_out_and_named(
    tmp_path: Path, readers: isolated.Readers
) -> None:
    good = phantoms.write_picture(tmp_path / "good.png")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    both, none = rendering.prepared(
        iter([_case("both", bad, good), _case("none", bad)]), readers, 1
    )
    assert isinstance(both, rendering.Prepared)
    assert [image.ref.path for image in both.case.images] == [str(good)]
    assert [skipped.path for skipped in both.skipped] == [str(bad)]
    assert isinstance(none, sources.Skipped)
    assert none.path == str(bad)


class _Vanishing(isolated.Readers):
    """Readers of files that are gone once they have been read."""

    def render_picture(self, ref: cases.ImageRef, **how: Any) -> np.ndarray:
        shown = super().render_picture(ref, **how)
        Path(ref.path).unlink()
        return shown


def test_that_an_image_that_cannot_be_read_once_more_is_left_out_and_named(tmp_path: Path) -> None:
    gone, kept = (phantoms.write_ct_series(tmp_path / name, slices=1)[0] for name in "ab")
    windows = views.Recipe(ct_windows=True)
    with _Vanishing(1) as readers:
        (found,) = rendering.prepared(iter([_case("gone", gone)]), readers, 1, windows)
    assert isinstance(found, sources.Skipped)
    assert found.path == str(gone)
    with isolated.Readers(1) as readers:
        (found,) = rendering.prepared(iter([_case("kept", kept)]), readers, 1, windows)
    assert isinstance(found, rendering.Prepared)


def test_that_slices_of_one_file_equal_those_read_one_by_one(
    tmp_path: Path, readers: isolated.Readers
) -> None:
    path = phantoms.write_nifti(tmp_path / "a.nii.gz", (20, 24, 12), formula=phantoms.body)
    refs = [cases.ImageRef(str(path), frame) for frame in (1, 5, 9)]
    case = cases.Case("a", images=tuple(cases.CaseImage(ref) for ref in refs))
    (found,) = rendering.prepared(iter([case]), readers, 1)
    assert isinstance(found, rendering.Prepared)
    assert found.case == case
    for ref, picture in zip(refs, found.pictures, strict=True):
        seen = views.image(ref, readers).encoded(views.Recipe())
        np.testing.assert_array_equal(picture, seen)


def test_that_a_thumbnail_keeps_its_shape_and_small_ones_their_size() -> None:
    large = Image.open(io.BytesIO(rendering.thumbnail(np.zeros((900, 1800, 3), np.uint8))))
    assert (large.size, large.mode) == ((448, 224), "L")
    small = Image.open(io.BytesIO(rendering.thumbnail(phantoms.picture((64, 48)))))
    assert (small.size, small.mode) == ((48, 64), "RGB")


def test_that_blank_images_are_left_out_where_others_are_not(
    tmp_path: Path, readers: isolated.Readers
) -> None:
    seen = phantoms.write_picture(tmp_path / "seen.png")
    blank = phantoms.write_picture(tmp_path / "blank.png", np.full((40, 30, 3), 90, np.uint8))
    both, only = rendering.prepared(
        iter([_case("both", blank, seen), _case("only", blank)]), readers, 1
    )
    assert isinstance(both, rendering.Prepared)
    assert [image.ref.path for image in both.case.images] == [str(seen)]
    assert isinstance(only, rendering.Prepared)
    assert len(only.pictures) == 1


def test_that_blank_slices_of_a_volume_give_no_vector_to_a_query(
    tmp_path: Path, readers: isolated.Readers
) -> None:
    def headed(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.where(z > 0, phantoms.ramp(x, y, z), -1000.0)

    phantoms.write_ct_series(tmp_path / "ct", slices=20, formula=headed)
    encoder = toy_encoder.ToyEncoder()
    described = types.SimpleNamespace(encoder=encoder.card, name="toy", views=views.VIEWS)
    collections: Any = [types.SimpleNamespace(manifest=described, notice="")]
    encoders = asking.Encoders(collections, lambda _: encoder, asking.Memory())
    *_, (vectors, done, total) = asking.volume_batches(
        queries.VolumeTerm(str(tmp_path / "ct")), encoders, readers
    )
    assert (len(vectors[encoder.card.digest]), done, total) == (10, 20, 20)
