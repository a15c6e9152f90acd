"""How kernels are compiled: by numba, without the GIL, kept on disk between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit

#: kernels that are called from Python (the others are compiled into them)
_ENTRY_POINTS: list[Any] = []


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles a function on its first call, and keeps the result for later processes.

    numba takes a kept result for fresh while the function's own file is unchanged, and would go on running old code
    after an edit of a kernel in another file that it calls. So here the sources of all kernels are the stamp.
    """
    compiled: Any = njit(cache=True, nogil=True)(function)
    compiled._cache._cache_file._source_stamp = _stamp()
    return compiled


def entry_point(function: Callable[..., Any]) -> Any:
    """`kernel`, for those called from Python: what `kernels_cached` asks about."""
    compiled = kernel(function)
    _ENTRY_POINTS.append(compiled)
    return compiled


def kernels_cached() -> bool:
    """Whether the entry points imported so far were compiled by an earlier run, so that first calls are quick."""
    return all(compiled.signatures or compiled._cache._cache_file._load_index() for compiled in _ENTRY_POINTS)


@cache
def _stamp() -> tuple[str, int]:
    """A digest of all kernel sources, in the form numba stamps have (a time and a size)."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest(), 0
