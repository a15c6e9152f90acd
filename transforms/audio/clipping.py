"""Clips recorded beyond full scale, whose peaks are cut flat."""

from __future__ import annotations

from pydantic import Field

from transforms.base import PartParams
from transforms.probe import MeasuredPartFilter
from transforms.registry import register


class ClippingParams(PartParams):
    """max_clipped_ratio: share of samples at full scale, in [0, 1].

    No curation paper publishes a bound; 0.01 (10 ms of flat peaks in every second) leaves alone recordings that were
    normalised to their one loudest sample.
    """

    max_clipped_ratio: float = Field(default=0.01, ge=0, le=1)


@register("audio.clipping", version=1)
class Clipping(MeasuredPartFilter[ClippingParams]):
    """Rejects audio parts with too many samples at full scale, as counted by audio.decode."""

    Params = ClippingParams
    kind = "audio"
    reasons = frozenset({"clipped", "not_measured"})
    needs = ("audio.clipped_ratio",)
    made_by = "audio.decode"

    def judge_measured(self, clipped_ratio: float) -> tuple[str, str] | None:
        if clipped_ratio > self.params.max_clipped_ratio:
            return "clipped", f"{clipped_ratio:.4f} of its samples clipped, at most {self.params.max_clipped_ratio:g}"
        return None
