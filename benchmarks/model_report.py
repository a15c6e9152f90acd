"""bench-model on CPU: peak memory by processes of their own, pictures through the collate, the table and the file."""

from __future__ import annotations

import io
import sys
import time
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.harness import Stage, machine, our_versions, run, write_result
from model.config import ImageConfig
from model.data.collate import collate
from model.data.dataset import ImagePart, Sequence
from model.data.images import grid_for

#: ratios aimed at: (start of the line, peer) -> at least
TARGETS = {
    ("training, bfloat16", "padded"): 2.0,
    ("training, bfloat16", "packed"): 1.4,
    ("training, float32", "packed"): 1.05,
    ("decode, bfloat16, batch 1", "transformers"): 1.4,
    ("decode, float32, batch 1", "transformers"): 1.4,
    ("decode, int8, bfloat16, batch 1", "transformers"): 2.0,
}


def report(bench: Any) -> None:
    """Runs the benchmark and writes benchmarks/results/model.json."""
    where = machine()
    bench.run()
    stages = {}
    for what, ours, peers, unit, less_is_better in bench.lines:
        aims = {peer: TARGETS[what, peer] for peer in peers if (what, peer) in TARGETS}
        stages[what] = Stage.of(ours, peers, unit, less_is_better=less_is_better, target=aims)
    stages["pictures of 384 x 256 decoded and cut into patches"] = Stage.of(pictures_per_second(), {}, "per CPU second")
    stages |= _memory(bench.full)
    versions = our_versions(["sluice", "torch", "transformers"])
    print(
        write_result(
            "model", stages, machine=where, versions=versions, size=(bench.full and "full") or "small", **bench.facts
        )
    )


def _memory(full: bool) -> dict[str, Stage]:
    """Peak resident memory of a training step alone, in a process of its own; the same imports for all sides."""
    stages = {}
    for precision in ("bfloat16", "float32") if full else ("bfloat16",):
        peaks = {}
        for side in ("ours", "theirs_padded", "theirs_packed"):
            peaks[side] = run([sys.executable, "-m", "benchmarks.model_alone", side, precision]).peak_rss_bytes / 2**20
        peers = {name.removeprefix("theirs_"): peak for name, peak in peaks.items() if name != "ours"}
        what = f"peak memory of training, {precision}"
        stages[what] = Stage.of(peaks["ours"], peers, "MiB", less_is_better=True)
    return stages


def pictures_per_second(count: int = 24) -> float:
    """Sequences with one JPEG each through the collate: decoded, resized, normalised, cut into patches."""
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 255, (16, 24, 3), dtype=np.uint8))
    stream = io.BytesIO()
    picture = coarse.resize((384, 256), Image.Resampling.BICUBIC)
    grid = grid_for(picture, ImageConfig())
    picture.save(stream, "JPEG")
    pads = grid[0] * grid[1] * grid[2] // 4
    ids = np.ones(pads + 20, np.int32)
    part = ImagePart(4, grid, stream.getvalue())
    sequence = Sequence(ids, (len(ids),), ((4, pads),), (part,), ())
    collate([sequence])
    seconds = []
    for _ in range(5):
        began = time.process_time()
        collate([sequence] * count)
        seconds.append(time.process_time() - began)
    return count / median(seconds)
