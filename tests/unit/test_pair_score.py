"""Lexicons: the kernels against a readable Model 1, training that only the pairs decide, files that are none."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import regex
import typer
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from jobs import alignment as command
from pipeline.alignment import train_lexicon
from pipeline.recipe import load_recipe
from pipeline.storage import write_arrow
from schemas.errors import RecipeError, SluiceError
from tests.pairs import SENTENCES, pair_batch
from transforms.dedup.shingles import _word_hash
from transforms.pair import lexicon
from transforms.pair.lexicon import SCHEMA, Lexicon, Words, train
from transforms.pair.score import load_lexicon
from transforms.registry import build
from transforms.text.words import split_unicode

LEXICON = Path("tests/cases/files/lexicon.arrow")
_UNSPACED = regex.compile(
    r"[[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}"
    r"\p{Script=Myanmar}ー]&&[\p{L}\p{N}]]",
    regex.V1,
)
_SOUTHEAST_ASIAN = regex.compile(r"[\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]", regex.V1)


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def reference_words(text: str) -> list[str]:
    """What the words of a side are: the readable way."""
    text = pc.utf8_lower(pa.scalar(text)).as_py().replace("\ufffc", "")
    words = split_unicode(text)
    found, at = [], 0
    starts = []
    for word in words:
        at = text.index(word, at)
        starts.append(at)
        at += len(word)
    for k, word in enumerate(words[: lexicon.MAX_WORDS]):
        if not _UNSPACED.match(word):
            found.append(word[: lexicon._PREFIX])
            continue
        size = 4 if _SOUTHEAST_ASIAN.match(word) else 2
        stop = k
        while (
            stop + 1 < min(len(words), k + size)
            and starts[stop + 1] == starts[stop] + len(words[stop])
            and _UNSPACED.match(words[stop + 1])
        ):
            stop += 1
        found.append(text[starts[k] : starts[stop] + len(words[stop])])
    return found


pieces = st.lists(
    st.sampled_from(
        [
            "Haus",
            "don't",
            "汉字",
            "かな",
            "カナ",
            "ไทย",
            "ก็",
            "한국어",
            "3,14",
            " ",
            " ",
            "-",
            "_",
            "ÉCOLE",
            "İ",
            "中a",
            "\ufffc",
            ".",
        ]
    ),
    max_size=12,
).map("".join)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(pieces, anything), max_size=4))
def test_words_are_as_the_reference_cuts_them(texts: list[str]) -> None:
    words = Words.of(column(texts))
    assert len(words.bounds) == len(texts) + 1
    for row, text in enumerate(texts):
        expected = [_word_hash(word) for word in reference_words(text)]
        assert words.hashes[words.bounds[row] : words.bounds[row + 1]].tolist() == expected


def test_only_so_many_words_of_a_side_count() -> None:
    words = Words.of(column(["", "w " * 1000, "x"]))
    assert np.diff(words.bounds).tolist() == [0, lexicon.MAX_WORDS, 1]


def reference_model(pairs: list[tuple[list[str], list[str]]]) -> dict[tuple[str, str], float]:
    """IBM Model 1 by dictionaries: t(target | source) with the discount, over words that occur twice."""
    known = [defaultdict(int), defaultdict(int)]
    for pair in pairs:
        for side, counts in zip(pair, known, strict=True):
            for word in side:
                counts[word] += 1
    kept = [[[w for w in side if counts[w] > 1] for side, counts in zip(pair, known, strict=True)] for pair in pairs]
    t: dict[tuple[str, str], float] = defaultdict(lambda: 1.0)
    counts: dict[tuple[str, str], float] = {}
    for _ in range(lexicon._ITERATIONS):
        counts, totals = defaultdict(float), defaultdict(float)
        for source, target in kept:
            for f in target:
                total = t["", f] + sum(t[e, f] for e in source)
                for e in ["", *source]:
                    counts[e, f] += t[e, f] / total
        for (e, _), count in counts.items():
            totals[e] += count
        t = defaultdict(float, {(e, f): count / totals[e] for (e, f), count in counts.items()})
    return {
        (e, f): max(count - lexicon._DISCOUNT, 0) / totals[e]
        for (e, f), count in counts.items()
        if e and max(count - lexicon._DISCOUNT, 0) / totals[e] >= lexicon._MIN_PROBABILITY
    }


def reference_score(pair: tuple[list[str], list[str]], models: list[dict], shares: list[dict]) -> float:
    means = []
    for other, words, model, share in (
        (pair[0], pair[1], models[0], shares[1]),
        (pair[1], pair[0], models[1], shares[0]),
    ):
        logs = []
        for word in words:
            if word in share:
                mass = sum(lexicon._SAME if g == word else model.get((g, word), 0.0) for g in other)
                ratio = mass / len(other) / share[word] if other else 0.0
                logs.append(math.log(1 - lexicon._WEIGHT + lexicon._WEIGHT * ratio))
        means.append(sum(logs) / len(logs) if logs else math.nan)
    return (means[0] + means[1]) / 2


def test_training_and_scores_are_the_references() -> None:
    rng = random.Random(1)
    pairs = [(s, t if rng.random() < 0.8 else rng.choice(SENTENCES)[1]) for s, t in SENTENCES]
    split = [(reference_words(s), reference_words(t)) for s, t in pairs]
    models = [reference_model(split), reference_model([(t, s) for s, t in split])]
    shares = []
    for at in range(2):
        words = [word for pair in split for word in pair[at]]
        shares.append({word: words.count(word) / len(words) for word in words if words.count(word) > 1})
    learned = Lexicon.of(train(*(Words.of(column([pair[at] for pair in pairs])) for at in range(2)))[0])
    tried = [
        *SENTENCES[:20],
        ("The unheard-of word", "Ein Wort"),
        ("dog", "Katze"),
        ("dog 7", ""),
        ("Der moon", "der Mond The"),
    ]
    scores = learned.score(*(Words.of(column([pair[at] for pair in tried])) for at in range(2)))
    expected = [reference_score((reference_words(s), reference_words(t)), models, shares) for s, t in tried]
    assert scores.tolist() == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert sum(map(math.isnan, expected)) == 3 and len(models[0]) > 20


def test_right_pairs_score_above_wrong_ones_though_half_of_the_training_is_wrong() -> None:
    rng = random.Random(2)
    sources, targets = [s for s, _ in SENTENCES], [t for _, t in SENTENCES]
    wrong = targets[:]
    rng.shuffle(wrong)
    learned = Lexicon.of(train(Words.of(column(sources + sources)), Words.of(column(targets + wrong)))[0])
    differing = [at for at in range(len(wrong)) if wrong[at] != targets[at]]
    scores = [learned.score(Words.of(column(sources)), Words.of(column(side)))[differing] for side in (targets, wrong)]
    assert np.mean(scores[0][:, None] > scores[1][None, :]) > 0.9


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    rows = [{"text": f"{source}\t{target}"} for source, target in SENTENCES]
    for name, part in (("a", rows[:30]), ("b", rows[30:] + rows[:10])):
        (tmp_path / "in" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    made = {
        "recipe": 1,
        "name": "pairs",
        "inputs": [{"use": "jsonl", "with": {"paths": str(tmp_path / "in")}}],
        "steps": [
            {"use": "pair.split"},
            {"use": "text.exact_dedup"},
            {"use": "pair.score", "with": {"lexicon": str(tmp_path / "lexicon.arrow")}},
            {"use": "select.range", "with": {"column": "score.alignment", "min": 0}},
        ],
        "tokens": {"tokenizer": "bytes", "sequence_length": 256},
        "output": {"path": str(tmp_path / "out")},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def test_the_command_learns_and_the_step_reads(recipe: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.add_typer(command.app, name="alignment")
    out = tmp_path / "lexicon.arrow"
    result = CliRunner().invoke(app, ["alignment", "train", str(recipe), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0 and "from 80 pairs (90 rows read, 90 kept)" in result.output
    step = build("pair.score", {"lexicon": str(out)})
    batch = pair_batch([("The king sells bread.", "Der König verkauft Brot."), ("The king sells bread.", "Den Mond.")])
    right, wrong = step.apply(batch).kept.column("score.alignment").to_pylist()
    assert right > 0.5 > 0 > wrong


def test_neither_files_nor_their_order_decide(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for name, rows in (("one", 3), ("two", 1000)):
        monkeypatch.setattr("pipeline.reading.BATCH_ROWS", rows)
        out = tmp_path / name
        assert train_lexicon(load_recipe(recipe), out, 50).learned_from == 50
        digests.add(out.read_bytes())
    first, second = tmp_path / "in" / "a.jsonl", tmp_path / "in" / "b.jsonl"
    whole = first.read_text() + second.read_text()
    first.write_text("".join(sorted(whole.splitlines(keepends=True))))
    second.unlink()
    train_lexicon(load_recipe(recipe), tmp_path / "three", 50)
    digests.add((tmp_path / "three").read_bytes())
    assert len(digests) == 1


def test_a_full_table_leaves_later_pairs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = [Words.of(column([pair[at] for pair in SENTENCES * 2])) for at in range(2)]
    whole, all_pairs = train(*sides)
    monkeypatch.setattr(lexicon, "_MAX_ENTRIES", 60)
    part, some = train(*sides)
    assert 0 < part.num_rows < whole.num_rows and 0 < some < all_pairs == 2 * len(SENTENCES)


def test_nothing_to_learn_from() -> None:
    with pytest.raises(SluiceError, match="no word occurs in two pairs"):
        train(Words.of(column(["one two"])), Words.of(column(["eins zwei"])))


def test_a_recipe_without_the_step(recipe: Path, tmp_path: Path) -> None:
    made = yaml.safe_load(recipe.read_text())
    made["steps"] = made["steps"][:1]
    recipe.write_text(yaml.safe_dump(made))
    with pytest.raises(RecipeError, match=r"has no step pair\.score"):
        train_lexicon(load_recipe(recipe), tmp_path / "x", 10)


def one_entry(value: float | None) -> pa.Table:
    return pa.table(
        [pa.array([0], pa.int8()), pa.array([7], pa.uint64()), pa.array([value], pa.float32())], schema=SCHEMA
    )


def _with_a_width_of_166_bits() -> bytes:
    """A lexicon whose footer says so of its integers."""
    return LEXICON.read_bytes()[:2052] + bytes([166]) + LEXICON.read_bytes()[2053:]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (None, r"there is no lexicon .*sluice alignment train RECIPE"),
        (b"not arrow", "cannot be used as a lexicon"),
        (_with_a_width_of_166_bits(), "cannot be used as a lexicon"),
        (pa.table({"a": [1]}), "not a lexicon of sluice alignment train"),
        (one_entry(math.nan), "damaged"),
        (one_entry(0.0), "damaged"),
        (one_entry(None), "damaged"),
    ],
)
def test_a_file_that_is_no_lexicon(table: object, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "lexicon.arrow"
    if isinstance(table, bytes):
        path.write_bytes(table)
    elif isinstance(table, pa.Table):
        write_arrow(path, table.schema, iter(table.to_batches()))
    with pytest.raises(RecipeError, match=expected):
        load_lexicon(str(path))


def test_the_lexicon_of_the_cases_is_learned_from_the_sentences() -> None:
    """To write it anew: write_arrow(LEXICON, SCHEMA, iter(train(…)[0].to_batches())) of these."""
    table, _ = train(*(Words.of(column([pair[at] for pair in SENTENCES])) for at in range(2)))
    with pa.memory_map(str(LEXICON)) as source:
        assert pa.ipc.open_file(source).read_all().equals(table)


def test_ties_do_not_make_a_vocabulary_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "_MAX_VOCABULARY", 2)
    words = lexicon.Words(np.array([5, 5, 7, 7, 9, 9, 9], np.uint64), np.array([0, 7]))
    assert lexicon._number(words)[0].tolist() == [9]
    monkeypatch.setattr(lexicon, "_MAX_VOCABULARY", 3)
    assert lexicon._number(words)[0].tolist() == [5, 7, 9]
