"""Checkpoints on disk, in our own folders and those of the two published families."""

from model.interop.checkpoint import Checkpoint, load_model, save_checkpoint_files, write_checkpoint
from model.interop.export import export_checkpoint
from model.interop.layouts import LAYOUTS, Layout
from model.interop.runs import checkpoints, newest_checkpoint

__all__ = [
    "LAYOUTS",
    "Checkpoint",
    "Layout",
    "checkpoints",
    "export_checkpoint",
    "load_model",
    "newest_checkpoint",
    "save_checkpoint_files",
    "write_checkpoint",
]
