"""Small edits that turn a document into a near-duplicate or a distant relative of itself."""

from __future__ import annotations

import random
import re

from jobs.sample.shingles import jaccard, shingles

#: letters of these scripts are edited one by one; elsewhere the unit is what stands between spaces
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3041-\u30ff\u3400-\u9fff]")
_SPLIT = re.compile(r"(\s+)")


def edited(text: str, lowest: float, highest: float, rng: random.Random) -> tuple[str, float]:
    """The text with words left out or swapped until its Jaccard similarity to what it was lies in the range.

    Returns the new text and the similarity. Raises AssertionError when the text is too short for the range.
    """
    before = shingles(text)
    for _ in range(50):
        new = text
        for _ in range(200):
            new = _one_edit(new, rng)
            similarity = jaccard(before, shingles(new))
            if similarity < lowest:
                break
            if similarity <= highest:
                return new, similarity
    raise AssertionError(f"no edit of {text[:60]!r} reaches a similarity of {lowest} to {highest}")


def _one_edit(text: str, rng: random.Random) -> str:
    if _UNSPACED.search(text):
        places = [at for at in range(1, len(text) - 1) if _UNSPACED.match(text[at]) and _UNSPACED.match(text[at + 1])]
        at = rng.choice(places)
        return text[:at] + text[at + 1 :]
    pieces = _SPLIT.split(text)
    at = rng.randrange(2, len(pieces) - 5, 2)
    if rng.random() < 0.5:
        return "".join(pieces[:at] + pieces[at + 2 :])
    pieces[at], pieces[at + 2] = pieces[at + 2], pieces[at]
    return "".join(pieces)
