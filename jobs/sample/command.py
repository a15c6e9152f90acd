"""`sluice sample`: a small corpus of text, pictures and sounds to try everything on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.sample.write import MODALITIES, write_sample


def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write; it must not hold a sample yet.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 17,
    scale: Annotated[float, typer.Option(help="How many records, as a multiple of the usual number.")] = 1.0,
    only: Annotated[
        list[str] | None, typer.Option(help="text, image or audio; may be repeated. [default: all three]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a demo corpus: text in 20 languages, captioned pictures, described sounds, with labelled faults."""
    made = write_sample(folder, seed, scale, only or MODALITIES)
    if as_json:
        print(json.dumps(made))
        return
    totals = dict.fromkeys(("text", "image", "audio"), 0)
    for name, count in made["counts"].items():
        totals[name.partition("/")[0]] += count
    print(
        f"{folder}: {totals['text']:,} texts in {len(made['languages'])} languages, {totals['image']:,} pictures with "
        f"captions, {totals['audio']:,} sounds with descriptions; {made['num_bytes'] / 1e6:.1f} MB. What was planted "
        f"where is in {folder / 'truth.jsonl'}."
    )
