"""The tokenizer saved with a dataset, and prompts made with it the way training documents are made."""

from __future__ import annotations

import json
from collections.abc import Iterable
from collections.abc import Sequence as Items
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from model.config import ImageConfig, SpecialIds
from model.data.audio import HOP, decode_audio
from model.data.dataset import AudioPart, ImagePart, Sequence, VideoPart
from model.data.encoded import media_bytes
from model.data.frames import Video, animation
from model.data.images import TEMPORAL, grid_for, open_image
from model.data.positions import image_tokens
from model.data.video import VideoConfig, video_item
from schemas.chat import ChatFormat, Conversation, parse
from schemas.chat_render import Piece, render
from schemas.chat_template import TEMPLATE_NAME, format_of
from schemas.control_tokens import is_control
from schemas.errors import SluiceError
from schemas.shard import audio_tokens


class TextCodec:
    """Text to ids and back. Text is only ever text: a control token spelled out in it becomes its characters' ids.

    controls: control token -> id · chat_format: of the conversations this tokenizer was saved for.
    """

    def __init__(self, definition: str, chat_format: ChatFormat = "instruct") -> None:
        """`definition`: a tokenizer.json. Raises ValueError when it is not one."""
        self.chat_format = chat_format
        try:
            self._decoder = Tokenizer.from_str(definition)
            plain = json.loads(definition)
            added = plain["added_tokens"]
            self.controls = {t["content"]: int(t["id"]) for t in added if is_control(t["content"], t["special"])}
            plain["added_tokens"] = [t for t in added if t["content"] not in self.controls]
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

    def spell(self, ids: Iterable[int]) -> str:
        """The text of some ids; control tokens are written out."""
        return self._decoder.decode(list(ids), skip_special_tokens=False)


def load_tokenizer(folder: Path) -> TextCodec:
    """Reads tokenizer.json, and the format of chat_template.jinja; raises SluiceError when a file is missing or torn.

    Without a template the format is instruct.
    """
    path, template = folder / "tokenizer.json", folder / TEMPLATE_NAME
    try:
        chat_format = format_of(template.read_text(encoding="utf-8")) if template.is_file() else "instruct"
        return TextCodec(path.read_text(encoding="utf-8"), chat_format)
    except (OSError, ValueError) as error:
        raise SluiceError(
            f"{path} cannot be read ({error}); datasets and checkpoints carry their tokenizer, copy it from one"
        ) from error


class Prompts:
    """Builds what a model reads: texts with media before them, as in caption pairs, and conversations.

    `per_second`: of an omni model, how far a second of video moves the time position; None: a vl model, which is told
    the time of each temporal patch in words.
    """

    def __init__(
        self, codec: TextCodec, special: SpecialIds, image: ImageConfig, per_second: int | None = None
    ) -> None:
        self.codec, self._special, self._image, self._per_second = codec, special, image, per_second

    def build(
        self, text: str, images: Items[bytes] = (), audios: Items[bytes] = (), videos: Items[Video] = ()
    ) -> Sequence:
        """Media first, each between its marks, then a line break, then the text; images and audio are encoded files.

        Raises SluiceError for media it cannot read or place.
        """
        made = _Builder(self._special, self._image)
        for data in images:
            made.image(data)
        for video in videos:
            self._video(made, video)
        for data in audios:
            made.audio(data)
        made.add(self.codec.encode("\n" + text if made.ids else text))
        if not made.ids:
            raise SluiceError("there is nothing to continue: give a prompt, an image, a video or a clip")
        return made.sequence()

    def chat(self, messages: Any, tools: Any = None, thinking: bool | None = None) -> Sequence:
        """A conversation up to the assistant's next message, in the tokenizer's format (schemas.chat, chat_render).

        Media parts hold an encoded file: bytes, `{bytes}` or a data URI; a video, an animation so or a
        model.data.frames.Video. thinking: None is the format's own way.
        Raises SluiceError for a conversation that cannot be rendered, or has nothing to be answered.
        """
        chat = parse(messages, tools, self.codec.chat_format)
        if chat.messages[-1].role == "assistant":
            raise SluiceError("the last message is the assistant's own; end with one of the user or a tool")
        return self._rendered(chat, render(chat, self.codec.controls, answer=True, thinking=thinking)).sequence()

    def conversation(self, messages: Any, tools: Any = None) -> Sequence:
        """A whole conversation as training has it: `loss_runs` are all but what the assistant writes."""
        chat = parse(messages, tools, self.codec.chat_format)
        made = self._rendered(chat, render(chat, self.codec.controls))
        return made.sequence(made.masked)

    def _rendered(self, chat: Conversation, pieces: Items[Piece]) -> _Builder:
        made = _Builder(self._special, self._image)
        media = (found for message in chat.messages for found in message.media)
        before = ""
        for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
            is_video = following is not None and (following.kind, following.value) == ("media", "video")
            if piece.kind == "text" and is_video and not piece.loss and self._per_second is None:
                # the first timestamp is text, and becomes ids together with the text it follows
                before = piece.value
            elif piece.kind == "text":
                made.add(self.codec.encode(piece.value), piece.loss)
            elif piece.kind == "control":
                made.add([self.codec.controls[piece.value]], piece.loss)
            elif piece.value == "video":
                data = next(media).data
                video = data if isinstance(data, Video) else animation(media_bytes(data, "video"))
                self._video(made, video, before)
                before = ""
            else:
                made.media(piece.value, media_bytes(next(media).data, piece.value))
        return made

    def _video(self, made: _Builder, video: Video, before: str = "") -> None:
        """A video, after the text `before`: of a vl model between timestamps, of an omni model as one item.

        transformers `Qwen3VLProcessor.replace_video_token`; `Qwen3OmniMoeProcessor`, whose patches are as far apart as
        the rate of sampling asks for.
        """
        config = VideoConfig()
        patches, grid, times = video_item(video.frames, video.fps, config)
        if self._per_second is not None:
            made.video(patches, grid, [], (TEMPORAL / config.fps, self._per_second))
            return
        words = [f"<{time:.1f} seconds>" for time in times]
        made.video(patches, grid, [self.codec.encode(word) for word in [before + words[0], *words[1:]]])


class _Builder:
    """A sequence as it grows."""

    def __init__(self, special: SpecialIds, image: ImageConfig) -> None:
        self._special, self._image = special, image
        self.ids: list[int] = []
        self.masked: list[tuple[int, int]] = []
        self._images: list[ImagePart] = []
        self._audios: list[AudioPart] = []
        self._videos: list[VideoPart] = []

    def add(self, ids: Items[int], loss: bool = False) -> None:
        start = len(self.ids)
        self.ids += ids
        if loss or not ids:
            return
        if self.masked and sum(self.masked[-1]) == start:
            start = self.masked.pop()[0]
        self.masked.append((start, len(self.ids) - start))

    def media(self, kind: str, data: bytes) -> None:
        (self.image if kind == "image" else self.audio)(data)

    def image(self, data: bytes) -> None:
        special = self._special
        self._require(special.image_pad, "images")
        grid = grid_for(open_image(data), self._image)
        self._images.append(ImagePart(len(self.ids) + 1, grid, data))
        self.add([special.vision_start, *[special.image_pad] * image_tokens(grid), special.vision_end])

    def video(
        self,
        patches: np.ndarray,
        grid: tuple[int, int, int],
        timestamps: Items[Items[int]],
        timing: tuple[float, int] = (0.0, 0),
    ) -> None:
        """A video whose temporal patches stand after the ids of their `timestamps`; all at once when there are none."""
        special = self._special
        self._require(special.video_pad, "videos")
        pads = [special.video_pad] * (image_tokens(grid) // max(len(timestamps), 1))
        offsets = []
        for words in timestamps or [()]:
            offsets.append(len(self.ids) + len(words) + 1)
            self.add([*words, special.vision_start, *pads, special.vision_end])
        self._videos.append(VideoPart(tuple(offsets), grid, patches, *timing))

    def audio(self, data: bytes) -> None:
        special = self._special
        self._require(special.audio_pad, "audio")
        frames = max(1, len(decode_audio(data)) // HOP)
        self._audios.append(AudioPart(len(self.ids) + 1, frames, data))
        self.add([special.audio_start, *[special.audio_pad] * audio_tokens(frames), special.audio_end])

    def sequence(self, loss_runs: Items[tuple[int, int]] = ()) -> Sequence:
        ids = np.array(self.ids, np.int32)
        return Sequence(
            ids, (len(ids),), tuple(loss_runs), tuple(self._images), tuple(self._audios), tuple(self._videos)
        )

    def _require(self, token: int, what: str) -> None:
        if token < 0:
            raise SluiceError(f"this model was trained with a tokenizer that has no placeholder for {what}")
