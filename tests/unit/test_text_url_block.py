"""text.url_block: URLs in one spelling, registered domains, lists of every kind, evidence."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RecipeError
from schemas.sample import sample_batch
from transforms.base import Outcome
from transforms.registry import build
from transforms.text.url_block_lists import HashSet, canonical_host, parse_url, registered_domain


def _run(urls: list[str | None], **params: object) -> Outcome:
    transform = build("text.url_block", params)
    transform.setup()
    rows = [{"id": str(at), "source": f"s#{at}", "url": url, "text": "x"} for at, url in enumerate(urls)]
    return transform.apply(sample_batch(rows))


@pytest.mark.parametrize(
    ("url", "host", "page"),
    [
        ("https://Example.ORG/Path/", "example.org", "example.org/Path"),
        ("http://www.example.org:80", "example.org", "example.org"),
        ("ftp://a:b@c.example.org./x?y#z", "c.example.org", "c.example.org/x?y"),
        ("//example.org\\x", "example.org", "example.org/x"),
        ("example.org/%7Euser/ü", "example.org", "example.org/~user/%C3%BC"),
        ("https://münchen.de", "xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("https://ＭÜNCHEN。de", "xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("https://[2001:DB8::1]:8080/x", "[2001:db8::1]", "[2001:db8::1]/x"),
        ("https://192.0.2.7:8080/x", "192.0.2.7", "192.0.2.7/x"),
        ("https://www.com/", "www.com", "www.com"),
    ],
)
def test_url_is_read(url: str, host: str, page: str) -> None:
    parsed = parse_url(url)
    assert parsed is not None
    assert (parsed.host, parsed.page) == (host, page)


@pytest.mark.parametrize(
    "url", ["", "  ", "https://", "https:///x", "https://a b/", "https://-/", "x" * 300, "https://a..b/"]
)
def test_no_host_is_none(url: str) -> None:
    assert parse_url(url) is None


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("nice.com", "nice.com"),
        ("a.b.nice.com", "nice.com"),
        ("a.nice.co.uk", "nice.co.uk"),
        ("nice.co.uk", "nice.co.uk"),
        ("a.b.nice.com.au", "nice.com.au"),
        ("www.gov.cn", "www.gov.cn"),
        ("a.t.co", "t.co"),
        ("me.blogspot.com", "blogspot.com"),
        ("10.1.2.3", "10.1.2.3"),
        ("localhost", "localhost"),
    ],
)
def test_registered_domain(host: str, domain: str) -> None:
    assert registered_domain(host) == domain


@given(st.text(max_size=80))
def test_any_text_is_a_url_or_none_and_spelling_is_stable(text: str) -> None:
    parsed = parse_url(text)
    if parsed is not None:
        again = parse_url("https://" + parsed.page)
        assert again is not None
        assert again.host == parsed.host
        assert canonical_host(parsed.host) == parsed.host


@given(st.lists(st.text(max_size=5)), st.lists(st.text(max_size=5)))
def test_hash_set_is_a_set(members: list[str], asked: list[str]) -> None:
    assert HashSet.of(members).contains(asked).tolist() == [string in set(members) for string in asked]


def test_lists_come_from_files_of_either_kind(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"\xef\xbb\xbfone.com\r\n\r\n# two.com\n\xff\xfe bad line\nthree.com # why")
    (tmp_path / "packed").write_bytes(gzip.compress(b"127.0.0.1 four.com\nhttp\n"))
    outcome = _run(
        ["https://one.com", "https://two.com", "https://three.com", "https://four.com"],
        domain_lists=[str(tmp_path / "plain"), str(tmp_path / "packed")],
    )
    assert outcome.rejected.column("id").to_pylist() == ["0", "2", "3"]
    (tmp_path / "words").write_text("best-casino\n", encoding="utf-8")
    assert _run(["https://my.best/casino"], strict_word_lists=[str(tmp_path / "words")]).rejected.num_rows == 1


def test_detail_is_the_evidence() -> None:
    outcome = _run(
        ["https://a.bad.com", "https://x.com/win-a-bet", "https://x.com/bet", None, "https://"],
        domains=["bad.com"],
        soft_words=["win", "bet"],
        on_no_url="reject",
    )
    assert outcome.rejected.column("reject.detail").to_pylist() == [
        "bad.com",
        "soft: bet, win",
        None,
        "no host in 'https://'",
    ]
    assert outcome.kept.column("id").to_pylist() == ["2"]


def test_unreadable_and_absent_lists_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot open"):
        _run([], domain_lists=[str(tmp_path / "none")])
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"one.com\n" * 1000)[:-10])
    with pytest.raises(RecipeError, match="cannot be read to its end"):
        _run([], domain_lists=[str(tmp_path / "torn.gz")])
    (tmp_path / "binary").write_bytes(b"x" * 100_000)
    with pytest.raises(RecipeError, match="more than 64 kB"):
        _run([], url_lists=[str(tmp_path / "binary")])
    with pytest.raises(RecipeError, match="at least one list"):
        build("text.url_block", {"on_no_url": "reject"})


@pytest.mark.parametrize(
    "url", ["https://" + "a." * 200_000, "/" * 400_000, "https://" + "%" * 400_000, "@" * 400_000, "xn--" * 100_000]
)
def test_long_urls_take_linear_time(url: str) -> None:
    start = time.process_time()
    _run([url], hard_words=["casino"])
    assert time.process_time() - start < 4
