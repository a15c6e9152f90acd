"""`sluice eval`: what a checkpoint is worth on data that it has not seen."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.facts import caption_facts, transcript_facts
from jobs.train import import_model
from pipeline.report.display import percent, plain
from pipeline.storage import check_writable, write_bytes
from schemas.errors import SluiceError

_MAX_NEW_TOKENS = 48


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A run's folder (its newest checkpoint is used) or a checkpoint.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="A dataset: its loss by language and modality; of the run's own, the held-out part."
        ),
    ] = None,
    captions: Annotated[
        Path | None, typer.Option(help="Unseen image-caption pairs to score: a WebDataset tar, or a folder of them.")
    ] = None,
    sounds: Annotated[Path | None, typer.Option(help="Unseen clips with transcripts: the same.")] = None,
    choices: Annotated[
        list[Path] | None,
        typer.Option(
            help="Multiple-choice questions, JSON lines of {question or prompt, choices, answer}; repeatable."
        ),
    ] = None,
    max_sequences: Annotated[int | None, typer.Option(min=1, help="Sequences of --data to score, at most.")] = None,
    max_pairs: Annotated[int, typer.Option(min=1, help="Pairs of --captions and of --sounds, at most.")] = 200,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads [default: physical cores].")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the scores to this JSON file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON, and nothing else.")] = False,
) -> None:
    """Score CHECKPOINT on held-out data, captions, transcripts and multiple-choice questions."""
    if data is None and captions is None and sounds is None and not choices:
        raise SluiceError("there is nothing to score: give --data, --captions, --sounds or --choices")
    if out is not None:
        check_writable(out)
    modules = import_model()
    modules.torch.set_num_threads(threads or psutil.cpu_count(logical=False) or 1)
    folder = modules.newest_checkpoint(checkpoint)
    generator = modules.TextGenerator.load(folder)
    scores: dict[str, Any] = {"checkpoint": str(folder)}
    with Console(stderr=True).status("scoring"):
        if data is not None:
            scores["loss"] = {"data": str(data), "groups": _losses(generator.model, data, folder, max_sequences)}
        if captions is not None:
            scores["captions"] = _captions(generator, captions, max_pairs)
        if sounds is not None:
            scores["sounds"] = _sounds(generator, sounds, max_pairs)
        if choices:
            scores["choices"] = {str(path): _choices(generator.model, path, folder) for path in choices}
    text = json.dumps(scores, ensure_ascii=False, indent=2)
    if out is not None:
        write_bytes(out, f"{text}\n".encode())
    if as_json:
        print(text)
    else:
        _print(scores)


def _losses(model: Any, data: Path, checkpoint: Path, max_sequences: int | None) -> list[dict[str, Any]]:
    from model.eval.dataset import score_dataset
    from model.eval.groups import group_losses

    documents = score_dataset(model, data, checkpoint, max_sequences)
    return [dataclasses.asdict(group) for group in group_losses(documents)]


def _captions(generator: Any, path: Path, limit: int) -> dict[str, Any]:
    from model.eval.captions import read_caption_pairs, score_captions

    pairs = read_caption_pairs(path, limit)
    return dataclasses.asdict(
        score_captions(pairs, lambda images: generator.caption(images, _MAX_NEW_TOKENS), caption_facts)
    )


def _sounds(generator: Any, path: Path, limit: int) -> dict[str, Any]:
    from model.eval.captions import read_caption_pairs, score_captions
    from model.infer.sampling import Sampling

    greedy = Sampling(max_new_tokens=_MAX_NEW_TOKENS)
    pairs = read_caption_pairs(path, limit, "audio")
    return dataclasses.asdict(
        score_captions(
            pairs, lambda clips: [generator("", (), [clip], greedy).strip() for clip in clips], transcript_facts
        )
    )


def _choices(model: Any, path: Path, checkpoint: Path) -> dict[str, Any]:
    from model.data.tokenizer import load_tokenizer
    from model.eval.choices import read_questions, score_choices
    from model.infer.opening import open_side_files

    codec = load_tokenizer(open_side_files(checkpoint))
    return dataclasses.asdict(score_choices(model, codec, read_questions(path)))


def _print(scores: dict[str, Any]) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(f"{plain(scores['checkpoint'], 400)}", soft_wrap=True)
    if "loss" in scores:
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for name in ("loss", "", "documents", "tokens", "nats/token", "bits/byte"):
            table.add_column(name, justify="left" if name in ("loss", "") else "right")
        for group in scores["loss"]["groups"]:
            bits = "–" if group["bits_per_byte"] is None else f"{group['bits_per_byte']:.4f}"
            counts = (f"{group['documents']:,}", f"{group['tokens']:,}", f"{group['nats_per_token']:.4f}", bits)
            kind = "" if group["kind"] == "all" else group["kind"]
            table.add_row(kind, Text(plain(group["name"], 40)), *counts)
        console.print()
        console.print(table)
    for name in ("captions", "sounds"):
        if name in scores:
            found = scores[name]
            console.print(
                f"\n{name}: of {found['pairs']}, {percent(found['exact_match'])} say exactly what is there, "
                f"{percent(found['attribute_accuracy'])} of attributes are right, "
                f"{percent(found['same_words'])} are the same word for word"
            )
            for truth, said in found["examples"]:
                console.print(f"  true: {plain(truth)}\n  said: {plain(said)}")
    for path, found in scores.get("choices", {}).items():
        console.print(f"\n{plain(path, 400)}: {found['questions']} questions, chance {percent(found['chance'])}")
        for name in ("acc", "acc_norm"):
            low, high = found[f"{name}_interval"]["low"], found[f"{name}_interval"]["high"]
            console.print(f"  {name:<8}  {percent(found[name])}  (95 %: {percent(low)} to {percent(high)})")
