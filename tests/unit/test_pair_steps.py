"""Steps over pairs: the contract on pairs of strange texts, and what their cases cannot say."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine import Step, run_steps, steps_schema
from pipeline.plan import compile_plan
from pipeline.reading import local_steps
from pipeline.recipe import load_recipe
from schemas.errors import SchemaError
from schemas.sample import sample_batch
from tests.conformance.contract import check_all
from tests.pairs import SENTENCES, pair_batch, strange_pairs
from transforms.pair.language import copied_ratio
from transforms.pair.lengths import deviation, num_letters, num_words, ratio
from transforms.pair.numbers import agreement, links, numbers
from transforms.pair.scripts import script_share
from transforms.registry import build, catalog

_LEXICON = "tests/cases/files/lexicon.arrow"
_STEPS = sorted(name for name in catalog() if name.startswith("pair.") and name != "pair.split")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize("name", _STEPS)
@pytest.mark.parametrize("langs", [("en", "de"), (None, "zh"), ("qqq", "ar")])
def test_keeps_the_contract_on_pairs(name: str, langs: tuple) -> None:
    step = build(name, {"lexicon": _LEXICON} if name == "pair.score" else {})
    step.setup()
    for pairs in (strange_pairs(), SENTENCES[:5], [], [None]):
        outcome = check_all(step, pair_batch(pairs, langs))
        no_pair = {f"pairs#{at}" for at, pair in enumerate(pairs) if pair is None}
        assert no_pair <= set(outcome.kept.column("source").to_pylist())


@pytest.mark.parametrize("name", _STEPS)
def test_a_recipe_without_pairs_is_told_what_to_do(name: str) -> None:
    step = build(name, {"lexicon": "x"} if name == "pair.score" else {})
    with pytest.raises(SchemaError, match=rf"{name}: there is no column 'pair.sides' at this step; put pair\.split"):
        steps_schema([Step("1", step)])


@settings(max_examples=100, deadline=None)
@given(texts, texts)
def test_measures_are_symmetrical(a: str, b: str) -> None:
    assert copied_ratio(a, b) == copied_ratio(b, a)
    assert agreement(numbers(a), numbers(b)) == agreement(numbers(b), numbers(a))
    assert ratio(num_words(a), num_words(b)) == ratio(num_words(b), num_words(a)) >= 1
    assert deviation(num_letters(a), num_letters(b)) == -deviation(num_letters(b), num_letters(a))
    assert copied_ratio(a, a) in (None, 1.0) and agreement(links(a), links(a)) in (None, 1.0)


def test_numbers_are_their_digits() -> None:
    text = "1,000.5 or 1.000,5, 1 000,5, 12'345; १,००० ٣٫٥ 10:30 7 20-25 1998 200 and x64"
    assert numbers(text) == Counter(
        {"10005": 3, "12345": 1, "1000": 1, "35": 1, "1030": 1, "20": 1, "25": 1}
    ) + Counter({"1998": 1, "200": 1, "64": 1})


def test_links_are_their_hosts() -> None:
    assert links("See HTTP://www.Example.org/a?b, (https://x.y/z) www.q.de. a.b@c.de!") == Counter(
        ["example.org", "x.y", "q.de", "a.b@c.de"]
    )


def test_lengths_are_weighed_by_script() -> None:
    assert num_letters("ab c") == 3 and num_letters("汉字") == 6 and num_letters("かな") == 2.6
    assert num_letters("한글 ab") == 6.4
    assert (num_words("one two"), num_words("汉字汉字"), num_words("กขคง")) == (2, 2, 1)
    assert (ratio(0, 0), ratio(0, 1)) == (1, float("inf"))


def test_scripts_of_languages() -> None:
    assert script_share("Reka je река", "sr") == 1.0 and script_share("Reka", "qqq") is None
    assert script_share("Fluss река", "deu_Latn") == script_share("Fluss река", "de") == 5 / 9
    assert script_share("日本語 ABC", "ja") == 0.5 and script_share("123", "ja") is None
    # combining marks and letters shared by scripts are nobody's fault
    assert script_share("ー", "ja") == 1.0 and script_share("क्", "hi") == 1.0


def test_the_published_recipe() -> None:
    overrides = [f"steps.pair.score.lexicon={_LEXICON}", "steps.pair.language.min_letters=10"]
    plan = compile_plan(load_recipe("recipes/parallel_text_v1.yaml", overrides))
    assert plan.recipe.name == "parallel_text_v1"
    steps = local_steps(plan.recipe.steps)
    for step in steps:
        step.transform.setup()
    source, target = "The king sells the garden.", "Der König verkauft den Garten."
    cases = [
        (f"{source}\t{target}", None),
        (source, "not_a_pair"),
        (f"{source}\tJa.", "uneven_words"),
        (f"{source}\tКороль продаёт этот сад.", "wrong_script"),
        (f"{source}\t{source}", "untranslated"),
        (f"{source}\tDer Bäcker malt den Mond.", "not_a_translation"),
    ]
    rows = [{"id": str(at), "source": str(at), "text": text} for at, (text, _) in enumerate(cases)]
    judged = run_steps(steps, sample_batch(rows))
    reasons = dict.fromkeys(judged.kept.column("id").to_pylist())
    for _, rejected in judged.rejected:
        reasons |= zip(*(rejected.column(name).to_pylist() for name in ("id", "reject.reason")), strict=True)
    assert [reasons[str(at)] for at in range(len(cases))] == [reason for _, reason in cases]


@pytest.mark.parametrize("size", [200_000])
def test_a_long_side_costs_what_its_length_costs(size: int) -> None:
    """Nothing here is quadratic: these would not end."""
    sides = [
        ("a" * size, "b" * size),
        ("1 " * size, "1," * size),
        ("(" * size, "@" * size),
        (". " * size, "http://" * size),
    ]
    for name in _STEPS:
        step = build(name, {"lexicon": _LEXICON} if name == "pair.score" else {})
        step.setup()
        step.apply(pair_batch(sides))
