"""The tokenizer saved with a dataset, and prompts made with it the way training documents are made."""

from __future__ import annotations

import json
from collections.abc import Iterable
from collections.abc import Sequence as Items
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from model.config import ImageConfig, SpecialIds
from model.data.audio import HOP, decode_audio
from model.data.dataset import AudioPart, ImagePart, Sequence
from model.data.images import grid_for, open_image
from model.data.positions import image_tokens
from schemas.control_tokens import is_control
from schemas.errors import SluiceError
from schemas.shard import audio_tokens


class TextCodec:
    """Text to ids and back. Text is only ever text: a control token spelled out in it becomes its characters' ids."""

    def __init__(self, definition: str) -> None:
        """`definition`: a tokenizer.json. Raises ValueError when it is not one."""
        try:
            self._decoder = Tokenizer.from_str(definition)
            plain = json.loads(definition)
            plain["added_tokens"] = [t for t in plain["added_tokens"] if not is_control(t["content"], t["special"])]
            self._encoder = Tokenizer.from_str(json.dumps(plain, ensure_ascii=False))
        # the parser raises a bare Exception for malformed files
        except Exception as error:
            raise ValueError(str(error)) from error

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        return self._encoder.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; control tokens are left out."""
        return self._decoder.decode(list(ids), skip_special_tokens=True)


def load_tokenizer(folder: Path) -> TextCodec:
    """Reads tokenizer.json; raises SluiceError when it is missing or torn."""
    path = folder / "tokenizer.json"
    try:
        return TextCodec(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SluiceError(
            f"{path} cannot be read ({error}); datasets and checkpoints carry their tokenizer, copy it from one"
        ) from error


class Prompts:
    """Builds prompts: media first, each between its marks, then a line break, then the text, as in caption pairs."""

    def __init__(self, codec: TextCodec, special: SpecialIds, image: ImageConfig) -> None:
        self.codec, self._special, self._image = codec, special, image

    def build(self, text: str, images: Items[bytes] = (), audios: Items[bytes] = ()) -> Sequence:
        """One prompt; images and audio are encoded files. Raises SluiceError for media it cannot read or place."""
        special = self._special
        ids: list[int] = []
        image_parts, audio_parts = [], []
        for data in images:
            self._require(special.image_pad, "images")
            grid = grid_for(open_image(data), self._image)
            image_parts.append(ImagePart(len(ids) + 1, grid, data))
            ids += [special.vision_start, *[special.image_pad] * image_tokens(grid), special.vision_end]
        for data in audios:
            self._require(special.audio_pad, "audio")
            frames = max(1, len(decode_audio(data)) // HOP)
            audio_parts.append(AudioPart(len(ids) + 1, frames, data))
            ids += [special.audio_start, *[special.audio_pad] * audio_tokens(frames), special.audio_end]
        ids += self.codec.encode("\n" + text if ids else text)
        if not ids:
            raise SluiceError("there is nothing to continue: give a prompt, an image or a clip")
        return Sequence(np.array(ids, np.int32), (len(ids),), (), tuple(image_parts), tuple(audio_parts))

    def _require(self, token: int, what: str) -> None:
        if token < 0:
            raise SluiceError(f"this model was trained with a tokenizer that has no placeholder for {what}")
