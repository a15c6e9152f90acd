"""image.size and image.aspect read what image.decode measured, and say so when it is missing."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SchemaError
from schemas.sample import SAMPLE, sample_batch
from tests.fixtures import media_fixture
from transforms.media import media_part
from transforms.registry import build


@pytest.mark.parametrize("name", ["image.size", "image.aspect"])
def test_the_missing_step_is_named(name: str) -> None:
    with pytest.raises(SchemaError, match=r"'image.width_px' and 'image.height_px'.*put image.decode before it"):
        build(name, {}).output_schema(SAMPLE)
    decoded = build("image.decode", {}).output_schema(SAMPLE)
    assert build(name, {}).output_schema(decoded).equals(decoded, check_metadata=True)


@given(st.integers(1, 50_000), st.integers(1, 50_000), st.integers(1, 400), st.integers(400, 60_000))
def test_size_is_about_the_sides(width: int, height: int, least: int, most: int) -> None:
    size = build("image.size", {"min_side_px": least, "max_side_px": most})
    verdict = size.judge_measured(width, height)
    wanted = "too_small" if min(width, height) < least else "too_large" if max(width, height) > most else None
    assert (verdict and verdict[0]) == wanted
    turned = size.judge_measured(height, width)
    assert (turned and turned[0]) == wanted


@given(st.integers(0, 50_000), st.integers(0, 50_000))
def test_aspect_does_not_care_which_side_is_up(width: int, height: int) -> None:
    aspect = build("image.aspect", {"max_aspect_ratio": 3.0})
    verdicts = [aspect.judge_measured(*sides) for sides in ((width, height), (height, width))]
    wanted = max(width, height) > 3 * min(width, height)
    assert [verdict is not None for verdict in verdicts] == [wanted, wanted]


def test_a_chain_names_each_part_by_its_first_index() -> None:
    """Parts keep their number from the source while others leave before them."""
    fixtures = ["png_1x1", "jpeg_truncated", "png_wide", "png"]
    media = [media_part(at, media_fixture(name)) for at, name in enumerate(fixtures)]
    batch = sample_batch([{"id": "a", "source": "s#0", "text": "1\ufffc2\ufffc3\ufffc4\ufffc5", "media": media}])
    removed = {}
    for name, params in (("image.decode", {}), ("image.aspect", {}), ("image.size", {})):
        outcome = build(name, params).apply(batch)
        parts, reasons = (outcome.rejected.column(f"reject.{column}").to_pylist() for column in ("part", "reason"))
        removed[name] = dict(zip(parts, reasons, strict=True))
        batch = outcome.kept
    assert removed == {
        "image.decode": {1: "truncated"},
        "image.aspect": {2: "too_elongated"},
        "image.size": {0: "too_small"},
    }
    row = batch.to_pylist()[0]
    assert row["text"] == "1234\ufffc5"
    assert [part["index"] for part in row["media"]] == [3]
    assert row["image.width_px"] == [320]
    assert batch.schema.field("image.width_px").type == pa.list_(pa.int32())
