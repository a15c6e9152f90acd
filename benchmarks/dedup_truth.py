"""What is a duplicate, found by brute force: the exact Jaccard similarity of word 5-grams of all pairs of documents.

Written apart from what is measured: Python sets of strings, one posting list a shingle, no hash and no kernel of ours.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil

import regex

NGRAM = 5
#: (id, id), the document that comes first in the corpus before the other -> exact Jaccard similarity
Pairs = Mapping[tuple[str, str], float]

#: a letter of a script without spaces is a word, and so is a run of letters and marks, or of digits
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"
_WORD = regex.compile(rf"{_UNSPACED}|[\p{{L}}\p{{M}}]+|\p{{N}}+", regex.V1)


def words(text: str) -> list[str]:
    """The text's words in the normal form of datatrove's and FineWeb's deduplication (`simplify_text`): lower case,
    without accents and punctuation, every number "0"."""
    found = _WORD.findall(unicodedata.normalize("NFC", text).lower())
    return ["0" if word[0].isnumeric() else word if regex.match(_UNSPACED, word) else _bare(word) for word in found]


def shingles(text: str) -> frozenset[str]:
    """The text's word 5-grams; a shorter text is one shingle, a text without words has none."""
    found = words(text)
    size = min(NGRAM, len(found))
    return frozenset(" ".join(found[k : k + size]) for k in range(len(found) - size + 1)) if found else frozenset()


def _bare(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn") or word


def exact_pairs(documents: Sequence[Mapping[str, str]], at_least: float) -> dict[tuple[str, str], float]:
    """Every pair of documents ({"id", "text"}) whose Jaccard similarity reaches `at_least` (above 0).

    Compared are those that share one of their rarest shingles: a pair of similarity t has in common at least t of the
    larger set, so not all of that can be among its other shingles (prefix filter, Chaudhuri et al. 2006)."""
    sets = [shingles(document["text"]) for document in documents]
    frequency = Counter(shingle for found in sets for shingle in found)
    holders: dict[str, list[int]] = {}
    pairs = {}
    for number, found in enumerate(sets):
        rarest = sorted(found, key=lambda shingle: (frequency[shingle], shingle))
        prefix = rarest[: len(found) - ceil(at_least * len(found) - 1e-9) + 1]
        for other in sorted({other for shingle in prefix for other in holders.get(shingle, ())}):
            shared = len(found & sets[other])
            similarity = shared / (len(found) + len(sets[other]) - shared)
            if similarity >= at_least:
                pairs[documents[other]["id"], documents[number]["id"]] = similarity
        for shingle in prefix:
            holders.setdefault(shingle, []).append(number)
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
