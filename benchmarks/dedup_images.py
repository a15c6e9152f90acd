"""Near-duplicate pictures: image.near_dedup against hashes alone, on planted attacks and labelled groups.

    DATA=folder python -m benchmarks.dedup_images        or: python -m benchmarks.dedup_images DATA

Reads DATA/images: wds/imgtxt-*.tar, whose pictures are attacked, and neardup/ with groups.jsonl and
cross_group_pairs.jsonl. The peers are imagehash (equal pHash) and imagededup (pHash within 10 bits, its default). A
pair is right when both pictures come from the same one. SIZE=small takes every tenth picture, full all of them.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.harness import RESULTS, machine, peer_python, size
from benchmarks.image_attacks import ATTACKS
from schemas.sample import SENTINEL, sample_batch
from transforms.media import media_part
from transforms.registry import build

PEERS = ("imagededup==0.3.3.post2", "imagehash==4.3.2")
IMAGEDEDUP_BITS = 10
Pairs = set[tuple[int, int]]


def planted(data: Path, chosen: str) -> tuple[list[bytes], list[tuple[str, str]]]:
    """(files, (picture, attack) of each) of the pictures and their attacked copies."""
    files, labels = [], []
    for path in sorted((data / "images" / "wds").glob("imgtxt-*.tar")):
        with tarfile.open(path) as tar:
            members = [member for member in tar if member.name.endswith(".jpg")]
            for member in members[:: 10 if chosen == "small" else 1]:
                original = tar.extractfile(member).read()  # type: ignore[union-attr]
                image = Image.open(io.BytesIO(original)).convert("RGB")
                files += [original, *(attack(image) for attack in ATTACKS.values())]
                labels += [(member.name, attack) for attack in ("", *ATTACKS)]
    return files, labels


def labelled(data: Path) -> tuple[list[bytes], list[dict[str, Any]], Pairs]:
    """(files, their labels, true pairs across groups) of the labelled groups."""
    folder = data / "images" / "neardup"
    rows = [json.loads(line) for line in (folder / "groups.jsonl").read_text().splitlines()]
    at = {row["file"]: number for number, row in enumerate(rows)}
    across = [json.loads(line) for line in (folder / "cross_group_pairs.jsonl").read_text().splitlines()]
    pairs = {tuple(sorted((at[pair["a"]], at[pair["b"]]))) for pair in across}
    return [(folder / row["file"]).read_bytes() for row in rows], rows, pairs  # type: ignore[return-value]


def ours(files: Sequence[bytes], **params: Any) -> tuple[Pairs, dict[str, float]]:
    """Pairs that image.near_dedup takes for duplicates, and what it cost."""
    step = build("image.near_dedup", params)
    step.setup()
    rows = [
        {"id": str(k), "source": str(k), "text": SENTINEL, "media": [media_part(0, data, "image")]}
        for k, data in enumerate(files)
    ]
    batch = sample_batch(rows)
    none = np.zeros(1, np.int32)
    warm = step.evidence(batch.slice(0, 1), none)
    step.similarity(warm, none, none)
    began = time.process_time()
    keys = step.keys(batch)
    keys_s = time.process_time() - began
    groups: dict[tuple[int, int, int], set[int]] = defaultdict(set)
    for row, band, key in zip(keys.row.tolist(), keys.band.tolist(), keys.key.tolist(), strict=True):
        groups[band, *key].add(row)
    pairs = sorted({pair for group in groups.values() for pair in itertools.combinations(sorted(group), 2)})
    began = time.process_time()
    evidence = step.evidence(batch, np.zeros(len(files), np.int32))
    evidence_s = time.process_time() - began
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    began = time.process_time()
    similarity = step.similarity(evidence, first, second)
    pairs_s = time.process_time() - began
    alike = {pair for pair, value in zip(pairs, similarity.tolist(), strict=True) if value >= step.min_similarity}
    cost = {
        "keys, pictures per CPU second": len(files) / keys_s,
        "evidence, pictures per CPU second": len(files) / evidence_s,
        "verification, pairs per CPU second": len(pairs) / max(pairs_s, 1e-9),
        "candidate pairs": len(pairs),
        "keys a picture": len(keys.row) / len(files),
        "pictures without a key": len(files) - len(set(keys.row.tolist())),
    }
    return alike, cost


def peers(files: Sequence[bytes]) -> dict[str, tuple[Pairs, float]]:
    """Pairs that the peers take for duplicates, and pictures hashed per CPU second."""
    python = peer_python("imagededup", PEERS)
    with tempfile.TemporaryDirectory() as scratch:
        folder, result = Path(scratch) / "files", Path(scratch) / "result.json"
        folder.mkdir()
        for number, data in enumerate(files):
            (folder / f"{number:06}").write_bytes(data)
        script = Path(__file__).parent / "peers" / "image_hashes.py"
        subprocess.run([python, script, folder, result], check=True)
        found = json.loads(result.read_text())
    made = {}
    for name, bits in (("imagehash", 0), ("imagededup", IMAGEDEDUP_BITS)):
        hashes = found[name]["hashes"]
        values = np.array([int(hashes[file], 16) for file in sorted(hashes)], np.uint64)
        apart = np.bitwise_count(values[:, None] ^ values[None, :])
        near = np.argwhere(np.triu(apart <= bits, 1))
        made[name] = ({(int(a), int(b)) for a, b in near}, len(values) / found[name]["cpu_s"])
    return made


def attack_table(found: Mapping[str, Pairs], labels: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Recall by attack, of the pair with the original, and precision over all pairs."""
    original = {name: number for number, (name, attack) in enumerate(labels) if not attack}
    rows = []
    for attack in ATTACKS:
        wanted = {(original[name], number) for number, (name, made) in enumerate(labels) if made == attack}
        rows.append([attack, *(len(wanted & pairs) / len(wanted) for pairs in found.values())])
    right = [sum(labels[a][0] == labels[b][0] for a, b in pairs) for pairs in found.values()]
    rows.append(["precision of all pairs", *(r / max(len(p), 1) for r, p in zip(right, found.values(), strict=True))])
    rows.append(["pairs", *map(len, found.values())])
    rows.append(["wrong pairs", *(len(p) - r for r, p in zip(right, found.values(), strict=True))])
    return {"title": "planted attacks: recall", "columns": ["", *found], "rows": rows}


def group_table(found: Mapping[str, Pairs], rows: Sequence[dict[str, Any]], across: Pairs) -> dict[str, Any]:
    """Recall by transform, of the pair with the original, and what revisions are taken for."""
    first: dict[str, int] = {}
    for number, row in enumerate(rows):
        if row["transform"] in ("original", "old"):
            first[row["group"]] = number
    kinds: dict[str, Pairs] = defaultdict(set)
    for number, row in enumerate(rows):
        if first[row["group"]] != number:
            kind = row["transform"]
            if row["kind"] == "natural_revision":
                kind = {True: "revision: the same", None: "revision: edited", False: "revision: another"}[
                    row["near_dup"]
                ]
            kinds[kind].add(tuple(sorted((first[row["group"]], number))))  # type: ignore[arg-type]
    kinds["pairs across groups"] = across
    table = [
        [f"{kind} ({len(pairs)})", *(len(pairs & some) / len(pairs) for some in found.values())]
        for kind, pairs in sorted(kinds.items())
    ]
    # groups that true pairs join are of one picture; pairs of edited revisions are neither right nor wrong
    joined = {row["group"]: row["group"] for row in rows}

    def root(group: str) -> str:
        return group if joined[group] == group else root(joined[group])

    for a, b in across:
        joined[root(rows[a]["group"])] = root(rows[b]["group"])
    right, wrong = [], []
    for pairs in found.values():
        judged = [(a, b) for a, b in pairs if None not in (rows[a]["near_dup"], rows[b]["near_dup"])]
        good = [
            root(rows[a]["group"]) == root(rows[b]["group"]) and (a, b) not in kinds["revision: another"]
            for a, b in judged
        ]
        right.append(sum(good))
        wrong.append(len(good) - sum(good))
    table.append(["precision of all pairs", *(r / max(r + w, 1) for r, w in zip(right, wrong, strict=True))])
    table.append(["wrong pairs", *wrong])
    return {"title": "labelled groups: recall, and shares of revisions", "columns": ["", *found], "rows": table}


def run(data: Path) -> list[dict[str, Any]]:
    """All tables: {"title", "columns", "rows"}."""
    files, labels = planted(data, size())
    mine, cost = ours(files)
    whole, cost_whole = ours(files, views="whole")
    mirror, _ = ours([f for f, (_, made) in zip(files, labels, strict=True) if made in ("", "mirrored")], mirrored=True)
    theirs = peers(files)
    found = {"sluice": mine, "sluice, views: whole": whole, **{name: pairs for name, (pairs, _) in theirs.items()}}
    tables = [attack_table(found, labels)]
    asked = sum((k, k + 1) in mirror for k in range(0, 2 * len({name for name, _ in labels}), 2))
    tables[0]["rows"].insert(
        len(ATTACKS), ["mirrored, with mirrored: true", asked / len({n for n, _ in labels}), "–", "–", "–"]
    )
    speeds = [[name, cost[name], cost_whole[name], "–", "–"] for name in cost]
    speeds[0][3:] = [speed for _, speed in theirs.values()]
    tables.append({"title": f"cost, on {len(files)} pictures", "columns": ["", *found], "rows": speeds})
    files, rows, across = labelled(data)
    found = {"sluice": ours(files)[0], **{name: pairs for name, (pairs, _) in peers(files).items()}}
    return [*tables, group_table(found, rows, across)]


def main() -> None:
    """Prints the tables and writes benchmarks/results/dedup_images.json."""
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DATA", ""))
    if not (data / "images").is_dir():
        raise SystemExit(f"{data / 'images'} does not exist; give the data folder as an argument or in DATA")
    where, tables = machine(), run(data)
    written = {"date": date.today().isoformat(), "size": size(), "tables": tables, "machine": where}
    (RESULTS / "dedup_images.json").write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")
    for found in tables:
        table = Table(title=found["title"], title_justify="left", box=None)
        for at, column in enumerate(found["columns"]):
            table.add_column(column, justify="right" if at else "left")
        for row in found["rows"]:
            table.add_row(*(f"{cell:,.3g}" if isinstance(cell, float) else str(cell) for cell in row))
        Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    main()
