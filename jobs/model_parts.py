"""The parts of model/ that commands use, in one place: importing this is what needs torch."""

import torch

from model.adapt import Quantisation, quantise_model
from model.adapt.quantise import bytes_of
from model.config import TrainConfig, from_dict
from model.data.collate import collate
from model.data.dataset import TokenShards, dataset_info
from model.data.frames import read_video
from model.data.shards import HoldoutSplit
from model.eval.captions import read_caption_pairs, score_captions
from model.infer.effect import compare
from model.infer.generate import TextGenerator
from model.infer.opening import open_model, open_side_files, plain_checkpoint
from model.infer.quantised import read_note, save_quantised
from model.infer.sampling import Sampling
from model.interop import LAYOUTS, export_checkpoint, newest_checkpoint, read_run
from model.prefer.dpo import Dpo
from model.prefer.grpo import Grpo
from model.prefer.source import described_preferences
from model.train.loop import Run
from model.train.objective import Describe, MakeObjective, NextToken, described_datasets
from model.train.ranks import joined_ranks

#: what `objective.use` names: how it is learned, and what --data is then
OBJECTIVES: dict[str, tuple[MakeObjective, Describe]] = {
    "next_token": (NextToken, described_datasets),
    "dpo": (Dpo, described_preferences),
    "grpo": (Grpo, described_preferences),
}

__all__ = [
    "LAYOUTS",
    "OBJECTIVES",
    "HoldoutSplit",
    "Quantisation",
    "Run",
    "Sampling",
    "TextGenerator",
    "TokenShards",
    "TrainConfig",
    "bytes_of",
    "collate",
    "compare",
    "dataset_info",
    "export_checkpoint",
    "from_dict",
    "joined_ranks",
    "newest_checkpoint",
    "open_model",
    "open_side_files",
    "plain_checkpoint",
    "quantise_model",
    "read_caption_pairs",
    "read_note",
    "read_run",
    "read_video",
    "save_quantised",
    "score_captions",
    "torch",
]
