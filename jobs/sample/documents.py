"""Documents: paragraphs of one language about one place and its people, no two of them alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from jobs.sample.banks import CLOSING, REGISTERS, Bank
from jobs.sample.draws import draw
from jobs.sample.shingles import NGRAM, shingles, words

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


class Composer:
    """Composes a language's documents and remembers their shingles, so that each new one is unlike all others."""

    def __init__(self, bank: Bank, seed: int) -> None:
        self.bank = bank
        self.seed = seed
        self.highest_jaccard = 0.0
        self._body = [at for at, (register, _) in enumerate(bank.paragraphs) if register != CLOSING]
        self._sizes: list[int] = []
        self._holders: dict[tuple[str, ...], list[int]] = {}

    def compose(self, *names: object, start: str = "", max_jaccard: float = MAX_JACCARD) -> Document:
        """A new document, drawn for `names`; `start` are the paragraphs that it shares with others of its template.

        The first draw that is unlike all earlier documents and does not repeat itself; the least alike of many, if
        there is none.
        """
        best: tuple[float, Document] | None = None
        for attempt in range(_TRIES):
            document = self._draw(attempt, *names, start=start)
            similarity = self._similarity(document.text)
            if _repeated(document.text) > MAX_REPEATED:
                similarity = 1.0
            if best is None or similarity < best[0]:
                best = (similarity, document)
            if similarity <= max_jaccard:
                break
        assert best is not None
        self.highest_jaccard = max(self.highest_jaccard, best[0])
        self._remember(best[1].text)
        return best[1]

    def frozen(self, count: int, *names: object) -> str:
        """`count` paragraphs that documents may share as their template."""
        rng = draw(self.seed, self.bank.lang, "frozen", *names)
        bound = self.bank.bind(rng)
        chosen = sorted(rng.sample(self._body, count))
        return "\n\n".join(self.bank.fill(at, bound, rng) for at in chosen)

    def _draw(self, attempt: int, *names: object, start: str) -> Document:
        rng = draw(self.seed, self.bank.lang, *names, attempt)
        bank = self.bank
        register = rng.choice([name for name in REGISTERS if bank.of_register(name)])
        own = bank.of_register(register)
        chosen = rng.sample(own, min(len(own), rng.choice((1, 2, 2, 3))))
        # the rest of the page: other things about the same place and people
        wanted = rng.choice((3, 4, 4, 5, 6)) if not start else rng.choice((2, 3))
        others = [at for at in self._body if at not in chosen]
        chosen += rng.sample(others, max(0, min(len(others), wanted - len(chosen))))
        if closing := bank.of_register(CLOSING):
            chosen.append(rng.choice(closing))
        bound = bank.bind(rng)
        parts = [bank.fill(at, bound, rng) for at in chosen]
        return Document(bank.lang, register, "\n\n".join([start, *parts] if start else parts))

    def _similarity(self, text: str) -> float:
        """The highest Jaccard similarity to an earlier document."""
        found = shingles(text)
        shared: Counter[int] = Counter()
        for shingle in found & self._holders.keys():
            shared.update(self._holders[shingle])
        return max((n / (len(found) + self._sizes[at] - n) for at, n in shared.items()), default=0.0)

    def _remember(self, text: str) -> None:
        found = shingles(text)
        for shingle in found:
            self._holders.setdefault(shingle, []).append(len(self._sizes))
        self._sizes.append(len(found))


def _repeated(text: str) -> float:
    """Share of the text's word 5-grams that occurred in it before."""
    count = len(words(text)) - NGRAM + 1
    return 1 - len(shingles(text)) / count if count > 0 else 0.0
