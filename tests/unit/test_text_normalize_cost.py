"""Normalising is linear in the text, whatever the text."""

from __future__ import annotations

import time

import pytest

from transforms.text.normalize import NormalizeParams, normalize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" + " " * 200_000 + "x", "a" + " " * 200_000 + "x"),
        ("a" + " \n" * 200_000 + "x", "a\n\n\nx"),
        (" \n" * 200_000 + " x" + " " * 200_000, " x"),
        ("\n" * 8_000_000 + "x" + "\n" * 8_000_000 + "y", "x\n\n\ny"),
        ("«Ç " * 100_000, ("«Ç " * 100_000).rstrip()),
    ],
    ids=["inner", "lines", "outer", "newlines", "suspects"],
)
def test_long_runs(text: str, expected: str) -> None:
    start = time.process_time()
    assert normalize(text, NormalizeParams()) == expected
    # The square of these lengths would be half an hour.
    assert time.process_time() - start < 30
