"""Settings of the whole suite."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from jobs import cli

# no timed assertions: a loaded machine, or a kernel's first compilation, is not a failure
settings.register_profile("sluice", deadline=None)
# the gate judges the change at hand: the same examples every time; people's runs go on looking for new ones
settings.register_profile("gate", deadline=None, derandomize=True)
settings.load_profile("gate" if os.environ.get("CI") else "sluice")


@pytest.fixture
def sluice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process; returns (exit code, standard output, standard error)."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr("jobs.leave.leave", leave)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sluice", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Training runs may name the model "tiny", and compute with one thread."""
    import torch

    from model.config import PRESETS
    from tests.model_data import tiny

    monkeypatch.setitem(PRESETS, "tiny", lambda vocab_size, special, image: tiny())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
