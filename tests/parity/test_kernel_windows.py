"""The windows kernels against their readable reference: tokens, the sparse choice of runs, and all runs around them."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sample import SENTINEL
from transforms.columns import utf8
from transforms.dedup.substrings import reference_tokens
from transforms.kernels.windows import _PRIME, _times, fingerprints, windows
from transforms.text.codepoint_tables import properties
from transforms.text.words import split_whitespace

PIECES = st.sampled_from(
    ["a", "b", "ab", "É", "E\u0301", "河", "水", "か\u3099", "ไ", "x河y", "don't", "🌊", "\u0301", "ー", SENTINEL]
)
GAPS = st.sampled_from([" ", " ", "\n", "\u3000", "", "\x1c\t"])
TEXTS = st.lists(st.tuples(PIECES, GAPS), max_size=40).map(lambda pairs: "".join(a + b for a, b in pairs))


def column(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    return utf8(pa.array(texts, pa.large_string()))


def all_runs(texts: list[str], length: int) -> list[tuple[int, int, int, tuple[str, ...]]]:
    """(row, first byte, last byte, tokens) of every run of so many tokens."""
    return [
        (row, run[at][0], run[at + length - 1][1], tuple(token for _, _, token in run[at : at + length]))
        for row, text in enumerate(texts)
        for run in reference_tokens(text)
        for at in range(len(run) - length + 1)
    ]


def places(row: np.ndarray, spans: np.ndarray) -> list[tuple[int, int, int]]:
    return [(r, *span) for r, span in zip(row.tolist(), spans.tolist(), strict=True)]


def test_tokens_are_words_and_letters_of_unspaced_scripts():
    text = f"Die Fähre, 12.30 h: 河水 涨了abc {SENTINEL} don't{SENTINEL}stop"
    runs = reference_tokens(text)
    assert [[token for *_, token in run] for run in runs] == [
        ["Die", "Fähre,", "12.30", "h:", "河", "水", "涨", "了", "abc"],
        ["don't"],
        ["stop"],
    ]
    assert all(text.encode()[a:b].decode() == token for run in runs for a, b, token in run)


@settings(max_examples=100)
@given(TEXTS)
def test_tokens_are_those_of_split_whitespace(text):
    found = [token for run in reference_tokens(text) for *_, token in run]
    assert found == split_whitespace(text.replace(SENTINEL, " "))


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_with_one_token_a_run_the_runs_are_the_tokens(texts):
    row, spans, hashes = fingerprints(*column(texts), 1, 1, *properties())
    expected = all_runs(texts, 1)
    assert places(row, spans) == [(r, a, b) for r, a, b, _ in expected]
    by_hash = dict(zip(hashes.tolist(), (tokens for *_, tokens in expected), strict=True))
    assert len(set(by_hash.values())) == len(by_hash)
    assert [by_hash[value] for value in hashes.tolist()] == [tokens for *_, tokens in expected]


def chosen(texts: list[str], length: int, width: int, value: dict[tuple[str, ...], int]) -> list[tuple[int, int, int]]:
    """By definition: the last least of the runs in every run of `length`."""
    found = []
    for row, text in enumerate(texts):
        for run in reference_tokens(text):
            values = [value[tuple(t for *_, t in run[at : at + width])] for at in range(len(run) - width + 1)]
            best = {
                min(range(first, first + length - width + 1), key=lambda at: (values[at], -at))
                for first in range(len(run) - length + 1)
            }
            found += [(row, run[at][0], run[at + width - 1][1]) for at in sorted(best)]
    return found


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=4), st.integers(1, 8), st.data())
def test_chosen_runs_are_those_of_the_definition(texts, length, data):
    width = data.draw(st.integers(1, length))
    row, spans, hashes = fingerprints(*column(texts), width, width, *properties())
    every = all_runs(texts, width)
    assert places(row, spans) == [(r, a, b) for r, a, b, _ in every]
    value = {tokens: at for (*_, tokens), at in zip(every, hashes.tolist(), strict=True)}
    row, spans, hashes = fingerprints(*column(texts), length, width, *properties())
    assert places(row, spans) == chosen(texts, length, width, value)
    of_place = {(r, a, b): value[tokens] for r, a, b, tokens in every}
    assert hashes.tolist() == [of_place[place] for place in places(row, spans)]


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=4), st.integers(1, 8), st.data())
def test_windows_are_all_long_runs_around_wanted_short_ones(texts, length, data):
    width = data.draw(st.integers(1, length))
    row, spans, hashes = fingerprints(*column(texts), length, width, *properties())
    wanted = np.unique(hashes[data.draw(st.integers(0, 2)) :: 3])
    _, _, values = fingerprints(*column(texts), width, width, *properties())
    value = dict(zip((tokens for *_, tokens in all_runs(texts, width)), values.tolist(), strict=True))
    expected = [
        run
        for run in all_runs(texts, length)
        if any(value[run[3][at : at + width]] in wanted for at in range(length - width + 1))
    ]
    row, spans, keys = windows(*column(texts), length, width, wanted, *properties())
    assert places(row, spans) == [run[:3] for run in expected]
    assert len({(*map(int, key), run[3]) for key, run in zip(keys, expected, strict=True)}) == len(
        {tuple(map(int, key)) for key in keys}
    )
    assert len({run[3] for run in expected}) == len({tuple(map(int, key)) for key in keys})


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.integers(1, 6))
def test_no_run_that_comes_again_is_overlooked(texts, length):
    """The guarantee of winnowing: what the windows around repeated fingerprints leave out comes once."""
    width = (length + 1) // 2
    _, _, hashes = fingerprints(*column(texts), length, width, *properties())
    distinct, counts = np.unique(hashes, return_counts=True)
    row, spans, _ = windows(*column(texts), length, width, distinct[counts > 1], *properties())
    found = set(places(row, spans))
    groups = defaultdict(list)
    for r, a, b, tokens in all_runs(texts, length):
        groups[tokens].append((r, a, b))
    assert all(set(group) <= found for group in groups.values() if len(group) > 1)


def test_few_runs_are_chosen():
    """Of random tokens 2 / (w + 1) of all, w = length - width + 1; where a period repeats itself, one in a period."""
    rng = np.random.default_rng(1)
    text = " ".join(map(str, rng.integers(0, 10**6, 20_000)))
    row, _, _ = fingerprints(*column([text]), 50, 25, *properties())
    assert len(row) == pytest.approx(20_000 * 2 / 27, rel=0.05)
    row, _, _ = fingerprints(*column(["do re mi fa so la si " * 300]), 50, 25, *properties())
    assert len(row) == pytest.approx(300, abs=7)


@given(st.integers(0, int(_PRIME) - 1), st.integers(0, int(_PRIME) - 1))
def test_products_modulo_the_prime(a, b):
    assert int(_times(np.uint64(a), np.uint64(b))) == a * b % (2**61 - 1)


def test_bytes_that_are_no_text_do_no_harm():
    data = np.frombuffer(b"\xff\xe6\xb2 \xf0\x9f " * 30, np.uint8)
    row, spans, _ = fingerprints(data, np.asarray([0, len(data)]), 4, 2, *properties())
    assert len(row) and spans.max() <= len(data)
