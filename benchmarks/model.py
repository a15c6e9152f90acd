"""bench-model: the bundled model against transformers' Qwen3-VL-MoE, with the same weights on the same documents.

python -m benchmarks.model [--device cpu|cuda] [--size small|full]; DATA names a folder of text (docs/benchmarks.md).
Both sides do the same work in turn, and the medians are compared. On a GPU only torch, numpy, safetensors, tokenizers
and transformers are needed.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.model_clock import Times, interleaved
from benchmarks.model_documents import batches, drawn
from benchmarks.model_pair import LARGE, SMALL, Pair, pair
from benchmarks.model_work import Training, agreement, attention_step, decoding, moe_steps

#: dense bfloat16 peak of the GPUs that a share of the peak is told for, FLOP/s (NVIDIA's data sheets)
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}
#: tokens of a training batch, by device
BUDGET = {"cpu": 4096, "cuda": 16_384}
MOE_TOKENS = {"cpu": (64, 512, 4096), "cuda": (512, 4096, 16_384)}
WINDOW = 1024
LONG_ROWS = {"cpu": 8192, "cuda": 65_536}
PROMPT_TOKENS = 128

#: a line of the result: (what, ours, {peer: theirs}, unit, is less better)
Line = tuple[str, float, dict[str, float], str, bool]


class Bench:
    """All measurements of one run on one device."""

    def __init__(self, device: torch.device, *, full: bool) -> None:
        self.device, self.full = device, full
        self.lines: list[Line] = []
        self.facts: dict[str, Any] = {}
        self._repeats = 7 if full else 3
        self._text = LARGE if device.type == "cuda" else SMALL
        self._data = os.environ.get("DATA") or None
        self._batches = batches(BUDGET[device.type], self._repeats + 1, self._text.vocab_size, self._data)

    def run(self) -> None:
        """Everything, in both precisions on CPU."""
        for name, dtype in PRECISIONS.items():
            if self.device.type == "cuda" and dtype == torch.float32:
                continue
            models = pair(self._text, dtype, self.device)
            self._training(models, name)
            self._moe(models, name)
            self._decoding(models, name)
            if dtype == torch.bfloat16:
                self._window(models)

    def _add(self, what: str, times: Mapping[str, Times], work: float, unit: str) -> None:
        rates = {side: work / t.cpu_s for side, t in times.items()}
        peers = {side: rate for side, rate in rates.items() if side != "ours"}
        self.lines.append((what, rates["ours"], peers, unit, False))
        self.facts.setdefault("wall_s", {})[what] = {side: t.wall_s for side, t in times.items()}
        shown = "  ".join(f"{side} {rate:,.4g}" for side, rate in rates.items())
        print(f"{what}: {shown} {unit}", file=sys.stderr, flush=True)

    @property
    def _second(self) -> str:
        return "s" if self.device.type == "cuda" else "CPU second"

    def _training(self, models: Pair, precision: str) -> None:
        tokens = sum(map(len, self._batches[0]))
        work = Training(models, self._batches, self.device)
        losses = work.losses()
        self.facts[f"losses, {precision}"] = losses
        worst = max(abs(loss / losses["ours"] - 1) for loss in losses.values())
        if worst > (1e-5 if precision == "float32" else 2e-3):
            raise SystemExit(f"the sides' losses differ: {losses}")
        sides = {"ours": work.ours, "padded": work.theirs_padded, "packed": work.theirs_packed}
        times = self._timed(f"training, {precision}", sides, tokens, f"tokens per {self._second}")
        if self.device.type == "cuda":
            self._share_of_peak(models, times["ours"].wall_s)
        rows = [list(torch.cat(b)[: tokens // 512 * 512].split(512)) for b in self._batches]
        work = Training(models, rows, self.device)
        sides = {"ours": work.ours, "packed": work.theirs_rows}
        self._timed(f"training, {precision}, rows of 512", sides, len(rows[0]) * 512, f"tokens per {self._second}")

    def _timed(self, what: str, sides: Mapping[str, Callable[[], object]], work: float, unit: str) -> dict[str, Times]:
        times = interleaved(sides, self._repeats, self.device)
        self._add(what, times, work, unit)
        if self.device.type == "cuda":
            self.facts.setdefault("peak_gib", {})[what] = {name: _peak_gib(sides[name]) for name in times}
        return times

    def _share_of_peak(self, models: Pair, seconds: float) -> None:
        """6 FLOPs a token and active parameter, 6 a pair of a token and one it sees, layer and value of a query."""
        text, lengths = self._text, [len(d) for d in self._batches[0]]
        active = active_parameters(models)
        pairs = sum(n * (n + 1) / 2 for n in lengths)
        attention = 2 * 6 * pairs * text.num_hidden_layers * text.num_attention_heads * text.head_dim
        flops = 6 * active * sum(lengths) + attention
        name = torch.cuda.get_device_name(self.device)
        peak = next((value for key, value in PEAK_FLOPS.items() if key in name), None)
        share = flops / seconds / peak if peak else None
        self.facts["mfu"] = {
            "formula": "(6 * active * tokens + 12 * layers * heads * head_dim * sum n (n + 1) / 2) / s / peak",
            "active_parameters": active,
            "peak_flops": peak,
            "share": share,
        }
        print(f"share of the peak: {share}", file=sys.stderr)

    def _moe(self, models: Pair, precision: str) -> None:
        for tokens in MOE_TOKENS[self.device.type]:
            for backward, name in ((False, "forward"), (True, "forward + backward")):
                times = interleaved(moe_steps(models, tokens, backward=backward), 4 * self._repeats, self.device)
                unit = f"tokens per {self._second}"
                self._add(f"MoE block, {precision}, {tokens:,} tokens, {name}", times, tokens, unit)

    def _decoding(self, models: Pair, precision: str) -> None:
        for model in (models.ours, models.theirs):
            model.eval()
        new = 64 if self.full else 24
        quantised = self._quantised(models)
        for count in (1, 16):
            prompts = torch.stack([torch.cat(b)[:PROMPT_TOKENS] for b in self._many(count)]).to(self.device)
            sides = decoding(models, prompts, new)
            if quantised is not None:
                sides["int8"] = decoding(quantised, prompts, new)["ours"]
            # what the prompts cost is taken off: the same with a single new token
            first = decoding(models, prompts, 1)
            if quantised is not None:
                first["int8"] = decoding(quantised, prompts, 1)["ours"]
            both = interleaved(
                sides | {f"first {name}": step for name, step in first.items()}, self._repeats, self.device
            )
            times = {}
            for name in sides:
                whole, start = both[name], both[f"first {name}"]
                times[name] = Times(whole.cpu_s - start.cpu_s, whole.wall_s - start.wall_s)
            int8 = times.pop("int8", None)
            work, unit = (new - 1) * count, f"tokens per {self._second}"
            self._add(f"decode, {precision}, batch {count}", times, work, unit)
            if int8 is not None:
                self._add(f"decode, int8, {precision}, batch {count}", {**times, "ours": int8}, work, unit)
            one, other = (sides[name]() for name in ("ours", "transformers"))
            same = [a == b for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)]
            self.facts[f"equal tokens, {precision}, batch {count}"] = sum(same) / len(same)

    def _many(self, count: int) -> list[list[Tensor]]:
        return [self._batches[i] if i < len(self._batches) else drawn(PROMPT_TOKENS, 16_384, i) for i in range(count)]

    def _quantised(self, models: Pair) -> Pair | None:
        """The same with int8 weights, and how far it is from what it was."""
        if self.device.type == "cuda":
            return None
        from model.adapt.quantise import Quantisation, quantise_model

        changed = copy.deepcopy(models.ours)
        quantise_model(changed, Quantisation(scheme="int8"))
        name = str(models.ours.lm_head.weight.dtype).removeprefix("torch.")
        self.facts[f"int8 of {name}"] = agreement(models.ours, changed, self._batches[-1])
        return Pair(models.text, changed, models.theirs)

    def _window(self, models: Pair) -> None:
        rows = LONG_ROWS[self.device.type]
        sides = {
            "ours": attention_step(rows, WINDOW, models),
            "whole document": attention_step(rows, None, models),
        }
        times = interleaved(sides, self._repeats, self.device)
        self._add(f"attention, window {WINDOW} of {rows:,}", times, rows, f"tokens per {self._second}")


def active_parameters(models: Pair) -> int:
    """Parameters that a token meets: k of E experts."""
    text = models.text
    total = sum(p.numel() for p in models.ours.parameters())
    experts = sum(p.numel() for n, p in models.ours.named_parameters() if ".experts." in n)
    return total - experts * (text.num_experts - text.num_experts_per_tok) // text.num_experts


def _peak_gib(side: Callable[[], object]) -> float:
    torch.cuda.reset_peak_memory_stats()
    side()
    return torch.cuda.max_memory_allocated() / 2**30


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs all of it; prints the table and, on CPU, writes benchmarks/results/model.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--size", choices=("small", "full"), default=os.environ.get("SIZE", "small"))
    parser.add_argument("--out", type=Path, help="where a GPU's results go, as JSON")
    chosen = parser.parse_args(arguments)
    if chosen.device == "cuda":
        bench = Bench(torch.device("cuda"), full=chosen.size == "full")
        bench.run()
        _print_plain(bench, chosen.out)
        return
    from benchmarks.model_report import report

    # threads that wait for each other use CPU time: rates a CPU second are those of one thread
    torch.set_num_threads(1)
    bench = Bench(torch.device("cpu"), full=chosen.size == "full")
    report(bench)


def _print_plain(bench: Bench, out: Path | None) -> None:
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    rows = []
    for what, ours, peers, unit, _ in bench.lines:
        ratios = {name: ours / theirs for name, theirs in peers.items()}
        rows.append({"stage": what, "ours": ours, "peers": peers, "ratio": ratios, "unit": unit})
        shown = "  ".join(f"{name} {theirs:,.4g} (x {ours / theirs:.2f})" for name, theirs in peers.items())
        print(f"{what:60s} ours {ours:,.4g}  {shown}  {unit}")
    body = json.dumps({"stages": rows, "device": torch.cuda.get_device_name(), **bench.facts}, indent=2)
    print(body)
    if out:
        out.write_text(body + "\n")


if __name__ == "__main__":
    main()
