"""text.toxicity: entries against a plain reading of the definition, lists by path, languages, evidence."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RecipeError
from schemas.sample import SENTINEL, sample_batch
from transforms.base import Outcome, append_columns
from transforms.registry import build
from transforms.text.language_codes import code_of
from transforms.text.toxicity_lists import Words, fold, own_lists, read_lists, word_list


def _run(rows: list[tuple[str, str | None]], **params: object) -> Outcome:
    import pyarrow as pa

    transform = build("text.toxicity", params)
    transform.setup()
    batch = sample_batch([{"id": str(at), "source": f"s#{at}", "text": text} for at, (text, _) in enumerate(rows)])
    return transform.apply(append_columns(batch, [(pa.field("text.lang", pa.string()), [lang for _, lang in rows])]))


def _count(language: str, entries: list[str], text: str) -> tuple[int, int, str | None]:
    return word_list(language, entries, ()).count(Words(fold(text)))


_PIECES = st.sampled_from(["cat", "dog", "Dog", "cats", " ", "  ", "-", ", ", "\n", "s", SENTINEL])


@given(st.lists(_PIECES, max_size=30).map("".join))
def test_words_are_found_as_c4_finds_them(text: str) -> None:
    """C4's pattern, with look-around so that one mark may end two words."""
    spaced = fold(text)
    for entry in ("cat", "dog", "cat-dog"):
        expected = len(re.findall(rf"(?<!\w){re.escape(entry)}(?!\w)", spaced))
        assert _count("en", [entry], text)[0] == expected


@pytest.mark.parametrize(
    ("language", "entry", "text", "hits"),
    [
        ("en", "a$$", "a a$$ A$$, class$ pa$$", 2),
        ("en", "$lug", "a $lug $lugs", 1),
        ("en", "two words", "Two\n words two-words", 1),
        ("de", "straßenköter", "STRASSENKÖTER! Stra\u00dfenko\u0308ter", 2),
        ("hi", "रंडी", "रंडी रंडीखाना", 1),
        ("zh", "傻瓜", "他是傻瓜傻瓜", 2),
        ("ko", "바보", "바보 바보를", 1),
    ],
)
def test_entry_is_found(language: str, entry: str, text: str, hits: int) -> None:
    assert _count(language, [entry], text)[0] == hits


def test_longest_entry_counts_once() -> None:
    assert _count("en", ["nut", "nut case", "case"], "nut case, nut.") == (2, 3, "nut case")


def test_language_of_the_row_chooses_the_list(tmp_path: Path) -> None:
    (tmp_path / "en").write_text("gift wrap\n", encoding="utf-8")
    (tmp_path / "de.txt").write_text("gift\n", encoding="utf-8")
    (tmp_path / "README.md").write_text("gift\n", encoding="utf-8")
    rows = [("a gift", "en"), ("ein Gift", "de"), ("ein Gift", "deu_Latn"), ("a gift", "fr"), ("a gift", None)]
    outcome = _run(rows, lists=str(tmp_path), max_flagged_words=0)
    assert outcome.rejected.column("id").to_pylist() == ["1", "2", "4"]
    outcome = _run(rows, lists=str(tmp_path / "de.txt"), max_flagged_words=0, languages=["de"])
    assert outcome.rejected.column("id").to_pylist() == ["0", "1", "2", "3", "4"]


def test_detail_is_the_evidence(tmp_path: Path) -> None:
    (tmp_path / "en").write_text("grumble\n", encoding="utf-8")
    details = _run([("Oh, grumble it.", "en")], lists=str(tmp_path)).rejected.column("reject.detail").to_pylist()
    assert details == ["flagged_ratio 0.3333 > 0.01; 1 flagged words, the first: grumble"]


def test_own_lists_say_nothing_of_their_fold_twice() -> None:
    lists = own_lists()
    assert len(lists) >= 20
    for code, entries in lists.items():
        assert re.fullmatch("[a-z]{2}", code)
        assert len(entries) == len({fold(entry) for entry in entries})
        for entry in entries:
            assert _count(code, entries, f"x {entry} x")[0] == 1


def test_labels_of_every_model_name_one_list() -> None:
    assert [code_of(label) for label in ("en", "eng_Latn", "zh-Hans", "cmn_Hani", "PT-BR", "nb")] == [
        *("en", "en", "zh", "zh", "pt", "no")
    ]


def test_unusable_lists_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot open"):
        read_lists(str(tmp_path / "none" / "en"))
    (tmp_path / "words.list").write_text("x\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="is not named by a language"):
        read_lists(str(tmp_path / "words.list"))
    with pytest.raises(RecipeError, match="has no file named by a language"):
        read_lists(str(tmp_path))
    with pytest.raises(RecipeError, match="no list for xx"):
        _run([], languages=["xx"])
    with pytest.raises(RecipeError, match="languages is empty"):
        build("text.toxicity", {"languages": []})


@pytest.mark.parametrize("unit", ["fuck ", "son of a ", "他妈", "操", "a", "foda-", " "])
def test_long_texts_take_linear_time(unit: str) -> None:
    start = time.process_time()
    _run([(unit * (200_000 // len(unit)), None)])
    assert time.process_time() - start < 5
