"""How kernels are compiled: by numba, without the GIL, kept on disk between runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit

_IMPORT = re.compile(rb"^from transforms\.kernels\.(\w+) import", re.MULTILINE)
#: kernels that every run with text steps compiles
_ENTRY_POINTS: list[Any] = []


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles a function on its first call, and keeps the result for later processes.

    numba takes a kept result for fresh while the function's own file is unchanged, and would go on running old code
    after an edit of a kernel in another file that it calls. So here the stamp is of all sources that go into it.
    """
    compiled: Any = njit(cache=True, nogil=True)(function)
    compiled._cache._cache_file._source_stamp = _stamp(function.__module__.rpartition(".")[2])
    return compiled


def entry_point(function: Callable[..., Any]) -> Any:
    """`kernel`, for those that a run with text steps has compiled when it is ready (pipeline.ready); `kernels_cached`
    asks about them. Kernels of steps that need to be told something first are compiled when such a step runs."""
    compiled = kernel(function)
    _ENTRY_POINTS.append(compiled)
    return compiled


def kernels_cached() -> bool:
    """Whether the entry points imported so far were compiled by an earlier run, so that first calls are quick."""
    return all(compiled.signatures or compiled._cache._cache_file._load_index() for compiled in _ENTRY_POINTS)


@cache
def _stamp(module: str) -> tuple[str, int]:
    """A digest of a kernel module's source and of all it imports here, in the form numba's stamps have."""
    sources: dict[str, bytes] = {}
    pending = [module]
    while pending:
        name = pending.pop()
        if name not in sources:
            sources[name] = Path(__file__).with_name(f"{name}.py").read_bytes()
            pending += [imported.decode() for imported in _IMPORT.findall(sources[name])]
    return hashlib.sha256(b"\0".join(sources[name] for name in sorted(sources))).hexdigest(), 0
