"""What share of a text's letters is in the scripts of its language."""

from __future__ import annotations

from functools import cache
from typing import Any

import regex

from transforms.text.language_codes import code_of
from transforms.text.script_tables import NAMES, SCRIPTS_OF

_LETTERS = regex.compile(r"\p{L}+")


def script_share(text: str, lang: str, beside: str = "") -> float | None:
    """Share of the text's letters that are in a script of the language, by any of its names; None where there are no
    letters, or the language's scripts are not known.

    Runs of letters that `beside` has too are left out: names, terms and code are quoted as they are.
    """
    scripts = SCRIPTS_OF.get(code_of(lang))
    quoted = set(_LETTERS.findall(beside))
    own = [run for run in _LETTERS.findall(text) if run not in quoted]
    total = sum(map(len, own))
    if not scripts or not total:
        return None
    inside = _letters_in(scripts)
    return float(sum(len(letters) for run in own for letters in inside.findall(run)) / total)


@cache
def _letters_in(scripts: frozenset[str]) -> Any:
    union = "".join(rf"\p{{Script_Extensions={NAMES[script]}}}" for script in sorted(scripts))
    return regex.compile(rf"[\p{{L}}&&[{union}]]+", regex.V1)
