"""The two engines that turn text into ids, and the check that they agree.

`tokenizers` is the reference: whatever it says is right. `fastokens` is some thirty times faster and used as long as it
says the same. Which one is used is settled once, when the tokenizer is loaded, from the tokenizer and the texts given
then: were it settled while encoding, a row's ids could depend on the rows a worker happened to see before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

import numpy as np

EngineName = Literal["fast", "reference"]


class Engine(Protocol):
    """Encodes texts as ordinary text; no control token is ever recognised."""

    name: EngineName

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(ids int32 [n], offsets int64 [len(texts) + 1]); text i is ids[offsets[i]:offsets[i + 1]]."""


class Reference:
    """`tokenizers`, one text at a time: its batch calls would start a thread pool in every worker process."""

    name: EngineName = "reference"

    def __init__(self, tokenizer_json: str) -> None:
        import tokenizers

        self._engine = tokenizers.Tokenizer.from_str(tokenizer_json)

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        pieces = [np.array(self._engine.encode(text, add_special_tokens=False).ids, np.int32) for text in texts]
        offsets = np.zeros(len(pieces) + 1, np.int64)
        np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
        return np.concatenate([np.empty(0, np.int32), *pieces]), offsets


class Fast:
    """`fastokens`, kept to one thread: its pools are made on first use, from settings that stand only meanwhile."""

    name: EngineName = "fast"

    def __init__(self, tokenizer_json: str) -> None:
        import fastokens

        with _one_thread():
            self._engine = fastokens.Tokenizer.from_json_str(tokenizer_json)
            # Texts beyond some 20 kB go to a second pool, so it has to be made here too.
            self._engine.encode_batch_flat([_LONG, _LONG])

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        ids, offsets = self._engine.encode_batch_flat(list(texts))
        return np.frombuffer(ids, np.uint32).astype(np.int32), np.frombuffer(offsets, np.uint64).astype(np.int64)


def choose(tokenizer_json: str, wanted: str, sample: Sequence[str]) -> tuple[Engine, str]:
    """The engine to use, and why: `wanted` is "reference", or "auto" for the fast one if it proves equal.

    The fast one must give the reference's ids for `CHECK_TEXTS` and for the texts in `sample`.
    """
    reference = Reference(tokenizer_json)
    if wanted == "reference":
        return reference, "asked for"
    try:
        fast = Fast(tokenizer_json)
    except Exception as error:  # noqa: BLE001 - any failure of the optional engine has the same remedy, and is recorded
        return reference, f"fastokens cannot load this tokenizer: {type(error).__name__}: {error}"[:500]
    texts = [*CHECK_TEXTS, *sample]
    where = disagreement(fast, reference, texts)
    if where is not None:
        return reference, f"fastokens and tokenizers encode {texts[where][:80]!r} differently"
    return fast, f"fastokens equals tokenizers on {len(texts)} texts"


def disagreement(one: Engine, other: Engine, texts: Sequence[str]) -> int | None:
    """The index of the first text that two engines encode differently, or None."""
    (ids, offsets), (other_ids, other_offsets) = one.encode(texts), other.encode(texts)
    if np.array_equal(offsets, other_offsets) and np.array_equal(ids, other_ids):
        return None
    for at in range(len(texts)):
        mine, theirs = ids[offsets[at] : offsets[at + 1]], other_ids[other_offsets[at] : other_offsets[at + 1]]
        if not np.array_equal(mine, theirs):
            return at
    raise AssertionError("batches differ, but no text in them does")


@contextmanager
def _one_thread() -> Iterator[None]:
    names = ("RAYON_NUM_THREADS", "FASTOKENS_BPE_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_PROSE = (
    "The quick brown fox can't jump over 1,234 lazy dogs; it's they'll who'd we've I'M SHE'LL.",
    "Füße, naïve café, Größe — „Anführung“ … «guillemets»; ¿qué? ¡señor! façade œuvre",
    "Zażółć gęślą jaźń. Příliš žluťoučký kůň. Ștefan îți șterge ața. Çığır İstanbul ıssız",
    "Съешь ещё этих мягких французских булок, да выпей же чаю. Ґанок, їжак, ѝ.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ἐν ἀρχῇ ἦν ὁ λόγος",
    "敏捷的棕色狐狸跳过了懒狗。第3章:2024年1月、価格は¥1,500です。今日はいい天気ですね。ガギグゲゴ ガ",
    "다람쥐 헌 쳇바퀴에 타고파. \u1112\u1161\u11ab\u1100\u1173\u11af",
    "صِف خَلقَ خَودِ كَمِثلِ الشَمسِ إِذ بَزَغَت ٠١٢٣ ‏سلام‏ שָׁלוֹם עולם",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश। தமிழ் உரை ভাষা తెలుగు ಕನ್ನಡ",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า ພາສາລາວ ភាសាខ្មែរ မြန်မာဘာသာ",
    "ሰላም ለዓለም። Բարեւ աշխարհ։ გამარჯობა მსოფლიო ᏣᎳᎩ ᠮᠣᠩᠭᠣᠯ",
    "👩‍👩‍👧‍👦👍🏽🇩🇪🏳️‍🌈 ☺️ 𝒜𝔹ℂ ﬁ ½ ² Ⅷ 𐍈 𠀀𪚥 ",
    "def f(x):\n    return {'a': [1, 2.5e-3], \"b\": x ** 2}  # TODO\n\n\n\tif x != y:\r\n\t\tpass\r\n",
    '<html><body class="a">&nbsp;&#8217;</body></html> http://example.org/a?b=c&d=%20#e me@example.org',
    "\\frac{a}{b} \\sum_{i=0}^{n} x_i^2 \u2200x\u2208\u211d: x\u2264y \u21d2 \u00acz",
)
_ODD = (
    "",
    " ",
    "\n",
    "\r\n",
    "\t",
    "   leading and trailing   ",
    "a\u00a0b\u2003c\u3000d\u200be\ufefff\u2028g\u2029h\u0085i",
    "e\u0301 \u0041\u030a o\u0302\u0323 o\u0323\u0302 \u212b \u1e9b\u0323 \u0958 \ufb1d \u0344 \u2126",
    "\u0301starts with a mark, a\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308 piles",
    "\x00\x01\x1f\x7f\x80\x9f\ufffd\ufffe\uffff\U000f0000\U0010ffff\ue000",
    "a\n\n\nb\n \n c\n\t\n  \n\n   d \n\r\r\n e\u000b\u000cf",
    "!!!???...,,,;;;---___***###@@@///\\\\\\|||~~~``````\n\n!!!\r\n",
    "1234567890 ١٢٣ १२३ ၁၂၃ 12345678901234567890 3.14159 1e10 0xFF",
    "camelCase snake_case KEBAB-case x'Sy ''s 'RE \u017fa 'ſ",
    "<|endoftext|><|im_start|>user<|im_end|> <|vision_start|><|image_pad|><|vision_end|>|><| <think></think>",
)
_LONG = " ".join(_PROSE) * 40

#: Short texts of many scripts, odd whitespace and marks, and long ones, which both engines cut up in their own ways.
CHECK_TEXTS = (
    *_PROSE,
    *_ODD,
    _LONG,
    "a" * 30_000,
    " " * 20_000 + "x" + "\n" * 20_000,
    "字" * 20_000,
    "=-" * 20_000,
    "e\u0301" * 20_000,
)
