"""URLs in one spelling: a table of what is equal and what is not; which rows have a key."""

from __future__ import annotations

from urllib.parse import quote_from_bytes, unquote_to_bytes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RecipeError
from tests.conformance.batches import media_row, numbered
from transforms.dedup.urls import TextUrlDedup, TextUrlDedupParams, canonical_url, escaped, ignored
from transforms.registry import build


def spelt(url: str, **params: object) -> str | None:
    chosen = TextUrlDedupParams.model_validate(params)
    return canonical_url(url, chosen, ignored(chosen.ignore_parameters))


PAGE = "a.example/b"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example/b", PAGE),
        ("https://a.example/b", PAGE),
        ("HTTP://WWW.A.Example/b", PAGE),
        ("//a.example/b", PAGE),
        ("a.example/b", PAGE),
        ("  http://a.example/b\n", PAGE),
        ("http://a.exa\nmple/b", PAGE),
        ("http://user:pass@a.example/b", PAGE),
        ("http://a.example:80/b", PAGE),
        ("https://a.example:443/b", PAGE),
        ("http://a.example:/b", PAGE),
        ("http://a.example./b", PAGE),
        ("http://a.example/b/", PAGE),
        ("http://a.example/b#part-2", PAGE),
        ("http://a.example/b?", PAGE),
        ("http://a.example/b?&&", PAGE),
        ("http://a.example/b/index.html", PAGE),
        ("http://a.example/b/INDEX.HTM", PAGE),
        ("http://a.example/b?utm_source=x&UTM_Medium=y&gclid=1&fbclid=2&_ga=3", PAGE),
        ("http://a.example/./c/../b", PAGE),
        ("http://a.example/../b/.", PAGE),
        ("http://a.example/c/%2E%2E/b", PAGE),
        ("http://a.example/%62", PAGE),
        ("http:\\\\a.example\\b".replace("\\\\", "//"), PAGE),
        ("http://a.example", "a.example"),
        ("http://a.example/", "a.example"),
        ("http://a.example/index.php", "a.example"),
        ("http://a.example:8080/b", "a.example:8080/b"),
        ("https://a.example:80/b", "a.example:80/b"),
        ("http://a.example:0080/b", PAGE),
        ("http://a.example/B", "a.example/B"),
        ("http://a.example/b//c", "a.example/b//c"),
        ("http://a.example/a%2fb", "a.example/a%2Fb"),  # a reserved character's escape is no such character
        ("http://a.example/a/b", "a.example/a/b"),
        ("http://a.example/%7euser", "a.example/~user"),
        ("http://a.example/a b", "a.example/a%20b"),
        ("http://a.example/100%", "a.example/100%25"),
        ("http://a.example/100%25", "a.example/100%25"),
        ("http://a.example/河", "a.example/%E6%B2%B3"),
        ("http://a.example/%e6%b2%b3", "a.example/%E6%B2%B3"),
        ("http://a.example/%ff", "a.example/%FF"),  # whatever encoding that is
        ("http://Bücher.example/", "xn--bcher-kva.example"),
        ("http://xn--BCHER-kva.example/", "xn--bcher-kva.example"),
        ("http://a。example/b", PAGE),
        ("http://a.example/?q=1&p=2", "a.example?p=2&q=1"),
        ("http://a.example?p=2&q=1", "a.example?p=2&q=1"),
        ("http://a.example/?p=2&p=1&a=3", "a.example?a=3&p=2&p=1"),  # a list's order is the page's business
        ("http://a.example/?q", "a.example?q"),
        ("http://a.example/?q=", "a.example?q="),
        ("http://a.example/?id=1&utm_id=2", "a.example?id=1"),
        ("http://a.example/?xutm_id=2", "a.example?xutm_id=2"),
        ("http://a.example/?q=%41%3D", "a.example?q=A%3D"),
        ("http://a.example/#!/b", "a.example#!/b"),  # a page of its own, when pages were written so
        ("http://127.0.0.1:80/", "127.0.0.1"),
        ("http://[::1]:80/b", "[::1]/b"),
        ("http://localhost/b", "localhost/b"),
        ("ftp://a.example:21/b", "ftp://a.example/b"),
    ],
)
def test_one_spelling(url, expected):
    assert spelt(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "no host at all !",
        "",
        " ",
        "http://",
        "http:///b",
        "http://a b.example/",
        "http://a..example/",
        "http://a.example:99999/",
        "http://a.example:12345678901234567890/",
        "mailto:someone@a.example",
        "javascript:void(0)",
        "data:text/html,x",
        "word",
        "/b/index.html",
        "#part",
        "http://" + "a" * 300 + ".example/",
        "http://\ud7ff\x00/",
    ],
)
def test_what_is_no_url_has_no_key(url):
    assert spelt(url) is None


@pytest.mark.parametrize(
    ("params", "same", "other"),
    [
        ({"ignore_scheme": False}, ("http://a.example/", "a.example:80"), ("http://a.example", "https://a.example")),
        ({"ignore_www": False}, ("www.a.example", "WWW.a.example"), ("www.a.example", "a.example")),
        ({"ignore_parameters": ["Ref"]}, ("a.example?ref=1", "a.example"), ("a.example?utm_id=1", "a.example")),
        ({"ignore_files": ["Home.asp"]}, ("a.example/home.asp", "a.example"), ("a.example/index.html", "a.example")),
    ],
)
def test_what_is_ignored_is_a_parameter(params, same, other):
    assert len({spelt(url, **params) for url in same}) == 1
    assert len({spelt(url, **params) for url in other}) == 2


@given(st.text(max_size=60))
def test_whatever_comes_is_spelt_once_and_for_all(url):
    for text in (url, f"http://a.example/{url}", f"http://{url}/", f"http://a.example/?{url}"):
        one = spelt(text)
        assert one is None or (one.isascii() and spelt(one if "://" in one else f"http://{one}") == one)


@given(st.binary(max_size=20))
def test_escaping_keeps_the_bytes(data):
    plain = quote_from_bytes(data)
    every = "".join(f"%{byte:02x}" for byte in data)
    assert unquote_to_bytes(escaped(plain)) == unquote_to_bytes(escaped(every)) == data
    assert escaped(escaped(plain)) == escaped(plain)


def test_a_star_stands_at_the_end():
    for name in ("*", "u*m", "", "**"):
        with pytest.raises(RecipeError, match="ignore_parameters"):
            build("text.url_dedup", {"ignore_parameters": [name]})


def test_rows_of_one_url_have_one_key_whatever_they_hold():
    step: TextUrlDedup = build("text.url_dedup", {"keep": "longest"})
    step.setup()
    picture = media_row("\ufffc long text", [("png", None)]) | {"url": "HTTPS://www.a.example/b/?utm_source=mail"}
    rows = [{"text": "x", "url": "http://a.example/b"}, {"text": "y", "url": None}, {"text": "z", "url": "!"}, picture]
    keys = step.keys(numbered(rows))
    assert keys.row.tolist() == [0, 3] and keys.part.tolist() == [-1, -1]
    assert np.array_equal(keys.key[0], keys.key[1])
    assert keys.rank[1] < keys.rank[0]
    assert step.proof and step.bloom_rate is None
    assert build("text.url_dedup", {"bloom": {}}).bloom_rate == 1e-6
