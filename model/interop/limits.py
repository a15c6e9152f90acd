"""What must hold between the numbers of a configuration that comes from a file, so that nothing breaks later on."""

from __future__ import annotations

import math
from collections.abc import Iterator

from model.config import AudioConfig, ModelConfig, TextConfig, VisionConfig, to_dict
from model.data.audio import BINS
from model.data.images import MERGE, PATCH, TEMPORAL
from schemas.errors import SluiceError

#: far above any model there is; a number beyond it is an accident or an attack. Three of them multiplied fit 64 bits
_LARGEST = 1 << 20
#: these are no sizes of anything that is made
_FREE = frozenset({"max_position_embeddings", "original_max_position_embeddings", "min_pixels", "max_pixels"})
_MOST_LAYERS = 1024


def check(config: ModelConfig, where: str) -> None:
    """Raises SluiceError naming what cannot be."""
    for name, group in to_dict(config).items():
        for key, value in (group or {}).items():
            numbers = value if isinstance(value, list | tuple) else [value]
            for number in numbers:
                if isinstance(number, float) and not math.isfinite(number):
                    raise SluiceError(f"{where}: {name}.{key} is {number}, which is no number")
                if type(number) is int and key not in _FREE and not -1 <= number <= _LARGEST:
                    raise SluiceError(f"{where}: {name}.{key} is {number}, beyond the largest that is read, {_LARGEST}")
    problem = next(
        (
            problem
            for found in (
                _text(config.text),
                _vision(config.vision, config.text) if config.vision else (),
                _audio(config.audio, config.text) if config.audio else (),
            )
            for problem in found
        ),
        None,
    )
    if problem:
        raise SluiceError(f"{where}: {problem}")


def _text(text: TextConfig) -> Iterator[str]:
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
    yield from _positive(text, (*sizes, "decoder_sparse_step", "max_position_embeddings"))
    if text.num_hidden_layers > _MOST_LAYERS:
        yield f"num_hidden_layers is {text.num_hidden_layers}, more than {_MOST_LAYERS}"
    if text.num_attention_heads % text.num_key_value_heads:
        yield f"{text.num_key_value_heads} key heads cannot serve {text.num_attention_heads} query heads evenly"
    if len(text.mrope_section) != 3 or 2 * sum(text.mrope_section) != text.head_dim:
        yield f"mrope_section {list(text.mrope_section)} must be three numbers whose sum is half of head_dim"
    kinds = {text.is_moe(layer) for layer in range(text.num_hidden_layers)}
    if True in kinds:
        yield from _positive(text, ("num_experts_per_tok", "moe_intermediate_size"))
        if text.num_experts_per_tok > text.num_experts:
            yield f"a token cannot go to {text.num_experts_per_tok} of {text.num_experts} experts"
    if False in kinds:
        yield from _positive(text, ("intermediate_size",))
    if text.layer_types and len(text.layer_types) != text.num_hidden_layers:
        yield f"there are {len(text.layer_types)} layer_types for {text.num_hidden_layers} layers"
    if text.rms_norm_eps <= 0 or text.rope_theta <= 0:
        yield "rms_norm_eps and rope_theta must be above 0"


def _vision(vision: VisionConfig, text: TextConfig) -> Iterator[str]:
    yield from _positive(vision, ("depth", "hidden_size", "num_heads", "intermediate_size", "num_position_embeddings"))
    cut = (vision.in_channels, vision.patch_size, vision.temporal_patch_size, vision.spatial_merge_size)
    if cut != (3, PATCH, TEMPORAL, MERGE):
        yield f"images are cut into {PATCH} px RGB patches of {TEMPORAL} frames merged {MERGE} by {MERGE}, not {cut}"
    if vision.depth > _MOST_LAYERS:
        yield f"vision depth is {vision.depth}, more than {_MOST_LAYERS}"
    if vision.hidden_size % vision.num_heads or vision.hidden_size // vision.num_heads % 4:
        yield f"a vision hidden_size of {vision.hidden_size} does not make {vision.num_heads} heads of a multiple of 4"
    if math.isqrt(vision.num_position_embeddings) ** 2 != vision.num_position_embeddings:
        yield f"num_position_embeddings {vision.num_position_embeddings} is no square"
    levels = vision.deepstack_visual_indexes
    if len(set(levels)) != len(levels) or any(not 0 <= level < vision.depth for level in levels):
        yield f"deepstack_visual_indexes {list(levels)} must be different layers of the {vision.depth} there are"
    if len(levels) > text.num_hidden_layers:
        yield f"{len(levels)} deepstack levels need as many decoder layers"
    if vision.out_hidden_size != text.hidden_size:
        yield f"the vision tower's out_hidden_size {vision.out_hidden_size} is not the decoder's {text.hidden_size}"


def _audio(audio: AudioConfig, text: TextConfig) -> Iterator[str]:
    sizes = ("encoder_layers", "d_model", "encoder_attention_heads", "encoder_ffn_dim", "downsample_hidden_size")
    yield from _positive(audio, (*sizes, "n_window"))
    if audio.encoder_layers > _MOST_LAYERS:
        yield f"encoder_layers is {audio.encoder_layers}, more than {_MOST_LAYERS}"
    if audio.num_mel_bins != BINS:
        yield f"audio comes in {BINS} mel bands, not {audio.num_mel_bins}"
    if audio.d_model % audio.encoder_attention_heads or audio.d_model % 2 or audio.d_model < 4:
        yield f"d_model {audio.d_model} must be even, and make {audio.encoder_attention_heads} heads"
    if audio.n_window_infer < 2 * audio.n_window:
        yield f"n_window_infer {audio.n_window_infer} is less than a chunk of {2 * audio.n_window} frames"
    if audio.output_dim != text.hidden_size:
        yield f"the audio tower's output_dim {audio.output_dim} is not the decoder's hidden_size {text.hidden_size}"


def _positive(group: TextConfig | VisionConfig | AudioConfig, names: tuple[str, ...]) -> Iterator[str]:
    return (f"{name} is {getattr(group, name)}; it must be at least 1" for name in names if getattr(group, name) < 1)
