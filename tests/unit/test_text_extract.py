"""text.extract beyond its table: hostile markup is quick; what a page says of itself; the pass that measures tags."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from schemas.sample import sample_batch
from transforms.kernels.nesting import STACK, measure
from transforms.registry import build
from transforms.text.extract_hints import Hints, read_hints

MANY = 100_000


def extract(*pages, **params):
    """(reason or None, text) of each page."""
    transform = build("text.extract", params)
    outcome = transform.apply(sample_batch([{"id": str(k), "source": str(k), "text": t} for k, t in enumerate(pages)]))
    fates = {row["id"]: (row["reject.reason"], row["text"]) for row in outcome.rejected.to_pylist()}
    fates |= {row["id"]: (None, row["text"]) for row in outcome.kept.to_pylist()}
    return [fates[str(k)] for k in range(len(pages))]


def measured(markup):
    return tuple(int(number) for number in measure(np.frombuffer(markup.encode(), np.uint8)))


HOSTILE = {
    "nested div": ("<div>" * MANY, "too_deep"),
    "self-closed div, which HTML does not know": ("<div/>" * MANY, "too_deep"),
    "formatting that every paragraph opens again": ("".join(f"<p><b a={k}>x" for k in range(20_000)), "too_deep"),
    "nested tables": ("<table><tr><td>" * MANY, "too_deep"),
    "nested drawings": ("<p>a</p><svg>" + "<g>" * MANY, "too_deep"),
    "attributes": ("<p " + " ".join(f"a{k}=1" for k in range(MANY)) + ">x", "too_complex"),
    "options": ("<select>" + "<option>a" * MANY, "too_complex"),
    "work": (("<div>" * 480 + "x" + "</div>" * 480) * 500, "too_complex"),
    "many comments": ("<!--x-->" * MANY + "<p>The ferry left.</p>", None),
    "unclosed comments": ("<!--" * MANY, "not_html"),
    "unclosed metas": ("<p>The ferry left.</p>" + "<meta " * MANY, "too_complex"),
    "a long word in a meta": ("<p>The ferry left.</p><meta " + "a" * MANY + ">", None),
    "a listing of articles": ("<article>The ferry left.</article>" * 5000, None),
    "nulls": ("<p>a" + "\0" * MANY, None),
    "angle brackets": ("<" * MANY, "not_html"),
    "siblings": ("<p>The ferry left." * 20_000, None),
    "drawings of many paths": ("<p>The ferry left.</p><svg>" + "<path d='M0'/>" * 20_000 + "</svg>", None),
    "table cells with a font left open": ("<table>" + "<tr><td><font a=1>x" * 2000 + "</table>", None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_markup_is_quick(name):
    markup, expected = HOSTILE[name]
    extract("<p>compiled and loaded</p>")
    began = time.process_time()
    [(reason, _)] = extract(markup, max_chars=5_000_000)
    assert time.process_time() - began < 3
    if expected is not None or reason != "no_content":  # whether such a page has content is the engine's business
        assert reason == expected


def test_rejected_rows_keep_their_markup_and_kept_ones_do_not():
    page = "<p>The ferry left early.</p>"
    assert extract(page, "no markup") == [(None, "The ferry left early."), ("not_html", "no markup")]


def test_a_page_cut_anywhere_is_harmless():
    page = "<html lang=de><head><title>A &amp; B</title></head><body><div class='x'><p>Der Zug hielt.</p><ul><li>1</ul>"
    for end in range(len(page)):
        [(reason, _)] = extract(page[:end])
        assert reason in (None, "no_content", "not_html")


def test_the_article_is_taken_from_its_container():
    prose = "".join(f"<p>Sentence {k} says that the river rose again and the bridge held.</p>" for k in range(20))
    teaser = "<div><p>Another story, which is told on another page and has nothing to do with this.</p></div>"
    [(_, text)] = extract(f"<body>{teaser}<article>{prose}</article>{teaser}</body>")
    assert text.splitlines()[0] == "Sentence 0 says that the river rose again and the bridge held."
    assert "Another story" not in text


def test_a_small_container_is_not_the_page():
    prose = "".join(f"<p>Sentence {k} says that the river rose again and the bridge held.</p>" for k in range(20))
    teaser = "<article>" + "<p>A teaser of some length, though not of the length of a page.</p>" * 4 + "</article>"
    [(_, text)] = extract(f"<body>{prose}{teaser}</body>")
    assert text.count("Sentence") == 20


def test_a_container_the_heuristics_overlook_is_taken_as_it_is():
    prose = "".join(f"<p>Sentence {k} says that the river rose again and the bridge held.</p>" for k in range(20))
    # a class that stands for something else, misused for the article
    [(_, text)] = extract(f"<body><article class='advert'><nav>Home</nav>{prose}</article></body>")
    assert (text.count("Sentence"), "Home" in text) == (20, False)


@pytest.mark.parametrize(
    "part", ["<meta ", "<html ", "<title", "<title>", "<time ", "a", "a=", 'a="', "<meta a='", '"datePublished":"']
)
def test_hints_are_read_in_linear_time(part):
    markup = "<html><meta " + part * MANY
    began = time.process_time()
    read_hints(markup)
    read_hints(markup + ">")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<p>nothing</p>", Hints(None, None, None)),
        ("<title>\n One \t two </title>", Hints("One two", None, None)),
        ("<title></title><meta property='og:title' content='Three'>", Hints("Three", None, None)),
        ("<HTML class=a LANG=pt_BR>", Hints(None, None, "pt-br")),
        ("<html xml:lang='de'>", Hints(None, None, "de")),
        ("<html lang=''><meta property=og:locale content=fr_FR>", Hints(None, None, "fr-fr")),
        ("<meta content='2020-01-31T00:00:00+01:00' itemprop=datePublished>", Hints(None, "2020-01-31", None)),
        ("<meta name=date content='2020-13-31'>", Hints(None, None, None)),
        ("<meta name=date content='1970-01-01'>", Hints(None, None, None)),
        ('<script>{"datePublished": "2019-05-06"}</script>', Hints(None, "2019-05-06", None)),
        ("<time datetime='2018-02-03' pubdate>", Hints(None, "2018-02-03", None)),
        ("<time datetime='2018-02-03'>", Hints(None, None, None)),
        ("<meta name=pubdate content=20170203>", Hints(None, "2017-02-03", None)),
    ],
)
def test_hints(markup, expected):
    assert read_hints(markup) == expected


@pytest.mark.parametrize(
    ("markup", "depth", "attributes", "options"),
    [
        ("", 0, 0, 0),
        ("<div><p>a<p>b<ul><li>a<li>b</ul></div>", 4, 0, 0),
        ("<br><br><img src=a><hr/>", 0, 1, 0),
        ("<div></div><div></div>", 1, 0, 0),
        ("<div><span></div><div></div>", 2, 0, 0),
        ("<!-- <div><div><div> --><p>", 1, 0, 0),
        ("<!--><p>", 1, 0, 0),
        ("<script>if (a<b) '<div><div>'</script><p>", 1, 0, 0),
        ("<textarea><div></TEXTAREA ><p>", 1, 0, 0),
        ("<a title='>' href=\"<div>\" b c = d e/><p>", 2, 5, 0),
        ("<svg><path/><path/><g><path d=1/></g></svg>", 2, 1, 0),
        ("<select><option>a<option>b</select>", 2, 0, 2),
        ("<p><b>a<p><b>b", 3, 0, 0),
        ("<b>a</b><b>b</b>", 1, 0, 0),
        ("a < b </ c <1>", 0, 0, 0),
        ("<p", 1, 0, 0),
        ("<DIV><div><\u00e9>", 2, 0, 0),
    ],
)
def test_measure(markup, depth, attributes, options):
    found = measured(markup)
    assert (found[0], found[2], found[3]) == (depth, attributes, options)


def tree_depth(markup):
    """Elements open at once in a parser's tree, less html, head and body, which the pass does not add."""
    deepest, level = 0, [(HTMLTree.parse(markup).body, 0)]
    while level:
        node, depth = level.pop()
        deepest = max(deepest, depth)
        level += [(child, depth + 1) for child in node.child_nodes if child.type == 1]
    return deepest


TAGS = st.sampled_from(
    ["div", "p", "b", "i", "span", "ul", "li", "table", "tr", "td", "section", "a", "font", "em", "h2", "dl", "dd"]
)
PIECES = st.one_of(
    TAGS.map("<{}>".format),
    TAGS.map("</{}>".format),
    st.builds("<{} a={}>".format, TAGS, st.integers(0, 9)),
    st.just("x"),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=60))
def test_no_tree_is_much_deeper_than_measured(parts):
    """Implied elements (tbody, tr) and formatting that is opened again may add to the depth, but not multiply it."""
    markup = "".join(parts)
    depth = measured(markup)[0]
    assert tree_depth(markup) <= 3 * depth + 3


@given(st.text(alphabet="<>/!-?='\" abpdivscriptsvg\u00e9\0", max_size=200))
def test_any_bytes_are_measured(markup):
    depth, work, attributes, options = measured(markup)
    assert 0 <= depth <= min(STACK, markup.count("<"))
    assert 0 <= work <= STACK * max(1, markup.count("<"))
    assert 0 <= attributes <= len(markup)
    assert options >= 0
