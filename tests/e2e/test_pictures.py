"""Near-duplicate pictures in a run: the copy leaves, its caption lives on, and the ledger says whose copy it was."""

from __future__ import annotations

import base64
import json

import pyarrow.parquet as pq

from pipeline.curate import curate
from pipeline.graph import Launcher
from pipeline.recipe import resolve
from tests.fixtures import encoded
from tests.pictures import photo


def test_a_reencoded_picture_of_another_size_is_removed_for_its_original(tmp_path):
    image = photo(1)
    pictures = {
        "original": encoded(image, "JPEG", quality=90),
        "copy": encoded(image.resize((200, 150)), "JPEG", quality=60),
        "other": encoded(photo(2), "JPEG", quality=90),
    }
    rows = [
        {"id": name, "text": f"what the {name} shows", "img": [base64.b64encode(data).decode()]}
        for name, data in pictures.items()
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "recipe": 1,
        "name": "pictures",
        "inputs": [{"use": "jsonl", "with": {"paths": str(tmp_path / "in.jsonl"), "columns": {"image": "img"}}}],
        "steps": [{"use": "image.decode"}, {"use": "media.exact_dedup"}, {"use": "image.near_dedup"}],
        "tokens": {"tokenizer": "bytes", "sequence_length": 256, "image": {"min_pixels": 1024, "max_pixels": 65536}},
        "output": {"path": str(tmp_path / "out")},
    }
    curate(resolve(recipe), Launcher("direct", 1))
    files = sorted((tmp_path / "out" / "ledger").glob("*.parquet"))
    found = {(row["id"], row["part"]): row for path in files for row in pq.read_table(path).to_pylist()}
    assert {name: found[name, None]["verdict"] for name in pictures} == dict.fromkeys(pictures, "kept")
    gone = {key: row for key, row in found.items() if row["verdict"] == "rejected"}
    assert list(gone) == [("copy", 0)]
    row = gone["copy", 0]
    assert (row["step"], row["reason"], row["match_id"]) == ("3:image.near_dedup", "duplicate", "original")
    measure, similarity, *rest = row["detail"].split()
    assert (measure, rest) == ("pixels", ["with", "part", "0"])
    assert 0.85 <= float(similarity) <= 1
