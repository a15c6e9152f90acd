"""The one input of the model: documents laid end to end, without padding. Made by model.data, read by model.net.

One form serves packed training, prefill and continuous decoding: `lengths` says where each document ends; attention
and positions never cross that border.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Preprocessed images and videos of a batch. `rows` [n]: where in its tokens their placeholders are, in order."""

    patches: Tensor  # [patches, C*tp*p*p], rows in merge-block order, one temporal patch after the other
    grids: tuple[tuple[int, int, int], ...]  # (t, h, w) in patches, one an item; an image has t = 1
    rows: Tensor


@dataclass(frozen=True)
class Audios:
    """Log-mel features of a batch's clips, one after the other along time; `rows` as for Images."""

    mel: Tensor  # [mel_bins, sum(frames)]
    frames: tuple[int, ...]
    rows: Tensor


@dataclass(frozen=True)
class Batch:
    """T tokens of documents with `lengths` (summing to T)."""

    tokens: Tensor  # [T] int64
    positions: Tensor  # [3, T]: time, height, width; int64, or float32 where a video lies between whole positions
    lengths: tuple[int, ...]
    images: Images | None = None
    audios: Audios | None = None
    targets: Tensor | None = None  # [T] int64: the next token of the same document, -100 where there is no loss

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`."""
        images, audios = self.images, self.audios
        return Batch(
            tokens=self.tokens.to(device),
            positions=self.positions.to(device),
            lengths=self.lengths,
            images=images and Images(images.patches.to(device), images.grids, images.rows.to(device)),
            audios=audios and Audios(audios.mel.to(device), audios.frames, audios.rows.to(device)),
            targets=None if self.targets is None else self.targets.to(device),
        )
