"""English tokens by kernel against the readable tokenizer: the same cuts in every chunk."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.kernels.english import english_words
from transforms.text.codepoint_tables import properties
from transforms.text.english import exceptions, split_english
from transforms.text.english_exceptions import exception_arrays
from transforms.text.words import split_unspaced


def tokens(text: str, by_letter: bool = False) -> list[str]:
    """The kernel's."""
    index, flags = properties()
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    starts, ends, cuts = (np.empty(len(codes) + 1, np.int32) for _ in range(3))
    of_codes = flags.reshape(-1, 256)[index[codes >> 8], codes & 255]
    count = english_words(codes, of_codes, len(codes), exception_arrays(), by_letter, cuts, starts, ends)
    return [text[start:end] for start, end in zip(starts[:count].tolist(), ends[:count].tolist(), strict=True)]


PIECES = [
    *"abzASUZ0159 .,:;!?'’\"“()[]{}<>@#&*_=/+-–—~^%$€£¥°…²§·",
    *["...", "....", "US$", "C$", "km", "km²", "m/s", "mbar", "%", "°C", "°F.", "'s", "’S"],
    *["n't", "'ll", "--", "---", "——"],
    *["Mr.", "e.g.", "U.S.", "a.m.", "10am", ":-)", "8)", "don't", "cannot", "gonna", "O.o", "C++", "and/or"],
    *["http://", "www.", "a.b", ".org", "x@y.de", ":80", ":123456", "/p?q#f", "1.2.3.4", "256.1.1", "-a.b-c.io"],
    *["中文", "ไทย", "한국", "é", "e\u0301", "ª", "ſ", "Ⅷ", "٣", "１", "☃", "𝒶", "𝒶𝒶", "א", "µ"],
    *["\u0301", "。", "「", "·", "؟"],
]  # fmt: skip
chunks = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)


@settings(max_examples=1500, deadline=None)
@given(chunks)
@example("a" * 64 + ".io")
@example("a" * 65 + ".io")
@example("x." + "a" * 63)
@example("x." + "a" * 64)
@example("a" * 2045 + ".io")
@example("a.io/" + "a" * 2043)
@example("a.io/" + "a" * 2044)
@example("@" * 2000 + "a.io")
@example("http://a:99999/" + "9" * 40)
@example("(" * 500 + "..." + ")" * 500)
def test_chunks(text: str) -> None:
    assert tokens(text) == split_english(text)
    assert tokens(text, by_letter=True) == split_unspaced(split_english(text))


EDGES = """
a.io:8 a.io:80 a.io:12345 a.io:123456 a.io:80/x a.io:80x a.io:/x a.io? a.io#x a.io:٣٣ 1.2.3.4 1.2.3.4:80/x
0.2.3.4 1234.1.1.1 1.2.3 1.2.3.4.5 1.2.3.a @a.io x@a.io x@y@a.io http://a.io h://a.io ht://a.io ht:/a.io
h.t+p-://a.io é://a.io a_b.io _a.io a_.io a-b.io -a.io a.b-c.io a.IO a.i a..io .a.io a.io. a.io, (a.io) A.Io
a---b a----b a--b -–a a--1 1--a 5--3 5---3 1-2 1- -1 a——b a———b a–b a~b a—b a:b a<b a=b a/b 1/b a/1 a,b a,1
1,a a.B a.b A.b "a".B a".B .B a... ...a a...b a..B a.. +1 +a 1+ a+ 1+1 1^2 a^2 1*-2 5km 5km. 5kmh 5mbar 5xkm
km 5km² 5°C. 5°C °c. A°K. °X. 5% 5%. 5$ 5US$ US$5 US$ A$ C$5 C$. AB. A. ab. aB. a². -. +. a-. don't's 's ’S
x's X’s x'S '' '"' ... .... (...) …a a… ☃a a☃ a☃b §5 =x x= x? ¿x ) ):a (: 8) 8). :-) :-)) Mr. (Mr.) Mr.. e.g.
(e.g.), cannot. wont, I'm. x-a.io:8 x-a.io:80 x-a.io:12345 x-a.io:123456 x-a.io:80x x-a.io:/y-z x-y@a.io
"""


def test_edges_of_every_rule() -> None:
    for chunk in EDGES.split():
        assert tokens(chunk) == split_english(chunk), chunk


def test_every_exception_beside_every_mark() -> None:
    marks = ["", ".", "..", ",", ":", ")", "(", "'", "s", "-", "1"]
    chunks = [f"{left}{chunk}{right}" for chunk in exceptions() for left in ("", "(", "“") for right in marks]
    text = " ".join(chunks)
    assert tokens(text) == split_english(text)


def test_long_chunks_take_time_in_proportion() -> None:
    for text in ("(" * 200_000, "." * 200_000, "a@" * 100_000, "a.b" * 70_000, "1km" * 70_000, "-a" * 100_000):
        assert "".join(tokens(text)) == text
