"""Documents: paragraphs of one language about one place and its people, no two of them alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from jobs.sample.banks import CLOSING, REGISTERS, Bank
from jobs.sample.draws import draw
from jobs.sample.shingles import NGRAM, Shingles, shingles_of, words

#: unrelated documents share fewer 5-grams than this; near-duplicates share more than twice as many
MAX_JACCARD = 0.35
#: and a document repeats fewer of its own
MAX_REPEATED = 0.07
_TRIES = 80


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its language and main register."""

    lang: str
    register: str
    text: str


@dataclass(frozen=True, slots=True)
class Template:
    """Paragraphs that several documents begin with; `used` are their places in the bank."""

    text: str
    used: frozenset[int]


class Composer:
    """Composes a language's documents and remembers their shingles, so that each new one is unlike all others."""

    def __init__(self, bank: Bank, seed: int) -> None:
        self.bank = bank
        self.seed = seed
        self.highest_jaccard = 0.0
        self._body = [at for at, (register, _) in enumerate(bank.paragraphs) if register != CLOSING]
        self._sizes: list[int] = []
        self._holders: dict[tuple[str, ...], list[int]] = {}

    def compose(self, *names: object, template: Template | None = None, max_jaccard: float = MAX_JACCARD) -> Document:
        """A new document, drawn for `names`; `template` is what it begins with, like others.

        The first draw that is unlike all earlier documents and does not repeat itself; the least alike of many, if
        there is none.
        """
        best: tuple[float, Document, Shingles] | None = None
        for attempt in range(_TRIES):
            document = self._draw(attempt, *names, template=template)
            found = words(document.text)
            own = shingles_of(found)
            is_repetitive = len(own) < (1 - MAX_REPEATED) * (len(found) - NGRAM + 1)
            similarity = 1.0 if is_repetitive else self._similarity(own)
            if best is None or similarity < best[0]:
                best = (similarity, document, own)
            if similarity <= max_jaccard:
                break
        assert best is not None
        self.highest_jaccard = max(self.highest_jaccard, best[0])
        self._remember(best[2])
        return best[1]

    def template(self, count: int) -> Template:
        """`count` paragraphs to begin several documents with."""
        rng = draw(self.seed, self.bank.lang, "template")
        bound = self.bank.bind(rng)
        chosen = sorted(rng.sample(self._body, count))
        return Template("\n\n".join(self.bank.fill(at, bound, rng) for at in chosen), frozenset(chosen))

    def _draw(self, attempt: int, *names: object, template: Template | None) -> Document:
        rng = draw(self.seed, self.bank.lang, *names, attempt)
        bank = self.bank
        free = [at for at in self._body if template is None or at not in template.used]
        register = rng.choice([name for name in REGISTERS if any(at in free for at in bank.of_register(name))])
        own = [at for at in bank.of_register(register) if at in free]
        chosen = rng.sample(own, min(len(own), rng.choice((1, 2, 2, 3))))
        # the rest of the page: other things about the same place and people
        wanted = rng.choice((2, 3) if template else (3, 4, 4, 5, 6))
        others = [at for at in free if at not in chosen]
        chosen += rng.sample(others, max(0, min(len(others), wanted - len(chosen))))
        if closing := bank.of_register(CLOSING):
            chosen.append(rng.choice(closing))
        bound = bank.bind(rng)
        parts = [bank.fill(at, bound, rng) for at in chosen]
        return Document(bank.lang, register, "\n\n".join([template.text, *parts] if template else parts))

    def _similarity(self, found: Shingles) -> float:
        """The highest Jaccard similarity to an earlier document."""
        shared: Counter[int] = Counter()
        for shingle in found & self._holders.keys():
            shared.update(self._holders[shingle])
        return max((n / (len(found) + self._sizes[at] - n) for at, n in shared.items()), default=0.0)

    def _remember(self, found: Shingles) -> None:
        for shingle in found:
            self._holders.setdefault(shingle, []).append(len(self._sizes))
        self._sizes.append(len(found))
