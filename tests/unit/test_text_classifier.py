"""Classifiers from files: words, draws, held-out reports, the same bytes, and what a person does wrong."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.classifier
from pipeline.classifier import Corpus, classifier_from_files
from pipeline.reading import open_files
from schemas.errors import RecipeError, SluiceError
from transforms.registry import build
from transforms.text.classifier import ClassifierParams
from transforms.text.classifier_report import Report, report, roc_auc
from transforms.text.classifier_words import WordCounts, one_line

FILES = Path("tests/cases/files")
PARAMS = ClassifierParams(dim=4, buckets=64, epochs=40, lr=1)


def test_a_line() -> None:
    assert one_line(" A\tb\n\nc\u00a0d\ufffce\0f\u2028") == "A b c d e f"


def test_words_by_frequency_then_bytes() -> None:
    counts = WordCounts()
    counts.add(["b a c", "b a __label__x </s> z", "é"])
    assert counts.vocabulary(1).words() == [b"</s>", b"a", b"b", b"c", "é".encode()]
    assert counts.vocabulary(1).counts.tolist() == [3, 2, 2, 1, 1]
    assert counts.vocabulary(2).words() == [b"</s>", b"a", b"b"]
    assert counts.vocabulary(4).words() == []


def test_rare_words_are_forgotten_when_there_are_too_many() -> None:
    counts = WordCounts(max_words=4)
    counts.add(["a a a b b", "c d e", "f g h"])
    assert set(counts.counts) == {"a"}
    counts = WordCounts(max_words=8)
    counts.add(["a a a b b", "c d e", "f g h"])
    assert len(counts.counts) == 8


scores = st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.5001, 0.9, 1.0]), min_size=1, max_size=30).map(np.asarray)


@settings(max_examples=100, deadline=None)
@given(scores, scores)
def test_auc_is_the_share_of_pairs_in_order(positive: np.ndarray, negative: np.ndarray) -> None:
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert roc_auc(positive, negative) == pytest.approx(sum(pairs) / len(pairs))


def test_report_by_hand() -> None:
    made = report(np.array([0.95, 0.8, 0.3, 0.01]), np.arange(100) / 100)
    assert made.auc == pytest.approx((95.5 + 80.5 + 30.5 + 1.5) / 400, abs=1e-9)
    at = {one.threshold: one for one in made.at}
    assert (at[0.9].precision, at[0.9].recall) == (1 / 11, 0.25)
    assert (at[0.5].precision, at[0.5].recall) == (2 / 52, 0.5)
    assert made.keep_percent[10] == 0.90 and made.keep_percent[1] == 0.99 and made.keep_percent[50] == 0.50
    assert report(np.array([0.1]), np.array([0.2])).at[-1].precision is None


def train(positive: Path | str, negative: Path | str, out: Path, column: str = "body", **changes: object) -> Report:
    sources = [open_files([str(paths)], None, column) for paths in (positive, negative)]
    params = PARAMS.model_copy(update=changes)
    corpora = (Corpus("hq", sources[0]), Corpus("cc", sources[1]))
    return classifier_from_files(corpora, params, 1000, out, lambda *_: None).report


def good_and_bad() -> list[list[dict[str, str]]]:
    names = ("classifier_good", "classifier_bad")
    return [[json.loads(line) for line in (FILES / f"{name}.jsonl").read_text().splitlines()] for name in names]


def test_the_committed_classifier_is_made_again(tmp_path: Path) -> None:
    train(FILES / "classifier_good.jsonl", FILES / "classifier_bad.jsonl", tmp_path / "made.bin")
    assert (tmp_path / "made.bin").read_bytes() == (FILES / "classifier.bin").read_bytes()


def test_files_formats_and_orders_change_nothing(tmp_path: Path) -> None:
    good, bad = good_and_bad()
    (tmp_path / "good").mkdir()
    for part, rows in enumerate((good[6:][::-1], good[:6])):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "good" / f"{part}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    pq.write_table(pa.Table.from_pylist(bad), tmp_path / "bad.parquet", row_group_size=5)
    train(tmp_path / "good", tmp_path / "bad.parquet", tmp_path / "made.bin")
    assert (tmp_path / "made.bin").read_bytes() == (FILES / "classifier.bin").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.parquet", "good", "made.bin"]


def test_another_seed_is_another_classifier(tmp_path: Path) -> None:
    train(FILES / "classifier_good.jsonl", FILES / "classifier_bad.jsonl", tmp_path / "made.bin", seed=18)
    assert (tmp_path / "made.bin").read_bytes() != (FILES / "classifier.bin").read_bytes()


def jsonl(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_as_many_rows_of_either_label_and_a_tenth_held_out(tmp_path: Path) -> None:
    good = jsonl(tmp_path / "good.jsonl", [f"good row {at}" for at in range(50)] + ["", " \n"])
    bad = jsonl(tmp_path / "bad.jsonl", [f"bad entry {at}" for at in range(3000)])
    found = train(good, bad, tmp_path / "made.bin", column="text")
    assert (found.num_positive, found.num_negative) == (5, 5)
    assert found.auc == 1.0
    draws = _limits(good, bad, 20)
    assert [sum(one <= limit for one in found) for found, limit in draws] == [20, 20]


def _limits(good: Path, bad: Path, max_rows: int) -> list[tuple[list[int], int]]:
    corpora = tuple(Corpus("x", open_files([str(path)])) for path in (good, bad))
    limits = pipeline.classifier._limits(corpora, 17, max_rows, Counter())
    draws = []
    for corpus, limit in zip(corpora, limits, strict=True):
        ids = [name for names, _ in pipeline.classifier._rows(corpus.source) for name in names]
        draws.append(([pipeline.classifier.draw(name, 17) for name in ids], limit))
    return draws


def test_too_few_rows_and_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = jsonl(tmp_path / "good.jsonl", ["one", "two"]), jsonl(tmp_path / "bad.jsonl", ["three", " "])
    with pytest.raises(SluiceError, match=r"1 rows with text for label 'cc' in .*bad.jsonl"):
        train(good, bad, tmp_path / "made.bin", column="text")
    with pytest.raises(SluiceError, match=r"1,048,579 vectors of 102 numbers take 427,820,232 bytes"):
        monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 1000})())
        train(good, good, tmp_path / "made.bin", column="text", buckets=2**20, dim=102)
    assert not (tmp_path / "made.bin").exists()


def test_words_that_are_all_too_rare(tmp_path: Path) -> None:
    good = jsonl(tmp_path / "good.jsonl", ["one", "two"])
    with pytest.raises(SluiceError, match="lower --min-count"):
        train(good, good, tmp_path / "made.bin", column="text", min_count=9, word_ngrams=1)


def test_training_that_diverges(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match=r"lower --lr"):
        train(FILES / "classifier_good.jsonl", FILES / "classifier_bad.jsonl", tmp_path / "made.bin", lr=1e30)
    assert not (tmp_path / "made.bin").exists()


def test_a_model_that_is_none_and_a_label_that_is_not_there(tmp_path: Path) -> None:
    def set_up(path: Path, label: str = "hq") -> None:
        build("text.fasttext_score", {"model": str(path), "label": label}).setup()

    with pytest.raises(RecipeError, match="No such file"):
        set_up(tmp_path / "none.bin")
    (tmp_path / "text.bin").write_text("not a model")
    with pytest.raises(RecipeError, match=r"text\.fasttext_score: .* is not a fastText model"):
        set_up(tmp_path / "text.bin")
    with pytest.raises(RecipeError, match="no label 'toxic'; known: "):
        set_up(FILES / "classifier.bin", "toxic")
    with pytest.raises(RecipeError, match="column"):
        build("text.fasttext_score", {"model": "x", "column": "text"})


def test_the_command(sluice: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    files = ("--positive", FILES / "classifier_good.jsonl", "--negative", FILES / "classifier_bad.jsonl")
    shape = ("--column", "body", "--dim", 4, "--buckets", 64, "--epochs", 40, "--lr", 1, "--out", tmp_path / "m.bin")
    code, out, err = sluice("classifier", "train", *files, *shape)
    assert code == 0, err
    assert (tmp_path / "m.bin").read_bytes() == (FILES / "classifier.bin").read_bytes()
    assert "held out 1 + 1 rows, ROC AUC 1.0000" in out and "0.018112" in out and "50 %" in out
    code, out, _ = sluice("classifier", "train", *files, *shape, "--json")
    assert code == 0 and json.loads(out)["auc"] == 1.0 and json.loads(out)["unread"] == {}
    (tmp_path / "bad.jsonl").write_bytes((FILES / "classifier_bad.jsonl").read_bytes() + b"{\n[]\n{\n")
    code, out, _ = sluice("classifier", "train", *files[:2], "--negative", tmp_path / "bad.jsonl", *shape)
    assert code == 0 and out.startswith("not read: 2 bad_json, 1 not_an_object\n")
    for labels in ("hq", "hq,hq", "hq, cc", "a,b,c", "hq,"):
        code, _, err = sluice("classifier", "train", *files, *shape, "--labels", labels)
        assert code == 1 and "give two different words" in err
    code, _, err = sluice("classifier", "train", *files, *shape, "--dim", 0)
    assert code == 1 and "dim" in err
    code, _, err = sluice("classifier", "train", *files, *shape, "--column", "text")
    assert (
        code == 1 and "0 rows with text for label 'hq'" in err and "classifier_good.jsonl, not read: 12 no_text;" in err
    )


@pytest.mark.parametrize(
    "command",
    [
        ("classifier", "train", "--positive", "nothing.jsonl", "--negative", "nothing.jsonl"),
        ("ngram", "train", "nothing.jsonl", "--lang", "en"),
        ("alignment", "train", "recipes/parallel_text_v1.yaml"),
        ("tokenizer", "train", "nothing.jsonl"),
    ],
)
def test_where_nothing_can_be_written_nothing_is_trained(
    command: tuple[str, ...], sluice: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "tokenizer.json").mkdir(parents=True)
    code, _, err = sluice(*command, "--out", tmp_path / "file" / "made")
    assert code == 1 and "cannot write" in err and "choose another --out" in err
    code, _, err = sluice(*command, "--out", tmp_path / "folder")
    assert code == 1 and "is a folder; give --out a file in it" in err
