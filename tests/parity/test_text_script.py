"""The scripts of texts against `regex` asked for every character, and the table of languages against the model's."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import RecipeError, SchemaError
from tests.conformance.batches import numbered
from transforms.base import append_columns
from transforms.registry import build
from transforms.text.language import LID176, load_model
from transforms.text.script_tables import CODES, NAMES, SCRIPTS_OF, scripts

_LETTER = regex.compile(r"[\p{L}\p{M}]")
_SCRIPTS = {code: regex.compile(rf"\p{{Script={name}}}") for code, name in NAMES.items()}


def reference(text: str) -> tuple[str | None, float | None]:
    counts = Counter(
        code for letter in _LETTER.findall(text) for code, script in _SCRIPTS.items() if script.match(letter)
    )
    if not counts:
        return None, None
    best = max(CODES, key=lambda code: counts[code])
    return best, counts[best] / counts.total()


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=30), max_size=5), cut=st.integers(0, 5))
def test_equal_to_the_reference(texts: list[str], cut: int) -> None:
    batch = numbered([{"text": text} for text in texts])
    batch = append_columns(batch, [(pa.field("text.lang", pa.string()), [None] * len(texts))])
    kept = build("text.script", {}).apply(batch.slice(min(cut, len(texts)))).kept
    found = zip(kept["text.script"].to_pylist(), kept["text.script_share"].to_pylist(), strict=True)
    assert list(found) == [reference(text) for text in texts[min(cut, len(texts)) :]]


@pytest.mark.parametrize("code", ["Latn", "Arab", "Hani", "Adlm", "Hang"])
def test_tables(code: str) -> None:
    index, blocks = scripts()
    every = blocks.reshape(-1, 256)[index].reshape(-1)
    found = {chr(at) for at in np.flatnonzero(every == CODES.index(code) + 1)}
    text = "".join(chr(at) for at in range(0x110000) if not 0xD800 <= at <= 0xDFFF)
    assert found == set(_SCRIPTS[code].findall(text)) & set(_LETTER.findall(text))


def test_every_language_of_the_model_has_its_scripts() -> None:
    assert set(load_model(LID176).labels) <= set(SCRIPTS_OF)
    assert set().union(*SCRIPTS_OF.values()) <= set(CODES)


def test_errors() -> None:
    with pytest.raises(SchemaError, match=r"put text\.language before it"):
        build("text.script", {}).output_schema(numbered([{"text": "a"}]).schema)
    with pytest.raises(RecipeError, match="no script 'Latin'; did you mean 'Latn'"):
        build("text.script", {"scripts": {"en": ["Latin"]}})
