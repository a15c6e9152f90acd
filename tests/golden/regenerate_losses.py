"""Regenerates tests/golden/model_losses.json: `python -m tests.golden.regenerate_losses`.

The golden file holds the losses of a small run in float32: packed text, pictures and sounds, both towers, experts, Muon
and AdamW, two micro-batches a step. A refactoring leaves them as they are; a change that moves them says why in its
commit.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest.mock import patch

import torch

from model import config as model_config
from model.config import LoaderConfig, OptimizerConfig, TrainConfig
from model.train.loop import Run
from tests.model_data import mixed_rows, tiny, write_dataset

GOLDEN = Path(__file__).with_name("model_losses.json")
CONFIG = TrainConfig(
    name="golden",
    model="tiny",
    steps=30,
    batch_sequences=1,
    accumulate=2,
    holdout_ratio=0.2,
    max_holdout_sequences=1,
    log_every_steps=1,
    evaluate_every_steps=30,
    checkpoint_every_steps=30,
    tensorboard=False,
    optimizer=OptimizerConfig(warmup_steps=5, matrix_precision="float32"),
    loader=LoaderConfig(threads=0),
)


def observed(folder: Path) -> list[float]:
    """The loss of every step of the golden run, in `folder`, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with patch.dict(model_config.PRESETS, {"tiny": lambda vocab_size, special, image: tiny()}):
            run = Run(CONFIG, write_dataset(folder / "data", mixed_rows(10), 160), folder / "run")
            run.train(lambda line: None, lambda: False)
    finally:
        torch.set_num_threads(threads)
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def main() -> None:
    """Writes the golden file."""
    with tempfile.TemporaryDirectory() as folder:
        GOLDEN.write_text(json.dumps(observed(Path(folder)), indent=1) + "\n")
    print(GOLDEN)


if __name__ == "__main__":
    main()
