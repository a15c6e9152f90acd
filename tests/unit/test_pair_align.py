"""Sentence alignment: the kernel against a readable dynamic program, order, and documents of every size."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pairs import pair_batch
from transforms.base import append_columns
from transforms.kernels import alignment as kernels
from transforms.pair.align import align
from transforms.pair.lengths import VARIANCE
from transforms.registry import build
from transforms.text.sentences import count_sentences, split_sentences


def reference(source: list[float], target: list[float]) -> float:
    """The least cost of all alignments, by the whole table."""
    best = {(0, 0): 0.0}
    for i in range(len(source) + 1):
        for j in range(len(target) + 1):
            costs = [best[i, j]] if (i, j) in best else []
            for a, b, chance in zip(kernels.NUM_SOURCE, kernels.NUM_TARGET, kernels.CHANCE, strict=True):
                if (i - a, j - b) in best and (i, j) != (0, 0):
                    x, y = sum(source[i - a : i]), sum(target[j - b : j])
                    if not a or not b:
                        costs.append(best[i - a, j - b] - math.log(chance))
                        continue
                    delta = abs(y - x) / math.sqrt((x + y) / 2 * VARIANCE)
                    tail = -math.log(math.erfc(delta / math.sqrt(2))) if delta < 30 else math.inf
                    if delta >= 30:
                        tail = delta**2 / 2 + math.log(delta) + math.log(math.pi / 2) / 2
                    costs.append(best[i - a, j - b] + tail - math.log(chance))
            if costs:
                best[i, j] = min(costs)
    return best[len(source), len(target)]


def kernel(source: list[float], target: list[float]) -> tuple[list[int], list[float]]:
    beads, costs = np.empty(len(source) + len(target), np.uint8), np.empty(len(source) + len(target))
    count = kernels.align(np.array(source, float), np.array(target, float), VARIANCE, beads, costs)
    return beads[:count][::-1].tolist(), costs[:count][::-1].tolist()


lengths = st.lists(st.integers(1, 3000), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(lengths, lengths)
def test_the_cheapest_alignment(source: list[int], target: list[int]) -> None:
    beads, costs = kernel(source, target)
    assert sum(costs) == pytest.approx(reference(source, target), rel=1e-9)
    assert sum(kernels.NUM_SOURCE[bead] for bead in beads) == len(source)
    assert sum(kernels.NUM_TARGET[bead] for bead in beads) == len(target)


def test_the_band_costs_nothing_where_texts_run_in_parallel() -> None:
    rng = random.Random(1)
    source = [rng.randint(5, 200) for _ in range(400)]
    target = [max(1, round(length * 1.1 + rng.gauss(0, 4))) for length in source]
    del target[100], target[300]
    assert sum(kernel(source, target)[1]) == pytest.approx(reference(source, target), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(1, 3000), (3000, 1), (2, 3000), (3000, 3000)])
def test_documents_of_any_shape_have_a_path(n: int, m: int) -> None:
    beads, costs = kernel([10.0] * n, [1000.0] * m)
    assert sum(kernels.NUM_SOURCE[bead] for bead in beads) == n
    assert sum(kernels.NUM_TARGET[bead] for bead in beads) == m
    assert all(math.isfinite(cost) for cost in costs)


def test_a_sentence_too_many_is_left_out() -> None:
    source = [
        "First comes the captain of the ferry.",
        "At last all of the passengers have gone ashore, and it is night.",
    ]
    extra = (
        "Between them there was quite a long interval, in which nothing at all happened, and then nothing once more."
    )
    target = [
        "Zuerst kommt der Kapitän der Fähre.",
        extra,
        "Zuletzt sind alle Fahrgäste an Land gegangen, und es ist Nacht.",
    ]
    beads, left = align(source, target)
    assert [(bead.source, bead.target) for bead in beads] == [(source[0], target[0]), (source[1], target[2])]
    letters = [sum(len(sentence.replace(" ", "")) for sentence in side) for side in ([extra], source + target)]
    assert left == pytest.approx(letters[0] / letters[1])


def test_rows_are_numbered_children_and_others_stay() -> None:
    pairs = [("One is here. Two are there.", "Eins ist hier. Zwei sind da."), None, ("One.", "Eins.")]
    kept = build("pair.align", {}).apply(pair_batch(pairs)).kept
    assert kept.column("id").to_pylist() == ["r0#0", "r0#1", "r1", "r2#0"]
    assert kept.column("text").to_pylist() == [
        "One is here.\nEins ist hier.",
        "Two are there.\nZwei sind da.",
        "no pair",
        "One.\nEins.",
    ]
    assert kept.column("pair.bead").to_pylist() == ["1-1", "1-1", None, "1-1"]
    assert kept.column("pair.target_lang").to_pylist() == ["de"] * 4


def test_sentences_are_those_that_are_counted() -> None:
    text = "Dr. Smith came. He went!\nA title\n这是一句。这是两句。 e.g. this? — \n\n"
    assert split_sentences(text) == ["Dr. Smith came.", "He went!", "A title", "这是一句。", "这是两句。", "e.g. this?"]
    assert sum(count_sentences(line) for line in text.splitlines()) == 6


def test_a_document_is_not_repeated_for_each_of_its_pairs() -> None:
    document = "One is here.\n" * 4000
    batch, step = pair_batch([(document, document)]), build("pair.align", {})
    meta = json.dumps({"target": document})
    batch = append_columns(batch, [(batch.schema.field("meta"), [meta])])
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    try:
        assert step.apply(batch).kept.column("meta").to_pylist() == [meta, *["{}"] * 3999]
    finally:
        pa.set_memory_pool(usual)
    assert pool.max_memory() < 100 * len(document)
