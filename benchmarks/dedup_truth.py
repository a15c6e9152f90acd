"""What is a duplicate, found by brute force: the exact Jaccard similarity of word 5-grams of all pairs of documents.

Written apart from what is measured: Python sets of strings, one posting list a shingle, no hash and no kernel of ours.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import regex

NGRAM = 5
#: (id, id), the document that comes first in the corpus before the other -> exact Jaccard similarity
Pairs = Mapping[tuple[str, str], float]

#: a letter of a script without spaces is a word, and so is a run of letters and marks, or of digits
_WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*|[\p{L}\p{M}]+|\p{N}+", regex.V1
)


def shingles(text: str) -> frozenset[str]:
    """The text's word 5-grams in lower case; a shorter text is one shingle, a text without words has none."""
    words = _WORD.findall(unicodedata.normalize("NFC", text).lower())
    size = min(NGRAM, len(words))
    return frozenset(" ".join(words[k : k + size]) for k in range(len(words) - size + 1)) if words else frozenset()


def exact_pairs(documents: Sequence[Mapping[str, str]], at_least: float) -> dict[tuple[str, str], float]:
    """Every pair of documents ({"id", "text"}) whose Jaccard similarity reaches `at_least` (above 0)."""
    sets = [shingles(document["text"]) for document in documents]
    holders: dict[str, list[int]] = {}
    for number, found in enumerate(sets):
        for shingle in found:
            holders.setdefault(shingle, []).append(number)
    shared = Counter(pair for numbers in holders.values() for pair in combinations(numbers, 2))
    pairs = {}
    for (a, b), count in shared.items():
        similarity = count / (len(sets[a]) + len(sets[b]) - count)
        if similarity >= at_least:
            pairs[documents[a]["id"], documents[b]["id"]] = similarity
    return pairs


def neighbours(pairs: Pairs, at_least: float) -> dict[str, dict[str, float]]:
    """Every document's pairs that reach `at_least`: {id: {other id: similarity}}."""
    found: dict[str, dict[str, float]] = {}
    for (a, b), similarity in pairs.items():
        if similarity >= at_least:
            found.setdefault(a, {})[b] = similarity
            found.setdefault(b, {})[a] = similarity
    return found


def candidate_probability(similarity: float, bands: int = 14, rows: int = 8) -> float:
    """The S-curve: that MinHash-LSH proposes a pair (Leskovec, Rajaraman & Ullman 2014, section 3.4.2)."""
    return float(1 - (1 - similarity**rows) ** bands)


def clusters(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Connected components: {id: the name of its component}, for the ids that are in a pair."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for a, b in pairs:
        parent[root(a)] = root(b)
    return {node: root(node) for node in list(parent)}
