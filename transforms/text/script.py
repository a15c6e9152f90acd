"""Whether a text is in a script that its language is written in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from schemas.errors import SchemaError
from transforms.base import Filter, Params, Verdicts, append_columns, append_fields
from transforms.columns import utf8
from transforms.kernels.scripts import count_scripts
from transforms.registry import nearest, register
from transforms.text.script_tables import CODES, SCRIPTS_OF, scripts

_LANG = "text.lang"
_FIELDS = (pa.field("text.script", pa.string()), pa.field("text.script_share", pa.float64()))


class ScriptParams(Params):
    """Which scripts go with a language, beyond the table of those that lid.176 knows."""

    #: language -> all its scripts (ISO 15924: Latn, Cyrl, Arab, …); replaces what the table has
    scripts: dict[str, list[str]] = Field(default_factory=dict)

    @field_validator("scripts")
    @classmethod
    def _known(cls, given: dict[str, list[str]]) -> dict[str, list[str]]:
        for code in (code for codes in given.values() for code in codes):
            if code not in CODES:
                raise ValueError(f"no script {code!r}; {nearest(code, list(CODES))}")
        return given


@register("text.script", version=1)
class Script(Filter[ScriptParams]):
    """Adds `text.script`, the ISO 15924 code of the script most letters are of, and `text.script_share`, its share of
    the letters that have a script; rejects rows whose language (`text.lang`) is not written in it.

    A classifier has to name some language, and names a wrong one where a text is in none that it knows, is garbled, or
    transliterated; the script then often gives it away. Put `text.language` before this. Rows without letters or
    language, and in languages that neither the table nor `scripts` has, are not judged. Chinese characters, hiragana
    and katakana are scripts of their own (Hani, Hira, Kana), all of which Japanese may be in.
    """

    Params = ScriptParams
    reasons = frozenset({"wrong_script"})

    def __init__(self, params: ScriptParams) -> None:
        super().__init__(params)
        self._scripts = SCRIPTS_OF | {language: frozenset(codes) for language, codes in params.scripts.items()}

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        if _LANG not in schema.names:
            raise SchemaError(f"text.script reads {_LANG}, which no step before it adds; put text.language before it")
        return append_fields(schema, _FIELDS)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        data, offsets = utf8(batch.column("text"))
        counts = np.zeros((batch.num_rows, len(CODES) + 1), np.int64)
        count_scripts(data, offsets, *scripts(), counts)
        counts = counts[:, 1:]
        most, letters = counts.max(axis=1), counts.sum(axis=1)
        names = pa.array(CODES, pa.string()).take(pa.array(counts.argmax(axis=1), mask=letters == 0))
        shares = pa.array(most / np.maximum(letters, 1), mask=letters == 0)
        return append_columns(batch, list(zip(_FIELDS, (names, shares), strict=True)))

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        reasons: list[str | None] = []
        details: list[str | None] = []
        columns = (batch.column(name).to_pylist() for name in (_LANG, "text.script", "text.script_share"))
        for language, script, share in zip(*columns, strict=True):
            known = self._scripts.get(language)
            wrong = known is not None and script is not None and script not in known
            reasons.append("wrong_script" if wrong else None)
            details.append(f"{language} in {script}, {share:.2f} of the letters" if wrong else None)
        return Verdicts(reasons, details)
