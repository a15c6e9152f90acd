"""What a page says of itself: title, date of publication, language."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import date

from schemas.sample import SENTINEL

# Every pattern here is linear in what it searches, whatever a page holds.
#: Hints stand at the top of a page; JSON-LD and <time> may come later.
_HEAD_CHARS = 256 * 2**10
MAX_TITLE_CHARS = 1000

_HTML_LANG = re.compile(r"""<html\b[^<>]*?\s(?:xml:)?lang\s*=\s*["']?\s*([A-Za-z]{2,8}(?:[-_]\w{1,8})*)""", re.I)
_META = re.compile(r"<meta\b([^<>]*)>", re.I)
_TIME = re.compile(r"<time\b([^<>]*)>", re.I)
_ATTRIBUTE = re.compile(r"""(?<![\w:-])([\w:-]++)\s*+=\s*+(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
_TITLE = re.compile(r"<title\b[^<>]*>([^<]*)", re.I)
_JSON_DATE = re.compile(r'"(?:datePublished|dateCreated|uploadDate)"\s*:\s*"([^"]{4,40})"')
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?!\d)|(\d{4})(\d{2})(\d{2})(?:T|\Z)|(\d{4})/(\d{2})/(\d{2})(?!\d)")
#: In the order they are trusted; publication first, then what is usually the same day.
_DATE_NAMES = (
    "article:published_time", "datepublished", "og:article:published_time", "article:published", "published_time",
    "pubdate", "publishdate", "publish-date", "publish_date", "date.published", "parsely-pub-date", "sailthru.date",
    "dc.date.issued", "dcterms.created", "dcterms.date", "dc.date.created", "dc.date", "article.published", "date",
    "citation_publication_date", "displaydate", "created",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hints:
    """`published` is an ISO date, `lang` a BCP 47 tag in lower case; None where the page does not say."""

    title: str | None
    published: str | None
    lang: str | None


def read_hints(markup: str) -> Hints:
    """The hints of a page: <title> (else og:title), the lang attribute of <html> (else og:locale), and the date.

    The date is that of the <meta> names that stand for publication (Open Graph, schema.org, Dublin Core, Parsely, …),
    of JSON-LD's datePublished, or of the first <time datetime> with `pubdate` or itemprop, in this order. Malformed
    dates and those before 1990 are passed over.
    """
    head = markup[:_HEAD_CHARS]
    metas: dict[str, str] = {}
    for found in _META.finditer(head):
        attributes = _attributes(found[1])
        name = attributes.get("property") or attributes.get("name") or attributes.get("itemprop")
        if name and "content" in attributes:
            metas.setdefault(name.lower(), attributes["content"])
    title = _TITLE.search(head)
    lang = _HTML_LANG.search(head)
    return Hints(
        _clean(title[1] if title else "") or _clean(metas.get("og:title", "")),
        _published(head, metas),
        _tag(lang[1] if lang else metas.get("og:locale", "")),
    )


def _attributes(text: str) -> dict[str, str]:
    return {name.lower(): a or b or c for name, a, b, c in _ATTRIBUTE.findall(text)}


def _published(head: str, metas: dict[str, str]) -> str | None:
    candidates = [metas[name] for name in _DATE_NAMES if name in metas]
    candidates += _JSON_DATE.findall(head)[:1]
    for found in _TIME.finditer(head):
        if "pubdate" in found[1].lower() or "datepublished" in found[1].lower() or "entry-date" in found[1]:
            candidates.append(_attributes(found[1]).get("datetime", ""))
    return next((day for day in map(_iso, candidates) if day), None)


def _iso(text: str) -> str | None:
    found = _DATE.search(text)
    if found is None:
        return None
    year, month, day = (int(part) for part in found.groups() if part is not None)
    try:
        return date(year, month, day).isoformat() if year >= 1990 else None
    except ValueError:
        return None


def _tag(text: str) -> str | None:
    text = text.replace("_", "-").lower()
    return text if re.fullmatch(r"[a-z]{2,8}(-[a-z0-9]{1,8})*", text) else None


def _clean(text: str) -> str | None:
    text = " ".join(html.unescape(text).replace(SENTINEL, " ").split())
    return text[:MAX_TITLE_CHARS].encode("utf-8", "ignore").decode() or None
