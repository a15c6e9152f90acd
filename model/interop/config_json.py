"""Our configuration <-> the config.json of the two published families.

Read are the forms that transformers 4.57 wrote for the hub (`rope_scaling` and `rope_theta`, `num_experts`, a thinker
nested in a whole Qwen3-Omni) and those that transformers 5 writes (`rope_parameters`, `num_local_experts`). What is
known not to change the result is passed over; what would change it and is not computed here is refused by name. What
the published form has no place for is kept under one key, "sluice", that transformers passes over.

Source: transformers 5.23, configuration_qwen3_vl_moe.py, configuration_qwen3_omni_moe.py, modeling_rope_utils.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.config import ModelConfig, from_dict, to_dict
from model.interop.limits import check_numbers, check_preprocessing
from schemas.errors import RecipeError, SluiceError

OURS = "sluice"
VL, OMNI, THINKER = "qwen3_vl_moe", "qwen3_omni_moe", "qwen3_omni_moe_thinker"

#: special ids and their names at the top level
_IDS = {
    "image_pad": "image_token_id",
    "video_pad": "video_token_id",
    "vision_start": "vision_start_token_id",
    "vision_end": "vision_end_token_id",
    "audio_pad": "audio_token_id",
    "audio_start": "audio_start_token_id",
    "audio_end": "audio_end_token_id",
    "im_start": "im_start_token_id",
    "im_end": "im_end_token_id",
}
_TEXT = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_experts_per_tok"),
    *("moe_intermediate_size", "intermediate_size", "decoder_sparse_step", "max_position_embeddings"),
    *("rms_norm_eps", "router_aux_loss_coef", "initializer_range"),
)
_VISION = (
    *("depth", "hidden_size", "num_heads", "intermediate_size", "out_hidden_size", "num_position_embeddings"),
    *("in_channels", "patch_size", "temporal_patch_size", "spatial_merge_size", "deepstack_visual_indexes"),
)
_AUDIO = (
    *("encoder_layers", "d_model", "encoder_attention_heads", "encoder_ffn_dim", "downsample_hidden_size"),
    *("output_dim", "num_mel_bins", "n_window", "n_window_infer"),
)
_YARN = ("factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "attention_factor", "truncate")

#: what these may say, if they are there at all: anything else is another model than the one computed here
_HONOURED: dict[str, dict[str, tuple[Any, ...]]] = {
    "text_config": {
        "hidden_act": ("silu",),
        "attention_bias": (False,),
        "use_sliding_window": (False, None),
        "shared_expert_intermediate_size": (0, None),
        "partial_rotary_factor": (1, None),
    },
    "vision_config": {"hidden_act": ("gelu_pytorch_tanh",), "apply_vit_abs_pos_embed": (True, None)},
    "audio_config": {
        "activation_function": ("gelu",),
        "scale_embedding": (False, None),
    },
    "rope_parameters": {
        "mrope_interleaved": (True, None),
        "interleaved": (True, None),
        "partial_rotary_factor": (1, None),
        "mscale": (None,),
        "mscale_all_dim": (None,),
        # one table for each kind of layer
        "full_attention": (None,),
        "sliding_attention": (None,),
    },
}


def from_hub(raw: Mapping[str, Any], where: str, token_ids: Mapping[str, int] | None = None) -> ModelConfig:
    """The configuration that a config.json describes; `token_ids` are those of the tokenizer beside it, by our names.

    Raises SluiceError (RecipeError for a value of the wrong type) naming what cannot be read or honoured.
    """
    plain = _published(raw, where, token_ids or {})
    extra = raw.get(OURS, {})
    _require(isinstance(extra, Mapping), where, OURS, extra)
    plain = _merged(plain, extra)
    check_numbers(plain, where)
    try:
        config = from_dict(ModelConfig, plain, where)
    except RecipeError as error:
        raise RecipeError(str(error) if where in str(error) else f"{where}: {error}") from error
    check_preprocessing(config, where)
    return config


def to_hub(config: ModelConfig, dtype: str) -> dict[str, Any]:
    """The config.json of a model whose weights are of `dtype`, as transformers 5 reads it."""
    text, special = to_dict(config.text), to_dict(config.special)
    omni = config.variant == "omni"
    raw: dict[str, Any] = {
        "architectures": [f"Qwen3{'OmniMoeThinker' if omni else 'VLMoe'}ForConditionalGeneration"],
        "model_type": THINKER if omni else VL,
        "dtype": dtype,
        "tie_word_embeddings": config.text.tie_word_embeddings,
    }
    ids = list(_IDS.items()) if omni else list(_IDS.items())[:4]
    raw |= {key: special[name] for name, key in ids if special[name] >= 0}
    raw["text_config"] = {
        "model_type": "qwen3_omni_moe_text" if omni else "qwen3_vl_moe_text",
        **{name: text[name] for name in _TEXT},
        "num_key_value_heads": config.text.num_key_value_heads,
        "head_dim": config.text.head_dim,
        # transformers 5 takes both names for Qwen3-VL, and the readers of the published files only this one
        "num_experts": config.text.num_experts,
        "norm_topk_prob": config.text.norm_topk_prob,
        "mlp_only_layers": list(config.text.mlp_only_layers),
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": config.text.tie_word_embeddings,
        "eos_token_id": config.special.end_of_text if config.special.end_of_text >= 0 else None,
        "rope_parameters": _rope(config),
    }
    if config.vision:
        vision = to_dict(config.vision)
        raw["vision_config"] = {
            "model_type": "qwen3_omni_moe_vision_encoder" if omni else "qwen3_vl_moe_vision",
            **{name: vision[name] for name in _VISION},
            "hidden_act": "gelu_pytorch_tanh",
        }
    if config.audio:
        audio = to_dict(config.audio)
        raw["audio_config"] = {
            "model_type": "qwen3_omni_moe_audio_encoder",
            **{name: audio[name] for name in _AUDIO},
            "activation_function": "gelu",
        }
        raw["position_id_per_seconds"] = config.position_id_per_seconds
    extra = _difference(to_dict(config), to_dict(from_dict(ModelConfig, _published(raw, OURS, {}), OURS)))
    return raw | ({OURS: extra} if extra else {})


def _rope(config: ModelConfig) -> dict[str, Any]:
    text = config.text
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": text.rope_theta}
    if text.rope_scaling:
        yarn = {name: value for name, value in to_dict(text.rope_scaling).items() if value is not None}
        rope |= {"rope_type": "yarn", **yarn}
    return rope | {"mrope_section": list(text.mrope_section), "mrope_interleaved": True}


def _published(raw: Mapping[str, Any], where: str, token_ids: Mapping[str, int]) -> dict[str, Any]:
    """The plain form of our configuration, from the published part of a config.json alone."""
    kind = raw.get("model_type")
    if kind not in (VL, OMNI, THINKER):
        raise SluiceError(f"{where}: model_type {kind!r} is not read; this model is {VL}, {OMNI} or {THINKER}")
    if raw.get("quantization_config"):
        raise SluiceError(f"{where}: the weights are quantised (quantization_config); give the unquantised checkpoint")
    outer, raw = raw, _section(raw, "thinker_config", where) if kind == OMNI else raw
    text = _text(_section(raw, "text_config", where), where)
    text["tie_word_embeddings"] = raw.get("tie_word_embeddings", False)
    if kind == VL:  # that code always normalises, whatever the file says
        text["norm_topk_prob"] = True
    ids = {"end_of_text": _first(_section(raw, "text_config", where).get("eos_token_id"))} | dict(token_ids)
    for name, key in _IDS.items():
        value = raw.get(key, outer.get(key))
        if value is not None:
            ids[name] = value
    plain = {"text": text, "vision": None, "audio": None, "special": ids}
    if raw.get("vision_config") is not None:
        plain["vision"] = _taken(_section(raw, "vision_config", where), _VISION)
        rope = raw["vision_config"].get("rope_parameters") or {}
        is_ours = isinstance(rope, Mapping) and rope.get("rope_theta", 10_000) == 10_000
        _require(is_ours, where, "vision_config.rope_parameters", rope)
    if kind != VL:
        plain["audio"] = _taken(_section(raw, "audio_config", where), _AUDIO)
        if raw.get("position_id_per_seconds") is not None:
            plain["position_id_per_seconds"] = raw["position_id_per_seconds"]
    return plain


def _text(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    text = _taken(raw, (*_TEXT, "norm_topk_prob"))
    experts = [raw[key] for key in ("num_experts", "num_local_experts") if raw.get(key) is not None]
    _require(len(set(map(str, experts))) <= 1, where, "text_config.num_experts", experts)
    text["num_experts"] = experts[0] if experts else 0
    if not experts:  # a dense model
        text |= {"num_experts_per_tok": 0, "moe_intermediate_size": 0}
    text["mlp_only_layers"] = raw.get("mlp_only_layers") or []
    heads = raw.get("num_attention_heads")
    text["num_key_value_heads"] = heads if raw.get("num_key_value_heads") is None else raw["num_key_value_heads"]
    if raw.get("head_dim") is not None:
        text["head_dim"] = raw["head_dim"]
    elif isinstance(heads, int) and heads > 0 and isinstance(raw.get("hidden_size"), int):
        text["head_dim"] = raw["hidden_size"] // heads
    kinds = raw.get("layer_types") or []
    _require(all(kind == "full_attention" for kind in kinds), where, "text_config.layer_types", kinds)
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    _require(isinstance(rope, Mapping), where, "text_config.rope_parameters", rope)
    _honour(rope, "rope_parameters", f"{where}: text_config")
    theta = rope.get("rope_theta", raw.get("rope_theta"))
    if theta is not None:
        text["rope_theta"] = theta
    if rope.get("mrope_section") is not None:
        text["mrope_section"] = rope["mrope_section"]
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    # "mrope" is what Qwen2-VL called it
    _require(rope_type in ("default", "mrope", "yarn"), where, "text_config.rope_parameters.rope_type", rope_type)
    if rope_type == "yarn":
        yarn = {"original_max_position_embeddings": raw.get("max_position_embeddings")}
        text["rope_scaling"] = yarn | _taken(rope, _YARN)
    return text


def _section(raw: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    section = raw.get(name)
    if not isinstance(section, Mapping):
        raise SluiceError(f"{where}: {name} is missing, or no object")
    _honour(section, name, where)
    return section


def _honour(section: Mapping[str, Any], name: str, where: str) -> None:
    for key, allowed in _HONOURED.get(name, {}).items():
        _require(section.get(key, allowed[0]) in allowed, where, f"{name}.{key}", section.get(key))


def _require(is_honoured: bool, where: str, key: str, value: Any) -> None:
    if not is_honoured:
        raise SluiceError(f"{where}: {key} is {value!r}, which this model cannot honour")


def _taken(raw: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: raw[name] for name in names if raw.get(name) is not None}


def _first(value: Any) -> Any:
    """An end-of-text id: one number, the first of several, or -1 for none."""
    if isinstance(value, list):
        value = value[0] if value else None
    return -1 if value is None else value


def _merged(plain: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`plain` with the values of `extra` in its place, group by group."""
    merged = dict(plain)
    for key, value in extra.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def _difference(full: Mapping[str, Any], partial: Mapping[str, Any]) -> dict[str, Any]:
    """What must be merged into `partial` to give `full`."""
    found = {}
    for key, value in full.items():
        other = partial.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            inner = _difference(value, other)
            if inner:
                found[key] = inner
        elif value != other:
            found[key] = value
    return found
