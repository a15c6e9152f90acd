"""Which scripts a language is written in, and what share of a text's letters is in them."""

from __future__ import annotations

from functools import cache
from typing import Any

import regex

#: script -> languages (ISO 639-1, else 639-3) that are written in it today
_WRITTEN_IN = {
    "Latin": "af als an ast az bar bcl bi br bs ca ceb co cs cy da de diq dsb en eo es et eu fi fil fr frr fy ga gd gl"
    " gn ha haw hr hsb ht hu ia id ie ig ilo io is it jbo jv ku kw la lb li lmo ln lt lv mg mi min ms mt mwl nah nap"
    " nb nds nl nn no ny oc om pam pl pms pt qu rm rn ro rw sc scn sco sg sh sk sl sm sn so sq sr ss st su sv sw szl"
    " tg tk tl tn to tr ts tt ug uz vec vep vi vls vo wa war wo xh yo za zu",
    "Cyrillic": "ab av az ba be bg bs bxr ce cv kk krc kv ky lez mdf mhr mk mn mrj myv os ru rue sah sh sr tg tk tt tyv"
    " udm uk uz xal",
    "Arabic": "ar arz az azb ckb dv fa glk ku ky ks ms mzn pnb ps sd tg ug ur uz",
    "Devanagari": "anp awa bh bho bpy dty gom hi kok mai mr ne new rn sa sd",
    "Bengali": "as bn bpy mni",
    "Greek": "el grc pnt",
    "Armenian": "hy hyw",
    "Hebrew": "he yi",
    "Georgian": "ka xmf",
    "Ethiopic": "am ti",
    "Gurmukhi": "pa",
    "Gujarati": "gu",
    "Oriya": "or",
    "Tamil": "ta",
    "Telugu": "te",
    "Kannada": "kn",
    "Malayalam": "ml",
    "Sinhala": "si",
    "Thai": "th",
    "Lao": "lo",
    "Khmer": "km",
    "Myanmar": "my shn mnw",
    "Tibetan": "bo dz",
    "Mongolian": "mn",
    "Thaana": "dv",
    "Syriac": "syr arc",
    "Cherokee": "chr",
    "Tifinagh": "zgh shi",
    "Han": "zh yue wuu lzh cjy hak gan ja ko",
    "Bopomofo": "zh",
    "Hiragana": "ja",
    "Katakana": "ja",
    "Hangul": "ko",
    "Canadian_Aboriginal": "iu cr",
}
_LETTERS = regex.compile(r"\p{L}+")


def scripts_of(lang: str) -> tuple[str, ...]:
    """The scripts of a language; empty when it is not known here. `deu_Latn` is taken for the language deu."""
    return _by_language().get(lang.partition("_")[0], ())


def script_share(text: str, lang: str, beside: str = "") -> float | None:
    """Share of the text's letters that are in a script of the language; None when there is none of either.

    Runs of letters that `beside` has too are left out: names, terms and code are quoted as they are.
    """
    scripts = scripts_of(lang)
    quoted = set(_LETTERS.findall(beside))
    own = [run for run in _LETTERS.findall(text) if run not in quoted]
    total = sum(map(len, own))
    if not scripts or not total:
        return None
    inside = _letters_in(scripts)
    return float(sum(len(letters) for run in own for letters in inside.findall(run)) / total)


@cache
def _by_language() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for script, languages in _WRITTEN_IN.items():
        for lang in languages.split():
            found.setdefault(lang, []).append(script)
    return {lang: tuple(scripts) for lang, scripts in found.items()}


@cache
def _letters_in(scripts: tuple[str, ...]) -> Any:
    union = "".join(rf"\p{{Script_Extensions={script}}}" for script in scripts)
    return regex.compile(rf"[\p{{L}}&&[{union}]]+", regex.V1)
