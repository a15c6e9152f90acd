"""Batches made alike: when one rank's batch holds an image, all ranks' do, since their towers work together.

A tower whose parameters are spread over the ranks can only be run by all of them. A rank without an image runs it on a
blank one that stands nowhere in its tokens: nothing reads the features, so the tower's gradients there are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from model.batch import Audios, Batch, Images
from model.config import ModelConfig
from model.train.ranks import Ranks

#: a clip of one token
_FRAMES = 8


def level(batches: Sequence[Batch], config: ModelConfig, ranks: Ranks) -> list[Batch]:
    """The batches of a step, each with blanks of what another rank's batch at its place holds.

    Every rank must call it, with equally many batches.
    """
    if ranks.count == 1:
        return list(batches)
    own = [[b.images is not None, b.audios is not None] for b in batches]
    wanted = ranks.largest(torch.tensor(own, dtype=torch.uint8).view(-1, 2)).tolist()
    return [_filled(batch, config, *want) for batch, want in zip(batches, wanted, strict=True)]


def _filled(batch: Batch, config: ModelConfig, images: int, audios: int) -> Batch:
    nowhere = torch.empty(0, dtype=torch.int64)
    if images and batch.images is None and config.vision:
        vision = config.vision
        side = vision.spatial_merge_size
        pixels = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        batch = replace(batch, images=Images(torch.zeros(side * side, pixels), ((1, side, side),), nowhere))
    if audios and batch.audios is None and config.audio:
        batch = replace(batch, audios=Audios(torch.zeros(config.audio.num_mel_bins, _FRAMES), (_FRAMES,), nowhere))
    return batch
