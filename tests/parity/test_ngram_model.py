"""n-gram models against readable references: tokens, the smoothing by definition and by hand, and how they score."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.columns import utf8
from transforms.kernels import ngram_model as kernels
from transforms.text.codepoint_tables import characters
from transforms.text.ngram_count import WordNumbers
from transforms.text.ngram_model import SPECIAL, NgramModel, new_model
from transforms.text.ngram_train import NgramParams, train_ngrams
from transforms.text.ngram_words import line_tokens, normal_form, tables, text_tokens

PIECES = [
    *["Word", "word", "ÉCOLE", "e\u0301", "İ", "ς", "ΣΑΣ", "1995", "٣", "½", "Ⅷ", "x2", "don't", "don’t", "«a»"],
    *["中文", "中a", "a中\u0301b", "カ\u3099ー", "ไทย", "ก็", "한국어", "می\u200cخواهم", "क्\u200dष", "，", "。"],
    *["ＡＢ９"],
    *[" ", " ", "\n", "\r\n", "\u2028", "\x85", "\t", "\u00a0", "\ufffc", "\u200b", "\0", "\ue000", "\U00050000"],
    *["...", "…", "—", "-", "🙂", "<s>", "</s>", "<unk>", "_", "#"],
]  # fmt: skip
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=4))
@example(["", "\n\n", "a\n", "\na", "x " * 5000])
def test_tokens(drawn: list[str]) -> None:
    keys, rows, starts, stops = kernels.tokens(*utf8(pa.array(drawn, pa.large_string())), *tables())
    for row, text in enumerate(drawn):
        mine = rows == row
        found: list[list[str]] = []
        for key, start, stop in zip(keys[mine].tolist(), starts[mine], stops[mine], strict=True):
            if key == kernels.BEGIN:
                found.append([])
            elif key != kernels.END:
                found[-1].append(normal_form(text[start:stop]))
        assert found == text_tokens(text)
        assert Counter(keys[mine].tolist())[kernels.END] == len(found)


def test_every_character() -> None:
    every = [f"a{c}b {c}" for c in characters()[::3]]
    _, rows, starts, stops = kernels.tokens(*utf8(pa.array(every, pa.large_string())), *tables())
    found = defaultdict(list)
    for row, start, stop in zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True):
        if stop > start and not (piece := every[row][start:stop]).isspace() and piece not in ("\x1c", "\x1d", "\x1e"):
            found[row].append(normal_form(piece))
    for row, text in enumerate(every):
        assert found[row] == [token for line in text_tokens(text) for token in line], ascii(text)


def test_a_normal_form_is_one() -> None:
    text = characters()
    normal = normal_form(text)
    assert len(normal) == len(text)
    assert normal_form(normal) == normal
    assert line_tokens("In 1995, “Ünïcode” cost ５％ — naïve.") == [
        *["in", "0000", ",", '"', "ünïcode", '"', "cost", "0", "%", "-", "naïve", "."]
    ]  # fmt: skip
    assert line_tokens("我爱北京。") == ["我", "爱", "北", "京", "."]


def model_of(lines: list[str], **params: int) -> NgramModel:
    numbers = WordNumbers()
    numbers.add(pa.array(lines, pa.large_string()))
    made = NgramParams(**{"min_word_count": 1, "min_ngram_count": 1} | params)
    words, sequence = numbers.finish(made.min_word_count)
    return new_model("en", words, train_ngrams(sequence, made))


def entries(model: NgramModel) -> dict[tuple[str, ...], tuple[float, float]]:
    """n-gram -> (log probability, back-off), as an ARPA file would list them."""
    n, tokens = model.ngrams, model.tokens.to_pylist()
    grams: list[tuple[str, ...]] = []
    found = {}
    for at in range(len(n.word)):
        grams.append((*(grams[n.prefix[at]] if n.prefix[at] >= 0 else ()), tokens[n.word[at]]))
        assert n.suffix[at] < 0 or grams[n.suffix[at]] == grams[at][1:]
        found[grams[at]] = (float(n.log_prob[at]), float(n.back_off[at]))
    return found


def log_prob(listed: dict[tuple[str, ...], tuple[float, float]], context: tuple[str, ...], word: str) -> float:
    """Back-off, as an ARPA file is read: of the longest known n-gram, plus the weights of the contexts given up."""
    if (*context, word) in listed:
        return listed[(*context, word)][0]
    return listed.get(context, (0.0, 0.0))[1] + log_prob(listed, context[1:], word)


class Reference:
    """Modified Kneser-Ney by its definition (Chen and Goodman 1998, section 4.1.6), one n-gram at a time."""

    def __init__(self, lines: list[list[str]], order: int, min_word_count: int, min_ngram_count: int) -> None:
        self.raw: Counter[tuple[str, ...]] = Counter()
        before = defaultdict(set)
        for line in lines:
            padded = ["<s>", *line, "</s>"]
            for length in range(1, order + 1):
                for at in range(len(padded) - length + 1):
                    gram = tuple(padded[at : at + length])
                    self.raw[gram] += 1
                    if length > 1:
                        before[gram[1:]].add(gram[0])
        self.kept = {gram for gram in self.raw if self._kept(gram, min_word_count, min_ngram_count)}
        self.counts = {
            gram: n if len(gram) == order or gram[0] == "<s>" else len(before[gram]) for gram, n in self.raw.items()
        }
        self.counts["<s>",] = 0
        self.size = sum(len(gram) == 1 for gram in self.kept) - 1 + 1  # without <s>, with <unk>
        self.discounts = {length: self._discounts(length) for length in range(1, order + 1)}
        self.after = defaultdict(list)
        for gram in self.raw:
            self.after[gram[:-1]].append(gram)

    def _kept(self, gram: tuple[str, ...], min_word_count: int, min_ngram_count: int) -> bool:
        known = all(word in SPECIAL or self.raw[(word,)] >= min_word_count for word in gram)
        return known and (len(gram) < 3 or self.raw[gram] >= min_ngram_count)

    def _discounts(self, length: int) -> list[float]:
        t = Counter(count for gram, count in self.counts.items() if len(gram) == length)
        fallback = [0, 0.5, 1, 1.5]
        if not (t[1] and t[2] and t[3]):
            return fallback
        y = t[1] / (t[1] + 2 * t[2])
        found = [0] + [k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3)]
        return found if all(0 < found[k] < k for k in (1, 2, 3)) else fallback

    def probability(self, context: tuple[str, ...], word: str) -> float:
        grams = self.after[context]
        total = sum(self.counts[gram] for gram in grams)
        lower = 1 / self.size if not context else self.probability(context[1:], word)
        if not total or (context and context not in self.kept):
            return lower
        taken = {gram: self._taken(gram) for gram in grams if gram in self.kept}
        own = taken.get((*context, word), 0)
        return own / total + (total - sum(taken.values())) / total * lower

    def _taken(self, gram: tuple[str, ...]) -> float:
        count = self.counts[gram]
        return max(0.0, count - self.discounts[len(gram)][min(count, 3)])


lines = st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=9), min_size=1, max_size=25)
RIVER = [
    line.split() for line in ["a b c d", "a b c e", "a b d", "b c d a b", "f g a b c", "c c c", "h", "e a b", "d a"]
]


@settings(max_examples=60, deadline=None)
@given(lines, st.integers(2, 4), st.integers(1, 3), st.integers(1, 3))
@example(RIVER * 2, 3, 1, 1)
@example(RIVER * 2, 4, 2, 3)
def test_probabilities_are_those_of_the_definition(
    drawn: list[list[str]], order: int, min_word_count: int, min_ngram_count: int
) -> None:
    counts = Counter(word for line in drawn for word in line)
    if max(counts.values()) < min_word_count:
        return
    params = {"order": order, "min_word_count": min_word_count, "min_ngram_count": min_ngram_count}
    listed = entries(model_of([" ".join(line) for line in drawn], **params))
    reference = Reference(drawn, **params)
    assert set(listed) - {("<unk>",)} == reference.kept
    for gram in listed:
        if gram[-1] != "<s>":
            assert math.exp(listed[gram][0]) == pytest.approx(reference.probability(gram[:-1], gram[-1]), rel=1e-5)
    vocabulary = [gram[0] for gram in listed if len(gram) == 1 and gram != ("<s>",)]
    for context in [(), *(gram for gram in listed if len(gram) < order and gram[-1] != "</s>")][:60]:
        total = sum(math.exp(log_prob(listed, context, word)) for word in vocabulary)
        assert total == pytest.approx(1, abs=1e-5), context


def test_a_tiny_corpus_by_hand() -> None:
    # The lines "a b" and "a c": <s> a | a b | a c | b </s> | c </s>; too few counts for discounts of their own, so
    # 0.5, 1 and 1.5. Different words before: a 1 (<s>), b 1, c 1, </s> 2; in all 5, and a 5-word vocabulary.
    listed = {gram: math.exp(entry[0]) for gram, entry in entries(model_of(["a b", "a c"], order=2)).items()}
    left = (0.5 * 3 + 1) / 5
    assert listed[("<unk>",)] == pytest.approx(left / 5)
    assert listed[("a",)] == listed[("b",)] == pytest.approx(0.5 / 5 + left / 5)
    assert listed[("</s>",)] == pytest.approx(1 / 5 + left / 5)
    assert listed[("<s>", "a")] == pytest.approx((2 - 1) / 2 + 1 / 2 * 0.2)
    assert listed[("a", "b")] == pytest.approx(0.5 / 2 + 1 / 2 * 0.2)
    assert listed[("b", "</s>")] == pytest.approx(0.5 / 1 + 0.5 / 1 * 0.3)


words = st.sampled_from([*"abcdefgh", "zz", "A", "9", "中", "\n", "\n", "…"])


@settings(max_examples=60, deadline=None)
@given(lines, st.lists(st.lists(words, max_size=15).map(" ".join), max_size=4), st.integers(2, 5))
@example(RIVER * 2, ["", "\n", "a b c d\na b zz c\n\nzz", "zz zz a b c e"], 3)
def test_scores_are_the_references(drawn: list[list[str]], asked: list[str], order: int) -> None:
    model = model_of([" ".join(line) for line in drawn], order=order, min_ngram_count=2)
    listed = entries(model)
    known = {gram[0] for gram in listed if len(gram) == 1}
    found = model.perplexities(pa.array(asked, pa.large_string()))
    for text, perplexity in zip(asked, found, strict=True):
        total, count = 0.0, 0
        for line in text_tokens(text):
            context: tuple[str, ...] = ("<s>",)
            for token in [*line, "</s>"]:
                word = token if token in known else "<unk>"
                total += log_prob(listed, context[-(order - 1) :], word)
                context = (*context, word)
                count += 1
        assert (math.isnan(perplexity) and not count) or perplexity == pytest.approx(math.exp(-total / count), rel=1e-9)


def test_the_order_of_lines_changes_nothing() -> None:
    drawn = [" ".join(line) for line in RIVER]
    assert model_of(drawn).table().equals(model_of(drawn[::-1]).table())
    assert np.isnan(model_of(drawn).perplexities(pa.array(["", " \n"], pa.large_string()))).all()
