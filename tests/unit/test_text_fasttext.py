"""Reading fastText models: what is damaged or not supported is said, nothing is allocated on a file's word."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import RecipeError
from tests.fasttext_files import HS, OVA, WORDS, model_file
from transforms.text import fasttext_model
from transforms.text.fasttext_model import FastText


def load(folder: Path, data: bytes) -> FastText:
    path = folder / "model.bin"
    path.write_bytes(data)
    return FastText.load(path, "text.test")


def texts(*values: str) -> pa.Array:
    return pa.array(values, pa.large_string())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"version": 13}, "version 13"),
        ({"kind": 1}, "word vectors"),
        ({"loss": 9}, "unknown loss 9"),
        ({"prune": 0.5}, "pruned but not quantized"),
        ({"chars": (2, 99)}, "n-grams of 99"),
        ({"buckets": 0}, "n-grams in 0 buckets"),
        ({"labels": ()}, "0 labels"),
        ({"dim": 0}, "0 dimensions"),
    ],
)
def test_what_is_not_supported_is_said(tmp_path: Path, given: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as error:
        load(tmp_path, model_file(**given))
    assert str(error.value).startswith("text.test: ")


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot open"):
        FastText.load(tmp_path / "nowhere", "text.test")
    with pytest.raises(RecipeError, match="is empty"):
        load(tmp_path, b"")
    with pytest.raises(RecipeError, match="magic number"):
        load(tmp_path, b"text, not a model")


@pytest.mark.parametrize("params", [{}, {"quantize": 2, "prune": 0.3, "norms": True, "quantize_output": True}])
def test_every_torn_file_is_refused(tmp_path: Path, params: dict) -> None:
    whole = model_file(dim=4, buckets=20, **params)
    load(tmp_path, whole)
    for size in [*range(1, 400), *range(400, len(whole), 97), len(whole) - 1]:
        with pytest.raises(RecipeError):
            load(tmp_path, whole[:size])


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 330), value=st.integers(-(2**31), 2**31 - 1), quantized=st.booleans())
def test_any_damage_is_refused_or_harmless(tmp_path_factory, at: int, value: int, quantized: bool) -> None:
    """Sizes, counts and row numbers of a file may be anything: no crash, no read beyond a table, no huge allocation."""
    params = {"quantize": 2, "prune": 0.5, "loss": HS} if quantized else {"word_ngrams": 2}
    data = bytearray(model_file(dim=4, buckets=20, **params))
    data[at : at + 4] = struct.pack("<i", value)
    try:
        model = load(tmp_path_factory.mktemp("damaged"), bytes(data))
    except RecipeError:
        return
    found = model.predict(texts("the river und the", "", "水" * 50), 3)
    assert ((found.labels >= -1) & (found.labels < len(model.labels))).all()


def test_not_a_number(tmp_path: Path) -> None:
    data = model_file(dim=4, buckets=20)
    with pytest.raises(RecipeError, match="NaN or infinity in its output matrix"):
        load(tmp_path, data[:-4] + struct.pack("<f", float("nan")))


def test_results_do_not_depend_on_what_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of two slots: words evict each other all the time."""
    data = model_file(word_ngrams=2)
    rng = np.random.default_rng(3)
    vocabulary = [
        *WORDS[1:],
        "__label__xx",
        *("".join(map(chr, rng.integers(97, 107, 1 + at % 9))) for at in range(90)),
    ]
    column = texts(*(" ".join(rng.choice(vocabulary, 40)) for _ in range(50)))
    wanted = [load(tmp_path, data).predict(column.slice(at, 1), 7) for at in range(50)]
    monkeypatch.setattr(fasttext_model, "_CACHE_BYTES", 512)
    model = load(tmp_path, data)
    for _ in range(2):
        found = model.predict(column, 7)
        assert found.labels.tolist() == [one.labels[0].tolist() for one in wanted]
        assert found.scores.tolist() == [one.scores[0].tolist() for one in wanted]


def test_threads_share_a_model(tmp_path: Path) -> None:
    model = load(tmp_path, model_file(loss=OVA))
    columns = [texts(*(f"{chr(97 + seed)}{at} the und {at * seed}" for at in range(2000))) for seed in range(4)]
    wanted = [model.predict(column).scores.tolist() for column in columns]
    found: dict[int, list] = {}
    threads = [
        threading.Thread(target=lambda at=at: found.update({at: model.predict(columns[at]).scores.tolist()}))
        for at in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[at] for at in range(4)] == wanted


def test_long_texts_are_added_up_in_pieces(tmp_path: Path) -> None:
    """More rows than a chunk holds, of one word and of many, in whatever column they stand."""
    model = load(tmp_path, model_file(word_ngrams=2))
    word, many = "abcdefghij" * 3000, " ".join(f"word{at}" for at in range(9000))
    alone = [model.predict(texts(text), 7) for text in (word, many)]
    together = model.predict(texts("the", word, many), 7)
    assert together.scores[1:].tolist() == [one.scores[0].tolist() for one in alone]
    assert together.num_words.tolist() == [1, 1, 9000]


@pytest.mark.parametrize("params", [{}, {"loss": HS, "seed": 1}, {"loss": OVA, "seed": 2}])
def test_the_score_of_one_label(tmp_path: Path, params: dict) -> None:
    model = load(tmp_path, model_file(**params))
    column = texts("the river", "und der", "", "水 水")
    every = model.predict(column, len(model.labels))
    for at, label in enumerate(model.labels):
        wanted = [
            next((min(score, 1.0) for place, score in zip(*row, strict=True) if place == at), 0.0)
            for row in zip(every.labels.tolist(), every.scores.tolist(), strict=True)
        ]
        found = model.scores_of(column, model.place_of(label, "here"))
        known = (every.labels[:, 0] >= 0) & (every.num_words > 0)
        assert np.isnan(found[~known]).all()
        assert found[known].tolist() == np.array(wanted)[known].tolist()
    with pytest.raises(RecipeError, match="here: the model has no label 'eng'; did you mean 'en'"):
        model.place_of("eng", "here")
