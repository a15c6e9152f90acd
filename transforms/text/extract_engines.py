"""Main content from markup, by resiliparse or by trafilatura."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field

from schemas.errors import RecipeError
from transforms.base import Params

#: Where publishers put the article, most explicit first.
_CONTAINERS = ('[itemprop="articleBody"]', "article")
#: A container with a smaller share of the page's main content is a teaser, not the page.
MIN_CONTAINER_RATIO = 0.6
MIN_CONTAINER_CHARS = 200
#: More of them make a listing, of which none is the page.
MAX_CONTAINERS = 16
_ASIDES = ("nav", "aside", "footer", "form", "button")
_CAPTIONS = ("figcaption", '[class*="caption" i]')


class ContentParams(Params):
    """What belongs to the content. The defaults are for training text: prose in its order, nothing about it."""

    #: the page's headline (<h1>); it is in `html.title` anyway, and often repeated in the page
    headline: bool = False
    captions: bool = False
    #: `- ` before the items of lists, numbers before those of numbered ones
    list_bullets: bool = False
    #: alternative texts of images
    alt_texts: bool = False
    #: readers' comments
    comments: bool = False
    #: tables (trafilatura only; resiliparse always has them)
    tables: bool = True
    #: trafilatura only: fewer errors for less text; its authors' `favor_precision`
    favour_precision: bool = False
    #: CSS selectors of elements to leave out (resiliparse) or XPath expressions (trafilatura)
    skip: list[str] = Field(default_factory=list)


def make_engine(name: str, params: ContentParams) -> Callable[[str], str]:
    """A function from markup to content ("" when there is none); raises RecipeError when its library is missing."""
    return _resiliparse(params) if name == "resiliparse" else _trafilatura(params)


def _resiliparse(params: ContentParams) -> Callable[[str], str]:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    skipped = [*([] if params.headline else ["h1"]), *([] if params.captions else _CAPTIONS), *params.skip]
    options: dict[str, Any] = {
        "main_content": True,
        "preserve_formatting": True,
        "list_bullets": params.list_bullets,
        "alt_texts": params.alt_texts,
        "comments": params.comments,
        "post_meta": False,
        "skip_elements": skipped,
    }

    def extract(markup: str) -> str:
        tree = HTMLTree.parse(markup)
        whole = extract_plain_text(tree, **options)
        if tree.document is None:
            return whole
        # where its heuristics find next to nothing, what the publisher calls the content is taken as it is
        sparse = len(whole) < MIN_CONTAINER_CHARS
        inside = {**options, "main_content": False, "skip_elements": [*skipped, *_ASIDES]} if sparse else options
        for selector in (*_CONTAINERS, "main") if sparse else _CONTAINERS:
            found = tree.document.query_selector_all(selector)
            if not 0 < len(found) <= MAX_CONTAINERS:
                continue
            # related stories may be articles, too; the page's own is the one with most in it
            largest = max((element.html for element in found), key=len)
            part = extract_plain_text(HTMLTree.parse(largest), **inside)
            if len(part) >= max(MIN_CONTAINER_CHARS, MIN_CONTAINER_RATIO * len(whole)):
                return part
        return whole

    return extract


def _trafilatura(params: ContentParams) -> Callable[[str], str]:
    try:
        import trafilatura
    except ImportError as error:
        raise RecipeError(
            "text.extract: engine trafilatura is not installed; run `pip install 'sluice[extract]'`, or leave `engine`"
            " out to use resiliparse"
        ) from error

    def extract(markup: str) -> str:
        found = trafilatura.extract(
            markup,
            favor_precision=params.favour_precision,
            include_comments=params.comments,
            include_tables=params.tables,
            prune_xpath=params.skip or None,
        )
        return found or ""

    return extract
