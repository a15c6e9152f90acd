"""Rejects rows that a list names: documents set aside for evaluation, or objected to."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt
from pydantic import Field

from schemas.errors import RecipeError
from transforms.base import Filter, Params, Verdicts
from transforms.registry import nearest, register

_STEP = "select.unlisted"
_KEY = "id"


class SelectUnlistedParams(Params):
    """The list, and what being on it is called."""

    #: a Parquet file with a column `id`
    path: str
    #: the reason of a row that is listed, in the list's own terms ("held_out")
    reason: str = Field(default="listed", pattern=r"^[a-z][a-z0-9_]*$")


@register("select.unlisted", version=1)
class SelectUnlisted(Filter[SelectUnlistedParams]):
    """Keeps the rows whose `id` is not in a list, which every worker holds in memory."""

    Params = SelectUnlistedParams
    reasons = frozenset({"listed"})

    def __init__(self, params: SelectUnlistedParams) -> None:
        super().__init__(params)
        self.reasons = frozenset({params.reason})  # type: ignore[misc]
        self._listed: pa.Array | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_listed": None}

    def setup(self) -> None:
        if self._listed is None:
            self._listed = _read(self.params.path)

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        self.setup()
        assert self._listed is not None
        listed = pc.is_in(batch.column("id"), value_set=self._listed)
        return Verdicts(pc.if_else(listed, self.params.reason, pa.scalar(None, pa.string())))


def _read(path: str) -> pa.Array:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            column = file.read(columns=[_KEY]).column(_KEY) if _KEY in names else None
    except (OSError, pa.ArrowInvalid) as error:
        raise RecipeError(f"{_STEP}: {path!r} cannot be read as Parquet ({error})") from error
    if column is None:
        raise RecipeError(f"{_STEP}: {path!r} has no column {_KEY!r}; {nearest(_KEY, names)}")
    if not (pt.is_string(column.type) or pt.is_large_string(column.type)):
        raise RecipeError(f"{_STEP}: the column {_KEY!r} of {path!r} is {column.type}; ids are strings")
    return column.cast(pa.string()).combine_chunks()
