"""A synthetic crawl to time pipelines on: documents that pass and fail the usual filters, in known shares.

Document k depends on (seed, k) alone. Words are drawn with the frequencies they have in the sample's own texts (so that
language identification and stop-word rules see real language), and a Zipf tail of compounds stands in for rare words.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from importlib.resources import files

import numpy as np

#: kind -> share of the documents
SHARES = {
    "english": 0.66,
    "foreign": 0.16,
    "exact_duplicate": 0.04,
    "near_duplicate": 0.05,
    "short": 0.03,
    "repeated_lines": 0.02,
    "list": 0.02,
    "symbols": 0.02,
}
FOREIGN = ("de", "es", "fr", "it", "pt", "ru")
MEDIAN_WORDS = 320
TAIL_SHARE = 0.06
TAIL_WORDS = 20000
CHANGED_WORDS = 0.01  # of a near duplicate: Jaccard of word 5-grams about 0.9


@cache
def vocabulary(language: str) -> tuple[np.ndarray, np.ndarray]:
    """(words, cumulative probability) of a language: the sample's words by frequency, then the Zipf tail."""
    text = files("jobs.sample").joinpath("assets", f"{language}.txt").read_text(encoding="utf-8")
    counted = Counter(re.findall(r"[^\W\d_]+", re.sub(r"\$\w+|^@.*$", " ", text, flags=re.MULTILINE).lower()))
    common, counts = zip(*sorted(counted.items(), key=lambda item: (-item[1], item[0])), strict=True)
    long = [word for word in common if len(word) > 3]
    rng = np.random.default_rng(len(common))
    tail = [long[a] + long[b] for a, b in rng.integers(len(long), size=(TAIL_WORDS, 2))]
    zipf = 1 / np.arange(1, TAIL_WORDS + 1)
    share = np.concatenate(
        [(1 - TAIL_SHARE) * np.asarray(counts) / sum(counts), TAIL_SHARE * zipf / zipf.sum()],
    )
    return np.asarray([*common, *tail], object), np.cumsum(share)


def document(seed: int, k: int) -> dict[str, str]:
    """Document k: {"id", "text", "kind"}."""
    rng, kind = _drawn(seed, k)
    if kind.endswith("duplicate") and k > 0:
        text = _original(seed, int(rng.integers(k)))
        if kind == "near_duplicate":
            text = _edited(rng, text)
    else:
        text = _text(rng, kind)
    return {"id": f"doc-{k}", "text": text, "kind": kind}


def _drawn(seed: int, k: int) -> tuple[np.random.Generator, str]:
    rng = np.random.default_rng([seed, k])
    return rng, str(rng.choice(list(SHARES), p=list(SHARES.values())))


def _original(seed: int, k: int) -> str:
    """The text of the last document up to k that is not itself a copy."""
    rng, kind = _drawn(seed, k)
    while kind.endswith("duplicate") and k > 0:
        k -= 1
        rng, kind = _drawn(seed, k)
    return _text(rng, kind)


def _text(rng: np.random.Generator, kind: str) -> str:
    length = int(np.clip(rng.lognormal(np.log(MEDIAN_WORDS), 0.7), 80, 5000))
    if kind == "foreign":
        return prose(rng, str(rng.choice(FOREIGN)), length)
    if kind == "short":
        return prose(rng, "en", int(rng.integers(5, 40)))
    if kind == "repeated_lines":
        line = prose(rng, "en", 25).replace("\n", " ")
        return "\n".join([line] * int(rng.integers(6, 20)))
    if kind == "list":
        return "\n".join(" ".join(_words(rng, "en", 3)) for _ in range(length // 3))
    if kind == "symbols":
        return " ".join(f"{word} #" if k % 3 == 0 else word for k, word in enumerate(_words(rng, "en", length)))
    return prose(rng, "en", length)


def prose(rng: np.random.Generator, language: str, length: int) -> str:
    """About `length` words in sentences of 6 to 24 and paragraphs of 2 to 7, one a line."""
    paragraphs: list[str] = []
    while length > 0:
        sentences = []
        for _ in range(int(rng.integers(2, 8))):
            words = _words(rng, language, min(max(length, 4), int(rng.integers(6, 25))))
            length -= len(words)
            sentences.append(" ".join(words).capitalize() + ".")
            if length <= 0:
                break
        paragraphs.append(" ".join(sentences))
    return "\n".join(paragraphs)


def _words(rng: np.random.Generator, language: str, count: int) -> list[str]:
    words, cumulative = vocabulary(language)
    return list(words[np.searchsorted(cumulative[:-1], rng.random(count), side="right")])


def _edited(rng: np.random.Generator, text: str) -> str:
    """The text with a few words replaced."""
    words = text.split(" ")
    for at in rng.choice(len(words), size=max(1, int(len(words) * CHANGED_WORDS)), replace=False):
        words[at] = _words(rng, "en", 1)[0]
    return " ".join(words)
