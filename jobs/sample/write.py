"""Writing the whole demo corpus into a folder."""

from __future__ import annotations

from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Any

from jobs.sample.banks import KEPT
from jobs.sample.clips import write_clips
from jobs.sample.labelled import write_labelled
from jobs.sample.pictures import write_pictures
from jobs.sample.texts import write_texts
from jobs.sample.truth import write_truth
from schemas.errors import SluiceError

#: what the folder holds when it is done
PARTS = ("text", "images", "audio", "heldout", "labelled", "truth.jsonl", "README.md")
MODALITIES = ("text", "image", "audio")


def write_sample(
    folder: str | Path, seed: int = 17, scale: float = 1.0, modalities: Collection[str] = MODALITIES
) -> dict[str, Any]:
    """Writes the demo corpus: text/, images/, audio/, heldout/, labelled/, truth.jsonl and README.md.

    The same seed and scale give the same bytes (with the same versions of Pillow and libsndfile, which encode the
    media). `scale` multiplies the number of records of every kind; of a modality left out there are none
    (labelled/ goes with the text). Returns {seed, scale, num_bytes, languages, counts}, counts by "modality/kind".
    Raises SluiceError for an unknown modality, and when the folder already holds a corpus or anything of its names.
    """
    folder = Path(folder)
    if scale <= 0 or scale > 100:
        raise SluiceError(f"the scale of a sample must lie above 0 and not above 100, got {scale:g}")
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown:
        raise SluiceError(f"a sample has no {unknown[0]!r}; it is made of {', '.join(MODALITIES)}")
    there = [name for name in PARTS if (folder / name).exists()]
    if there:
        raise SluiceError(
            f"{folder} already holds {', '.join(there)}; give the sample a folder of its own, or remove the old one"
        )
    try:
        (folder / "heldout").mkdir(parents=True)
    except OSError as error:
        raise SluiceError(f"cannot write a sample to {folder}: {error.strerror or error}") from error
    writers = {"text": write_texts, "image": write_pictures, "audio": write_clips}
    truths = [truth for name in MODALITIES if name in modalities for truth in writers[name](folder, seed, scale)]
    if "text" in modalities:
        write_labelled(folder, seed, scale)
    readme = files("jobs.sample").joinpath("assets", "README.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(readme, encoding="utf-8", newline="\n")
    counts = write_truth(folder / "truth.jsonl", truths)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"seed": seed, "scale": scale, "num_bytes": size, "languages": list(KEPT), "counts": counts}
