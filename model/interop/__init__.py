"""Checkpoints on disk, in our own folders and those of the two published families."""

from model.interop.checkpoint import (
    Checkpoint,
    load_model,
    read_image_config,
    save_checkpoint_files,
    write_checkpoint,
    write_side_files,
)
from model.interop.export import export_checkpoint
from model.interop.layouts import LAYOUTS, Layout
from model.interop.runs import checkpoints, newest_checkpoint, read_run

__all__ = [
    "LAYOUTS",
    "Checkpoint",
    "Layout",
    "checkpoints",
    "export_checkpoint",
    "load_model",
    "newest_checkpoint",
    "read_image_config",
    "read_run",
    "save_checkpoint_files",
    "write_checkpoint",
    "write_side_files",
]
