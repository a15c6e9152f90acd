"""The control tokens of the model family, their ids in the released vocabulary, and how to tell one from text."""

from __future__ import annotations

import re

END_OF_TEXT = "<|endoftext|>"
VISION_START, VISION_END, IMAGE_PAD = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"
AUDIO_START, AUDIO_END, AUDIO_PAD = "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"

#: What every tokenizer of ours has; those a vocabulary lacks are appended after it, in this order.
FAMILY = (
    END_OF_TEXT,
    "<|im_start|>",
    "<|im_end|>",
    VISION_START,
    VISION_END,
    IMAGE_PAD,
    "<|video_pad|>",
    AUDIO_START,
    AUDIO_END,
    AUDIO_PAD,
)

#: Number of ranks in the released Qwen vocabulary; a .tiktoken file of this size gets `QWEN`, so that ids are those of
#: the published checkpoints.
QWEN_RANKS = 151_643

#: The control tokens of the released Qwen3 tokenizers in id order, from 151643: up to `</think>` (151668) those of
#: Qwen3 and Qwen3-VL, after it those of Qwen3-Omni.
QWEN = (
    END_OF_TEXT,
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    VISION_START,
    VISION_END,
    "<|vision_pad|>",
    IMAGE_PAD,
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
    AUDIO_START,
    AUDIO_END,
    "<tts_pad>",
    "<tts_text_bos>",
    "<tts_text_eod>",
    "<tts_text_bos_single>",
    AUDIO_PAD,
)

_MARKUP = re.compile(r"[<\[].*[>\]]", re.DOTALL)


def is_control(content: str, special: bool) -> bool:
    """Whether an added token steers the model, so that the same characters in a web page must not become its id.

    Not every tokenizer flags its control tokens as special (Qwen's `<think>`, `<tool_call>` and `<|fim_prefix|>` are
    not), so whatever is written as a tag counts. The rest (runs of spaces, words added for a domain) is text.
    """
    return special or _MARKUP.fullmatch(content) is not None
