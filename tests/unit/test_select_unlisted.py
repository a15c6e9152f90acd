"""select.unlisted: ids are compared exactly, and a list that is none is told before any row is judged."""

import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import RecipeError
from tests.conformance.batches import numbered
from transforms.registry import build


def step(path, **params):
    return build("select.unlisted", {"path": str(path)} | params)


def test_listed_rows_go_for_the_lists_reason(tmp_path):
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"id.x": [1, 2], "id": pa.array(["b", "c"], pa.large_string())}), path)
    batch = numbered([{"id": name, "source": name, "text": ""} for name in ("a", "b", "B", "c")])
    made = pickle.loads(pickle.dumps(step(path, reason="held_out")))  # noqa: S301  as a worker gets it
    outcome = made.apply(batch)
    assert outcome.kept["id"].to_pylist() == ["a", "B"]
    assert outcome.rejected["reject.reason"].to_pylist() == ["held_out", "held_out"]
    assert made.reasons == {"held_out"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as Parquet"),
        ({"ids": ["a"]}, "has no column 'id'; did you mean 'ids'"),
        ({"id": [1]}, "is int64; ids are strings"),
    ],
)
def test_what_is_no_list_is_told(tmp_path, content, message):
    path = tmp_path / "list.parquet"
    path.write_bytes(b"PAR1") if content is None else pq.write_table(pa.table(content), path)
    with pytest.raises(RecipeError, match=message):
        step(path).setup()
    with pytest.raises(RecipeError, match="cannot be read as Parquet"):
        step(tmp_path / "none").setup()
