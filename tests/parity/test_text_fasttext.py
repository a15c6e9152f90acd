"""Our fastText inference against the library: the same labels in the same order, the same scores to the last bit."""

from __future__ import annotations

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sample import SENTINEL
from tests.fasttext_files import HS, LABELS, NS, OVA, SOFTMAX, WORDS, model_file
from transforms.text.fasttext_model import FastText
from transforms.text.language import bundled_lid176

MODELS = {
    "softmax": {},
    "hs": {"loss": HS, "seed": 1},
    "ova": {"loss": OVA, "seed": 2},
    "ns, word bigrams": {"loss": NS, "word_ngrams": 2, "chars": (0, 0), "seed": 3},
    "softmax, word trigrams and n-grams": {"word_ngrams": 3, "chars": (1, 3), "seed": 4},
    "no n-grams": {"chars": (0, 0), "buckets": 0, "seed": 5},
    "quantized": {"quantize": 2, "seed": 6},
    "quantized, pruned": {"quantize": 3, "prune": 0.2, "loss": HS, "word_ngrams": 2, "seed": 7},
    "quantized with norms": {"quantize": 4, "norms": True, "prune": 0.5, "loss": OVA, "seed": 8},
    "quantized output": {"quantize": 2, "norms": True, "quantize_output": True, "loss": HS, "seed": 9},
    "quantized output, softmax": {"quantize": 3, "quantize_output": True, "seed": 10},
    "all n-grams pruned": {"quantize": 2, "prune": 0.0, "word_ngrams": 2, "seed": 11},
    "of version 11": {"version": 11, "seed": 12},
    "one label": {"labels": ("__label__only",), "loss": HS, "seed": 13},
    "no end of line": {"words": ("the", "und"), "loss": SOFTMAX, "word_ngrams": 2, "seed": 14},
}
PIECES = st.one_of(
    st.text(max_size=8),
    st.text(st.sampled_from("aeinrst ,.\n"), max_size=20),
    st.sampled_from(
        [
            *WORDS[1:],
            *LABELS,
            "__label__unknown",
            "__label__",
            "</s>",
            "</s",
            "<",
            ">",
            " ",
            "\n",
            "\0",
            "\t\v\f\r",
            "\u00a0",
            "\u0085",
            "\u2003",
            "\u3000",
            "\u1680",
            "\u205f",
            "\u2028",
            "\x1c",
            "\x1f",
            SENTINEL,
            "我们要去图书馆借几本书",
            "ab" * 300,
            "word " * 300,
            "\U0001f469\u200d\U0001f469",
        ]
    ),
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)
LIBRARY_SPACES = "\n" + SENTINEL


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[FastText, fasttext._FastText]]:
    folder = tmp_path_factory.mktemp("models")
    loaded = {}
    for at, (name, params) in enumerate(MODELS.items()):
        path = folder / f"{at}.bin"
        path.write_bytes(model_file(**params))
        loaded[name] = (FastText.load(path, "test"), fasttext.load_model(str(path)))
    loaded["lid.176"] = (FastText.load(bundled_lid176(), "test"), fasttext.load_model(str(bundled_lid176())))
    return loaded


def by_library(model: fasttext._FastText, text: str, k: int, *, unicode_spaces: bool) -> list[tuple[str, float]]:
    if unicode_spaces:
        line = " ".join(text.replace(SENTINEL, " ").split())
    else:
        line = text.translate(dict.fromkeys(map(ord, LIBRARY_SPACES), " "))
    labels, scores = model.predict(line, k=k)
    return list(zip((label.removeprefix("__label__") for label in labels), scores, strict=True))


def by_ours(model: FastText, texts: list[str], k: int, *, unicode_spaces: bool) -> list[list[tuple[str, float]]]:
    found = model.predict(pa.array(texts, pa.large_string()), k, unicode_spaces=unicode_spaces)
    return [
        [(model.labels[label], score) for label, score in zip(*row, strict=True) if label >= 0]
        for row in zip(found.labels.tolist(), found.scores.tolist(), strict=True)
    ]


@pytest.mark.parametrize("name", [*MODELS, "lid.176"])
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(TEXTS, max_size=4), k=st.integers(1, 9), unicode_spaces=st.booleans())
def test_equal_to_the_library(models, name, texts, k, unicode_spaces) -> None:
    ours, library = models[name]
    wanted = [by_library(library, text, k, unicode_spaces=unicode_spaces) for text in texts]
    assert by_ours(ours, texts, k, unicode_spaces=unicode_spaces) == wanted


@pytest.mark.parametrize("name", ["softmax", "hs", "ova", "quantized with norms"])
def test_every_rounding_of_many_scores(models, name: str) -> None:
    """Roundings differ in one score of hundreds; so thousands are compared."""
    ours, library = models[name]
    rng = np.random.default_rng(8)
    texts = ["".join(map(chr, rng.integers(97, 123, 9))) + " the" * (at % 3) for at in range(3000)]
    wanted = [by_library(library, text, 7, unicode_spaces=False) for text in texts]
    assert by_ours(ours, texts, 7, unicode_spaces=False) == wanted
