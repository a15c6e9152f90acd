"""Clips in which nothing, or hardly anything, is heard."""

from __future__ import annotations

from pydantic import Field

from transforms.base import PartParams
from transforms.probe import MeasuredPartFilter
from transforms.registry import register


class SilenceParams(PartParams):
    """max_silence_ratio: share of 20 ms frames below audio.decode's `silence_below_dbfs`, in [0, 1].

    min_rms_dbfs: loudness of the whole clip. No curation paper publishes bounds for either; the defaults remove clips
    that are nine tenths silent and clips below -60 dBFS, where 16-bit speech has some five bits left.
    """

    max_silence_ratio: float = Field(default=0.9, ge=0, le=1)
    min_rms_dbfs: float = Field(default=-60.0, le=0)


@register("audio.silence", version=1)
class Silence(MeasuredPartFilter[SilenceParams]):
    """Rejects silent and barely audible parts, from the levels audio.decode measured."""

    Params = SilenceParams
    kind = "audio"
    reasons = frozenset({"too_quiet", "mostly_silent", "not_measured"})
    needs = ("audio.rms_dbfs", "audio.silence_ratio")
    made_by = "audio.decode"

    def judge_measured(self, rms_dbfs: float, silence_ratio: float) -> tuple[str, str] | None:
        limits = self.params
        if rms_dbfs < limits.min_rms_dbfs:
            return "too_quiet", f"RMS {rms_dbfs:.1f} dBFS, at least {limits.min_rms_dbfs:g} wanted"
        if silence_ratio > limits.max_silence_ratio:
            return "mostly_silent", f"{silence_ratio:.3f} of it silent, at most {limits.max_silence_ratio:g} wanted"
        return None
