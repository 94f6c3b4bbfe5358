"""Vector indexes against an exact search in numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medsearch_desktop.engine import vectors


def unit(rows: int, seed: int, dimension: int = 24) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture
def index(tmp_path: Path) -> vectors.VectorIndex:
    vectors.VectorIndex.write(tmp_path / "images.faiss", unit(500, 1))
    return vectors.VectorIndex.open(tmp_path / "images.faiss", 500, 24)


def exact(queries: np.ndarray, kept: np.ndarray, depth: int) -> np.ndarray:
    stored = unit(500, 1).astype(np.float16).astype(np.float32)
    scores = np.where(kept, queries @ stored.T, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, : min(depth, int(kept.sum()))]


def test_that_the_nearest_rows_are_those_of_an_exact_search(index: vectors.VectorIndex) -> None:
    queries = unit(20, 2)
    scores, rows = index.near(queries, 50)
    assert np.array_equal(rows, exact(queries, np.ones(500, bool), 50))
    assert np.all(np.diff(scores, axis=1) <= 0)


@pytest.mark.parametrize("share", [0.5, 0.01, 0.0])
def test_that_a_limit_to_some_rows_loses_no_recall(
    index: vectors.VectorIndex, share: float
) -> None:
    queries = unit(20, 3)
    kept = np.random.default_rng(4).random(500) < share
    _, rows = index.near(queries, 50, kept)
    assert np.array_equal(rows, exact(queries, kept, 50))


def test_that_equal_scores_are_ordered_by_row(tmp_path: Path) -> None:
    vectors.VectorIndex.write(tmp_path / "x", np.repeat(unit(1, 5), 40, axis=0))
    index = vectors.VectorIndex.open(tmp_path / "x", 40, 24)
    _, rows = index.near(unit(1, 5), 40)
    assert rows[0].tolist() == list(range(40))


def test_that_stored_vectors_come_back_to_the_rounding_of_fp16(index: vectors.VectorIndex) -> None:
    assert np.array_equal(
        index.vectors(np.array([7, 3])), unit(500, 1)[[7, 3]].astype(np.float16).astype(np.float32)
    )


@pytest.mark.parametrize(("count", "dimension"), [(499, 24), (500, 23), (5000, 24)])
def test_that_a_file_of_another_size_is_refused(
    index: vectors.VectorIndex, tmp_path: Path, count: int, dimension: int
) -> None:
    with pytest.raises(ValueError, match="is not"):
        vectors.VectorIndex.open(tmp_path / "images.faiss", count, dimension)


def test_that_a_file_that_is_no_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(100 * 48 + 60))
    with pytest.raises(ValueError, match="is not 100 vectors"):
        vectors.VectorIndex.open(tmp_path / "x", 100, 24)
