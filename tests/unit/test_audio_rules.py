"""audio.duration, audio.silence and audio.clipping read what audio.decode measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SchemaError
from schemas.sample import SAMPLE
from transforms.registry import build

_RULES = ["audio.duration", "audio.silence", "audio.clipping"]


@pytest.mark.parametrize("name", _RULES)
def test_the_missing_step_is_named(name: str) -> None:
    with pytest.raises(SchemaError, match=r"put audio\.decode before it"):
        build(name, {}).output_schema(SAMPLE)
    decoded = build("audio.decode", {}).output_schema(SAMPLE)
    assert build(name, {}).output_schema(decoded).equals(decoded, check_metadata=True)


@given(st.floats(0, 100))
def test_duration_bounds_are_allowed(duration_s: float) -> None:
    verdict = build("audio.duration", {}).judge_measured(duration_s)
    wanted = "too_short" if duration_s < 0.1 else "too_long" if duration_s > 40 else None
    assert (verdict and verdict[0]) == wanted


def test_quiet_comes_before_silent() -> None:
    silence = build("audio.silence", {})
    assert silence.judge_measured(-180.0, 1.0) == ("too_quiet", "RMS -180.0 dBFS, at least -60 wanted")
    assert silence.judge_measured(-60.0, 0.9) is None
    assert silence.judge_measured(-20.0, 0.91) == ("mostly_silent", "0.910 of it silent, at most 0.9 wanted")


def test_clipping_bound_is_allowed() -> None:
    clipping = build("audio.clipping", {"max_clipped_ratio": 0.25})
    assert clipping.judge_measured(0.25) is None
    assert clipping.judge_measured(0.2501) == ("clipped", "0.2501 of its samples clipped, at most 0.25")
