"""The text that bench-text times on: a folder of real pages (DATA), or generated ones (benchmarks.generate).

A page is {"id", "text"}. Pages are put in the order of their id's hash, so that any prefix is a fair sample: slow peers
are given one. A corpus larger than the pages there are is made of copies with other words.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.generate import document

Page = dict[str, str]

#: pages generated when there is no DATA
GENERATED = 4_000
#: the pipelines keep English, and are run on as many files
MIN_ENGLISH = 64
#: words as frequent as each other that trade places in a copy
_TRADERS = 50
_WORD = re.compile(r"\b[A-Za-z]{4,}\b")
#: what the published rules look for stays where it is
_FIXED = frozenset(("that", "have", "with", "lorem", "ipsum", "javascript", "terms", "policy", "privacy", "cookies"))


@dataclass(frozen=True)
class Corpus:
    """A written corpus: `documents` and the UTF-8 bytes of their texts."""

    folder: Path
    documents: int
    text_bytes: int


@dataclass(frozen=True)
class Pages:
    """Every page, those in English, and what they are in a few words."""

    everything: list[Page]
    english: list[Page]
    name: str


def load(data: str | None) -> Pages:
    """The pages of a folder of .jsonl.gz (`id`, `text`, and `lang_label` if the languages are known); generated ones,
    eight in ten of them in English, without a folder. Raises SystemExit when the folder does not hold enough."""
    if not data:
        pages = generated(GENERATED)
        return Pages(pages, pages, f"{GENERATED:,} generated documents")
    rows = [row for path in sorted(Path(data).glob("*.jsonl.gz")) for row in _lines(path) if row["text"].strip()]
    if not rows:
        raise SystemExit(f"DATA={data}: there is no *.jsonl.gz with documents in it")
    if len({row["id"] for row in rows}) < len(rows):
        raise SystemExit(f"DATA={data}: some documents have the same id, so that verdicts could not be compared")
    rows.sort(key=lambda row: hashlib.blake2b(row["id"].encode()).digest())
    pages = [{"id": row["id"], "text": row["text"]} for row in rows]
    english = [page for page, row in zip(pages, rows, strict=True) if row.get("lang_label", "en") == "en"]
    if len(english) < MIN_ENGLISH:
        raise SystemExit(f"DATA={data}: {len(english)} documents are labelled en; at least {MIN_ENGLISH} are needed")
    return Pages(pages, english, f"{len(pages):,} real pages, {len(english):,} of them in English")


def generated(count: int) -> list[Page]:
    """The first so many generated documents."""
    return [{name: page[name] for name in ("id", "text")} for page in (document(17, k) for k in range(count))]


def write(pages: Sequence[Page], folder: Path, files: int) -> Corpus:
    """Writes pages into `files` .jsonl.gz files of nearly as many each, in order."""
    folder.mkdir(parents=True)
    for n in range(files):
        chosen = pages[len(pages) * n // files : len(pages) * (n + 1) // files]
        body = "".join(json.dumps(page, ensure_ascii=False) + "\n" for page in chosen).encode()
        (folder / f"part-{n:05d}.jsonl.gz").write_bytes(gzip.compress(body, compresslevel=6, mtime=0))
    return Corpus(folder, len(pages), text_bytes(pages))


def text_bytes(pages: Sequence[Page]) -> int:
    """UTF-8 bytes of the pages' texts."""
    return sum(len(page["text"].encode()) for page in pages)


def copies(pages: Sequence[Page], count: int) -> list[Page]:
    """`count` times the pages: as they are, then copies in which words of four letters and more have traded places.

    A copy's words trade with others of the same length and about as frequent, the same everywhere in the copy, so that
    it keeps the pages' lengths, lines, word frequencies and duplicates among themselves, and shares next to no word
    5-gram with another copy: deduplication has as much to find in each. No copy brings words of its own, so a cache of
    words finds everything known after the first; real text would bring a few new ones.
    """
    frequencies = Counter(word.lower() for page in pages for word in _WORD.findall(page["text"]))
    made = list(pages)
    for copy in range(1, count):
        trade = _trading(frequencies, copy)
        made += [{"id": f"{page['id']}#{copy}", "text": _WORD.sub(trade, page["text"])} for page in pages]
    return made


def _trading(frequencies: Counter[str], seed: int) -> Callable[[re.Match[str]], str]:
    rng = np.random.default_rng(seed)
    by_length: dict[int, list[str]] = {}
    for word in sorted(frequencies.keys() - _FIXED, key=lambda word: (-frequencies[word], word)):
        by_length.setdefault(len(word), []).append(word)
    becomes = {}
    for words in by_length.values():
        for at in range(0, len(words), _TRADERS):
            group = words[at : at + _TRADERS]
            becomes |= zip(group, (group[k] for k in rng.permutation(len(group))), strict=True)

    def trade(match: re.Match[str]) -> str:
        word = match[0]
        other = becomes.get(word.lower(), word.lower())
        if word.islower():
            return other
        if word.isupper():
            return other.upper()
        return other.capitalize() if word[1:].islower() else word

    return trade


def _lines(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)
