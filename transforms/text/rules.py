"""Thresholds on columns: the first one a row fails is its reason. Vectorised over the batch; no text is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from transforms.base import Verdicts
from transforms.signals import column_name
from transforms.text.languages import LanguageParams, languages_of


@dataclass(frozen=True, slots=True)
class Rule:
    """A row fails when `signal` `fails` the limit that the parameter sets, strictly; null fails nothing."""

    reason: str
    signal: str  # without "signal." and the variant
    fails: Literal["<", ">"]
    parameter: str


class RuleSet:
    """Rules with their limits, which may differ by language."""

    def __init__(self, rules: Sequence[Rule], params: LanguageParams, variant: str) -> None:
        self._rules = rules
        self._params = params
        self._variant = variant
        self._by_language: Mapping[str, Mapping[str, float | None]] = params.limits()

    def columns(self) -> tuple[str, ...]:
        """The signal columns the active rules read."""
        active = (rule for rule in self._rules if self.is_active(rule.parameter))
        return tuple(dict.fromkeys(column_name(rule.signal, self._variant) for rule in active))

    def is_active(self, parameter: str) -> bool:
        """Whether the parameter has a value in any language."""
        values = (limits.get(parameter) for limits in self._by_language.values())
        return getattr(self._params, parameter) is not None or any(value is not None for value in values)

    def limits(self, languages: np.ndarray, parameter: str) -> np.ndarray:
        """The parameter's value for rows in these languages, float64 [rows]; NaN where it is null."""
        value = getattr(self._params, parameter)
        limits = np.full(len(languages), np.nan if value is None else value, np.float64)
        for code, by_name in self._by_language.items():
            if parameter in by_name:
                value = by_name[parameter]
                limits[languages == code] = np.nan if value is None else value
        return limits

    def judge(self, batch: pa.RecordBatch) -> Verdicts:
        """One reason or null a row: that of the first rule, in the order given, that the row fails."""
        languages = languages_of(batch)
        reasons = np.full(batch.num_rows, None, object)
        details = np.full(batch.num_rows, None, object)
        for rule in self._rules:
            if not self.is_active(rule.parameter):
                continue
            values = numbers(batch.column(column_name(rule.signal, self._variant)))
            limits = self.limits(languages, rule.parameter)
            failing = values < limits if rule.fails == "<" else values > limits
            for row in np.flatnonzero(failing & (reasons == None)):  # noqa: E711
                reasons[row] = rule.reason
                details[row] = describe(rule.signal.rpartition(".")[2], values[row], rule.fails, limits[row])
        return Verdicts(reasons.tolist(), details.tolist())


def describe(label: str, value: float, fails: str, limit: float) -> str:
    """For example "word_count 12 < 50". Digits are added until the two numbers differ as the rule says they do."""
    for digits in (4, 7, 17):
        shown, against = f"{value:.{digits}g}", f"{limit:.{digits}g}"
        if shown != against:
            break
    return f"{label} {shown} {fails} {against}"


def numbers(column: pa.Array) -> np.ndarray:
    """A numeric column as float64, nulls as NaN."""
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
