"""Scripts: of every character (Unicode Standard Annex #24), and of the languages that lid.176 knows, and some more.

The scripts of languages are those in which they are written today or were in living memory, as CLDR lists them
(supplemental data, "likely subtags" and "language data"), from our own knowledge.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import regex

from transforms.text.codepoint_tables import by_code, characters, two_levels

_PAIRS = (
    "Adlm:Adlam Arab:Arabic Armn:Armenian Bali:Balinese Beng:Bengali Bopo:Bopomofo Brai:Braille Bugi:Buginese "
    "Cakm:Chakma Cans:Canadian_Aboriginal Cham:Cham Cher:Cherokee Copt:Coptic Cyrl:Cyrillic Deva:Devanagari "
    "Ethi:Ethiopic Geor:Georgian Glag:Glagolitic Goth:Gothic Grek:Greek Gujr:Gujarati Guru:Gurmukhi "
    "Hang:Hangul Hani:Han Hebr:Hebrew Hira:Hiragana Java:Javanese Kana:Katakana Khmr:Khmer Knda:Kannada "
    "Laoo:Lao Latn:Latin Lepc:Lepcha Limb:Limbu Lisu:Lisu Mlym:Malayalam Mong:Mongolian Mtei:Meetei_Mayek "
    "Mymr:Myanmar Nkoo:Nko Olck:Ol_Chiki Orya:Oriya Sinh:Sinhala Sund:Sundanese Syrc:Syriac Tale:Tai_Le "
    "Talu:New_Tai_Lue Taml:Tamil Telu:Telugu Tfng:Tifinagh Thaa:Thaana Thai:Thai Tibt:Tibetan Tirh:Tirhuta "
    "Vaii:Vai Yiii:Yi"
)
#: ISO 15924 code -> Unicode's name of the script
NAMES = {code: name for code, _, name in (pair.partition(":") for pair in _PAIRS.split())}
#: in the order of the numbers that characters have, from 1
CODES = tuple(NAMES)

_LATIN = (
    "af als an ast bar bcl bi br ca cbk ceb co cs cy da de diq dsb en eo es et eu fi fr frr fy ga gd gl gn gv haw "
    "hif hr hsb ht hu ia id ie ig ilo io is it jbo kw la lb li lmo ln lt lv mg mi min mt mwl nah nap nds nl nn no ny "
    "oc om pam pfl pl pms pt qu rm rn ro rw sc scn sco sg sk sl sm sn so sq ss st sv sw szl tl tn to tr ts vec vep vi "
    "vls vo wa war xh yo za zu"
)
_OTHERS = (
    "ab:Cyrl am:Ethi anp:Deva ar:Arab arc:Syrc arz:Arab as:Beng av:Cyrl awa:Deva az:Latn,Cyrl,Arab azb:Arab ba:Cyrl "
    "be:Cyrl,Latn bg:Cyrl bh:Deva bho:Deva bn:Beng bo:Tibt bpy:Beng bs:Latn,Cyrl bxr:Cyrl,Mong ce:Cyrl chr:Cher "
    "cjy:Hani ckb:Arab cr:Cans,Latn cv:Cyrl dty:Deva dv:Thaa dz:Tibt el:Grek eml:Latn fa:Arab gan:Hani glk:Arab "
    "gom:Deva,Latn,Knda grc:Grek gu:Gujr ha:Latn,Arab hak:Hani,Latn he:Hebr hi:Deva hy:Armn hyw:Armn iu:Cans,Latn "
    "ja:Hira,Kana,Hani jv:Latn,Java ka:Geor kk:Cyrl,Arab,Latn km:Khmr kn:Knda ko:Hang,Hani kok:Deva,Latn,Knda "
    "krc:Cyrl ks:Arab,Deva ku:Latn,Arab,Cyrl kv:Cyrl ky:Cyrl,Arab,Latn lez:Cyrl lo:Laoo lrc:Arab lzh:Hani "
    "mai:Deva,Tirh mdf:Cyrl mhr:Cyrl mk:Cyrl ml:Mlym mn:Cyrl,Mong mni:Beng,Mtei mnw:Mymr mr:Deva mrj:Cyrl "
    "ms:Latn,Arab my:Mymr myv:Cyrl mzn:Arab ne:Deva new:Deva or:Orya os:Cyrl pa:Guru,Arab pnb:Arab,Guru pnt:Grek "
    "ps:Arab ru:Cyrl rue:Cyrl sa:Deva sah:Cyrl sd:Arab,Deva sh:Latn,Cyrl shi:Tfng,Latn,Arab shn:Mymr si:Sinh "
    "sr:Cyrl,Latn su:Latn,Sund syr:Syrc ta:Taml te:Telu tg:Cyrl,Arab,Latn th:Thai ti:Ethi tk:Latn,Cyrl,Arab "
    "tt:Cyrl,Latn tyv:Cyrl udm:Cyrl ug:Arab,Cyrl,Latn uk:Cyrl ur:Arab uz:Latn,Cyrl,Arab wo:Latn,Arab wuu:Hani "
    "xal:Cyrl xmf:Geor yi:Hebr yue:Hani zgh:Tfng zh:Hani,Bopo"
)
#: language -> the scripts it may be in
SCRIPTS_OF: dict[str, frozenset[str]] = dict.fromkeys(_LATIN.split(), frozenset(("Latn",))) | {
    language: frozenset(codes.split(",")) for language, _, codes in (entry.partition(":") for entry in _OTHERS.split())
}


@cache
def scripts() -> tuple[np.ndarray, np.ndarray]:
    """The two tables of kernels.scripts: index uint16, scripts uint8: letters and marks by number, 0 for all else."""
    text = characters()
    numbers = np.zeros(len(text), np.uint8)
    for number, name in enumerate(NAMES.values(), start=1):
        for match in regex.compile(rf"[\p{{Script={name}}}&&[\p{{L}}\p{{M}}]]+", regex.V1).finditer(text):
            numbers[match.start() : match.end()] = number
    return two_levels(by_code(numbers))
