"""Clusters of embeddings: spherical k-means (Dhillon and Modha 2001), and the file its centroids are kept in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from schemas.errors import RecipeError, SluiceError
from transforms.embedding.vectors import check_vectors, units_of
from transforms.kernels.vectors import unit_vectors

_COLUMN = "centroid"
_ITERATIONS = 20
#: rows compared with the centroids at once
_ROWS = 4_096


def train(units: np.ndarray, clusters: int) -> np.ndarray:
    """Centroids of length 1, float32 [clusters, width], of vectors of length 1, float32 [rows, width].

    They start as the first `clusters` distinct rows, so rows should come in an order drawn by a seed. A cluster that
    loses all of its rows starts anew at the row that is farthest from its centroid. Raises SluiceError when there are
    fewer distinct rows than clusters.
    """
    _, places = np.unique(units, axis=0, return_index=True)
    if len(places) < clusters:
        raise SluiceError(
            f"{len(places)} distinct vectors are too few for {clusters} clusters; ask for fewer (--clusters), or learn"
            " from more rows (--max-rows)"
        )
    centroids = units[np.sort(places)[:clusters]]
    for _ in range(_ITERATIONS):
        assigned, similarity = _assign(units, centroids)
        sums = np.zeros((clusters, units.shape[1]))
        np.add.at(sums, assigned, units)
        empty = np.flatnonzero(np.bincount(assigned, minlength=clusters) == 0)
        sums[empty] = units[np.argsort(similarity, kind="stable")[: len(empty)]]
        fresh, good = unit_vectors(sums)
        fresh[~good] = centroids[~good]
        if np.array_equal(fresh, centroids):
            break
        centroids = fresh
    return centroids


def _assign(units: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nearest centroid int64 [rows], its cosine float32 [rows])."""
    assigned, similarity = np.empty(len(units), np.int64), np.empty(len(units), np.float32)
    for start in range(0, len(units), _ROWS):
        some = slice(start, start + _ROWS)
        cosine = units[some] @ centroids.T
        assigned[some] = cosine.argmax(axis=1)
        similarity[some] = cosine.max(axis=1)
    return assigned, similarity


def centroid_batch(centroids: np.ndarray) -> pa.RecordBatch:
    """What a file of centroids holds."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(centroids.ravel()), centroids.shape[1])
    field = pa.field(_COLUMN, column.type, nullable=False)
    metadata = {b"sluice.schema": b"centroids", b"sluice.version": b"1"}
    return pa.RecordBatch.from_arrays([column], schema=pa.schema([field], metadata=metadata))


def load_centroids(path: str) -> np.ndarray:
    """Centroids from a file, float32 [clusters, width]; raises RecipeError when it is not there or holds none."""
    if not Path(path).is_file():
        raise RecipeError(
            f"embedding.semantic_dedup: there are no centroids {path!r}; make them of this recipe's rows with"
            f" `sluice clusters train RECIPE --out {path}`"
        )
    try:
        with pa.memory_map(path) as source:
            table = pa.ipc.open_file(source).read_all()
        check_vectors(table.schema, _COLUMN)
        units, good = units_of(table.column(_COLUMN).combine_chunks())
        if not len(good) or not good.all():
            raise SluiceError("a centroid is no vector")
        return units
    except (pa.ArrowException, OSError, SluiceError) as error:
        raise RecipeError(f"embedding.semantic_dedup: {path!r} cannot be used as centroids: {error}") from error
