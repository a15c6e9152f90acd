"""The model that a run starts from: fresh, or a checkpoint's, made ready to be trained as the configuration says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer

from model.adapt import prepare as adapt
from model.adapt.adapter_files import CONFIG as ADAPTER
from model.adapt.adapter_files import read_settings
from model.config import SpecialIds, TrainConfig, preset
from model.data.dataset import DatasetInfo
from model.interop import load_model, newest_checkpoint
from model.net.vlm import VisionLanguageModel, build
from model.train.compiling import compile_layers
from model.train.freeze import freeze
from model.train.layout import Layout
from model.train.ranks import Ranks
from model.train.recompute import recompute_layers
from schemas.errors import SluiceError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def starting_model(config: TrainConfig, info: DatasetInfo) -> VisionLanguageModel:
    """The model before the first step, on CPU, in the run's precision.

    Raises SluiceError when the checkpoint of `init` does not fit the dataset's tokenizer, or holds adapters alone.
    """
    if config.init:
        folder = newest_checkpoint(Path(config.init))
        if (folder / ADAPTER).exists():
            raise SluiceError(
                f"init: {folder} holds adapters of another model; merge them first, `sluice export {folder} OUT`, and "
                "start from OUT"
            )
        model = load_model(folder)
        check_fits(model, info, folder)
        model.config = replace(model.config, image=info.image)
    else:
        model = build(preset(config.model, info.vocab_size, info.special, info.image), config.seed)
    return model.to(PRECISIONS[config.precision])


def base_of(config: TrainConfig) -> str:
    """Where the model lies that a new run's adapters are of, for good: `init` may get newer checkpoints; "" without."""
    return str(newest_checkpoint(Path(config.init)).resolve()) if config.adapter.rank else ""


def resumed_model(config: TrainConfig, info: DatasetInfo, checkpoint: Path) -> tuple[VisionLanguageModel, str]:
    """The model of a run's checkpoint, on CPU, and as `base_of`; of a run with adapters, which come with the run's
    state, that is their base.

    Raises SluiceError when the base is gone.
    """
    if not config.adapter.rank:
        return load_model(checkpoint, PRECISIONS[config.precision]), ""
    base = read_settings(checkpoint).get("base_model_name_or_path")
    if not isinstance(base, str) or not Path(base).is_dir():
        raise SluiceError(
            f"{checkpoint} holds adapters of the model {base!r}, which is not there; put it back, or say where it is "
            f"in {ADAPTER}, base_model_name_or_path"
        )
    return starting_model(replace(config, init=base), info), base


def prepare(model: VisionLanguageModel, config: TrainConfig) -> None:
    """Adapts and freezes, sets what is recomputed and compiled; what the model computes stays as it is, QAT apart."""
    adapt(model, config.adapter, config.qat, config.seed)
    # adapters freeze all else by themselves
    if not config.adapter.rank:
        freeze(model, config.train_parts)
    if config.compile:
        compile_layers(model)
    # after compiling: what is recomputed is the compiled layer, the other way round nothing would be compiled
    if config.activation_checkpointing == "layers":
        recompute_layers(model)


def place(model: VisionLanguageModel, ranks: Ranks) -> Layout:
    """Moves a model to where it computes: this rank's device, or in parts those of all ranks."""
    if ranks.count == 1:
        model.to(ranks.device)
        return Layout()
    # what spreads a model takes seconds to import
    from model.train.parallel import spread

    return spread(model, ranks)


def check_fits(model: VisionLanguageModel, info: DatasetInfo, folder: Path) -> None:
    """Raises SluiceError when a model would read the dataset's ids as other tokens than were written."""
    place = f"init: {folder}"
    if model.config.text.vocab_size < info.vocab_size:
        raise SluiceError(
            f"{place} knows {model.config.text.vocab_size:,} tokens, the dataset's tokenizer makes "
            f"{info.vocab_size:,}; curate the data with the checkpoint's tokenizer"
        )
    for name in SpecialIds.__dataclass_fields__:
        wanted, known = getattr(info.special, name), getattr(model.config.special, name)
        if wanted >= 0 and wanted != known:
            there = f"has {name} at id {known}" if known >= 0 else f"has no {name}"
            raise SluiceError(
                f"{place} {there}, the dataset has it at {wanted}; curate the data with the checkpoint's tokenizer"
            )
    own = folder / "tokenizer.json"
    if not own.exists():
        return
    known_ids, data_ids = _ids(own), _ids(info.tokenizer / "tokenizer.json")
    differing = sorted(token for token, i in data_ids.items() if known_ids.get(token) != i)
    if differing:
        token = differing[0]
        raise SluiceError(
            f"{place} was trained with another tokenizer: {len(differing):,} of the dataset's {len(data_ids):,} tokens "
            f"are others there, as {token!r} ({data_ids[token]} here, {known_ids.get(token, 'none')} there); "
            "curate the data with the checkpoint's tokenizer"
        )


def _ids(path: Path) -> dict[str, int]:
    """Every token of a tokenizer.json and its id; raises SluiceError when it cannot be read."""
    try:
        return Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True)
    # the parser raises a bare Exception for malformed and missing files
    except Exception as error:
        raise SluiceError(f"{path} cannot be read ({error}); copy it from where the data or the model is") from error
