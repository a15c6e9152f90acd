"""select.range: what it refuses, and whose reason it gives."""

from __future__ import annotations

import pyarrow as pa
import pytest

from schemas.errors import RecipeError, SchemaError
from schemas.sample import SAMPLE
from tests.conformance.batches import numbered, with_columns
from transforms.registry import build

SCORED = SAMPLE.append(pa.field("score.quality", pa.float64()))


def test_the_recipe_names_the_reason() -> None:
    step = build("select.range", {"column": "score.quality", "min": 0.6, "reason": "low_quality"})
    assert step.reasons == {"low_quality", "missing_value"}
    assert type(step).reasons == {"out_of_range", "missing_value"}
    rows = [{"text": "x", "score.quality": 0.25}, {"text": "y", "score.quality": 0.6}]
    outcome = step.apply(with_columns(numbered([{"text": "x"}, {"text": "y"}]), rows))
    assert outcome.rejected["reject.reason"].to_pylist() == ["low_quality"]
    assert outcome.rejected["reject.detail"].to_pylist() == ["score.quality 0.25 < 0.6"]
    assert outcome.kept["text"].to_pylist() == ["y"]


def test_missing_column_names_the_nearest() -> None:
    with pytest.raises(SchemaError, match=r"no column 'score.qualty'.*did you mean 'score.quality'"):
        build("select.range", {"column": "score.qualty", "min": 0}).output_schema(SCORED)


def test_only_numbers_have_a_range() -> None:
    with pytest.raises(SchemaError, match="'url' is string"):
        build("select.range", {"column": "url", "min": 0}).output_schema(SAMPLE)
    assert build("select.range", {"column": "score.quality", "min": 0}).output_schema(SCORED) == SCORED


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"column": "a"}, "give min, max or both"),
        ({"column": "a", "min": 2, "max": 1}, "no value could pass"),
        ({"column": "a", "min": 2, "reason": "Too low"}, "reason"),
    ],
)
def test_senseless_ranges(params: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build("select.range", params)
