"""Presets compared: counts, causes and measured values of verdicts that change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from jobs import diff_presets as command
from pipeline.engine import Step
from pipeline.presets import compare, make_variants, preset_names, recipe_step
from pipeline.reading import open_files, read_all
from pipeline.recipe import load_recipe
from schemas.errors import RecipeError, SluiceError
from transforms.registry import build

_APP = typer.Typer()
_APP.command()(command.diff_presets)

_HYPHENS = " ".join(["well-known"] * 20 + ["the", "and"] * 5)  # 50 words by UAX #29, 30 by white space
_PROSE = " ".join(f"the river and bridge number{k} of that city have water" for k in range(8))
_SHORT = "the cat and the dog"
_LINES = "\n".join(
    [
        f"Line {word} tells of something that no other line here does tell."
        for word in ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    ]
    + ["A sentence to be said just twice, and not more often than twice at all."] * 2
)


def rows() -> list[dict]:
    texts = [_PROSE, _HYPHENS, _SHORT, _HYPHENS + " more", _PROSE + " last"]
    return [{"id": f"r{at}", "text": text} for at, text in enumerate(texts)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()) + "not json\n")
    return path


def changed(found: dict) -> list[tuple]:
    return [tuple(c[k] for k in ("kept_by", "rejected_by", "reason", "cause", "count")) for c in found["changes"]]


def test_a_word_counted_otherwise_is_a_definition(corpus: Path) -> None:
    variants = make_variants(
        "text.gopher_quality", {}, [("paper", {"preset": "paper"}), ("dolma", {"preset": "dolma"})]
    )
    found = compare(read_all([open_files([str(corpus)])]), variants)
    assert changed(found) == [("paper", "dolma", "too_few_words", "definition", 2)]
    (cell,) = found["changes"]
    assert cell["kept_at"] == (50, 51) and cell["rejected_at"] == (30, 31)
    assert cell["examples"] == [
        {
            "id": "r1",
            "source": "jsonl/rows.jsonl#" + str(offset(corpus, 1)),
            "detail": "word_count 30 < 50",
            "kept_at": 50,
        },
        {
            "id": "r3",
            "source": "jsonl/rows.jsonl#" + str(offset(corpus, 3)),
            "detail": "word_count 31 < 50",
            "kept_at": 51,
        },
    ]
    assert (found["rows"], found["rows_unread"]) == (5, 1)
    assert found["agreement"] == [[1.0, 0.6], [0.6, 1.0]]
    assert [v["kept"] for v in found["variants"]] == [4, 2]
    assert [v["rejected"] for v in found["variants"]] == [{"too_few_words": 1}, {"too_few_words": 3}]


def offset(path: Path, line: int) -> int:
    return sum(len(piece) for piece in path.read_bytes().splitlines(keepends=True)[:line])


def test_a_threshold_is_a_parameter(corpus: Path) -> None:
    changes = [("default", {}), ("min_words: 3", {"min_words": 3})]
    variants = make_variants("text.gopher_quality", {"preset": "dolma"}, changes)
    found = compare(read_all([open_files([str(corpus)])]), variants)
    assert changed(found) == [("min_words: 3", "default", "too_few_words", "parameter", 3)]
    assert found["changes"][0]["kept_at"] == found["changes"][0]["rejected_at"] == (5, 31)


def test_a_preset_of_both_kinds_is_told_apart(tmp_path: Path) -> None:
    """Dolma allows .30 of characters in duplicate lines, the paper .20; this text lies between, by either count."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"id": "x", "text": _LINES}) + "\n")
    off = {f"max_top_{n}_gram_char_ratio": None for n in (2, 3, 4)}
    off |= {f"max_duplicate_{n}_gram_char_ratio": None for n in range(5, 11)}
    presets = [("paper", {"preset": "paper"}), ("dolma", {"preset": "dolma"})]
    variants = make_variants("text.gopher_repetition", off, presets)
    found = compare(read_all([open_files([str(path)])]), variants)
    assert changed(found) == [("dolma", "paper", "duplicate_line_chars", "parameter", 1)]


def test_batch_borders_change_nothing(corpus: Path) -> None:
    presets = [(name, {"preset": name}) for name in preset_names("text.gopher_quality")]
    results = [
        compare(read_all([open_files([str(corpus)])], size), make_variants("text.gopher_quality", {}, presets))
        for size in (1, 2, 1000)
    ]
    assert results[0] == results[1] == results[2]
    assert results[0]["changes"]


def test_examples_are_bounded_and_the_count_is_not(corpus: Path) -> None:
    presets = [("paper", {}), ("dolma", {"preset": "dolma"})]
    found = compare(read_all([open_files([str(corpus)])]), make_variants("text.gopher_quality", {}, presets), (), 1)
    assert found["changes"][0]["count"] == 2 and len(found["changes"][0]["examples"]) == 1


def test_a_step_that_edits_is_compared_too(tmp_path: Path) -> None:
    """C4 in the paper wants 5 words a line and 3 sentences, in datatrove 3 and 5."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"id": "x", "text": "\n".join(["One sentence of five words."] * 4)}) + "\n")
    presets = [(name, {"preset": name}) for name in ("paper", "datatrove")]
    found = compare(read_all([open_files([str(path)])]), make_variants("text.c4_quality", {}, presets))
    assert changed(found) == [("paper", "datatrove", "too_few_sentences", "parameter", 1)]


def test_rows_made_of_one_row_are_judged_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "One is here. Two are there now.\tEins ist hier. Zwei da."}) + "\n")
    before = [Step(name, build(name, params)) for name, params in (("pair.split", {}), ("pair.align", {}))]
    limits = [(f"{ratio}", {"max_word_ratio": ratio, "max_letter_ratio": None}) for ratio in (1.5, 3)]
    found = compare(read_all([open_files([str(path)])]), make_variants("pair.length_ratio", {}, limits), before)
    assert (found["rows"], [variant["kept"] for variant in found["variants"]]) == (2, [1, 2])
    assert changed(found) == [("3", "1.5", "uneven_words", "parameter", 1)]
    assert found["agreement"][0][1] == 0.5


@pytest.fixture
def recipe(tmp_path: Path, corpus: Path) -> Path:
    made = {
        "recipe": 1,
        "name": "small",
        "inputs": [{"use": "jsonl", "with": {"paths": str(corpus)}}],
        "steps": [
            {"use": "text.exact_dedup"},
            {"use": "text.language", "with": {"min_score": 0}},
            {"use": "text.gopher_quality", "with": {"preset": "dclm", "max_words": 70}},
        ],
        "tokens": {"tokenizer": "bytes", "sequence_length": 256},
        "output": {"path": str(tmp_path / "out")},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def test_a_recipes_step_brings_its_own_parameters_and_what_comes_before(recipe: Path) -> None:
    use, params, before = recipe_step(load_recipe(recipe), "3")
    assert (use, params) == ("text.gopher_quality", {"preset": "dclm", "max_words": 70})
    assert [step.label for step in before] == ["2:text.language"]
    assert recipe_step(load_recipe(recipe), "text.gopher_quality")[:2] == (use, params)
    for name in ("0", "4", "text.normalize"):
        with pytest.raises(RecipeError, match=r"its steps: 1 text\.exact_dedup, 2 text\.language"):
            recipe_step(load_recipe(recipe), name)


def run(*arguments: object) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(_APP, [str(a) for a in arguments])
    return result.exit_code, result.output, result.exception


def test_the_command_prints_a_table_or_json(recipe: Path, corpus: Path) -> None:
    code, out, _ = run("text.gopher_quality", "--recipe", recipe, "--presets", "paper,dolma", "--set", "max_words=null")
    assert code == 0
    assert "text.gopher_quality, 5 rows, 1 unreadable" in out
    (line,) = [line for line in out.splitlines() if "how it is counted" in line]
    assert line.split()[:4] == ["paper", "dolma", "too_few_words", "how"]
    code, out, _ = run(
        "text.gopher_quality", corpus, "--variant", "min_words: 3", "--variant", "min_words: 4", "--json"
    )
    assert code == 0 and json.loads(out)["changes"] == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("text.gopher_quality",), "name the files to read"),
        (("text.gopher_quality", "a.csv"), "'a.csv' does not tell its format; say which with --source"),
        (("text.gopher_quality", "schemas"), "'schemas' does not tell its format; say which with --source"),
        (("text.gopher_quality", "tests/cases/files"), "several formats (arrow, jsonl, parquet, text)"),
        (("text.gopher_quality", "a.jsonl", "b.parquet"), "several formats (jsonl, parquet)"),
        (("text.gopher_quality", "a.jsonl", "--presets", "paper"), "name at least two"),
        (("text.gopher_quality", "a.jsonl", "--presets", "paper,paper"), "'paper' is named twice"),
        (("text.gopher_quality", "a.jsonl", "--presets", "paper,papr"), "preset: Input should be"),
        (("text.language", "a.jsonl"), "text.language has no presets"),
        (("text.minhash_dedup", "a.jsonl", "--variant", "ngram: 5", "--variant", "ngram: 6"), "judge each row alone"),
        (("text.line_dedup_across", "a.jsonl"), "compares rows with each other"),
        (("text.gopher_quality", "a.jsonl", "--variant", "min_words"), "not a parameter and its value"),
        (("text.gopher_quality", "a.jsonl", "--set", "min_words"), "write it as parameter=value"),
    ],
)
def test_errors_say_what_to_do(arguments: tuple, expected: str) -> None:
    code, _, error = run(*arguments)
    assert code == 1 and isinstance(error, SluiceError)
    assert expected in str(error)


def test_nothing_read_is_nothing_changed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    code, out, _ = run("text.gopher_quality", tmp_path / "a.jsonl")
    assert code == 0 and "0 rows" in out and "No row was judged." in out and "same verdict" not in out
