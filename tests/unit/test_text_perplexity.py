"""n-gram models from files, files that are none, KenLM's, and what a person does wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.ngram import ngram_from_files
from pipeline.reading import open_files
from pipeline.storage import write_arrow
from schemas.errors import RecipeError, SchemaError, SluiceError
from schemas.sample import SAMPLE
from transforms.registry import build
from transforms.text.ngram_model import NgramModel
from transforms.text.ngram_train import NgramParams
from transforms.text.perplexity import load_model

FILES = Path("tests/cases/files")
MODEL = FILES / "en.lm.arrow"
WORDS = ["word" + chr(97 + at // 26) + chr(97 + at % 26) for at in range(300)]


def test_the_committed_model_is_made_again(sluice: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    good, bad, out = FILES / "classifier_good.jsonl", FILES / "classifier_bad.jsonl", tmp_path / "en.lm.arrow"
    counts = ("--min-word-count", 1, "--min-ngram-count", 1)
    command = ("ngram", "train", good, "--lang", "en", "--column", "body", "--out", out, *counts)
    code, said, err = sluice(*command, "--terciles-of", good, "--terciles-of", bad)
    assert code == 0, err
    assert out.read_bytes() == MODEL.read_bytes()
    assert "122 1-grams, 184 2-grams, 194 3-grams of 219 tokens" in said and "of 24 rows" in said
    code, _, err = sluice(*command, "--order", 9)
    assert code == 1 and "order" in err
    code, _, err = sluice(*command)
    assert code == 1 and "1 rows with text to take terciles of" in err


def jsonl(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def train(path: Path, judged: Path | None, out: Path, **params: int) -> Any:
    sources = [None if paths is None else open_files([str(paths)]) for paths in (path, judged)]
    assert sources[0] is not None
    return ngram_from_files(sources[0], sources[1], "en", NgramParams(**params), out, lambda *_: None)


def test_held_out_rows_are_not_learned(tmp_path: Path) -> None:
    corpus = jsonl(tmp_path / "a.jsonl", WORDS)
    made = train(corpus, None, tmp_path / "a.arrow", min_word_count=1)
    learned = set(made.model.tokens.to_pylist()[3:])
    assert learned < set(WORDS) and made.num_judged == 300 - len(learned)
    assert 10 < made.num_judged < 60
    everything = train(corpus, corpus, tmp_path / "b.arrow", min_word_count=1)
    assert set(everything.model.tokens.to_pylist()[3:]) == set(WORDS)
    assert everything.num_judged == 300 and everything.unread == {}
    corpus.write_text(corpus.read_text() + "{\n")
    assert train(corpus, corpus, tmp_path / "b.arrow", min_word_count=1).unread == {"bad_json": 1}


def test_only_so_much_text_is_read(tmp_path: Path) -> None:
    corpus = jsonl(tmp_path / "a.jsonl", WORDS)
    some = train(corpus, corpus, tmp_path / "a.arrow", min_word_count=1, max_bytes=600)
    learned = some.model.tokens.to_pylist()[3:]
    assert len(learned) == 100 and learned != sorted(WORDS)[:100]
    with pytest.raises(SluiceError, match="raise --max-bytes"):
        train(corpus, corpus, tmp_path / "b.arrow", min_word_count=1, max_bytes=1)


SHORT = ["a b", "c d", "b a", "d c"]


def test_a_row_too_long_for_memory_is_left_out(tmp_path: Path) -> None:
    corpus = jsonl(tmp_path / "a.jsonl", [*SHORT, " ".join(SHORT * 100)])
    made = train(corpus, corpus, tmp_path / "a.arrow", min_word_count=1, max_bytes=100)
    wanted = train(jsonl(tmp_path / "b.jsonl", SHORT), corpus, tmp_path / "b.arrow", min_word_count=1)
    assert (made.num_tokens, made.num_judged) == (wanted.num_tokens, len(SHORT))


def test_memory_is_looked_at_before_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ngram._MEMORY_PER_BYTE", 10**15)
    corpus = jsonl(tmp_path / "a.jsonl", WORDS)
    with pytest.raises(SluiceError, match=r"bytes of memory, and [\d,]+ are free; lower --max-bytes"):
        train(corpus, corpus, tmp_path / "a.arrow")


def test_terciles(tmp_path: Path) -> None:
    corpus = jsonl(tmp_path / "a.jsonl", ["a b c d"] * 20 + ["c d b a"] * 3)
    judged = jsonl(tmp_path / "b.jsonl", ["a b c d", "c d b a", "x y z", ""])
    made = train(corpus, judged, tmp_path / "a.arrow")
    found = np.sort(made.model.perplexities(pa.array(["a b c d", "c d b a", "x y z"], pa.large_string())))
    assert made.cutoffs == tuple(np.quantile(found, (1 / 3, 2 / 3)))
    again = NgramModel.load(tmp_path / "a.arrow")
    assert again.description.cutoffs == made.cutoffs
    assert again.table().equals(made.model.table())


def test_too_little_text(tmp_path: Path) -> None:
    corpus = jsonl(tmp_path / "a.jsonl", ["one", "two"])
    with pytest.raises(SluiceError, match="no word occurs 2 times"):
        train(corpus, corpus, tmp_path / "a.arrow")
    assert not (tmp_path / "a.arrow").exists()


def damaged(path: Path, **columns: Any) -> Path:
    """The committed model with columns or metadata of other values; a function changes them."""
    table = NgramModel.load(MODEL).table()
    for name, change in columns.items():
        if name == "metadata":
            said = json.loads(table.schema.metadata[b"sluice.ngram"])
            table = table.replace_schema_metadata({"sluice.ngram": json.dumps(change(said))})
            continue
        values = table.column(name).to_pylist()
        change(values)
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
    write_arrow(path, table.schema, iter(table.to_batches()))
    return path


def put(at: int, value: Any) -> Callable[[list], None]:
    return lambda values: values.__setitem__(at, value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"suffix": put(150, 150)}, "leads out of its level"),
        ({"suffix": put(400, 1)}, "leads out of its level"),
        ({"prefix": put(150, 10**9)}, "leads out of its level"),
        ({"prefix": put(150, -1)}, "leads out of its level"),
        ({"suffix": put(5, 4)}, "unigrams are not numbered"),
        ({"word": put(5, 6)}, "unigrams are not numbered"),
        ({"word": put(150, 122)}, "not in the vocabulary"),
        ({"word": put(150, -1)}, "not in the vocabulary"),
        ({"log_prob": put(7, float("nan"))}, "no number"),
        ({"back_off": put(7, float("inf"))}, "no number"),
        ({"token": put(7, None)}, "words are missing"),
        ({"token": put(0, "unk")}, "words are missing"),
        ({"metadata": lambda said: said | {"levels": [122, 184, 195]}}, "levels of"),
        ({"metadata": lambda said: said | {"levels": [-1, 501]}}, "levels of"),
        ({"metadata": lambda said: said | {"levels": [500]}}, "not an n-gram model"),
        ({"metadata": lambda said: said | {"version": 2}}, "not an n-gram model"),
        ({"metadata": lambda said: said | {"cutoffs": [9, 1]}}, "head cannot end at 9"),
        ({"metadata": lambda said: None}, "not an n-gram model"),
    ],
)
def test_a_damaged_model_is_refused(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        NgramModel.load(damaged(tmp_path / "bad.arrow", **changes))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    write_arrow(tmp_path / "other.arrow", pa.schema([("a", pa.int32())]), iter([]))
    with pytest.raises(RecipeError, match="not the columns"):
        load_model(str(tmp_path / "other.arrow"))
    data = MODEL.read_bytes()
    for size in (8, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.arrow").write_bytes(data[:size])
        with pytest.raises(RecipeError, match="not an n-gram model"):
            load_model(str(tmp_path / "cut.arrow"))
    with pytest.raises(RecipeError, match=r"cannot open .*sluice ngram train"):
        load_model(str(tmp_path / "none.arrow"))


def test_kenlm_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)
    (tmp_path / "en.arpa").write_text("\\data\\\n")
    with pytest.raises(RecipeError, match="pip install kenlm"):
        load_model(str(tmp_path / "en.arpa"))


class FakeKenlm:
    """kenlm's Model: 10^-2 a token, and half of that for a line's end."""

    def __init__(self, path: str) -> None:
        if "bad" in path:
            raise OSError("Cannot read model")

    def score(self, sentence: str, bos: bool, eos: bool) -> float:
        assert bos and eos
        return -2.0 * len(sentence.split()) - 1.0


def test_kenlm_reads_our_tokens_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", SimpleNamespace(Model=FakeKenlm))
    for name in ("en.arpa", "bad.arpa"):
        (tmp_path / name).write_text("\\data\\\n")
    found = load_model(str(tmp_path / "en.arpa")).perplexities(pa.array(["One, two\n\nthree", "\n"], pa.large_string()))
    assert found[0] == pytest.approx(10 ** ((2 * 4 + 2 * 1) / 6)) and np.isnan(found[1])
    with pytest.raises(RecipeError, match="neither a sluice nor a KenLM model"):
        load_model(str(tmp_path / "bad.arpa"))


def test_a_model_is_of_some_language(sluice: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    corpus = jsonl(tmp_path / "a.jsonl", ["one two one two"] * 9)
    code, _, err = sluice("ngram", "train", corpus, "--lang", "", "--out", tmp_path / "made.arrow")
    assert code == 1 and "--lang '': give the language of the texts, such as en" in err
    assert not (tmp_path / "made.arrow").exists()


def test_wrong_parameters() -> None:
    for params, complaint in (
        ({"models": {}}, "models"),
        ({"models": {"en": "x"}, "keep": []}, "keep"),
        ({"models": {"en": "x"}, "keep": ["best"]}, "keep"),
        ({"models": {"en": "x"}, "cutoffs": {"en": [2, 1]}}, "head cannot end at 2"),
    ):
        with pytest.raises(RecipeError, match=complaint):
            build("text.perplexity", params)
    step = build("text.perplexity", {"models": {"en": str(MODEL)}, "cutoffs": {"de": [1, 2]}})
    with pytest.raises(RecipeError, match="cutoffs for de, which have no model"):
        step.setup()
    with pytest.raises(SchemaError, match=r"put text\.language before it"):
        step.output_schema(SAMPLE)


def test_a_model_serves_its_language_by_any_name() -> None:
    step = build("text.perplexity", {"models": {"eng_Latn": str(MODEL)}, "cutoffs": {"eng": [1, 2]}})
    assert (step.params.models, step.params.cutoffs) == ({"en": str(MODEL)}, {"en": (1, 2)})
    step.setup()
    step = build("text.perplexity", {"models": {"de": str(MODEL)}})
    with pytest.raises(
        RecipeError, match=r"was trained on 'en', and `models` has it for 'de'; train one with --lang de"
    ):
        step.setup()
