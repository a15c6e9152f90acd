"""What the picture and sound parts share: samples of one media file with its text, put in order and archived."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jobs.sample.archives import Member, json_bytes, write_webdataset
from jobs.sample.draws import draw
from jobs.sample.truth import Expected, Truth


@dataclass(frozen=True, slots=True)
class MediaSample:
    """One sample before it has a place: its encoded file, text, metadata and the truth about it.

    of: position of the original among the planted samples, which comes before this one.
    """

    ending: str
    data: bytes
    text: str
    meta: dict[str, object]
    kind: str = "clean"
    expected: Expected = "kept"
    reason: str | None = None
    of: int | None = None
    note: str | None = None

    def members(self) -> list[Member]:
        """As files of a WebDataset sample."""
        return [(self.ending, self.data), ("txt", self.text.encode()), ("json", json_bytes(self.meta))]


def many(count: int, scale: float) -> range:
    """Numbers of the records of a kind of which there are `count` at scale 1."""
    return range(max(1, round(count * scale)))


def write_shuffled(
    folder: Path,
    stem: str,
    num_files: int,
    planted: list[MediaSample],
    modality: Literal["image", "audio"],
    seed: int,
) -> list[Truth]:
    """Writes samples as `num_files` archives `<stem>s-*.tar`, shuffled, copies after originals; returns the truth."""
    order = list(range(len(planted)))
    draw(seed, stem, "order").shuffle(order)
    place = {number: position for position, number in enumerate(order)}
    for number, sample in enumerate(planted):
        if sample.of is not None and place[number] < place[sample.of]:
            place[number], place[sample.of] = place[sample.of], place[number]
            order[place[number]], order[place[sample.of]] = number, sample.of
    per_file = -(-len(order) // num_files)
    truths = []
    for start in range(0, len(order), per_file):
        name = f"{stem}s-{start // per_file:06d}.tar"
        numbers = order[start : start + per_file]
        write_webdataset(folder / name, ((_key(stem, place[n]), planted[n].members()) for n in numbers))
        for row, number in enumerate(numbers):
            sample = planted[number]
            truths.append(
                Truth(
                    id=_key(stem, place[number]),
                    file=f"{folder.name}/{name}",
                    row=row,
                    modality=modality,
                    kind=sample.kind,
                    expected=sample.expected,
                    lang="en",
                    reason=sample.reason,
                    of=None if sample.of is None else _key(stem, place[sample.of]),
                    note=sample.note,
                )
            )
    return truths


def _key(stem: str, position: int) -> str:
    return f"{stem}-{position:05d}"
