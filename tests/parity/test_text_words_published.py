"""Words and marks: recorded from uniseg 0.10.1 (UAX #29, as DCLM uses it) and spaCy 3.8's blank English pipeline."""

from __future__ import annotations

import pytest

from transforms.signals import Document
from transforms.text.english import english_words_by_letter, split_english
from transforms.text.sentences import datatrove_marks, spacy_marks, terminal_marks
from transforms.text.words import split_unicode, split_whitespace

SPACY = {
    "I'm sure you'd've said it wasn't so.": "I|'m|sure|you|'d|'ve|said|it|was|n't|so|.",
    "Don’t wed; he’ll can't've dont cannot": "Do|n’t|we|d|;|he|’ll|ca|n't|'ve|do|nt|can|not",
    "Mr. Smith (of Wash., U.S.A.) met Dr. No at 10a.m. e.g. today, i.e. now...":
        "Mr.|Smith|(|of|Wash.|,|U.S.A.|)|met|Dr.|No|at|10|a.m.|e.g.|today|,|i.e.|now|...",
    "See https://example.org/a?b=1, or mail a.b@example.org!": "See|https://example.org/a?b=1|,|or|mail|a.b@example.org|!",
    "5km/h at 20°C. costs $4.50, 30% off—well-known state-of-the-art":
        "5|km/h|at|20|°|C|.|costs|$|4.50|,|30|%|off|—|well|-|known|state|-|of|-|the|-|art",
    'end."He said:Stop ... "quoted" (see foo): :-)': 'end|.|"He|said|:|Stop|...|"|quoted|"|(|see|foo|):|:-)',
    "1990-2000 a=b x<y and/or w/o C++ #tag @name 's the dogs' bone":
        "1990|-|2000|a|=|b|x|<|y|and/or|w/o|C++|#|tag|@name|'s|the|dogs|'|bone",
    "Hello,world. New sentence.Next one.2nd": "Hello|,|world|.|New|sentence|.|Next|one.2nd",
    "ఇది ఒక కథ. यह किताब है. वह नहीं-था,पर है": "ఇది|ఒక|కథ|.|यह|किताब|है|.|वह|नहीं|-|था|,|पर|है",
    "Սա մի գիրք է. նոր-օր,այդ. ԱԲ. ეს წიგნია. ახალი-დღე.": "Սա|մի|գիրք|է.|նոր-օր,այդ.|ԱԲ.|ეს|წიგნია.|ახალი-დღე.",
    "זה ספר. ספר-חדש,כן هذا كتاب. نعم،لا": "זה|ספר|.|ספר|-|חדש|,|כן|هذا|كتاب|.|نعم،لا",
    "id whos lets gonna y'all whore": "i|d|who|s|lets|gon|na|y'|all|whore",
    "我爱Python。「是的」吗？天气很好。河面没有风。": "我爱Python。「是的」吗？天气很好。河面没有风|。",
}  # fmt: skip


@pytest.mark.parametrize("text", SPACY)
def test_spacy_english(text: str) -> None:
    assert "|".join(split_english(text)) == SPACY[text]


UNISEG = {
    "Hello, World. can't l'amour 'electron e.g. 3.14 1,000": "Hello|World|can't|l'amour|electron|e.g|3.14|1,000",
    "snake_case x_1 _private a:b foo.bar@baz.org": "snake_case|x_1|a:b|foo.bar|baz.org",
    "e\u0301te\u0301 naïve Ω 今日は カタカナ ไทย": "e\u0301te\u0301|naïve|Ω|今|日|は|カタカナ|ไ|ท|ย",
    "א'ב שלום 한국어 word\u200djoined": "א'ב|שלום|한국어|word\u200djoined",
    "state-of-the-art don’t #tag": "state|of|the|art|don’t|tag",
}


@pytest.mark.parametrize("text", UNISEG)
def test_uax29(text: str) -> None:
    assert "|".join(split_unicode(text)) == UNISEG[text]


def test_unspaced_scripts_split_by_letter() -> None:
    assert split_whitespace("我爱 Python 和カメラ ดี") == ["我", "爱", "Python", "和", "カ", "メ", "ラ", "ดี"]
    assert english_words_by_letter(Document("我爱Python。")) == ["我", "爱", "Python", "。"]


def test_terminal_marks() -> None:
    """datatrove 0.10.1 lists 159 and spaCy 128; a newer Unicode may have more (transforms.text.sentences)."""
    assert (len(datatrove_marks()), len(spacy_marks())) == (159, 128)
    assert datatrove_marks() - spacy_marks() >= set("។៕៖៙៚؞")
    assert spacy_marks() < datatrove_marks() and set(".!?。！？؟।။") < spacy_marks()
    assert terminal_marks() - datatrove_marks() >= set("․︒︕︖")
