"""The parts of model/ that commands use, in one place: importing this is what needs torch."""

import torch

from model.config import TrainConfig, from_dict
from model.data.tokenizer import Prompts, load_tokenizer
from model.infer.generate import Sampling, TextGenerator
from model.net.weights import newest_checkpoint
from model.train.loop import Run

__all__ = [
    "Prompts",
    "Run",
    "Sampling",
    "TextGenerator",
    "TrainConfig",
    "from_dict",
    "load_tokenizer",
    "newest_checkpoint",
    "torch",
]
