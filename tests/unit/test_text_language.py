"""Names of languages, thresholds by language, paragraphs."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import RecipeError
from tests.conformance.batches import numbered
from tests.fasttext_files import model_file
from transforms.registry import build
from transforms.text.language_codes import language_of, names_of

ENGLISH = "The ferry left early because the captain expected fog before noon."
GERMAN = "Der Zug hielt auf freier Strecke und niemand wusste, warum er dort hielt."
GLOTLID = ("__label__eng_Latn", "__label__deu_Latn", "__label__cmn_Hani", "__label__srp_Cyrl", "__label__srp_Latn")


def outcome(params: dict, *values: str) -> tuple[list[dict], list[tuple[str, str]]]:
    found = build("text.language", params).apply(numbered([{"text": text} for text in values]))
    rejected = zip(
        found.rejected["reject.reason"].to_pylist(), found.rejected["reject.detail"].to_pylist(), strict=True
    )
    return found.kept.to_pylist(), list(rejected)


def test_names() -> None:
    assert [language_of(label) for label in ("en", "eng_Latn", "cmn_Hani", "nob_Latn", "gsw_Latn", "uzn_Cyrl")] == [
        "en",
        "en",
        "zh",
        "no",
        "gsw",
        "uz",
    ]
    assert names_of("eng_Latn") == {"eng_Latn", "eng", "en"}
    assert {"en", "eng"} == names_of("en")
    assert {"no", "nb", "nob", "nor"} == names_of("no")
    assert "srp_Latn" not in names_of("srp_Cyrl") and "sr" in names_of("srp_Cyrl")


def test_albanian_and_alemannic_are_told_apart() -> None:
    """`als` is Tosk Albanian in ISO 639-3, and Alemannic in lid.176."""
    assert language_of("als") == "als" and names_of("als") == {"als"}
    assert language_of("als_Latn") == "sq" and "als" in names_of("als_Latn")
    assert "als" not in names_of("sq")


@pytest.fixture
def glotlid(tmp_path: Path) -> str:
    path = tmp_path / "glotlid.bin"
    path.write_bytes(model_file(labels=GLOTLID))
    return str(path)


def test_labels_with_scripts(glotlid: str) -> None:
    base = {"model": glotlid, "min_score": 0}
    rows, _ = outcome(base, ENGLISH)
    (row,) = rows
    label = row["text.lang_label"]
    assert (row["text.lang"], f"__label__{label}" in GLOTLID) == (language_of(label), True)
    for name in names_of(label):
        assert len(outcome(base | {"keep": [name]}, ENGLISH)[0]) == 1
        assert outcome(base | {"drop": [name]}, ENGLISH)[1][0][0] == "wrong_language"
    other = next(one.removeprefix("__label__") for one in GLOTLID if label[:3] not in one)
    assert outcome(base | {"keep": [other]}, ENGLISH)[1][0][0] == "wrong_language"


def test_the_threshold_of_a_label_goes_before_its_languages(glotlid: str) -> None:
    label = outcome({"model": glotlid, "min_score": 0}, ENGLISH)[0][0]["text.lang_label"]
    least = {language_of(label): 1.0, label: 0.0}
    for order in (least, dict(reversed(least.items()))):
        assert len(outcome({"model": glotlid, "min_scores": order}, ENGLISH)[0]) == 1
    assert not outcome({"model": glotlid, "min_score": 0, "min_scores": {language_of(label): 1.0}}, ENGLISH)[0]


@pytest.mark.parametrize("parameter", ["keep", "drop", "min_scores"])
def test_a_language_that_the_model_does_not_know(parameter: str) -> None:
    given = {"ger_man": 0.5} if parameter == "min_scores" else ["en", "ger_man"]
    with pytest.raises(RecipeError, match=f"text.language: {parameter} names 'ger_man'"):
        build("text.language", {parameter: given}).setup()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"by": "paragraph", "min_margin": 0.1}, "min_margin"),
        ({"min_share": 0.5}, "min_share"),
        ({"min_scores": {"en": 1.5}}, "between 0 and 1"),
    ],
)
def test_parameters_that_do_not_go_together(params: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        build("text.language", params)


def test_details() -> None:
    assert outcome({"keep": ["de"]}, ENGLISH)[1] == [("wrong_language", "en 0.82")]
    assert outcome({"min_scores": {"eng": 0.99}}, ENGLISH)[1] == [("low_language_score", "en 0.8217 < 0.99")]
    assert outcome({"min_margin": 1}, ENGLISH)[1] == [("ambiguous_language", "en 0.8217, hu 0.0359")]


def test_paragraphs() -> None:
    params = {"by": "paragraph", "min_score": 0}
    both = f"{ENGLISH}\n\n{GERMAN}"
    alone = {text: outcome(params, text)[0][0] for text in (ENGLISH, GERMAN)}
    (row,) = outcome(params, both)[0]
    assert row["text.lang"] == "de"
    assert row["text.lang_share"] == len(GERMAN) / (len(GERMAN) + len(ENGLISH))
    assert row["text.lang_score"] == alone[GERMAN]["text.lang_score"]
    assert {one["text.lang_share"] for one in alone.values()} == {1.0}
    assert "text.lang_2" not in row
    said = f"de share {row['text.lang_share']:.4f} < 0.9"
    assert outcome(params | {"min_share": 0.9}, both)[1] == [("mixed_languages", said)]


def test_paragraphs_count_characters_and_not_bytes() -> None:
    russian = "Поезд остановился в поле, и никто не знал почему."
    (row,) = outcome({"by": "paragraph", "min_score": 0}, f"{russian}\n{ENGLISH}\n ...\n")[0]
    assert (row["text.lang"], len(russian.encode()) > len(ENGLISH)) == ("en", True)


def test_paragraphs_of_rows_that_are_empty_or_sliced() -> None:
    step = build("text.language", {"by": "paragraph", "min_score": 0, "on_no_text": "keep"})
    values = ["", "\n", ENGLISH, "", f"\n{GERMAN}\n", "", "\n\n"]
    batch = numbered([{"text": text} for text in values])
    wanted = [None, None, "en", None, "de", None, None]
    assert step.apply(batch).kept["text.lang"].to_pylist() == wanted
    assert step.apply(batch.slice(2, 4)).kept["text.lang"].to_pylist() == wanted[2:6]
