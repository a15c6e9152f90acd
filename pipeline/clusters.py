"""Training centroids on the embeddings of a recipe: reads its inputs, runs the steps before the dedup, clusters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.engine import Step, run_steps
from pipeline.reading import local_steps, read_all, recipe_sources
from pipeline.storage import write_arrow
from schemas.errors import RecipeError, SluiceError
from schemas.recipe import Recipe
from transforms.base import Outcome
from transforms.embedding.centroids import centroid_batch, train
from transforms.embedding.vectors import check_vectors, units_of
from transforms.select.sample import draw

_DEDUP = "embedding.semantic_dedup"


@dataclass(frozen=True, slots=True)
class Clustered:
    """What centroids were made of: rows read, vectors among those the steps kept, and those learned from."""

    rows: int
    vectors: int
    learned_from: int


def train_centroids(recipe: Recipe, out: str | Path, clusters: int, max_rows: int) -> Clustered:
    """Clusters the vectors of what a recipe's steps before embedding.semantic_dedup keep, and writes the centroids to
    `out`, whole or not at all.

    Of more than `max_rows` vectors, those with the lowest hash(seed, source) are learned from, so memory is bounded,
    and neither files nor batches nor their order change a byte. Global steps are left out.
    """
    names = [spec.use for spec in recipe.steps]
    if _DEDUP not in names:
        raise RecipeError(f"recipe {recipe.name!r} has no step {_DEDUP}: centroids are of the vectors that come to it")
    at = names.index(_DEDUP)
    column = str(recipe.steps[at].params["column"])
    sample = _Sample(column, max_rows, recipe.seed)
    sample.read(read_all(recipe_sources(recipe)), local_steps(recipe.steps[:at]))
    if not len(sample.keys):
        raise SluiceError(f"no row has a vector in {column!r}: there is nothing to cluster")
    made = centroid_batch(train(sample.units, clusters))
    write_arrow(out, made.schema, iter([made]))
    return Clustered(sample.rows, sample.vectors, len(sample.keys))


class _Sample:
    """The sampled vectors: `units` float32 [n, width], by `keys` uint64 [n], ascending."""

    def __init__(self, column: str, max_rows: int, seed: int) -> None:
        self.column = column
        self.max_rows = max_rows
        self.seed = seed
        self.rows = self.vectors = 0
        self.keys = np.empty(0, np.uint64)
        self.units = np.empty((0, 0), np.float32)

    def read(self, outcomes: Iterable[Outcome], steps: Sequence[Step]) -> None:
        for step in steps:
            step.transform.setup()
        waiting: list[tuple[np.ndarray, np.ndarray]] = []
        num_waiting = 0
        for outcome in outcomes:
            batch = run_steps(steps, outcome.kept).kept
            check_vectors(batch.schema, self.column)
            units, good = units_of(batch.column(self.column))
            sources = batch.column("source").to_pylist()
            keys = np.array([draw(sources[row], self.seed) for row in np.flatnonzero(good)], np.uint64)
            waiting.append((keys, units[good]))
            self.rows += outcome.kept.num_rows
            self.vectors += len(keys)
            num_waiting += len(keys)
            if num_waiting > self.max_rows:
                self._merge(waiting)
                waiting, num_waiting = [], 0
        self._merge(waiting)

    def _merge(self, waiting: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        keys = np.concatenate([self.keys, *(keys for keys, _ in waiting)])
        pieces = [self.units, *(units for _, units in waiting)]
        rows = np.argsort(keys, kind="stable")[: self.max_rows]
        self.keys = keys[rows]
        if len(rows):
            self.units = np.concatenate([piece for piece in pieces if len(piece)])[rows]
