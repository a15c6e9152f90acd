"""Texts with labels, to train a quality classifier and language models on: prose, and what is none.

They are drawn apart from the corpus, so nothing of `text/` is given away but the style.
"""

from __future__ import annotations

import random
from pathlib import Path

from jobs.sample import faults
from jobs.sample.archives import json_bytes, write_gzip_lines
from jobs.sample.banks import KEPT, load_bank
from jobs.sample.documents import Composer, Document
from jobs.sample.draws import draw

#: good documents of each language at scale 1, and more in English, which the spam is in
EACH = 24
ENGLISH = 120
_MAKERS = (*faults.SPAM.values(), faults.navigation_page)


def write_labelled(folder: Path, seed: int, scale: float) -> None:
    """Writes DIR/labelled/high/LANG.jsonl.gz, prose, and DIR/labelled/low.jsonl.gz: for every two of them another with
    its words in disorder, and a page of spam or menus."""
    (folder / "labelled" / "high").mkdir(parents=True)
    low: list[bytes] = []
    for lang in KEPT:
        composer = Composer(load_bank(lang), seed)
        high: list[bytes] = []
        for number in range(max(2, round((ENGLISH if lang == "en" else EACH) * scale))):
            rng = draw(seed, "labelled", lang, number)
            # any draw will do: whether two of them are alike does not matter here
            document = composer.compose("labelled", number, max_jaccard=1.0)
            high.append(json_bytes({"id": f"high-{lang}-{number}", "text": document.text}))
            low.append(json_bytes({"id": f"low-{lang}-{number}", "text": _low(composer, number, rng)}))
        write_gzip_lines(folder / "labelled" / "high" / f"{lang}.jsonl.gz", high)
    write_gzip_lines(folder / "labelled" / "low.jsonl.gz", low)


def _low(composer: Composer, number: int, rng: random.Random) -> str:
    if number % 2:
        return rng.choice(_MAKERS)(rng)
    return disordered(composer.compose("disordered", number, max_jaccard=1.0), rng)


def disordered(document: Document, rng: random.Random) -> str:
    """The document's words in any order; its characters where there are no spaces between words."""
    words = document.text.split()
    separator = " " if len(words) > len(document.text) / 20 else ""
    words = words if separator else list("".join(words))
    rng.shuffle(words)
    return separator.join(words)
