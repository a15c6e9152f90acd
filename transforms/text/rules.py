"""Thresholds on columns: the first one a row fails is its reason. Vectorised over the batch; no text is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from transforms.base import Verdicts
from transforms.signals import column_name


@dataclass(frozen=True, slots=True)
class Rule:
    """A row fails when `signal` `fails` `limit`, strictly; a null signal or limit fails nothing."""

    reason: str
    signal: str  # without "signal." and the variant
    fails: Literal["<", ">"]
    limit: float | None


def columns(rules: Sequence[Rule], variant: str) -> tuple[str, ...]:
    """The signal columns the active rules read."""
    return tuple(dict.fromkeys(column_name(rule.signal, variant) for rule in rules if rule.limit is not None))


def judge(batch: pa.RecordBatch, rules: Sequence[Rule], variant: str) -> Verdicts:
    """One reason or null a row: that of the first rule, in the order given, that the row fails."""
    reasons = np.full(batch.num_rows, None, object)
    details = np.full(batch.num_rows, None, object)
    for rule in rules:
        if rule.limit is None:
            continue
        values = numbers(batch.column(column_name(rule.signal, variant)))
        for row in np.flatnonzero(failing(values, rule) & (reasons == None)):  # noqa: E711
            reasons[row] = rule.reason
            details[row] = describe(rule.signal.rpartition(".")[2], values[row], rule)
    return Verdicts(reasons.tolist(), details.tolist())


def failing(values: np.ndarray, rule: Rule) -> np.ndarray:
    """Mask of the values that fail a rule; NaN never does."""
    return values < rule.limit if rule.fails == "<" else values > rule.limit


def describe(label: str, value: float, rule: Rule) -> str:
    """For example "word_count 12 < 50". Digits are added until the two numbers differ as the rule says they do."""
    for digits in (4, 7, 17):
        shown, limit = f"{value:.{digits}g}", f"{rule.limit:.{digits}g}"
        if shown != limit:
            break
    return f"{label} {shown} {rule.fails} {limit}"


def numbers(column: pa.Array) -> np.ndarray:
    """A numeric column as float64, nulls as NaN."""
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
