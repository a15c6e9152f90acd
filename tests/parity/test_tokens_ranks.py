"""A converted rank file against tiktoken's algorithm, written out: any ranks at all, sensible or not."""

from __future__ import annotations

import itertools
import json
import unicodedata

import numpy as np
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.tokens.engine import Reference
from transforms.tokens.ranks import QWEN_PATTERN, tokenizer_json
from transforms.tokens.tokenizer import Tokenizer

BYTES = {bytes([b]): b for b in range(256)}


def tiktoken_encode(text: str, ranks: dict[bytes, int]) -> list[int]:
    """What tiktoken does: a whole pre-token if it has a rank, else join the leftmost pair of lowest rank, again."""
    ids = []
    for piece in regex.findall(QWEN_PATTERN, unicodedata.normalize("NFC", text)):
        data = piece.encode()
        parts = [data] if data in ranks else [data[k : k + 1] for k in range(len(data))]
        while len(parts) > 1:
            found = [(ranks[a + b], k) for k, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in ranks]
            if not found:
                break
            _, at = min(found)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        ids += [ranks[part] for part in parts]
    return ids


TOKEN = st.text("abä ", min_size=2, max_size=7).map(str.encode)


@settings(max_examples=300)
@given(st.lists(TOKEN, unique=True, max_size=25), st.lists(st.text("abä ", max_size=30), max_size=6))
@example([b"bab", b"ab"], [" bab"])
def test_any_ranks_encode_as_tiktoken_does(tokens, texts):
    ranks = BYTES | {token: 256 + k for k, token in enumerate(tokens)}
    ids, offsets = Reference(json.dumps(tokenizer_json(ranks))).encode(texts)
    found = [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    assert found == [tiktoken_encode(text, ranks) for text in texts]


def test_overlapping_ties_go_left_first():
    ranks = BYTES | {b"aa": 256, b"aaa": 257}
    definition = tokenizer_json(ranks)
    for text in ("a" * n for n in range(1, 12)):
        ids, _ = Reference(json.dumps(definition)).encode([text])
        assert ids.tolist() == tiktoken_encode(text, ranks)


def test_an_unreachable_token_is_emitted_only_as_a_whole_pre_token():
    # with the ranks of "ab" and "cd", "abcd" is joined from two; "xyz" has no pair to begin with
    ranks = BYTES | {b"ab": 256, b"cd": 257, b"abcd": 258, b"xyz": 259}
    definition = tokenizer_json(ranks)
    assert definition["model"]["ignore_merges"] is True
    assert tokenizer_json({k: v for k, v in ranks.items() if v < 259})["model"]["ignore_merges"] is False
    made = Tokenizer(definition)
    texts = ["abcd", "xyz", "xyza", "xyz abcd"]
    ids, offsets = made.encode(texts)
    found = [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    assert found == [tiktoken_encode(text, ranks) for text in texts]
    assert (found[1], found[2]) == ([259], list(b"xyza"))


def test_both_engines_on_a_vocabulary_with_unreachable_tokens():
    ranks = BYTES | {b"xyz": 256, "né".encode(): 257, b" t": 258, b" th": 259}
    made = Tokenizer(tokenizer_json(ranks))
    reference = Tokenizer(tokenizer_json(ranks), engine="reference")
    texts = ["xyz né the thxyz", "né", "xyz"]
    assert np.array_equal(made.encode(texts)[0], reference.encode(texts)[0])
