"""The control tokens of the model family, their ids in the released vocabulary, and how to tell one from text."""

from __future__ import annotations

import re

END_OF_TEXT = "<|endoftext|>"
IM_START, IM_END = "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE_PAD = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"
VIDEO_PAD = "<|video_pad|>"
AUDIO_START, AUDIO_END, AUDIO_PAD = "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"
THINK, END_THINK = "<think>", "</think>"
TOOL_CALL, END_TOOL_CALL = "<tool_call>", "</tool_call>"
TOOL_RESPONSE, END_TOOL_RESPONSE = "<tool_response>", "</tool_response>"

#: What stands for a media part, by its kind: a mark, a placeholder as often as the part has features, a mark.
MARKS = {"image": (VISION_START, IMAGE_PAD, VISION_END), "audio": (AUDIO_START, AUDIO_PAD, AUDIO_END)}

#: What every tokenizer of ours has; those a vocabulary lacks are appended after it, in this order.
FAMILY = (
    END_OF_TEXT,
    IM_START,
    IM_END,
    VISION_START,
    VISION_END,
    IMAGE_PAD,
    VIDEO_PAD,
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
    IM_START,
    IM_END,
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
    VIDEO_PAD,
    TOOL_CALL,
    END_TOOL_CALL,
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    TOOL_RESPONSE,
    END_TOOL_RESPONSE,
    THINK,
    END_THINK,
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
