"""text.pii: what is found and what is not, replacements, and time on hostile text."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.sample import SENTINEL, sample_batch
from transforms.registry import build
from transforms.text.pii import find
from transforms.text.pii_numbers import find_cards, find_ibans, luhn_digit
from transforms.text.pii_replace import TAGS, fake

ALL = ("email", "phone", "ip", "card", "iban")


def found(text: str) -> list[tuple[str, str]]:
    return [(kind, text[start:end]) for start, end, kind in find(text, ALL)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "jane.doe+lists@mail.example.org.uk"),
        ("email", "o'neil@sub.mail-host.museum"),
        ("email", "bob@bücher.de"),
        ("email", "ivan@почта.рф"),
        ("email", "x@xn--bcher-kva.xn--p1ai"),
        ("email", "root@[8.8.8.8]"),
        ("phone", "+1 (415) 555-2671"),
        ("phone", "+14155552671"),
        ("phone", "+49 (0)30 1234567"),
        ("phone", "+33 6 12 34 56 78"),
        ("phone", "+86 138 0013 8000"),
        ("phone", "+91-98765-43210"),
        ("phone", "0049 30 1234567"),
        ("phone", "415-555-2671"),
        ("phone", "(415) 555-2671"),
        ("phone", "415.555.2671"),
        ("phone", "06 12 34 56 78"),
        ("phone", "090-1234-5678"),
        ("phone", "138 1234 5678"),
        ("phone", "(11) 98765-4321"),
        ("phone", "(0131) 496 0123"),
        ("ip", "8.8.8.8"),
        ("ip", "172.32.0.1"),
        ("ip", "2001:4860:4860::8888"),
        ("ip", "2a00:1450:4001:81b:0:0:0:200e"),
        ("card", "4111 1111 1111 1111"),
        ("card", "5500-0000-0000-0004"),
        ("card", "2223000048400011"),
        ("card", "3782 822463 10005"),
        ("card", "6011111111111117"),
        ("card", "3530 1113 3330 0000"),
        ("card", "30569309025904"),
        ("card", "6212345678901265"),
        ("iban", "GB82 WEST 1234 5698 7654 32"),
        ("iban", "DE89370400440532013000"),
        ("iban", "fr14 2004 1010 0505 0001 3m02 606"),
        ("iban", "NO9386011117947"),
    ],
)
def test_is_found_in_a_sentence(kind: str, value: str) -> None:
    for before, after in (("", ""), ("Here: ", "."), ("(", ")"), ("那是", "。"), ("\n", "\n"), (SENTINEL, SENTINEL)):
        if before == "那是" and kind != "email":
            before, after = "那是：", "。"
        assert found(before + value + after) == [(kind, value)]


@pytest.mark.parametrize(
    ("before", "value"),
    [
        ("Tel. ", "030/1234567"),
        ("Telefon: ", "0176-47688978"),
        ("Phone ", "415 555 2671"),
        ("电话：", "010-62345678"),
        ("тел. ", "8 (495) 123-45-67"),
        ("Mobile: ", "9876543210"),
        ("call us at ", "555-2671"),
    ],
)
def test_some_numbers_need_a_word_before_them(before: str, value: str) -> None:
    assert found(before + value) == [("phone", value)]
    assert found("It was " + value) == []


@pytest.mark.parametrize(
    "text",
    [
        "logo@2x.png pkg@1.2.3 a@b @user user@localhost user@example.com x@mail.example",
        "10.0.0.1 172.16.3.4 192.168.1.1 127.0.0.1 100.64.0.1 169.254.1.1 224.0.0.1 255.255.255.255 192.0.2.1",
        "256.1.1.1 1.2.3 1.2.3.4.5 v1.2.3.4 version 1.2.3.4 01.02.03.04 1.2.3.4-beta",
        "fe80::1 ::1 fc00::1 2001:db8::1 std::cout a::b 12:30:45 00:1A:2B:3C:4D:5E dead:beef::1",
        "4111 1111 1111 1112 1234 5678 9012 3452 41111111111111111111111 x4111111111111111 4111.1111.1111.1111",
        "DE89 3704 0044 0532 0130 01 DE8937040044053201300 ZZ8937040044053201 XDE89370400440532013000",
        "2015-2016 1998-99 01-02-2003 2021-03-04 12345678901 1,234,567,890 3.1415926535 100 000 000 000",
        "+12345 +1 234 x+4915112345678 978-3-16-148410-0 10.1234/5678901 $415-555-2671 1-2-3-4-5-6-7-8-9-10",
        "202-555-0143 (212) 555-0199 +1 310 555 0100 +44 20 7946 0123 phone 020 7946 0958",
    ],
)
def test_is_not_found(text: str) -> None:
    assert found(text) == []


def test_more_certain_kind_has_the_characters() -> None:
    assert found("phone 4111 1111 1111 1111") == [("card", "4111 1111 1111 1111")]
    assert found("tel: DE89 3704 0044 0532 0130 00") == [("iban", "DE89 3704 0044 0532 0130 00")]


_VALUES = st.sampled_from(
    [
        "jane@mail.com", "+49 30 1234567", "415-555-2671", "8.8.8.8", "2001:4860:4860::8888", "4111 1111 1111 1111",
        "DE89 3704 0044 0532 0130 00", "tel. ", "@", "+", " ", "0", "1", "-", ".", "::", SENTINEL, "x", "(", ")",
    ]
)  # fmt: skip


@given(st.lists(_VALUES, max_size=12).map("; ".join), st.sampled_from(["replace", "tag"]), st.integers(0, 3))
def test_second_run_finds_nothing_new_and_sentinels_stay(text: str, action: str, seed: int) -> None:
    transform = build("text.pii", {"action": action, "seed": seed})

    def run(text: str) -> dict[str, object]:
        return transform.map(sample_batch([{"id": "a", "source": "a", "text": text}])).to_pylist()[0]

    once = run(text)
    assert str(once["text"]).count(SENTINEL) == text.count(SENTINEL)
    assert run(str(once["text"]))["pii.total"] == 0
    assert (once["pii.total"] == 0) == (once["text"] == text)


@given(st.sampled_from(ALL), st.integers(0, 2**64 - 1))
def test_replacements_are_not_personal_data(kind: str, seed: int) -> None:
    value = {
        "email": "jane@mail.com", "phone": "415-555-2671", "ip": "8.8.8.8", "card": "3782 822463 10005",
        "iban": "GB82 WEST 1234 5698 7654 32",
    }[kind]  # fmt: skip
    instead = fake(kind, value, seed)
    assert found(f"phone: {instead}") == []
    assert found(TAGS[kind]) == []
    if kind in ("card", "iban"):
        assert [c.isalnum() for c in instead] == [c.isalnum() for c in value]


def test_replacement_depends_on_the_person_and_the_seed_alone() -> None:
    assert fake("email", "Jane@Mail.com", 1) == fake("email", "jane@mail.com", 1) != fake("email", "jane@mail.com", 2)
    assert fake("phone", "+49 30 1234567", 1) == fake("phone", "+49-30-1234567", 1)
    assert fake("phone", "+44 20 7123 4567", 1).startswith("+44 20 7946 0")
    assert fake("iban", "gb82 west 1234 5698 7654 32", 1).replace(" ", "") == fake("iban", "GB82WEST12345698765432", 1)
    assert fake("ip", "2001:4860:4860:0::8888", 1) == fake("ip", "2001:4860:4860::8888", 1)
    assert len({fake("phone", f"415-555-{line}", 0) for line in range(2000, 3000)}) > 980


def test_replaced_account_numbers_are_well_formed() -> None:
    card = fake("card", "4111111111111111", 3)
    assert card.startswith("0000") and luhn_digit(card[:-1]) == card[-1]
    iban = fake("iban", "DE89370400440532013000", 3)
    assert int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


@given(st.text("0123456789", min_size=13, max_size=18))
def test_luhn_digit_is_the_one_that_sums_to_ten(digits: str) -> None:
    number = digits + luhn_digit(digits)
    doubled = [int(c) * (1 + at % 2) for at, c in enumerate(reversed(number))]
    assert sum(value // 10 + value % 10 for value in doubled) % 10 == 0


@given(st.text("0123456789 DEXde", max_size=60))
def test_account_finders_are_apart_and_in_order(text: str) -> None:
    for finder in (find_cards, find_ibans):
        spans = list(finder(text))
        assert all(a < b for a, b in spans)
        assert all(b <= c for (_, b), (c, _) in itertools.pairwise(spans))


@pytest.mark.parametrize(
    "unit",
    [
        "a", "a.", "a@", "@", "a.a@", "a@a.", "a@a-", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.@",
        "1", "1.", "1-", "1 ", "1 -", "+1", "+", "(1)", "( 1", "(", "1()", "+49 (0", "4111 ", "41 11-", "tel 1", "tel.",
        ":", "a:", "::", "1:1.", "1.1.1.", "DE89 ", "DE89", "DE", "a b@c.d ",
    ],
)  # fmt: skip
def test_hostile_text_takes_linear_time(unit: str) -> None:
    """A tenth of a second here for 100 kB: the bound is loose because machines differ; quadratic would take minutes."""
    text = unit * (100_000 // len(unit))
    start = time.process_time()
    find(text, ALL)
    assert time.process_time() - start < 4
