"""Documents from pages nobody wants to train on, told by their URLs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

import pyarrow as pa
from pydantic import Field, model_validator

from transforms.base import Filter, Params, Verdicts
from transforms.registry import register
from transforms.text.lists import read_lines
from transforms.text.url_block_lists import HashSet, Url, canonical_host, parse_url

_STEP = "text.url_block"
_NO_WORD = re.compile(r"[\W_]+")


class UrlBlockParams(Params):
    """What is blocked: entries given here, and lists by path (plain or gzip, one entry a line, # comments).

    The kinds of RefinedWeb (Penedo et al. 2023, arXiv 2306.01116, appendix G.1): 4.6 million domains of the UT1 list,
    and three lists of words. Hosts files (`0.0.0.0 name`) are read too.
    """

    #: registered domains, which block all of their hosts; or host names, which block only themselves
    domains: tuple[str, ...] = ()
    domain_lists: tuple[str, ...] = ()
    #: single pages; scheme, port and fragment do not count
    urls: tuple[str, ...] = ()
    url_lists: tuple[str, ...] = ()
    #: blocked anywhere in the URL, even inside a word or across its hyphens (RefinedWeb: strict)
    strict_words: tuple[str, ...] = ()
    strict_word_lists: tuple[str, ...] = ()
    #: blocked as whole words (RefinedWeb: hard)
    hard_words: tuple[str, ...] = ()
    hard_word_lists: tuple[str, ...] = ()
    #: blocked as whole words when `min_soft_words` different ones are in the URL (RefinedWeb: soft, 2)
    soft_words: tuple[str, ...] = ()
    soft_word_lists: tuple[str, ...] = ()
    min_soft_words: int = Field(default=2, ge=1)
    #: rows without a URL, or with one that has no host
    on_no_url: Literal["keep", "reject"] = "keep"

    @model_validator(mode="after")
    def _blocks_something(self) -> UrlBlockParams:
        given = (value for name, value in self if name not in ("min_soft_words", "on_no_url"))
        if not any(given):
            raise ValueError("give at least one list; without any, nothing would be blocked")
        return self


@dataclass(frozen=True, slots=True)
class _Lists:
    domains: HashSet
    pages: HashSet
    strict: re.Pattern[str] | None
    hard: frozenset[str]
    soft: frozenset[str]


@register("text.url_block", version=1)
class UrlBlock(Filter[UrlBlockParams]):
    """Rejects rows by `url`: their registered domain, their host, words in it, or the very page.

    `blocked_domain`: the registered domain is listed (with all its hosts); `blocked_subdomain`: the host itself is;
    `blocked_word`: the detail says which and of which kind; `blocked_url`; `no_url` where `on_no_url` says so. A listed
    host does not block hosts below it, as in datatrove. Hosts are compared in lower case and punycode, without port,
    final dot and `www.`; what is a registered domain follows a rule for country registries (`co.uk`), not the public
    suffix list, and hosting services (`blogspot.com`) are domains whose hosts can be listed one by one.
    """

    Params = UrlBlockParams
    reasons = frozenset({"blocked_domain", "blocked_subdomain", "blocked_word", "blocked_url", "no_url"})

    def __init__(self, params: UrlBlockParams) -> None:
        super().__init__(params)
        self._lists: _Lists | None = None

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_lists": None}

    def setup(self) -> None:
        if self._lists is not None:
            return
        p = self.params
        self._lists = _Lists(
            HashSet.of(_each(_host, p.domains, p.domain_lists)),
            HashSet.of(_each(_page, p.urls, p.url_lists)),
            _any_of(sorted(set(_each(_joined, p.strict_words, p.strict_word_lists)))),
            frozenset(_each(_joined, p.hard_words, p.hard_word_lists)),
            frozenset(_each(_joined, p.soft_words, p.soft_word_lists)),
        )

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        self.setup()
        given = batch.column("url").to_pylist()
        urls = [None if url is None else parse_url(url) for url in given]
        known = [url for url in urls if url is not None]
        assert self._lists is not None
        by_domain = iter(self._lists.domains.contains([url.domain for url in known]).tolist())
        by_host = iter(self._lists.domains.contains([url.host for url in known]).tolist())
        by_page = iter(self._lists.pages.contains([url.page for url in known]).tolist())
        reasons: list[str | None] = []
        details: list[str | None] = []
        for raw, url in zip(given, urls, strict=True):
            reason = detail = None
            if url is None:
                if self.params.on_no_url == "reject":
                    reason, detail = "no_url", None if raw is None else f"no host in {raw[:200]!r}"
            else:
                domain, host, page = next(by_domain), next(by_host), next(by_page)
                if domain:
                    reason, detail = "blocked_domain", url.domain
                elif host:
                    reason, detail = "blocked_subdomain", url.host
                elif page:
                    reason, detail = "blocked_url", url.page[:500]
                else:
                    detail = self._blocked_words(url)
                    reason = None if detail is None else "blocked_word"
            reasons.append(reason)
            details.append(detail)
        return Verdicts(reasons, details)

    def _blocked_words(self, url: Url) -> str | None:
        """Which words block a URL, None when none do."""
        lists = self._lists
        assert lists is not None
        if not (lists.strict or lists.hard or lists.soft):
            return None
        words = _words(url.page)
        if lists.strict and (match := lists.strict.search("".join(words))):
            return f"strict: {match[0]}"
        found = sorted(lists.hard.intersection(words))
        if found:
            return f"hard: {found[0]}"
        found = sorted(lists.soft.intersection(words))
        return f"soft: {', '.join(found)}" if len(found) >= self.params.min_soft_words else None


def _words(page: str) -> list[str]:
    """The words of a URL, percent-encoding and punycode read as what they stand for."""
    if "xn--" in page:
        host, slash, path = page.partition("/")
        page = ".".join(map(_unpunycode, host.split("."))) + slash + path
    return [word for word in _NO_WORD.split(unquote(page, errors="replace").casefold()) if word]


def _unpunycode(label: str) -> str:
    try:
        return label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label
    except UnicodeError:
        return label


def _each(read: Callable[[str], str | None], entries: Iterable[str], paths: Iterable[str]) -> Iterator[str]:
    """The entries, given and listed, as `read` has them; those it makes nothing of are left out."""
    for entry in entries:
        value = read(entry)
        if value:
            yield value
    for path in paths:
        for line in read_lines(path, _STEP):
            value = read(line)
            if value:
                yield value


def _host(entry: str) -> str | None:
    name = entry.split("#", 1)[0].split()[-1:] or [""]  # of `0.0.0.0 name`
    return canonical_host(name[0])


def _page(entry: str) -> str | None:
    url = parse_url(entry)
    return None if url is None else url.page


def _joined(entry: str) -> str:
    return _NO_WORD.sub("", entry.casefold())


def _any_of(words: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, words))) if words else None
