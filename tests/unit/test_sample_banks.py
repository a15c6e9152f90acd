"""The writing banks: well formed, in many languages and scripts, and drawn without leftovers."""

import random
import re
import unicodedata
from collections import Counter

import pytest

from jobs.sample.banks import CLOSING, HARD, KEPT, OTHER, REGISTERS, load_bank
from jobs.sample.documents import MAX_JACCARD, Composer
from jobs.sample.shingles import jaccard, shingles, words

ALL = (*KEPT, *HARD, *OTHER)

#: what unicodedata calls the letters of each language's main script
SCRIPTS = {
    "ar": "ARABIC",
    "bn": "BENGALI",
    "el": "GREEK",
    "he": "HEBREW",
    "hi": "DEVANAGARI",
    "ja": "HIRAGANA",
    "ko": "HANGUL",
    "ru": "CYRILLIC",
    "th": "THAI",
    "uk": "CYRILLIC",
    "zh": "CJK",
}


def test_there_are_twenty_kept_languages_in_eleven_scripts():
    assert len(set(KEPT)) == 20
    assert len({SCRIPTS.get(lang, "LATIN") for lang in KEPT}) == 11
    assert not set(KEPT) & set(HARD + OTHER)


@pytest.mark.parametrize("lang", ALL)
def test_a_bank_is_well_formed(lang):
    bank = load_bank(lang)
    assert set(bank.variables) == {"place", "name", "other"}
    assert all(len(set(values)) == len(values) >= 5 for values in bank.variables.values())
    assert {register for register, _ in bank.paragraphs} <= {*REGISTERS, CLOSING}
    if lang in KEPT:
        assert {register for register, _ in bank.paragraphs} >= set(REGISTERS)
    assert len({template for _, template in bank.paragraphs}) == len(bank.paragraphs)
    rng = random.Random(1)
    for at, (_, template) in enumerate(bank.paragraphs):
        assert template.count("{") == template.count("}")
        for options in re.findall(r"\{([^{}]*)\}", template):
            choices = options.split("|")
            assert len(choices) == len(set(choices)) >= 2, options
            assert all(choices), options
        filled = bank.fill(at, bank.bind(rng), rng)
        assert not re.search(r"[{}|$<>¶]|  ", filled), filled
        assert unicodedata.is_normalized("NFC", filled)


@pytest.mark.parametrize("lang", KEPT)
def test_a_document_is_in_its_language_s_script(lang):
    text = Composer(load_bank(lang), 17).compose("clean", 0).text
    names = Counter(unicodedata.name(letter).split()[0] for letter in text if letter.isalpha())
    assert names.most_common(1)[0][0] == SCRIPTS.get(lang, "LATIN")


def test_documents_are_unlike_each_other_and_as_long_as_said():
    for lang in ("en", "pl", "zh", "th"):
        composer = Composer(load_bank(lang), 17)
        texts = [composer.compose("clean", number).text for number in range(40)]
        found = [shingles(text) for text in texts]
        highest = max(jaccard(a, b) for at, a in enumerate(found) for b in found[:at])
        assert highest <= MAX_JACCARD
        assert composer.highest_jaccard == pytest.approx(highest)
        if lang in ("en", "pl"):
            assert all(80 <= len(words(text)) <= 400 for text in texts)


def test_a_draw_depends_on_seed_and_name_only():
    first, second = (Composer(load_bank("de"), 5) for _ in range(2))
    assert first.compose("clean", 3) == second.compose("clean", 3)
    assert Composer(load_bank("de"), 6).compose("clean", 3) != second.compose("clean", 4)


def test_words_of_spaced_and_unspaced_scripts():
    assert words("Das 3. Haus, 1987!") == ["das", "0", "haus", "0"]
    assert words("小镇 abc") == ["小", "镇", "abc"]
    assert words("ที่นี่") == ["ที่", "นี่"]
    assert words("किताब") == ["किताब"]
    assert shingles("a b c d e f") == {("a", "b", "c", "d", "e"), ("b", "c", "d", "e", "f")}
    assert shingles("a b") == {("a", "b")}
    assert shingles("...") == frozenset()
    assert jaccard(shingles("a b c d e f"), shingles("a b c d e g")) == 1 / 3
    assert jaccard(frozenset(), frozenset()) == 0
