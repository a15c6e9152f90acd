"""The demo recipe makes of the demo corpus what it made of it before; see regenerate.py before changing the file."""

from __future__ import annotations

import json

from tests.golden.regenerate import GOLDEN, observed


def test_the_demo_text_is_judged_and_tokenized_as_recorded(tmp_path):
    expected = json.loads(GOLDEN.read_text())
    found = observed(tmp_path)
    assert found["rejected"] == expected["rejected"]
    assert found == expected
