"""The writing the demo's documents are made of: one file a language in assets/, and how a paragraph is drawn from it.

A bank file holds variables (`$place = A|B|C`, one value a document) and paragraphs under register headings
(`@ story`). In a paragraph `{a|b|c}` is a choice, `<10-30>` a number, `$name` a variable and ` ¶ ` a line break.
Every choice is written so that the sentence stays correct with it: numbers and names stand where nothing agrees with
them, so no grammar is needed here.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

#: the demo recipe's keep list
KEPT = (
    *("ar", "bn", "de", "el", "en", "es", "fr", "he", "hi", "it", "ja"),
    *("ko", "pl", "pt", "ru", "th", "tr", "uk", "vi", "zh"),
)
#: languages that the recipe is meant to reject
OTHER = ("hu", "id", "nl")
#: good writing that lid.176 recognises with low scores only
HARD = ("sw",)
#: a last line that some languages' documents have: Thai puts no full stops, and so asks or greets there
CLOSING = "closing"
REGISTERS = ("encyclopedic", "howto", "news", "story", "technical", "dialogue", "poem")

_CHOICE = re.compile(r"\{([^{}]*)\}|<(\d+)-(\d+)>|\$(name|other|place)")


@dataclass(frozen=True, slots=True)
class Bank:
    """One language's variables and its paragraphs (register, template), in file order."""

    lang: str
    variables: dict[str, tuple[str, ...]]
    paragraphs: tuple[tuple[str, str], ...]

    def of_register(self, register: str) -> list[int]:
        """Positions of a register's paragraphs."""
        return [at for at, (name, _) in enumerate(self.paragraphs) if name == register]

    def bind(self, rng: random.Random) -> dict[str, str]:
        """One value for each variable."""
        return {name: rng.choice(values) for name, values in self.variables.items()}

    def fill(self, at: int, bound: dict[str, str], rng: random.Random) -> str:
        """Paragraph `at` with its choices made."""

        def value(match: re.Match[str]) -> str:
            options, low, high, variable = match.groups()
            if variable:
                return bound[variable]
            return rng.choice(options.split("|")) if low is None else str(rng.randint(int(low), int(high)))

        return "\n".join(line.strip() for line in _CHOICE.sub(value, self.paragraphs[at][1]).split("¶"))


@cache
def load_bank(lang: str) -> Bank:
    """Reads assets/<lang>.txt."""
    variables: dict[str, tuple[str, ...]] = {}
    paragraphs: list[tuple[str, str]] = []
    register = ""
    text = files("jobs.sample").joinpath("assets", f"{lang}.txt").read_text(encoding="utf-8")
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("$") and " = " in line.split("|")[0]:
            name, _, values = line[1:].partition(" = ")
            variables[name] = tuple(values.split("|"))
        elif line.startswith("@ "):
            register = line[2:]
        else:
            paragraphs.append((register, line))
    return Bank(lang, variables, tuple(paragraphs))
