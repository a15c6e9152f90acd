"""The classifier's kernels against readable references, and its file against fastText itself."""

from __future__ import annotations

import math

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.kernels import supervised
from transforms.text.classifier import Classifier, ClassifierParams, Lines, train_classifier
from transforms.text.classifier_words import Vocabulary, WordCounts, one_line

WORDS = ["a", "b", "the", "été", "中文", "word", "Word", "x" * 40, "__label__hq", "__label__", "</s>", "</s", "🙂", "0"]
words = st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_categories=["Cs", "Zs", "Cc"]), max_size=5))
gaps = st.sampled_from([" ", "  ", "\t", "\x0b", "\0", "\u00a0"])
texts = st.lists(st.tuples(words, gaps), max_size=12).map(lambda parts: "".join(map("".join, parts)))


def fnv(word: bytes) -> int:
    """fastText's hash of a word, as the signed 32-bit number it keeps."""
    state = 2166136261
    for byte in word:
        state = ((state ^ (byte | 0xFFFFFF00 if byte > 127 else byte)) * 16777619) % 2**32
    return state - 2**32 if state >= 2**31 else state


def line_features(line: str, vocabulary: Vocabulary, word_ngrams: int, buckets: int) -> tuple[list[int], int]:
    """(features, tokens) of a line, read from fastText's description of itself."""
    number = {word: at for at, word in enumerate(vocabulary.words())}
    tokens = []
    for mark in "\t\v\f\r\0":
        line = line.replace(mark, " ")
    for token in [*filter(None, line.split(" ")), "</s>"]:
        if token.startswith("__label__"):
            continue
        tokens.append(token.encode())
        if token == "</s>":
            break
    found = [number[token] for token in tokens if token in number]
    hashes = [fnv(token) for token in tokens]
    for first in range(len(tokens)):
        gram = hashes[first] % 2**64
        for last in range(first + 1, min(len(tokens), first + word_ngrams)):
            gram = (gram * 116049371 + hashes[last]) % 2**64
            found.append(len(number) + gram % buckets)
    return found, len(tokens)


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, max_size=4), st.lists(texts, max_size=3), st.integers(1, 4), st.integers(1, 50))
@example(["a " * 3000, "", "</s> a", "a </s> b"], ["a b"], 2, 7)
def test_features(lines: list[str], known: list[str], word_ngrams: int, buckets: int) -> None:
    counts = WordCounts()
    counts.add(map(one_line, known))
    vocabulary = counts.vocabulary(1)
    features, bounds, tokens = vocabulary.features(pa.array(lines, pa.large_string()), word_ngrams, buckets)
    for row, line in enumerate(lines):
        found, num_tokens = line_features(line, vocabulary, word_ngrams, buckets)
        assert features[bounds[row] : bounds[row + 1]].tolist() == found
        assert tokens[row] == num_tokens


def descend(rows: list[list[int]], labels: list[int], rates: np.ndarray, inputs: np.ndarray, outputs: np.ndarray):
    """One pass of fastText's supervised update, a number at a time, every one a float32."""
    one = np.float32(1)
    for row, label, rate in zip(rows, labels, rates, strict=True):
        if not row:
            continue
        hidden = np.zeros(inputs.shape[1], np.float32)
        for feature in row:
            hidden += inputs[feature]
        hidden *= one / np.float32(len(row))
        scores = []
        for vector in outputs:
            total = np.float32(0)
            for k, value in enumerate(hidden):
                total += vector[k] * value
            scores.append(total)
        # not numpy's exp, which is another in the last bit
        raised = [np.float32(math.exp(score - max(scores))) for score in scores]
        total = np.float32(0)
        for value in raised:
            total += value
        gradient = np.zeros(inputs.shape[1], np.float32)
        for k, value in enumerate(raised):
            alpha = rate * (np.float32(k == label) - value / total)
            gradient += alpha * outputs[k]
            outputs[k] += alpha * hidden
        gradient *= one / np.float32(len(row))
        for feature in row:
            inputs[feature] += gradient


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 2)), min_size=1, max_size=12),
    st.integers(1, 9),
    st.integers(0, 2**63),
)
@example([([5, 7, 8], 0), ([3, 5], 1), ([2, 4, 8], 0), ([], 0), ([], 0), ([], 0), ([], 0)], 2, 8639)
def test_training_to_the_last_bit(drawn: list[tuple[list[int], int]], dim: int, seed: int) -> None:
    rows, labels = [row for row, _ in drawn], [label for _, label in drawn]
    inputs, outputs = np.empty((10, dim), np.float32), np.zeros((3, dim), np.float32)
    supervised.uniform(np.uint64(seed), np.float32(1 / dim), inputs.reshape(-1))
    assert (np.abs(inputs) <= np.float32(1 / dim)).all()
    expected = inputs.copy(), outputs.copy()
    rates = np.linspace(0.9, 0.1, len(rows), dtype=np.float32)
    descend(rows, labels, rates, *expected)
    features = np.asarray([feature for row in rows for feature in row], np.int32)
    bounds = np.cumsum([0, *map(len, rows)])
    order = np.arange(len(rows))
    supervised.train(features, bounds, np.asarray(labels, np.int32), order, rates, inputs, outputs)
    assert inputs.tobytes() == expected[0].tobytes()
    assert outputs.tobytes() == expected[1].tobytes()


def test_first_vectors_are_spread_evenly() -> None:
    out = np.empty(100_000, np.float32)
    supervised.uniform(np.uint64(3), np.float32(0.5), out)
    assert np.histogram(out, 10, (-0.5, 0.5))[0] == pytest.approx(10_000, rel=0.05)
    assert abs(np.corrcoef(out[1:], out[:-1])[0, 1]) < 0.02
    again = np.empty(10, np.float32)
    supervised.uniform(np.uint64(3), np.float32(0.5), again)
    assert again.tolist() == out[:10].tolist()


GOOD = ["The harbour froze in January and the ferry waited.", "Nobody knew why the train stopped in the fields."]
BAD = ["buy cheap watches online best watches", "click here buy now été cheap cheap 中文 watches"]


def trained(params: ClassifierParams, labels: tuple[str, ...], texts: list[str], label_of: list[int]) -> Classifier:
    counts = WordCounts()
    counts.add(map(one_line, texts))
    vocabulary = counts.vocabulary(params.min_count)
    lines = Lines(
        *vocabulary.features(pa.array([*map(one_line, texts)], pa.large_string()), params.word_ngrams, params.buckets),
        np.asarray(label_of, np.int32),
    )
    return train_classifier(params, vocabulary, labels, lines, np.arange(len(texts)), lambda *_: None)


@pytest.mark.parametrize(
    ("changes", "labels"),
    [({}, ("hq", "cc")), ({"word_ngrams": 1}, ("hq", "cc")), ({"word_ngrams": 3, "min_count": 2}, ("a", "b", "cc"))],
)
def test_fasttext_opens_the_file_and_agrees(tmp_path, changes, labels) -> None:
    params = ClassifierParams(dim=12, epochs=30, lr=0.8, buckets=97, **changes)
    texts = GOOD + BAD
    made = trained(params, labels, texts, [at % len(labels) for at in range(len(texts))])
    path = tmp_path / "model.bin"
    path.write_bytes(b"".join(made.file()))
    theirs = fasttext.load_model(str(path))
    asked = [one_line(text) for text in [*texts, "", "unseen words only", "the __label__hq watches", "a </s> b", "été"]]
    features = made.vocabulary.features(pa.array(asked, pa.large_string()), params.word_ngrams, params.buckets)
    ours = made.scores(Lines(*features, np.zeros(len(asked), np.int32)), np.arange(len(asked)))
    assert ours.max() - ours.min() > 0.2, "an untrained model would agree too easily"
    for line, row in zip(asked, ours, strict=True):
        found = dict(zip(*theirs.predict(line, k=-1), strict=True))
        if not found:
            assert np.isnan(row).all()
            continue
        for name, score in zip(labels, row, strict=True):
            assert found[f"__label__{name}"] == pytest.approx(score, abs=1e-6)
