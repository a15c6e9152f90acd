"""Candidates, verification and removal: every rule of the global steps, against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup.candidates import candidate_pairs
from pipeline.dedup.records import KEYS, PAIRS, batch_of
from pipeline.dedup.resolve import removals
from schemas.errors import SchemaError
from schemas.sample import SAMPLE, SENTINEL, sample_batch
from transforms.base import append_columns
from transforms.dedup.exact import (
    MediaExactDedup,
    MediaExactDedupParams,
    TextExactDedup,
    TextExactDedupParams,
)
from transforms.dedup.keep import ByColumn, check_keep, rank_of
from transforms.dedup.minhash import TextMinHashDedup, TextMinHashDedupParams
from transforms.dedup.sets import set_array, set_bounds
from transforms.dedup.shingles import jaccard, shingle_hashes, words
from transforms.kernels.similarity import overlaps, sorted_distinct


def keys_of(groups: list[int], ranks: list[int] | None = None) -> pa.RecordBatch:
    """One key a node: nodes 0..n-1, node k in group groups[k]."""
    count = len(groups)
    group = np.asarray(groups, np.uint64)
    rank = np.asarray(ranks or [0] * count, np.uint64)
    band, part = np.zeros(count, np.uint16), np.full(count, -1, np.int32)
    return batch_of(KEYS, band, group, group, rank, np.arange(count, dtype=np.uint64), part)


def pair_set(pairs: pa.RecordBatch) -> set[tuple[int, int]]:
    return set(zip(pairs["a_node"].to_pylist(), pairs["b_node"].to_pylist(), strict=True))


def pairs_of(edges: list[tuple[int, int, float]]) -> pa.RecordBatch:
    a, b = (np.asarray([e[k] for e in edges], np.uint64) for k in (0, 1))
    part, rank = np.full(len(edges), -1, np.int32), np.zeros(len(edges), np.uint64)
    return batch_of(PAIRS, rank, a, part, rank, b, part, np.asarray([e[2] for e in edges], float))


@given(st.lists(st.integers(0, 5), max_size=40))
def test_candidates_are_all_pairs_with_an_equal_key(groups):
    pairs, crowded = candidate_pairs([keys_of(groups)], proof=False)
    expected = {(a, b) for a, b in itertools.combinations(range(len(groups)), 2) if groups[a] == groups[b]}
    assert (pair_set(pairs), crowded) == (expected, 0)


def test_a_crowded_key_costs_a_bounded_number_of_pairs():
    pairs, crowded = candidate_pairs([keys_of([7] * 1000)], proof=False, crowd=64)
    found = pair_set(pairs)
    assert crowded == 1
    assert len(found) == pairs.num_rows <= 64 * 1000
    assert {(0, 999), (31, 999), (998, 999), (967, 999)} <= found
    assert (500, 999) not in found
    assert all(a < b for a, b in found)


def test_keep_order_follows_rank_then_place():
    pairs, _ = candidate_pairs([keys_of([1, 1, 1], ranks=[5, 1, 5])], proof=True)
    assert pair_set(pairs) == {(1, 0), (1, 2)}


def brute_force(edges: list[tuple[int, int, float]]) -> set[int]:
    gone: set[int] = set()
    for node in range(30):
        if any(b == node and a not in gone for a, b, _ in edges):
            gone.add(node)
    return gone


@settings(max_examples=200)
@given(st.sets(st.tuples(st.integers(0, 15), st.integers(0, 15)).filter(lambda e: e[0] < e[1]), max_size=60))
def test_a_row_goes_only_for_a_direct_match_with_a_kept_row(found):
    edges = [(a, b, 0.8 + (a * 7 + b) % 10 / 50) for a, b in sorted(found)]
    removed = removals([pairs_of(edges)])
    gone = set(removed["b_node"].to_pylist())
    assert gone == brute_force(edges)
    assert not gone & set(removed["a_node"].to_pylist())
    assert all((a, b) in found for a, b in pair_set(removed))


def test_a_chain_does_not_remove_its_end():
    removed = removals([pairs_of([(0, 1, 0.9), (1, 2, 0.9)])])
    assert removed["b_node"].to_pylist() == [1]
    assert removals([pairs_of([(0, 1, 0.9), (1, 2, 0.9)])], components=True)["b_node"].to_pylist() == [1, 2]


def test_the_most_similar_anchor_is_named():
    removed = removals([pairs_of([(0, 3, 0.8), (1, 3, 0.95), (2, 3, 0.9)])])
    assert (removed["a_node"].to_pylist(), removed["similarity"].to_pylist()) == ([1], [0.95])


def text_keys(*texts: str, **params) -> list[tuple]:
    rows = [{"id": str(k), "source": str(k), "text": text} for k, text in enumerate(texts)]
    keys = TextExactDedup(TextExactDedupParams(**params)).keys(sample_batch(rows))
    return [tuple(key) for key in keys.key.tolist()]


def test_exact_text_ignores_case_and_space_but_not_words():
    a, b, c, d = text_keys("Hello  World\n", "hello world", "hello word", "e\u0301", "  ")
    assert a == b and len({a, c, d}) == 3
    a, b = text_keys("Hello", "hello", ignore_case=False)
    assert a != b


def picture(digest: bytes, index: int = 0) -> dict:
    return {"index": index, "kind": "image", "data": digest, "mime": "image/png", "sha256": digest * 32}


def test_equal_captions_under_different_pictures_are_different_rows():
    rows = [
        {"id": "a", "source": "a", "text": f"{SENTINEL}\na cat", "media": [picture(b"1")]},
        {"id": "b", "source": "b", "text": f"{SENTINEL}\na cat", "media": [picture(b"2")]},
        {"id": "c", "source": "c", "text": f"{SENTINEL}\na cat", "media": [picture(b"1")]},
    ]
    keys = TextExactDedup(TextExactDedupParams()).keys(sample_batch(rows)).key.tolist()
    assert keys[0] == keys[2] != keys[1]


def test_media_keys_name_the_part():
    two = {"id": "a", "source": "a", "text": SENTINEL * 2, "media": [picture(b"1", 0), picture(b"1", 4)]}
    keys = MediaExactDedup(MediaExactDedupParams()).keys(sample_batch([two]))
    assert (keys.row.tolist(), keys.part.tolist()) == ([0, 0], [0, 4])
    assert keys.key[0].tolist() == keys.key[1].tolist()


def test_words_are_cut_by_script_and_normalised():
    text = "Héllo, World!  It's 3.14 — on 12,345 days…\nCAFÉ № 5"
    assert words(text) == ["hello", "world", "it", "s", "0", "0", "on", "0", "0", "days", "cafe", "0"]
    assert words("我喜欢猫") == ["我", "喜", "欢", "猫"]
    assert words("แมว") == ["แ", "ม", "ว"]


@given(st.text(max_size=60), st.text(max_size=60), st.integers(1, 5))
def test_jaccard_equals_that_of_shingle_sets(a, b, ngram):
    def shingles(text):
        found = words(text)
        size = min(ngram, len(found))
        return {tuple(found[k : k + size]) for k in range(len(found) - size + 1)} if found else set()

    one, two = shingles(a), shingles(b)
    expected = len(one & two) / len(one | two) if one | two else 0.0
    assert jaccard(shingle_hashes(a, ngram), shingle_hashes(b, ngram)) == expected


def minhash_keys(texts: list[str], **params):
    step = TextMinHashDedup(TextMinHashDedupParams(**params))
    step.setup()
    return step.keys(sample_batch([{"id": str(k), "source": str(k), "text": t} for k, t in enumerate(texts)]))


def test_equal_texts_share_every_band_and_distinct_ones_none():
    one = " ".join(f"alpha{k} beta{k * 7}" for k in range(100))
    other = " ".join(f"gamma{k} delta{k * 3}" for k in range(100))
    keys = minhash_keys([one, one.upper(), other])
    assert (keys.key[:14] == keys.key[14:28]).all()
    assert not (keys.key[:14] == keys.key[28:]).all(axis=1).any()


def test_minhash_estimates_jaccard():
    """112 one-row bands: the share of equal bands estimates J within 4 standard errors, at several J."""
    for shared in (20, 50, 80):
        one = [f"word{k}" for k in range(1000)]
        two = one[: shared * 10] + [f"other{k}" for k in range(1000 - shared * 10)]
        keys = minhash_keys([" ".join(one), " ".join(two)], ngram=1, bands=1000, rows_per_band=1)
        estimate = (keys.key[:1000] == keys.key[1000:]).all(axis=1).mean()
        # numbers inside words split them: compare with the exact similarity of what was hashed
        exact = jaccard(shingle_hashes(" ".join(one), 1), shingle_hashes(" ".join(two), 1))
        assert abs(estimate - exact) < 4 * np.sqrt(exact * (1 - exact) / 1000) + 1e-9


@given(st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=6))
def test_overlaps_of_sets_equal_pythons(rows):
    values = np.asarray([value for row in rows for value in row], np.uint64)
    evidence = set_array(*sorted_distinct(values, np.cumsum([0, *map(len, rows)])))
    first, second = (np.ravel(grid) for grid in np.mgrid[: len(rows), : len(rows)])
    for containment in (False, True):
        found = overlaps(*set_bounds(evidence), first, second, containment)
        for k, (a, b) in enumerate(zip(first, second, strict=True)):
            one, two = set(rows[a]), set(rows[b])
            whole = two if containment else one | two
            assert found[k] == (len(one & two) / len(whole) if whole else 0.0)
    sliced = evidence.slice(len(rows) // 2)
    assert len(set_bounds(sliced)[1]) == len(sliced) + 1


def test_evidence_is_the_shingles():
    step = TextMinHashDedup(TextMinHashDedupParams())
    texts = ["one two three four five six", "", "one two"]
    batch = sample_batch([{"id": str(k), "source": str(k), "text": t} for k, t in enumerate(texts)])
    values, bounds = set_bounds(step.evidence(batch, np.full(3, -1, np.int32)))
    for row, text in enumerate(texts):
        assert values[bounds[row] : bounds[row + 1]].tolist() == shingle_hashes(text, 5).tolist()


def ranked(values: list, **keep) -> list[int]:
    batch = sample_batch([{"id": str(k), "source": str(k), "text": "x"} for k in range(len(values))])
    batch = append_columns(batch, [(pa.field("score", pa.float64()), pa.array(values, pa.float64()))])
    rank = rank_of(ByColumn(column="score", **keep), batch)
    assert rank.min() >= 1
    return np.argsort(rank, kind="stable").tolist()


def test_the_best_score_is_kept_and_one_without_goes_first():
    values = [0.5, None, -1.0, 7.0, -0.0, 0.0, float("inf"), float("-inf"), float("nan")]
    assert ranked(values) == [6, 3, 0, 4, 5, 2, 7, 1, 8]
    assert ranked(values, order="lowest") == [7, 2, 4, 5, 0, 3, 6, 1, 8]


def test_a_score_that_is_not_there_is_an_error():
    for column, complaint in (("score.none", "no column 'score.none'"), ("text", "not a number")):
        with pytest.raises(SchemaError, match=complaint):
            check_keep(ByColumn(column=column), SAMPLE)
