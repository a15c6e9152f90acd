"""What a model says of unseen pictures and sounds, against the true captions and transcripts."""

from __future__ import annotations

import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from schemas.errors import SluiceError

Kind = Literal["image", "audio"]
_SUFFIXES = {
    "image": frozenset({".png", ".jpg", ".jpeg", ".webp"}),
    "audio": frozenset({".wav", ".flac", ".ogg", ".mp3"}),
}
_ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True)
class CaptionPair:
    """An encoded image or clip and its true caption or transcript."""

    key: str
    media: bytes
    caption: str


def read_caption_pairs(path: Path, limit: int, kind: Kind = "image") -> list[CaptionPair]:
    """The first `limit` pairs of media of a kind, by key, of a WebDataset tar or of all tars in a folder.

    Raises SluiceError when there is no tar, one is torn, or none holds a pair.
    """
    tars = sorted(path.glob("*.tar")) if path.is_dir() else [path]
    media: dict[str, bytes] = {}
    captions: dict[str, str] = {}
    for tar_path in tars:
        try:
            with tarfile.open(tar_path) as tar:
                for member in tar:
                    name = PurePosixPath(member.name)
                    stream = tar.extractfile(member) if member.isfile() else None
                    if stream is None:
                        continue
                    key = f"{tar_path.name}/{name.with_suffix('')}"
                    if name.suffix.lower() in _SUFFIXES[kind]:
                        media[key] = stream.read()
                    elif name.suffix == ".txt":
                        captions[key] = stream.read().decode("utf-8", "replace").strip()
        # a torn or lying archive: of gzip, bzip2 or xz, or with a member that has no name
        except (OSError, EOFError, ValueError, tarfile.TarError, lzma.LZMAError, zlib.error) as error:
            raise SluiceError(f"{tar_path} cannot be read as a tar of {kind}-caption pairs ({error})") from error
    keys = sorted(media.keys() & captions.keys())[:limit]
    if not keys:
        endings = ", ".join(sorted(_SUFFIXES[kind]))
        raise SluiceError(f"{path} holds no {kind}-caption pair (NAME with one of {endings}, and NAME.txt, in a .tar)")
    return [CaptionPair(key, media[key], captions[key]) for key in keys]


#: What a caption says, as an ordered list whatever its phrasing; None for a caption it does not understand.
Facts = Callable[[str], tuple[str, ...] | None]


@dataclass(frozen=True)
class CaptionScores:
    """`exact_match`: share of captions whose facts are those of the truth; `same_words`: share equal to it as text.

    `attribute_accuracy`: share of the truth's facts found at the same place in the caption's.
    """

    pairs: int
    exact_match: float
    attribute_accuracy: float
    same_words: float
    examples: tuple[tuple[str, str], ...]  # (truth, caption)


def _words(caption: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", caption.lower()))


def _content_words(caption: str) -> tuple[str, ...]:
    return tuple(word for word in _words(caption) if word not in _ARTICLES)


def score_captions(
    pairs: Sequence[CaptionPair],
    caption: Callable[[Sequence[bytes]], Sequence[str]],
    facts: Facts = lambda caption: None,
    examples: int = 5,
) -> CaptionScores:
    """Scores what `caption` says about the media of `pairs`.

    Facts of a truth that `facts` does not understand are its words, articles aside.
    """
    found = caption([pair.media for pair in pairs])
    exact, same, right, total = 0, 0, 0, 0
    for pair, text in zip(pairs, found, strict=True):
        truth = facts(pair.caption)
        said = facts(text) or () if truth is not None else _content_words(text)
        truth = _content_words(pair.caption) if truth is None else truth
        same += _words(pair.caption) == _words(text)
        exact += truth == said
        right += sum(a == b for a, b in zip(truth, said, strict=False))
        total += len(truth)
    return CaptionScores(
        pairs=len(pairs),
        exact_match=exact / len(pairs),
        attribute_accuracy=right / max(total, 1),
        same_words=same / len(pairs),
        examples=tuple((pair.caption, text) for pair, text in list(zip(pairs, found, strict=True))[:examples]),
    )
