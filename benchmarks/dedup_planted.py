"""A corpus with planted duplicates: copies, edits, prefixes and chains; and with traps: quotes and templates.

Sentences are real ones of several languages (DATA/text), or generated; a sentence is used once while there are enough,
so that what is not planted shares next to nothing. Deterministic by seed. What the pairs' similarities are is not
taken from the plan but counted (benchmarks.dedup_truth).
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.dedup_truth import exact_pairs
from benchmarks.generate import FOREIGN, prose

LANGUAGES = ("en", *FOREIGN)
#: similarities that edits and prefixes aim at
LEVELS = (0.95, 0.92, 0.9, 0.87, 0.85, 0.82, 0.8, 0.75, 0.7, 0.6, 0.5)
TEMPLATE_SHARES = (0.5, 0.6, 0.7, 0.8, 0.85)
CHAIN_LENGTH = 4
#: words of a document
SHORTEST, LONGEST = 60, 300
#: templates come from one source, as those of shops and weather stations do; the rest from any of the others
SOURCES = ("blogs", "forums", "news")
TEMPLATED = "listings"
#: pairs below this are not listed
LISTED = 0.3


@dataclass(frozen=True)
class Plan:
    """How many of each: `edits` and `prefixes` a level, `families` of `members` a template share."""

    unrelated: int
    exact: int
    edits: int
    prefixes: int
    quotes: int
    chains: int
    families: int
    members: int

    def times(self, factor: int) -> Plan:
        """A plan for a larger corpus; families grow in number, not in size."""
        sizes = {name: value * (1 if name == "members" else factor) for name, value in vars(self).items()}
        return Plan(**sizes)


@dataclass(frozen=True)
class Planted:
    """Documents {"id", "text", "source", "kind"} in the corpus's order (by source), and the similarities of all pairs
    that reach LISTED, the earlier document first."""

    documents: list[dict[str, str]]
    pairs: dict[tuple[str, str], float]


def plant(plan: Plan, pools: Mapping[str, Sequence[str]], seed: int = 17) -> Planted:
    """The corpus of a plan from sentences by language; a document's kind says what it was made to be."""
    rng = np.random.default_rng(seed)
    sentences = Sentences(pools, seed)
    made: list[tuple[str, str]] = []  # (kind, text)

    def add(kind: str, *texts: str) -> None:
        made.extend((kind, text) for text in texts)

    for _ in range(plan.unrelated):
        add("unrelated", _join(sentences.document(rng)[1]))
    for _ in range(plan.exact):
        text = _join(sentences.document(rng)[1])
        add("exact", text, text)
    for level in LEVELS:
        for _ in range(plan.edits):
            language, body = sentences.document(rng)
            text = _join(body)
            add("edit", text, _edited(text, level, sentences.words(language), rng))
        for _ in range(plan.prefixes):
            words = _join(sentences.document(rng)[1]).split(" ")
            add("prefix", " ".join(words), " ".join(words[: max(1, round(level * len(words)))]))
    for _ in range(plan.quotes):
        (language, quoted), (_, rest) = sentences.document(rng), sentences.document(rng)
        passage = quoted[: max(1, len(quoted) // 2)]
        at = int(rng.integers(len(rest) + 1))
        add("quote", _join(quoted), _join([*rest[:at], *passage, *rest[at:]]))
    for _ in range(plan.chains):
        language, body = sentences.document(rng)
        links = [_join(body)]
        for _ in range(CHAIN_LENGTH - 1):
            links.append(_edited(links[-1], 0.85, sentences.words(language), rng))
        add("chain", *links)
    for share in TEMPLATE_SHARES:
        for _ in range(plan.families):
            add("template", *_family(share, plan.members, sentences, rng))
    order = rng.permutation(len(made)).tolist()
    documents: list[dict[str, str]] = []
    for number in order:
        kind, text = made[number]
        source = TEMPLATED if kind == "template" else SOURCES[int(rng.integers(len(SOURCES)))]
        documents.append({"id": f"d{len(documents):06d}", "text": text, "source": source, "kind": kind})
    documents.sort(key=lambda document: document["source"])  # stable: the order of a run, by files and then by lines
    return Planted(documents, exact_pairs(documents, LISTED))


class Sentences:
    """Sentences by language, handed out in a seeded order and again from the start when they have run out."""

    def __init__(self, by_language: Mapping[str, Sequence[str]], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._pools = {
            language: [found[k] for k in rng.permutation(len(found))] for language, found in by_language.items()
        }
        self._next = dict.fromkeys(self._pools, 0)
        self._languages = list(self._pools)
        counts = np.asarray([len(pool) for pool in self._pools.values()], float)
        self._share = counts / counts.sum()
        self._words = {
            language: sorted({word for sentence in pool for word in re.findall(r"[^\W\d_]+", sentence)})
            for language, pool in self._pools.items()
        }

    def words(self, language: str) -> list[str]:
        """The language's words."""
        return self._words[language]

    def document(self, rng: np.random.Generator) -> tuple[str, list[str]]:
        """(language, sentences of SHORTEST to LONGEST words in all)."""
        language = self._languages[int(rng.choice(len(self._languages), p=self._share))]
        return language, self.take(language, int(rng.integers(SHORTEST, LONGEST)))

    def take(self, language: str, words: int) -> list[str]:
        """Sentences of at least so many words in all, less what the last one has too many."""
        taken: list[str] = []
        pool = self._pools[language]
        while words > 0:
            sentence = pool[self._next[language] % len(pool)].split(" ")[:words]
            self._next[language] += 1
            words -= len(sentence)
            taken.append(" ".join(sentence))
        return taken


def pools(data: str | None) -> dict[str, list[str]]:
    """Sentences by language, from the .jsonl.gz of DATA/text/jsonl (`text`, `lang_label`), or generated without DATA;
    languages with too few are left out."""
    by_language: dict[str, dict[str, None]] = {language: {} for language in LANGUAGES}
    for language, text in _texts(data):
        if language in by_language:
            by_language[language] |= dict.fromkeys(_sentences(text))
    found = {language: list(pool) for language, pool in by_language.items() if len(pool) >= LONGEST}
    if not found:
        raise SystemExit(f"DATA={data}: text/jsonl holds too few sentences in {', '.join(LANGUAGES)}")
    return found


def _family(share: float, members: int, sentences: Sentences, rng: np.random.Generator) -> list[str]:
    """Members with the same frame around texts of their own; the frame has `share` of each member's words."""
    language, body = sentences.document(rng)
    words = max(SHORTEST, sum(len(sentence.split(" ")) for sentence in body))
    frame = " ".join(sentences.take(language, round(share * words))).split(" ")
    top = len(frame) // 2
    own = max(1, words - len(frame))
    return [
        f"{' '.join(frame[:top])}\n{_join(sentences.take(language, own))}\n{' '.join(frame[top:])}"
        for _ in range(members)
    ]


def _edited(text: str, similarity: float, words: list[str], rng: np.random.Generator) -> str:
    """The text with words replaced, taken out and put in, at the rate that leaves about this Jaccard similarity: a
    5-gram stays with probability (1 - rate)^5 = 2J / (1 + J)."""
    rate = 1 - (2 * similarity / (1 + similarity)) ** 0.2
    edited: list[str] = []
    for word in text.split(" "):
        if rng.random() >= rate:
            edited.append(word)
            continue
        how, other = int(rng.integers(3)), words[int(rng.integers(len(words)))]
        edited += [[other], [], [word, other]][how]
    return " ".join(edited)


def _join(sentences: list[str]) -> str:
    """Sentences in paragraphs of five."""
    return "\n".join(" ".join(sentences[k : k + 5]) for k in range(0, len(sentences), 5))


def _sentences(text: str) -> Iterator[str]:
    """The text's sentences of 5 to 40 words, white space collapsed."""
    for line in re.split(r"(?<=[.!?])\s+|\n+", text):
        words = line.split()
        if 5 <= len(words) <= 40:
            yield " ".join(words)


def _texts(data: str | None) -> Iterator[tuple[str, str]]:
    if not data:
        rng = np.random.default_rng(17)
        for language in LANGUAGES:
            yield from ((language, prose(rng, language, 2_000)) for _ in range(40 if language == "en" else 10))
        return
    for path in sorted((Path(data) / "text" / "jsonl").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                yield row.get("lang_label", "en"), row["text"]
