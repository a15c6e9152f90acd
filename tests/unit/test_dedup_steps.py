"""What global steps sign rows with: keys, keep order and evidence."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.plan import compile_plan
from pipeline.recipe import resolve
from schemas.errors import RecipeError, SchemaError
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


def test_scores_next_to_each_other_and_very_large_integers_are_ordered():
    assert ranked([1.0, np.nextafter(1.0, 2.0), np.nextafter(1.0, 0.0)]) == [1, 0, 2]
    batch = pa.record_batch({"count": pa.array([2**60, None, 2**62, -(2**63), 2**53 + 1], pa.int64())})
    rank = rank_of(ByColumn(column="count"), batch)
    assert np.argsort(rank, kind="stable").tolist() == [2, 0, 4, 3, 1]


def test_a_score_that_is_not_there_is_an_error():
    for column, complaint in (("score.none", "no column 'score.none'"), ("text", "not a number")):
        with pytest.raises(SchemaError, match=complaint):
            check_keep(ByColumn(column=column), SAMPLE)


def test_a_recipe_that_keeps_by_a_score_nobody_computes_is_an_error():
    def plan_of(column: str):
        steps = [
            {"use": "text.language"},
            {"use": "text.minhash_dedup", "with": {"keep": {"column": column, "order": "highest"}}},
        ]
        return compile_plan(
            resolve(
                {
                    "recipe": 1,
                    "name": "scored",
                    "inputs": [{"use": "jsonl", "with": {"paths": "*.jsonl"}}],
                    "steps": steps,
                    "tokens": {"tokenizer": "bytes", "sequence_length": 64},
                    "output": {"path": "out"},
                }
            )
        )

    assert plan_of("text.lang_score").stages
    with pytest.raises(RecipeError, match=r"2:text.minhash_dedup: keep: no column 'score.quality'; put the step"):
        plan_of("score.quality")
