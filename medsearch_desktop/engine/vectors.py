"""VectorIndex: exact fp16 flat vectors, memory-mapped."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

# What stands before the codes of a flat index file: the index (four letters, numbers a vector,
# vectors, two unused, is trained, metric), its quantizer (type, range, its argument, numbers a
# vector, bytes a code, length of its table), and the length of the codes.
# Source: faiss/impl/index_write.cpp, write_index_header and write_ScalarQuantizer.
_HEADER = struct.Struct("<4siqqq?i iifQQQ Q")
_ADD_ROWS = 16384


class VectorIndex:
    """The unit vectors of one segment; scores are inner products, that is cosines.

    Rows are numbered from 0. Every search is exact over the fp16 values, with
    or without a limit to some rows. Equal scores are ordered by row.
    """

    def __init__(self, index: Any, count: int, dimension: int) -> None:
        self._index = index
        self.count, self.dimension = count, dimension

    @staticmethod
    def write(path: Path, vectors: np.ndarray) -> None:
        """Write (n, d) unit vectors, n at least 1, as fp16; the file is not synced."""
        import faiss

        index = faiss.IndexScalarQuantizer(
            vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        for start in range(0, len(vectors), _ADD_ROWS):
            rows = np.ascontiguousarray(vectors[start : start + _ADD_ROWS], dtype=np.float32)
            index.add(rows)
        faiss.write_index(index, str(path))

    @staticmethod
    def open(path: Path, count: int, dimension: int) -> VectorIndex:
        """Map the file at `path`; ValueError when it does not hold `count` rows of `dimension`.

        IO_FLAG_MMAP_IFC keeps the vectors in the file: plain IO_FLAG_MMAP
        copies a flat index into anonymous memory.
        """
        import faiss

        faiss.omp_set_num_threads(1)
        if not _is_ours(path, count, dimension):
            raise ValueError(f"{path.name} is not {count} vectors of {dimension} numbers")
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise ValueError(f"{path.name} is no vector index") from error
        if (
            not isinstance(index, faiss.IndexScalarQuantizer)
            or (index.ntotal, index.d) != (count, dimension)
            or index.metric_type != faiss.METRIC_INNER_PRODUCT
        ):
            raise ValueError(f"{path.name} is not {count} vectors of {dimension} numbers")
        return VectorIndex(index, count, dimension)

    def near(
        self, queries: np.ndarray, depth: int, kept: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return scores float32 and rows int64, both (q, m), best first, m <= depth.

        `queries` is (q, d); `kept` is None, or bool (count,): only those rows
        are looked at. Where a query has fewer than m rows, row is -1.
        """
        import faiss

        depth = min(depth, self.count if kept is None else int(kept.sum()))
        if depth == 0:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        parameters = None
        if kept is not None:
            bits = np.packbits(kept, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits) * 8, faiss.swig_ptr(bits))
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        faiss.omp_set_num_threads(1)
        asked = np.ascontiguousarray(queries, dtype=np.float32)
        scores, rows = self._index.search(asked, depth, params=parameters)
        order = np.lexsort((rows, -scores), axis=1)
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of some rows, float32 (n, d)."""
        wanted = np.ascontiguousarray(rows, dtype=np.int64)
        found: np.ndarray = self._index.reconstruct_batch(wanted)
        return found


def effective_dimension(rows: np.ndarray) -> float:
    """Return over how many directions vectors (n, d) spread: 1 for one line, d for all alike.

    The participation ratio of the eigenvalues of their covariance, (sum of l)^2 / sum of l^2;
    0 where the vectors do not differ.
    """
    apart = rows - rows.mean(axis=0)
    # Both sums without the eigenvalues: the trace, and the squares of all entries.
    covariance = (apart.T @ apart).astype(np.float64)
    squares = float((covariance**2).sum())
    return float(np.trace(covariance) ** 2 / squares) if squares > 0 else 0.0


def _is_ours(path: Path, count: int, dimension: int) -> bool:
    """Tell whether a file is as long and begins as it must, before FAISS believes its numbers."""
    import faiss

    codes = count * dimension * 2
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or path.stat().st_size != _HEADER.size + codes:
        return False
    letters, numbers, rows, _, _, is_trained, metric, *quantizer = _HEADER.unpack(head)
    kind, _, _, width, code, table, length = quantizer
    return bool(
        (letters, numbers, rows, is_trained) == (b"IxSQ", dimension, count, True)
        and (metric, kind) == (faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_fp16)
        and (width, code, table, length) == (dimension, 2 * dimension, 0, codes)
    )
