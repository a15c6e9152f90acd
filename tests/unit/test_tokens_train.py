"""Training a tokenizer: the same whatever the order and the threads, bytes complete, control tokens last."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.control_tokens import FAMILY
from schemas.errors import SluiceError
from schemas.sample import SENTINEL
from transforms.tokens.ranks import BYTE_CHARS
from transforms.tokens.train import train_bpe

#: many words of equal counts, so that what to join next is nearly always a tie
TIES = [f"{a}{b}{c} {c}{b}{a}" for a in "abcdэюя敏" for b in "xyzжщ" for c in "klm狐"]


def test_bytes_learned_tokens_control_tokens():
    made = train_bpe(["hello hello hello world world"] * 4, 300)
    vocab = json.loads(made.json)["model"]["vocab"]
    assert set(BYTE_CHARS.values()) <= set(vocab)
    assert "hello" in vocab
    assert [made.special_ids[name] for name in FAMILY] == list(range(len(vocab), len(vocab) + 10))
    assert made.vocab_size == len(vocab) + 10 <= 300


def test_the_vocabulary_is_filled_when_the_text_allows():
    assert train_bpe(TIES, 320, min_frequency=1).vocab_size == 320


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_any_order_gives_the_same_tokenizer(seed):
    shuffled = list(TIES)
    random.Random(seed).shuffle(shuffled)
    assert train_bpe(shuffled, 400).json == train_bpe(TIES, 400).json


TRAIN = """
import random, sys
from transforms.tokens.train import train_bpe
texts = sys.stdin.read().splitlines() * 20
random.Random(sys.argv[1]).shuffle(texts)
print(train_bpe(texts, 420).fingerprint)
"""


def test_any_number_of_threads_gives_the_same_tokenizer():
    found = set()
    for threads in ("1", "3"):
        env = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads, "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, "-c", TRAIN, threads]
        text = "\n".join(TIES)
        run = subprocess.run(command, env=env, input=text, capture_output=True, encoding="utf-8", check=True)
        found.add(run.stdout)
    assert len(found) == 1


def test_spelled_control_tokens_are_learned_from_as_text():
    made = train_bpe(["<|endoftext|> <|endoftext|>"] * 50, 400)
    ids, _ = made.encode(["<|endoftext|>"])
    assert made.special_ids["<|endoftext|>"] not in ids
    assert made.decode(ids) == "<|endoftext|>"


def test_media_marks_are_not_learned():
    made = train_bpe([f"a{SENTINEL}b"] * 50, 400)
    assert made.json == train_bpe(["a", "b"] * 50, 400).json


def test_rare_pairs_are_not_joined():
    assert train_bpe(["zq"], 300, min_frequency=2).vocab_size == 266
    assert train_bpe(["zq"], 300, min_frequency=1).vocab_size == 267


def test_no_room_and_no_text_are_errors():
    with pytest.raises(SluiceError, match="at least 266"):
        train_bpe(["text"], 265)
    with pytest.raises(SluiceError, match="no text"):
        train_bpe(["", SENTINEL], 300)
