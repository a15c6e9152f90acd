"""Errors meant for people: what is wrong, where, and what to do about it.

SluiceError (ValueError)
├── SchemaError     a batch, file or manifest does not have the declared shape
└── RecipeError     a recipe cannot be read, or asks for something that does not exist

The command line prints these as one paragraph; anything else is a defect of ours and keeps its traceback.
"""

from __future__ import annotations


class SluiceError(ValueError):
    """Base of every error a user can act on."""


class SchemaError(SluiceError):
    """A batch, file or manifest does not have the declared shape."""


class RecipeError(SluiceError):
    """A recipe cannot be read, or asks for something that does not exist."""
