"""The pieces of work that bench-model times, ours and transformers' alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.model_pair import Pair, our_batch, packed, padded
from model.infer.decode import decode
from model.infer.sampling import Sampling, streams
from model.net.attention import segment_attention
from model.net.segments import plan_segments

Step = Callable[[], object]


class Training:
    """A step of each side on the next batch: forward, backward, AdamW (torch's fused one for both)."""

    def __init__(self, pair: Pair, batches: Sequence[list[Tensor]], device: torch.device) -> None:
        self._pair, self._device = pair, device
        self._batches = list(batches)
        self._optimizers: dict[int, torch.optim.Optimizer] = {}
        self._at: dict[str, int] = {}

    def losses(self) -> dict[str, float]:
        """The language loss of the first batch, by every way to lay it out; they must agree."""
        documents = self._batches[0]
        with torch.no_grad():
            # ours without the balancing loss, theirs from the logits: the mean over the same targets
            ours = float(self._pair.ours(our_batch(documents).to(self._device)).language)
            found = {"ours": ours}
            for name, lay in (("padded", padded), ("packed", packed)):
                inputs = self._moved(lay(documents))
                inputs["output_router_logits"] = False
                found[name] = float(self._pair.theirs(**inputs).loss)
        return found

    def ours(self) -> None:
        """Documents end to end."""
        batch = our_batch(self._next("ours")).to(self._device)
        self._step(self._pair.ours, lambda: self._pair.ours(batch).total)

    def theirs_padded(self) -> None:
        """A row a document, padded to the longest."""
        self._theirs("padded", padded)

    def theirs_packed(self) -> None:
        """One row of all documents, that a mask keeps apart."""
        self._theirs("packed", packed)

    def theirs_rows(self) -> None:
        """Documents of one length: rows without padding or mask."""

        def stacked(documents: list[Tensor]) -> dict[str, Tensor]:
            rows = torch.stack(documents)
            return {"input_ids": rows, "labels": rows}

        self._theirs("rows", stacked)

    def _theirs(self, name: str, lay: Callable[[list[Tensor]], dict[str, Tensor]]) -> None:
        inputs = self._moved(lay(self._next(name)))
        self._step(self._pair.theirs, lambda: self._pair.theirs(**inputs).loss)

    def _moved(self, inputs: dict[str, Tensor]) -> dict[str, Any]:
        # without a cache, which nobody reads here, and with which it would not keep packed documents apart
        return {name: value.to(self._device) for name, value in inputs.items()} | {"use_cache": False}

    def _next(self, name: str) -> list[Tensor]:
        at = self._at.get(name, 0)
        self._at[name] = at + 1
        return self._batches[at % len(self._batches)]

    def _step(self, model: nn.Module, loss: Callable[[], Tensor]) -> None:
        if id(model) not in self._optimizers:
            # a rate of zero is the same work, and both models stay what they were
            self._optimizers[id(model)] = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
        loss().backward()
        self._optimizers[id(model)].step()
        self._optimizers[id(model)].zero_grad(set_to_none=True)


def moe_steps(pair: Pair, tokens: int, *, backward: bool) -> dict[str, Step]:
    """The first layer's expert block of both sides on the same rows."""
    device, dtype = pair.ours.lm_head.weight.device, pair.ours.lm_head.weight.dtype
    x = torch.randn(tokens, pair.text.hidden_size, generator=torch.Generator().manual_seed(1))
    x = x.to(device, dtype).requires_grad_(backward)
    ours = pair.ours.model.language_model.layers[0].mlp
    theirs = pair.theirs.model.language_model.layers[0].mlp

    def step(block: nn.Module, rows: Tensor) -> None:
        with torch.set_grad_enabled(backward):
            y = block(rows)
            y = y[0] if isinstance(y, tuple) else y
        if backward:
            y.backward(torch.ones_like(y))
            x.grad = None
            block.zero_grad(set_to_none=True)

    return {"ours": lambda: step(ours, x), "transformers": lambda: step(theirs, x[None])}


def decoding(pair: Pair, prompts: Tensor, new_tokens: int) -> dict[str, Step]:
    """Greedy continuation of prompts [B, L] by so many tokens."""
    device = prompts.device
    batch = our_batch(list(prompts.cpu())).to(device)
    sampling = Sampling(max_new_tokens=new_tokens)

    def ours() -> list[list[int]]:
        return decode(pair.ours, batch, sampling, streams(sampling, len(prompts)), [])

    def theirs() -> list[list[int]]:
        options = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False}
        mask = torch.ones_like(prompts)
        with torch.inference_mode():
            found = pair.theirs.generate(prompts, attention_mask=mask, eos_token_id=None, pad_token_id=0, **options)
        return found[:, prompts.shape[1] :].tolist()

    return {"ours": ours, "transformers": theirs}


def attention_step(rows: int, window: int | None, pair: Pair) -> Step:
    """Attention of one layer over one document, forward and backward."""
    text, weight = pair.text, pair.ours.lm_head.weight
    shapes = [(rows, n, text.head_dim) for n in (text.num_attention_heads, *[text.num_key_value_heads] * 2)]
    generator = torch.Generator().manual_seed(2)
    inputs = [torch.randn(s, generator=generator).to(weight.device, weight.dtype).requires_grad_() for s in shapes]
    segments = plan_segments([rows], weight.device, padded=True)

    def step() -> None:
        out = segment_attention(*inputs, segments, causal=True, window=window)
        torch.autograd.grad(out, inputs, torch.ones_like(out))

    return step


@torch.no_grad()
def agreement(reference: nn.Module, changed: nn.Module, documents: list[Tensor]) -> dict[str, float]:
    """How far a changed model is from the one it was: loss difference, KL divergence in nats a token, equal top-1."""
    batch = our_batch(documents).to(next(reference.parameters()).device)
    assert batch.targets is not None
    live = batch.targets != -100
    one, other = (model.logits(batch)[live].log_softmax(-1) for model in (reference, changed))
    targets = batch.targets[live][:, None]
    return {
        "loss": float(-one.gather(1, targets).mean()),
        "loss_difference": float((one - other).gather(1, targets).mean()),
        "kl_nats": float((one.exp() * (one - other)).sum(-1).mean()),
        "top1_agreement": float((one.argmax(-1) == other.argmax(-1)).float().mean()),
    }
