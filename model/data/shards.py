"""The order in which training sees sequences: a function of (seed, epoch, index), so it can be resumed anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from model.data.dataset import Sequence, TokenShards
from model.data.permutation import Permutation
from schemas.errors import SluiceError


class HoldoutSplit:
    """A fixed split of rows: the first share of a keyed permutation is held out, the rest is for training.

    It depends on the number of rows and the share alone, so every run on a dataset holds out the same rows.
    """

    def __init__(self, rows: int, holdout_ratio: float) -> None:
        if not 0 <= holdout_ratio < 1:
            raise SluiceError(f"holdout_ratio is {holdout_ratio}; it is a share, from 0 to below 1")
        self._order = Permutation(rows, "sluice.holdout")
        self.held_out = min(rows - 1, max(1, round(rows * holdout_ratio))) if holdout_ratio and rows else 0
        self.training = rows - self.held_out

    def held_out_row(self, index: int) -> int:
        """The dataset row of held-out sequence `index`."""
        return self._order[index]

    def training_row(self, index: int) -> int:
        """The dataset row of training sequence `index`."""
        return self._order[self.held_out + index]


@dataclass(frozen=True)
class Pick:
    """A sequence chosen, not read yet: its dataset row, and whether its documents of text alone are left out."""

    row: int
    media_only: bool


class SequenceReader:
    """An endless, resumable iterator over training sequences, shuffled anew each epoch.

    An epoch holds every sequence once and, of those with images or audio, their media documents `media_repeats` - 1
    times more, without the text they are packed with.
    """

    def __init__(self, shards: TokenShards, split: HoldoutSplit, seed: int, media_repeats: int = 1) -> None:
        if not split.training:
            raise SluiceError("the dataset has no sequence to train on; curate more data or hold out less")
        self._shards, self._split, self._seed = shards, split, seed
        rows = np.array([split.training_row(i) for i in range(split.training)], dtype=np.int64)
        media = rows[shards.holds_media()[rows]] if media_repeats > 1 else rows[:0]
        self._rows = np.concatenate([rows, np.repeat(media, max(media_repeats - 1, 0))])
        self.epoch, self.index = 0, 0
        self._order = self._permutation()

    def __len__(self) -> int:
        """Sequences in an epoch."""
        return len(self._rows)

    def _permutation(self) -> Permutation:
        return Permutation(len(self._rows), f"sluice.order/{self._seed}/{self.epoch}")

    def __iter__(self) -> SequenceReader:
        return self

    def __next__(self) -> Sequence:
        return self.read(self.pick())

    def pick(self) -> Pick:
        """Chooses the next sequence and moves on; costs no reading."""
        if self.index == len(self):
            self.epoch, self.index = self.epoch + 1, 0
            self._order = self._permutation()
        place = self._order[self.index]
        self.index += 1
        return Pick(int(self._rows[place]), media_only=place >= self._split.training)

    def read(self, pick: Pick) -> Sequence:
        """The sequence of a pick; may be called by several threads."""
        sequence = self._shards[pick.row]
        return sequence.media_documents() if pick.media_only else sequence

    def place(self, row: int) -> str:
        """Where a dataset row is on disk, and which documents it holds."""
        return self._shards.place(row)

    def state_dict(self) -> dict[str, Any]:
        """Where the reader stands."""
        return {"seed": self._seed, "sequences": len(self), "epoch": self.epoch, "index": self.index}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Moves to a saved place; raises SluiceError when it was saved by a reader over other data, or is none."""
        mine = {"seed": self._seed, "sequences": len(self)}
        saved = {key: state.get(key) for key in mine}
        if saved != mine:
            raise SluiceError(
                f"the checkpoint was reading {saved}, this run reads {mine}: give the data it was made with"
            )
        epoch, index = state.get("epoch"), state.get("index")
        if type(epoch) is not int or type(index) is not int or epoch < 0 or not 0 <= index <= len(self):
            raise SluiceError(
                f"the checkpoint was reading at sequence {index!r:.20} of epoch {epoch!r:.20}, which there is not; "
                "remove it to go on from the checkpoint before"
            )
        self.epoch, self.index = epoch, index
        self._order = self._permutation()
