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
from transforms.text.language_codes import Code
from transforms.text.script_tables import CODES, SCRIPTS_OF, scripts

_LANG = "text.lang"
_FIELDS = (
    pa.field("text.script", pa.string()),
    pa.field("text.script_share", pa.float64()),
    pa.field("text.script_fit", pa.float64()),
)


class ScriptParams(Params):
    """Which scripts go with a language, beyond the table of those that lid.176 knows."""

    #: language -> all its scripts (ISO 15924: Latn, Cyrl, Arab, …); replaces what the table has
    scripts: dict[Code, list[str]] = Field(default_factory=dict)
    #: a row with a smaller share of its letters in its language's scripts is rejected; low, for a page about software
    #: in Japanese may be half Latin letters, and one Chinese character is a word of five
    min_fit: float = Field(default=0.2, ge=0, le=1)

    @field_validator("scripts")
    @classmethod
    def _known(cls, given: dict[str, list[str]]) -> dict[str, list[str]]:
        for code in (code for codes in given.values() for code in codes):
            if code not in CODES:
                raise ValueError(f"no script {code!r}; {nearest(code, list(CODES))}")
        return given


@register("text.script", version=1)
class Script(Filter[ScriptParams]):
    """Adds `text.script`, the ISO 15924 code of the script most letters are of; `text.script_share`, its share of the
    letters that have a script; and `text.script_fit`, the share of those in the scripts that the row's language
    (`text.lang`) is written in. Rejects rows that hardly fit.

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
        fits, unknown = self._fits(batch.column(_LANG), counts, letters)
        return append_columns(batch, list(zip(_FIELDS, (names, shares, pa.array(fits, mask=unknown)), strict=True)))

    def _fits(self, languages: pa.Array, counts: np.ndarray, letters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(share of the letters in the language's scripts, whether that is unknown) of every row."""
        encoded = languages.dictionary_encode()
        rows = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        fits, unknown = np.zeros(len(rows)), letters == 0
        for number, language in enumerate([*encoded.dictionary.to_pylist(), None], start=0):
            mine = rows == (-1 if language is None else number)
            known = self._scripts.get(language) if language is not None else None
            if known is None:
                unknown |= mine
                continue
            places = [place for place, code in enumerate(CODES) if code in known]
            fits[mine] = counts[mine][:, places].sum(axis=1) / np.maximum(letters[mine], 1)
        return fits, unknown

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        fits = batch.column("text.script_fit").fill_null(1.0).to_numpy(zero_copy_only=False)
        reasons = np.full(batch.num_rows, None, object)
        details = np.full(batch.num_rows, None, object)
        for row in np.flatnonzero(fits < self.params.min_fit).tolist():
            language, script = batch.column(_LANG)[row].as_py(), batch.column("text.script")[row].as_py()
            expected = " or ".join(sorted(self._scripts[language]))
            reasons[row] = "wrong_script"
            details[row] = f"{fits[row]:.2f} of the letters in {expected} for {language}; most are {script}"
        return Verdicts(reasons.tolist(), details.tolist())
