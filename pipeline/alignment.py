"""Training a lexicon on the pairs of a recipe: reads its inputs, runs the steps before pair.score, learns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.engine import Step, run_steps
from pipeline.reading import local_steps, read_all, recipe_sources
from pipeline.storage import write_arrow
from schemas.errors import RecipeError
from schemas.recipe import Recipe
from transforms.base import Outcome
from transforms.pair.lexicon import SCHEMA, TO_SOURCE, TO_TARGET, Words, train
from transforms.pair.sides import NAMES, require_pairs, side
from transforms.select.sample import draw

_SCORE = "pair.score"


@dataclass(frozen=True, slots=True)
class Trained:
    """What a lexicon was made of: rows read, pairs kept by the steps, those it learned from, translations it knows."""

    rows: int
    pairs: int
    learned_from: int
    translations: int


def train_lexicon(recipe: Recipe, out: str | Path, max_pairs: int) -> Trained:
    """Trains a lexicon on what a recipe's steps before pair.score keep, and writes it to `out`, whole or not at all.

    Pairs of equal text count once. Of more than `max_pairs`, those with the lowest hash(seed, text) are learned from,
    so that neither files nor batches nor their order change a byte. Global steps are left out.
    """
    names = [spec.use for spec in recipe.steps]
    if _SCORE not in names:
        raise RecipeError(
            f"recipe {recipe.name!r} has no step {_SCORE}: a lexicon is learned from what comes before it"
        )
    steps = local_steps(recipe.steps[: names.index(_SCORE)])
    pairs = _Pairs(max_pairs, recipe.seed)
    pairs.read(read_all(recipe_sources(recipe)), steps)
    table, taken = train(*pairs.sides)
    write_arrow(out, SCHEMA, iter(table.to_batches()))
    tables = table.column("table").to_numpy()
    known = int(((tables == TO_TARGET) | (tables == TO_SOURCE)).sum())
    return Trained(pairs.rows, pairs.kept, taken, known)


class _Pairs:
    """The sampled pairs' words; `keys` uint64 [pairs], ascending and distinct."""

    def __init__(self, max_pairs: int, seed: int) -> None:
        self.max_pairs = max_pairs
        self.seed = seed
        self.rows = self.kept = 0
        self.keys = np.empty(0, np.uint64)
        self.sides = [Words.join([]) for _ in NAMES]

    def read(self, outcomes: Iterable[Outcome], steps: Sequence[Step]) -> None:
        for step in steps:
            step.transform.setup()
        waiting: list[tuple[np.ndarray, list[Words]]] = []
        num_waiting = 0
        for outcome in outcomes:
            batch = run_steps(steps, outcome.kept).kept
            require_pairs(batch.schema, _SCORE)
            batch = batch.filter(batch.column("pair.sides").is_valid())
            keys = np.array([draw(text, self.seed) for text in batch.column("text").to_pylist()], np.uint64)
            waiting.append((keys, [Words.of(side(batch, name)) for name in NAMES]))
            self.rows += outcome.kept.num_rows
            self.kept += batch.num_rows
            num_waiting += batch.num_rows
            if num_waiting > self.max_pairs:
                self._merge(waiting)
                waiting, num_waiting = [], 0
        self._merge(waiting)

    def _merge(self, waiting: Sequence[tuple[np.ndarray, list[Words]]]) -> None:
        keys = np.concatenate([self.keys, *(keys for keys, _ in waiting)])
        self.keys, rows = np.unique(keys, return_index=True)
        self.keys, rows = self.keys[: self.max_pairs], rows[: self.max_pairs]
        joined = (Words.join([words, *(sides[at] for _, sides in waiting)]) for at, words in enumerate(self.sides))
        self.sides = [words.take(rows) for words in joined]
