"""The small models of tests/model_reference.py as transformers computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.interop import load_model, save_checkpoint_files
from model.interop.layouts import pieces
from tests.model_reference import IMAGE, VIDEO, Document, labels, model, typical_error

STEPS = 6


def open_with_transformers(folder: Path, **options: Any) -> Any:
    """A checkpoint folder as transformers opens it; nothing may be missing or left over."""
    import transformers

    kind = "OmniMoeThinker" if load_model(folder).config.audio else "VLMoe"
    opened = getattr(transformers, f"Qwen3{kind}ForConditionalGeneration")
    theirs, report = opened.from_pretrained(folder, output_loading_info=True, **options)
    assert not any(report.values()), report
    return theirs.eval()


def small_model(family: str, folder: Path) -> Any:
    """The family's small model in transformers, by way of a checkpoint of ours."""
    folder.mkdir()
    save_checkpoint_files(model(family), folder)
    return open_with_transformers(folder)


def padded(docs: list[Document], *, is_vl: bool) -> dict[str, Tensor]:
    """The documents as transformers takes them: padded on the left, media by kind."""
    longest = max(len(d.ids) for d in docs)

    def rows(values: list[list[int]], fill: int) -> Tensor:
        return torch.tensor([[fill] * (longest - len(v)) + v for v in values])

    ids = rows([d.ids for d in docs], 0)
    found = {"input_ids": ids, "attention_mask": rows([[1] * len(d.ids) for d in docs], 0)}
    if is_vl:
        found["mm_token_type_ids"] = (ids == IMAGE).int() + 2 * (ids == VIDEO).int()
    media = [image for d in docs for image in d.images]
    for pixels, grids, wanted in (
        ("pixel_values", "image_grid_thw", False),
        ("pixel_values_videos", "video_grid_thw", True),
    ):
        chosen = [(grid, patches) for grid, patches, is_video in media if is_video == wanted]
        if chosen:
            found[pixels] = torch.from_numpy(np.concatenate([p for _, p in chosen]))
            found[grids] = torch.tensor([grid for grid, _ in chosen])
    clips = [clip for d in docs for clip in d.clips]
    if clips:
        frames = max(c.shape[1] for c in clips)
        filled = [np.pad(c, ((0, 0), (0, frames - c.shape[1]))) for c in clips]
        found["input_features"] = torch.from_numpy(np.stack(filled))
        found["feature_attention_mask"] = torch.tensor([[int(i < c.shape[1]) for i in range(frames)] for c in clips])
    return found


def positions(theirs: Any, inputs: dict[str, Tensor]) -> Tensor:
    """[3, T] of the packed documents."""
    known = {name: inputs[name] for name in _POSITIONAL if name in inputs}
    if "feature_attention_mask" in inputs:
        known["audio_seqlens"] = inputs["feature_attention_mask"].sum(-1)
    owner = theirs if hasattr(theirs, "get_rope_index") else theirs.model
    found, _ = owner.get_rope_index(**known)
    return found[:, inputs["attention_mask"].bool()].long()


_POSITIONAL = ("input_ids", "attention_mask", "mm_token_type_ids", "image_grid_thw", "video_grid_thw")


def reference(theirs: Any, docs: list[Document]) -> dict[str, Tensor]:
    """What tests.model_reference.outputs gives, as transformers computes it; and positions and greedy tokens."""
    shape = theirs.config
    inputs = padded(docs, is_vl=shape.model_type == "qwen3_vl_moe")
    live = inputs["attention_mask"].bool()
    longest = live.shape[1]
    wanted = torch.tensor([[-100] * (longest - len(d.ids)) + labels(d) for d in docs])
    theirs.zero_grad()
    found = theirs(**inputs, labels=wanted, output_router_logits=True)
    found.loss.backward()
    ours = {stored: name for name, stored in names(shape.model_type).items()}
    grads = {f"grad.{ours[name]}": p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    with torch.no_grad():
        written = theirs.generate(**inputs, max_new_tokens=STEPS, do_sample=False)[:, longest:]
    return {
        "positions": positions(theirs, inputs),
        "logits": found.logits.detach()[live].float(),
        "loss": found.loss.detach(),
        "balance": found.aux_loss.detach(),
        "greedy": written,
        **grads,
    }


def names(model_type: str) -> dict[str, str]:
    """Our parameter names -> those that transformers holds in memory."""
    made = model("vl" if model_type == "qwen3_vl_moe" else "omni")
    return {n: pieces(n, tuple(p.shape), made.config, "hf5")[0].name for n, p in made.named_parameters()}


def bfloat16_error(theirs: Any, docs: list[Document], exact: Tensor) -> float:
    """What computing in bfloat16 changes in transformers' logits: see `typical_error`."""
    inputs = padded(docs, is_vl=theirs.config.model_type == "qwen3_vl_moe")
    with torch.no_grad():
        found = theirs(**inputs).logits[inputs["attention_mask"].bool()].float()
    return typical_error(found, exact)
