"""Text in one clean form: repaired encoding, one kind of line end, no control characters, NFC."""

from __future__ import annotations

import unicodedata
from functools import partial
from typing import Literal

import ftfy
import pyarrow as pa
import regex
from pydantic import Field

from schemas.sample import SENTINEL
from transforms.base import Map, Params
from transforms.registry import register
from transforms.text.mojibake import fix_encoding

# After the repairs, for NEL (U+0085) is a common byte of UTF-8 read as Latin-1.
_LINE_END = regex.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Controls but \n and \t; byte order marks, interlinear annotation marks, noncharacters.
_CONTROL = regex.compile(r"[[\p{Cc}\ufeff\ufff9-\ufffb\p{Noncharacter_Code_Point}]--[\n\t]]", regex.V1)
# A run is looked at once, from its first character: inside a long line of spaces the cost would be its square.
_TRAILING_SPACE = regex.compile(r"(?<![^\S\n])[^\S\n]++(?=\n|\Z)")
# Repeats of one character class: a repeated group would remember every line of a long run.
_LEADING_SPACE = regex.compile(r"\s*+")
_GAP = regex.compile(r"\n\s*+")


class NormalizeParams(Params):
    """What to change. The repairs are ftfy's (Speer 2019); they act only where they recognise a fault."""

    #: text that was decoded with the wrong encoding: "schÃ¶n" becomes "schön"
    fix_mojibake: bool = True
    #: "&eacute;" becomes "é", in rows that hold no "<" (as ftfy: those with one may be HTML on purpose)
    unescape_html: bool = True
    remove_control_chars: bool = True
    unicode_form: Literal["NFC", "NFKC"] | None = "NFC"
    #: white space at line ends, and blank lines before and after the text
    strip_trailing_space: bool = True
    #: a longer run of blank lines is cut to so many; null leaves them
    max_blank_lines: int | None = Field(default=2, ge=0)


@register("text.normalize", version=1)
class Normalize(Map[NormalizeParams]):
    """Normalises `text`; media sentinels stay where and as many as they were. Line ends always become \\n."""

    Params = NormalizeParams
    edits_text = True

    def map(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        at = batch.schema.get_field_index("text")
        field = batch.schema.field(at)
        texts = [normalize(text, self.params) for text in batch.column(at).to_pylist()]
        return batch.set_column(at, field, pa.array(texts, field.type))


def normalize(text: str, params: NormalizeParams) -> str:
    """The text in normal form.

    Between sentinels each piece is repaired by itself, so that no repair can see, lose or make one; what concerns
    whole lines is done to the joined text, where a line that holds a sentinel is not blank.
    """
    unescape = params.unescape_html and "&" in text and "<" not in text
    text = SENTINEL.join(_characters(piece, params, unescape) for piece in text.split(SENTINEL))
    if params.strip_trailing_space:
        text = _TRAILING_SPACE.sub("", text)
        leading = _LEADING_SPACE.match(text)
        text = text[text.rfind("\n", 0, leading.end() if leading else 0) + 1 :].rstrip("\n")
    if params.max_blank_lines is not None:
        text = _GAP.sub(partial(_shortened, params.max_blank_lines + 1), text)
    return text


def _shortened(most: int, gap: regex.Match[str]) -> str:
    """A line's end and the white space after it, with at most so many line ends."""
    found = gap.group()
    return "\n" * most + found[found.rfind("\n") + 1 :] if found.count("\n") > most else found


def _characters(piece: str, params: NormalizeParams, unescape: bool) -> str:
    if unescape:
        piece = _unescape(piece)
    if params.fix_mojibake:
        piece = fix_encoding(piece)
    piece = _LINE_END.sub("\n", piece)
    if params.remove_control_chars:
        piece = _CONTROL.sub("", piece)
    if params.unicode_form and not piece.isascii():
        piece = unicodedata.normalize(params.unicode_form, piece)
    # "&#65532;" and "ï¿¼" are sentinels in disguise; the row's media do not know them.
    return piece.replace(SENTINEL, "")


def _unescape(piece: str) -> str:
    return ftfy.fixes.unescape_html(piece)
