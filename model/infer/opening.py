"""Any folder that holds a model: a plain checkpoint, a quantised one, or an adapter and where its base is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from model.adapt import load_adapter, merge_adapters
from model.adapt.adapter_files import CONFIG as ADAPTER
from model.adapt.adapter_files import read_settings
from model.infer.quantised import load_quantised, read_note, side_files
from model.interop import load_model, newest_checkpoint, read_image_config, save_checkpoint_files
from model.net.vlm import VisionLanguageModel
from schemas.errors import SluiceError


def open_model(folder: Path) -> VisionLanguageModel:
    """The model of a checkpoint folder, adapters merged; raises SluiceError when it cannot be read."""
    if (folder / ADAPTER).exists():
        model = load_model(_base(folder))
        load_adapter(model, folder)
        merge_adapters(model)
        # the run that made the adapters may have shown pictures in other sizes than the base's did
        model.config = replace(model.config, image=read_image_config(folder) or model.config.image)
        return model
    how = read_note(folder)
    return load_quantised(folder, how) if how else load_model(folder)


def open_side_files(folder: Path) -> Path:
    """The folder that a checkpoint's tokenizer is in: an adapter may come without, and has that of its base."""
    has_its_own = (folder / "tokenizer.json").exists() or not (folder / ADAPTER).exists()
    return folder if has_its_own else _base(folder)


@contextmanager
def plain_checkpoint(folder: Path) -> Iterator[Path]:
    """A folder with the same model as plain weights: `folder` itself, or a temporary one with the adapters merged.

    Raises SluiceError for a quantised checkpoint, whose weights are lost.
    """
    if read_note(folder):
        raise SluiceError(f"{folder} is quantised: its weights are not there any more; give what it was made of")
    if not (folder / ADAPTER).exists():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="sluice-merged-") as name:
        merged = Path(name)
        save_checkpoint_files(open_model(folder), merged)
        for path in side_files(open_side_files(folder)):
            shutil.copyfile(path, merged / path.name)
        yield merged


def _base(folder: Path) -> Path:
    """The plain checkpoint that an adapter is of."""
    base = read_settings(folder).get("base_model_name_or_path")
    if not isinstance(base, str) or not base or not Path(base).is_dir():
        raise SluiceError(
            f"{folder} holds an adapter of the model {base!r}, which is not there; "
            f"say where it is in {ADAPTER}, base_model_name_or_path"
        )
    source = newest_checkpoint(Path(base))
    if (source / ADAPTER).exists() or read_note(source):
        raise SluiceError(f"{folder} holds an adapter of {source}, which is no plain model; give it a plain base")
    return source
