"""Training a byte-level BPE on the rows a recipe keeps."""

from __future__ import annotations

import json
from collections.abc import Iterable

from schemas.control_tokens import FAMILY
from schemas.errors import SluiceError
from schemas.sample import SENTINEL
from transforms.tokens.ranks import QWEN_PATTERN, bpe_model, byte_level
from transforms.tokens.tokenizer import Tokenizer

_BYTES = 256


def train_bpe(texts: Iterable[str], vocab_size: int, min_frequency: int = 2) -> Tokenizer:
    """A byte-level BPE of at most `vocab_size` tokens: all 256 bytes, learned tokens, the family's control tokens last.

    NFC and pre-tokenizing as Qwen's. A pair seen fewer than `min_frequency` times is not joined, so a small corpus
    gives a smaller vocabulary. The same texts give the same tokenizer in any order and on any number of threads:
    `tokenizers` sums counts of whole words and settles ties between pairs by their ids.

    Raises SluiceError when `vocab_size` has no room for the bytes and control tokens, or there is no text.
    """
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    room = vocab_size - len(FAMILY)
    if room < _BYTES:
        raise SluiceError(
            f"a vocabulary of {vocab_size} has no room for {_BYTES} bytes and {len(FAMILY)} control tokens; "
            f"vocab_size must be at least {_BYTES + len(FAMILY)}"
        )
    engine = tokenizers.Tokenizer(models.BPE())
    engine.normalizer = normalizers.NFC()
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(QWEN_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        min_frequency=min_frequency,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    seen = 0

    def pieces() -> Iterable[list[str]]:
        nonlocal seen
        for text in texts:
            # Each run of text between media parts is encoded by itself, so it is learned from by itself.
            found = [piece for piece in text.split(SENTINEL) if piece]
            seen += len(found)
            yield found

    engine.train_from_iterator(pieces(), trainer=trainer)
    if not seen:
        raise SluiceError("there is no text to train a tokenizer on: every row is empty or only media")
    model = json.loads(engine.to_str())["model"]
    return Tokenizer(byte_level(QWEN_PATTERN) | {"model": bpe_model(model["vocab"], model["merges"])}, where="trained")
