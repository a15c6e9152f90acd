"""A tiktoken rank file as a byte-level BPE `tokenizer.json`, token for token the same.

tiktoken joins the adjacent pair whose joined bytes have the lowest rank; `tokenizers` joins the pair that comes first
in a list of merges. One merge a token is enough to make them equal. Let a pair (p, q) be joined into token t while
encoding. Then no join of lower rank was left inside t's bytes, and none had crossed their border, so what happened
inside is what happens to t's bytes alone: the pair is the one that encoding t's bytes with only lower ranks ends with.
Every token therefore has one merge, found by encoding its own bytes. A token whose bytes do not come down to two
pieces, which no trained vocabulary has, is joined only after joins of higher rank, so it gets a merge for every cut
into two tokens; where it is a whole pre-token tiktoken emits it at once, and `tokenizers` with `ignore_merges`.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from schemas.errors import SluiceError

#: Qwen's pre-tokenizer (its tokenization_qwen.py and the `Split` of its tokenizer.json)
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: a tokenizer.json spells bytes as printable characters (GPT-2's table): byte -> character
BYTE_CHARS = {b: chr(b) for b in (*range(33, 127), *range(161, 173), *range(174, 256))}
BYTE_CHARS |= {b: chr(256 + n) for n, b in enumerate(b for b in range(256) if b not in BYTE_CHARS)}


def byte_level(pattern: str) -> dict[str, Any]:
    """The parts of a tokenizer.json around its model: NFC, pre-tokenizing by `pattern`, bytes as characters."""
    plain = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, plain]},
        "post_processor": plain,
        "decoder": plain,
    }


def bpe_model(vocab: dict[str, int], merges: list[list[str]], ignore_merges: bool = False) -> dict[str, Any]:
    """The `model` of a tokenizer.json: plain byte-level BPE."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": ignore_merges,
        "vocab": vocab,
        "merges": merges,
    }


def read_ranks(path: Path) -> dict[bytes, int]:
    """The ranks of a .tiktoken file (a line: base64 of the bytes, space, rank); SluiceError names a bad line."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise SluiceError(
                f"{path}, line {number} is {line[:60]!r}, not base64 bytes and a rank; a .tiktoken file has one such "
                "pair a line"
            ) from error
    missing = [b for b in range(256) if bytes([b]) not in ranks]
    if missing:
        raise SluiceError(
            f"{path} has no rank for {len(missing)} of the 256 single bytes (first: {missing[0]}), so not every text "
            "could be encoded; a byte-level vocabulary has them all. Is the file complete?"
        )
    if len(set(ranks.values())) != len(ranks):
        raise SluiceError(f"{path} gives the same rank to two tokens; is it a .tiktoken file, and complete?")
    return ranks


def tokenizer_json(ranks: dict[bytes, int], pattern: str = QWEN_PATTERN, nfc: bool = True) -> dict[str, Any]:
    """A tokenizer.json, without added tokens, that encodes as tiktoken does with these ranks and this pattern."""
    merges = []
    unreachable = False
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) == 1:
            continue
        pieces = _encode_below(token, rank, ranks)
        if len(pieces) == 2:
            merges.append([_spell(piece) for piece in pieces])
        else:
            unreachable = True
            cuts = ((token[:at], token[at:]) for at in range(1, len(token)))
            merges += [[_spell(left), _spell(right)] for left, right in cuts if left in ranks and right in ranks]
    made = byte_level(pattern) | {"model": bpe_model({_spell(t): r for t, r in ranks.items()}, merges, unreachable)}
    if not nfc:
        made["normalizer"] = None
    return made


def _encode_below(token: bytes, limit: int, ranks: dict[bytes, int]) -> list[bytes]:
    """The pieces `token` comes down to when only ranks below `limit` may be joined: leftmost lowest rank first."""
    pieces = [token[at : at + 1] for at in range(len(token))]
    while len(pieces) > 2:
        best, place = limit, -1
        for at in range(len(pieces) - 1):
            rank = ranks.get(pieces[at] + pieces[at + 1], limit)
            if rank < best:
                best, place = rank, at
        if place < 0:
            break
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    return pieces


def _spell(token: bytes) -> str:
    return "".join(BYTE_CHARS[byte] for byte in token)
