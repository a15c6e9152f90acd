"""Documents of token ids with the lengths of real text: short ones are many, most tokens are in long ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: of a web page in tokens: half are shorter than the median, a sixth longer than e times it
MEDIAN_TOKENS = 300
SPREAD = 1.1
SHORTEST, LONGEST = 16, 2048


def drawn(budget: int, vocab_size: int, seed: int) -> list[Tensor]:
    """Documents of `budget` tokens in all; log-normal lengths, ids as frequent as words are (Zipf)."""
    generator = torch.Generator().manual_seed(seed)
    lengths: list[int] = []
    while sum(lengths) < budget:
        length = MEDIAN_TOKENS * math.exp(SPREAD * float(torch.randn((), generator=generator)))
        lengths.append(min(max(round(length), SHORTEST), LONGEST, max(budget - sum(lengths), 2)))
    likely = 1.0 / torch.arange(1, vocab_size).float()
    ids = 1 + torch.multinomial(likely, sum(lengths), replacement=True, generator=generator)
    return list(ids.split(lengths))


def batches(budget: int, count: int, vocab_size: int, data: str | None) -> list[list[Tensor]]:
    """`count` batches of about `budget` tokens: of the folder DATA through a tokenizer of ours, or drawn."""
    if data is None:
        return [drawn(budget, vocab_size, seed) for seed in range(count)]
    documents = iter(_of_text(data, budget * count, vocab_size))
    found = []
    for _ in range(count):
        batch: list[Tensor] = []
        while (room := budget - sum(map(len, batch))) >= SHORTEST:
            batch.append(next(documents)[: min(room, LONGEST)])
        found.append(batch)
    return found


def _of_text(data: str, tokens: int, vocab_size: int) -> list[Tensor]:
    # reading text needs the data half of the package
    from benchmarks.corpus import load
    from transforms.tokens.train import train_bpe

    pages = [page["text"] for page in load(data).everything]
    tokenizer = train_bpe(pages[:3000], vocab_size)
    found, total = [], 0
    for page in pages:
        ids, _ = tokenizer.encode([page])
        if len(ids) >= SHORTEST:
            found.append(torch.from_numpy(ids.astype("int64")))
            total += min(len(ids), LONGEST)
        # batches cut documents and leave some room, so that there must be more than enough
        if total > 2 * tokens:
            return found
    raise SystemExit(f"DATA={data} has too little text for {tokens:,} tokens")
