"""Rewards: what each kind of check takes for right, and what it refuses; no row can hang or crash a run."""

import time
from fractions import Fraction

import pytest
import torch

from model.prefer.answers import group_advantages, stream
from model.prefer.rewards import MAX_CHARACTERS, is_well_formed, last_number, read_check
from schemas.errors import SluiceError


@pytest.mark.parametrize(
    ("answer", "check", "right", "wrong"),
    [
        ("Ja", None, ["Ja", " Ja\n"], ["ja", "Ja.", ""]),
        ("caf\u00e9", None, ["cafe\u0301"], ["cafe"]),
        ("STRASSE", {"ignore_case": True}, ["straße"], ["strase"]),
        (None, {"equals": "blue"}, ["blue "], ["blue!"]),
        (None, {"contains": "blue"}, ["It is blue."], ["It is Blue."]),
        (None, {"contains": "голуб", "ignore_case": True}, ["Голубой"], ["синий"]),
        (None, {"regex": r"^(red|blue)\s+\d+$"}, ["red 7", "blue  12"], ["red", "a red 7"]),
        (None, {"regex": "RED", "ignore_case": True}, ["so red"], ["blue"]),
        (None, {"number": 21.06}, ["It is 21.06 m.", "117 × 18 = 2106 cm, so 21.060"], ["21.06 or 22", "none"]),
        (None, {"number": 1234}, ["1,234", "1234.0", "1.234e3", "١٢٣٤"], ["12,34", "-1234", "1234/5"]),
        (None, {"number": -3}, ["-3", "\u22123", "x = -3."], ["5-3", "3"]),
        (None, {"number": ".5"}, ["0.5", ".5"], ["5", "05"]),
        (None, {"number": 0.1, "tolerance": 0.02}, ["0.12", "0.08"], ["0.1201"]),
        (None, {"number": 9007199254740993}, ["9007199254740993"], ["9007199254740992", "9" * 5000]),
        (
            None,
            {"json": {"a": [1, True, None]}},
            ['{"a": [1.0, true, null]}', '```json\n{"a":[1,true,null]}\n```'],
            ['{"a": [1, 1, null]}', '{"a": [1, true]}', "{", "[" * 10**5, '{"a": NaN}', '{"b": [1, true, null]}'],
        ),
        (None, {"json": [0]}, ["[0]"], ["[false]", "[]", "0"]),
        (None, '{"contains": "a", "regex": "b$"}', ["ab"], ["ba", "b"]),
        # as a column of Parquet has it
        (None, {"contains": "a", "regex": None, "number": None}, ["a"], ["b"]),
        ("x", {"contains": "x"}, ["x"], ["xx"]),
        (None, {"contains": "a"}, ["a" * MAX_CHARACTERS], ["a" * (MAX_CHARACTERS + 1)]),
    ],
)
def test_kinds_of_checks(answer, check, right, wrong):
    found = read_check(answer, check)
    assert [text for text in right if not found.holds(text)] == []
    assert [text for text in wrong if found.holds(text)] == []


@pytest.mark.parametrize(
    ("answer", "check", "says"),
    [
        (None, None, "names nothing to be checked"),
        (None, {"ignore_case": True}, "names nothing"),
        (None, ["a"], "not an object"),
        (None, "{", "no JSON"),
        (None, "[" * 10**5, "no JSON"),
        (None, {"run": "rm"}, "'run' is none of equals, contains, regex, number, json"),
        (None, {"contains": ""}, "not a text"),
        (None, {"equals": 7}, "not a text"),
        (None, {"regex": "("}, "no pattern of RE2"),
        (None, {"regex": r"(a)\1"}, "no pattern of RE2"),
        (None, {"regex": "a{1000}{1000}"}, "no pattern of RE2"),
        (None, {"regex": "a\ud800"}, "no pattern of RE2"),
        (None, {"regex": "a" * 1001}, "1,000 are allowed"),
        (None, {"number": "many"}, "not a number"),
        (None, {"number": "1 or 2"}, "not a number"),
        (None, {"number": True}, "not a number"),
        (None, {"number": float("nan")}, "not a number"),
        (None, {"number": 1, "tolerance": "x"}, "tolerance is 'x'"),
        (None, {"contains": "a", "ignore_case": 1}, "neither true nor false"),
    ],
)
def test_checks_that_are_none_are_told(answer, check, says):
    with pytest.raises(SluiceError) as caught:
        read_check(answer, check)
    assert says in str(caught.value)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)*b", "(.*)*(.*)*(.*)*=", "((a?){50}){10}x"])
def test_no_pattern_hangs(pattern):
    """A matcher that backtracks would not come back."""
    check = read_check(None, {"regex": pattern})
    began = time.process_time()
    assert not check.holds("a" * 20_000 + "!")
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "is_thinking", "formed"),
    [
        ("<think>\nSeven.\n</think>\n\n7", False, True),
        ("\n<think>a</think>b", False, True),
        ("7", False, False),
        ("So <think>a</think>7", False, False),
        ("<think>never ends", False, False),
        ("<think>a</think>", False, False),
        ("<think>\n</think>7", False, False),
        ("<think>a</think>7<think>b</think>", False, False),
        ("<think>a<think>b</think>7", False, False),
        ("Seven.\n</think>\n\n7", True, True),
        ("Seven. 7", True, False),
        ("<think>Seven.</think>7", True, False),
    ],
)
def test_the_form_of_an_answer_that_thinks(text, is_thinking, formed):
    assert is_well_formed(text, is_thinking) is formed


def test_numbers_are_exact():
    assert last_number("0.1 and then 0.30") == Fraction(3, 10)
    assert last_number("6.02e23") == 602 * 10**21
    assert last_number("nothing") is None and last_number("9" * 5000) is None


def test_advantages_are_of_the_group():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.5, 0.5, 0.5, 0.5]])
    found = group_advantages(rewards)
    torch.testing.assert_close(found[0], torch.tensor([1.0, -1.0, -1.0, 1.0]), atol=1e-3, rtol=0)
    assert found[1].tolist() == [0.0] * 4


def test_each_answer_has_its_own_random_numbers():
    places = [(17, 0, 0, 0), (18, 0, 0, 0), (17, 1, 0, 0), (17, 0, 1, 0), (17, 0, 0, 1)]
    drawn = [torch.rand(2, generator=stream(*place)).tolist() for place in places]
    assert len(set(map(tuple, drawn))) == len(places)
    assert drawn[0] == torch.rand(2, generator=stream(*places[0])).tolist()
