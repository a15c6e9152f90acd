"""Thirty losses of a small run, as they were: see tests/golden/regenerate_losses.py."""

import json

import pytest

from tests.golden.regenerate_losses import GOLDEN, observed


def test_losses_are_what_they_were(tmp_path):
    # not to the bit: a matrix product adds up in another order on another processor (vector width, cache sizes), and
    # the math library's exponentials differ in their last digit; a step makes of it at most a few parts in a million
    assert observed(tmp_path) == pytest.approx(json.loads(GOLDEN.read_text()), rel=1e-5)
