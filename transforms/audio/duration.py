"""Clips too short to hold a word, or too long for one training sample."""

from __future__ import annotations

from pydantic import Field

from transforms.base import PartParams
from transforms.probe import MeasuredPartFilter
from transforms.registry import register


class DurationParams(PartParams):
    """Bounds in seconds, themselves allowed; 0.1 to 40 s are those of Granary (Koluguri et al. 2025)."""

    min_duration_s: float = Field(default=0.1, ge=0)
    max_duration_s: float = Field(default=40.0, gt=0)


@register("audio.duration", version=1)
class Duration(MeasuredPartFilter[DurationParams]):
    """Rejects audio parts by their decoded length, as measured by audio.decode."""

    Params = DurationParams
    kind = "audio"
    reasons = frozenset({"too_short", "too_long", "not_measured"})
    needs = ("audio.duration_s",)
    made_by = "audio.decode"

    def judge_measured(self, duration_s: float) -> tuple[str, str] | None:
        limits = self.params
        if duration_s < limits.min_duration_s:
            return "too_short", f"{duration_s:.3f} s, at least {limits.min_duration_s:g} wanted"
        if duration_s > limits.max_duration_s:
            return "too_long", f"{duration_s:.3f} s, at most {limits.max_duration_s:g} wanted"
        return None
