"""The parts of model/ that commands use, in one place: importing this is what needs torch."""

import torch

from model.config import TrainConfig, from_dict
from model.eval.captions import read_caption_pairs, score_captions
from model.infer.generate import Sampling, TextGenerator
from model.interop import LAYOUTS, export_checkpoint, newest_checkpoint
from model.train.loop import Run
from model.train.objective import MakeObjective, NextToken
from model.train.ranks import joined_ranks

#: what `objective.use` names
OBJECTIVES: dict[str, MakeObjective] = {"next_token": NextToken}

__all__ = [
    "LAYOUTS",
    "OBJECTIVES",
    "Run",
    "Sampling",
    "TextGenerator",
    "TrainConfig",
    "export_checkpoint",
    "from_dict",
    "joined_ranks",
    "newest_checkpoint",
    "read_caption_pairs",
    "score_captions",
    "torch",
]
