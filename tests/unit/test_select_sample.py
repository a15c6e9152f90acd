"""select.sample: the published hash, the asked share, and nothing but id and seed."""

from __future__ import annotations

import xxhash

from tests.conformance.batches import numbered
from transforms.registry import build
from transforms.select.sample import draw


def kept(params: dict, ids: list[str]) -> set[str]:
    batch = numbered([{"id": name, "source": name, "text": ""} for name in ids])
    return set(build("select.sample", params).apply(batch).kept["id"].to_pylist())


IDS = [f"doc-{at}" for at in range(5000)]


def test_draw_is_xxh3() -> None:
    assert draw("doc-1", 17) == xxhash.xxh3_64_intdigest(b"doc-1", seed=17)
    assert draw("doc-1", -1) == xxhash.xxh3_64_intdigest(b"doc-1", seed=2**64 - 1)


def test_share_and_nesting() -> None:
    tenth = kept({"fraction": 0.1, "seed": 17}, IDS)
    assert 420 < len(tenth) < 580
    assert tenth < kept({"fraction": 0.3, "seed": 17}, IDS)
    assert tenth != kept({"fraction": 0.1, "seed": 18}, IDS)


def test_order_and_batch_change_nothing() -> None:
    whole = kept({"fraction": 0.5, "seed": 3}, IDS[:100])
    assert kept({"fraction": 0.5, "seed": 3}, IDS[:100][::-1]) == whole
    assert kept({"fraction": 0.5, "seed": 3}, IDS[:50]) | kept({"fraction": 0.5, "seed": 3}, IDS[50:100]) == whole
