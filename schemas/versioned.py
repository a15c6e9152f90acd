"""JSON files with a schema version, read into closed models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from schemas.errors import SchemaError

M = TypeVar("M", bound=BaseModel)


def read_versioned(path: Path, model: type[M], version: int, what: str) -> M:
    """Reads `path` as a model whose `schema_version` is `version`; `what` says in errors what the file should be.

    Raises FileNotFoundError, and SchemaError where the file is no JSON, of another version, or not of the model's form.
    """
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise SchemaError(f"{path} cannot be read as JSON ({error})") from error
    found = raw.get("schema_version") if isinstance(raw, dict) else None
    if found != version:
        raise SchemaError(f"{path} has schema version {found!r}; this sluice reads version {version}")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors()[:5])
        raise SchemaError(f"{path} is not a valid {what}: {problems}") from error
